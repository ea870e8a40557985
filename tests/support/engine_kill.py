"""Killing a process of agentpkg at a chosen point: it gets SIGKILL at a function's call or return.

The hook (:mod:`tests.support.kill_hook`) comes in through ``sitecustomize`` on ``PYTHONPATH``, so that it also reaches
processes that the product starts itself. A point is ``module:function:call`` or ``module:function:return``.
"""

import shutil
import signal
from pathlib import Path


def environment(folder: Path, which: str, point: str, number: int = signal.SIGKILL) -> dict[str, str]:
    """Variables that kill the process whose command line holds ``which``, at ``point``.

    Args:
        folder: an empty or missing one for the hook's file.
        number: another signal to send instead, once.
    """
    folder.mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("kill_hook.py"), folder / "sitecustomize.py")
    return {
        "PYTHONPATH": str(folder), "TEST_KILL_WHICH": which, "TEST_KILL_AT": point, "TEST_KILL_BY": str(int(number))
    }  # fmt: skip
