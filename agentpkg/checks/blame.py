"""Whose fault is a failed command: the candidate's, or the machine's? The machine's fault is no verdict.

Shells give 127 when a program is missing and 126 when it cannot be executed (POSIX, Shell Command Language, 2.8.2),
and 128 + n when signal n ended it.
"""

import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from agentpkg.checks.base import NO_VERDICT, one_line
from agentpkg.core.errors import DISK_FULL
from agentpkg.proc import Result

#: bytes; with less than this a "no space left" is believed
_FULL = 64 * 1024 * 1024

#: bytes from the end of the output that are looked at
_TAIL = 8000

#: how shells name the program they could not run, before words in the user's language
_NAMED = re.compile(r"(?:^|[:\s])['‘]?(?P<program>[^\s:'’]+)['’]?: [^:\n]*$", re.M)
_NO_MODULE = re.compile(r"^\S*python[\d.]*: No module named (?P<module>[\w.]+)", re.M)


@dataclass(frozen=True, slots=True)
class Blame:
    """What the machine lacks and how to get it, one line each, and a stable name."""

    reason: str
    fix: str
    code: str = NO_VERDICT


def machine(command: str, result: Result, copy: Path, path: str) -> Blame | None:
    """Why a failed command is no verdict, or None when the candidate has failed.

    Args:
        command: the command line.
        result: how it ended.
        copy: where it ran.
        path: its PATH.
    """
    if result.exit_code == 0 or result.timed_out:
        return None
    said = result.stdout[-_TAIL:].decode("utf-8", "backslashreplace")
    return (
        _missing_program(command, result.exit_code, said, path)
        or _missing_module(command, said)
        or _killed(result.exit_code)
        or _full(said, copy)
    )


def _missing_program(command: str, code: int, said: str, path: str) -> Blame | None:
    if code not in (126, 127):
        return None
    # a relative path is the candidate's own file, and its absence the candidate's fault
    named = [name for name in _NAMED.findall(said) if name in command and ("/" not in name or name.startswith("/"))]
    programs = [name for name in named if code == 126 or shutil.which(name, path=path) is None]
    if not programs:
        return None
    program = one_line(programs[-1], 100)
    what = "is not installed" if code == 127 else "cannot be executed"
    return Blame(f"{program} {what}", f"install {program} on this machine, or correct the command")


def _missing_module(command: str, said: str) -> Blame | None:
    for module in _NO_MODULE.findall(said):
        if re.search(rf"-m\s+{re.escape(module)}(?:\s|$)", command):
            fix = f"install {module} for that interpreter, or name the interpreter that has it"
            return Blame(f"python has no module {module}", fix)
    return None


def _killed(code: int) -> Blame | None:
    if code not in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return None
    return Blame("it was killed by SIGKILL, most likely for want of memory", "free memory, or run fewer checks at once")


def _full(said: str, copy: Path) -> Blame | None:
    if os.strerror(28) not in said and "No space left on device" not in said:
        return None
    if shutil.disk_usage(copy).free > _FULL:
        return None
    return Blame(f"no space left in {copy.parent.parent}", "make room there, or set TMPDIR to a place that has more",
                 DISK_FULL)  # fmt: skip
