"""``run``: dispatch every ready package, review and land what finishes, go on with what that unblocks.

:mod:`run` is the loop, :mod:`scene` what its parts share, :mod:`starting`, :mod:`landing`, :mod:`waiting` and
:mod:`ending` what their names say, :mod:`owner` the record of who runs.
"""

from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Finished, Options, Stop, Stuck

__all__ = ["Finished", "Options", "Run", "Stop", "Stuck"]
