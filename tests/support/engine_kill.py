"""Killing a process of agentpkg at a chosen point: a profile hook that sends it SIGKILL at a function's call or return.

The hook comes in through ``sitecustomize`` on ``PYTHONPATH``, so that it also reaches processes that the product
starts itself. A point is ``module:function:call`` or ``module:function:return``.
"""

import signal
from pathlib import Path

_HOOK = """\
import os, signal, sys, threading

def _arm(point, number):
    module, name, moment = point.split(":")
    def hook(frame, event, arg):
        if event == moment and frame.f_code.co_name == name and frame.f_globals.get("__name__") == module:
            if number != signal.SIGKILL:
                # once: it is to go on afterwards
                sys.setprofile(None)
            os.kill(os.getpid(), number)
    threading.setprofile(hook)
    sys.setprofile(hook)

_which = os.environ.get("TEST_KILL_WHICH", "")
if _which and any(_which in word for word in sys.orig_argv):
    _arm(os.environ["TEST_KILL_AT"], int(os.environ["TEST_KILL_BY"]))
"""


def environment(folder: Path, which: str, point: str, number: int = signal.SIGKILL) -> dict[str, str]:
    """Variables that kill the process whose command line holds ``which``, at ``point``.

    Args:
        folder: an empty or missing one for the hook's file.
        number: another signal to send instead, once.
    """
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_HOOK)
    return {
        "PYTHONPATH": str(folder), "TEST_KILL_WHICH": which, "TEST_KILL_AT": point, "TEST_KILL_BY": str(int(number))
    }  # fmt: skip
