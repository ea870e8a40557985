"""The steps of a recorded transcript, checked before the first one is played.

A transcript is YAML: a list of steps, or a mapping with the list under ``steps``. A step is a mapping with one key:

====================  =================================================================================================
``say``               what the agent tells: text
``print``, ``warn``   raw text for standard output, standard error
``write``             a file: ``{path, text, executable}``; its folders are made
``append``            text at the end of a file: ``{path, text}``
``delete``            a file or an empty folder: path
``run``               a command for ``/bin/sh -c``: text, or ``{command, exit}`` with the exit code it must have
``commit``            everything in the worktree: message, or ``{message, paths}``
``wait``              seconds, or ``{for: path, seconds: at most}``: until the file is there
``hear``              seconds: waits at most so long for an instruction; it fills ``{heard}`` from then on
``expect``            text that the prompt must hold, else the player ends with an error
``ignore-stdin``      true: never read the prompt
``ignore-signals``    list of signals that it ignores from here on: ``[INT, TERM]``
``close``             list of streams that it closes: ``[stdout, stderr]``
``flood``             ``{bytes, line}``: that much of that line on standard output
``usage``             mapping of counts, reported at the end
``fail``              text: ends with an error flag in its stream, and exit code 1
``exit``              exit code: ends at once, with nothing said about it
====================  =================================================================================================

In ``say``, ``commit``, ``run`` and paths ``{wp}``, ``{feature}``, ``{session}`` and ``{heard}`` are filled in.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: the keys of the steps that are mappings, those that must be there first
_SHAPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "write": (("path", "text"), ("executable",)),
    "append": (("path", "text"), ()),
    "run": (("command",), ("exit",)),
    "commit": (("message",), ("paths",)),
    "wait": (("for",), ("seconds",)),
    "flood": (("bytes",), ("line",)),
}

#: the key that a plain value of these stands for
_SHORT = {"run": "command", "commit": "message"}


class BadTranscript(ValueError):
    """A transcript that cannot be played; the text says which step and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its verb and what it needs, checked."""

    verb: str
    value: Any


def parse_steps(data: object) -> list[Step]:
    """The steps of a transcript that was read from YAML or JSON.

    Raises:
        BadTranscript: names the first step that is wrong.
    """
    steps = data.get("steps") if isinstance(data, Mapping) else data
    if not isinstance(steps, list):
        raise BadTranscript("a transcript is a list of steps, or a mapping with the list under `steps`")
    return [_step(number, step) for number, step in enumerate(steps, 1)]


def _step(number: int, step: object) -> Step:
    if not isinstance(step, Mapping) or len(step) != 1:
        raise BadTranscript(f"step {number}: a step is a mapping with one key, as `say: text`")
    verb, value = next(iter(step.items()))
    if verb not in _CHECKS:
        raise BadTranscript(f"step {number}: no step is called {verb}; there are {', '.join(_CHECKS)}")
    if verb in _SHORT and isinstance(value, str):
        value = {_SHORT[verb]: value}
    wrong = _CHECKS[verb](value)
    if wrong:
        raise BadTranscript(f"step {number}: {verb} {wrong}")
    return Step(verb, value)


def _text(value: object) -> str:
    return "" if isinstance(value, str) else "wants text"


def _number(value: object) -> str:
    return "" if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else "wants a number"


def _exit_code(value: object) -> str:
    return "" if isinstance(value, int) and 0 <= value <= 255 else "wants a number from 0 to 255"


def _flag(value: object) -> str:
    return "" if value is True else "wants true"


def _counts(value: object) -> str:
    good = isinstance(value, Mapping) and all(isinstance(count, int) for count in value.values())
    return "" if good else "wants a mapping of whole numbers"


def _signals(value: object) -> str:
    good = isinstance(value, list) and all(hasattr(signal, f"SIG{name}") for name in value)
    return "" if good else "wants a list of signals, as [INT, TERM]"


def _streams(value: object) -> str:
    good = isinstance(value, list) and set(value) <= {"stdout", "stderr"}
    return "" if good else "wants a list of stdout, stderr"


def _wait(value: object) -> str:
    return _shaped("wait")(value) if isinstance(value, Mapping) else _number(value)


def _shaped(verb: str) -> Callable[[object], str]:
    needed, more = _SHAPES[verb]

    def check(value: object) -> str:
        if not isinstance(value, Mapping):
            return f"wants a mapping with {', '.join(needed)}"
        missing = [key for key in needed if key not in value]
        unknown = [str(key) for key in value if key not in (*needed, *more)]
        if missing or unknown:
            return f"lacks {missing[0]}" if missing else f"does not know {unknown[0]}"
        wrong = [f"{key}: {_KINDS[key](value[key])}" for key in value if _KINDS[key](value[key])]
        return wrong[0] if wrong else ""

    return check


def _texts(value: object) -> str:
    good = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)
    return "" if good else "wants a list of texts"


_KINDS: Mapping[str, Callable[[object], str]] = {
    "path": _text, "text": _text, "executable": _flag, "command": _text, "exit": _exit_code, "message": _text,
    "paths": _texts, "for": _text, "seconds": _number, "bytes": _number, "line": _text,
}  # fmt: skip

_CHECKS: Mapping[str, Callable[[object], str]] = {
    "say": _text, "print": _text, "warn": _text, "delete": _text, "expect": _text, "fail": _text,
    "write": _shaped("write"), "append": _shaped("append"), "run": _shaped("run"), "commit": _shaped("commit"),
    "wait": _wait, "hear": _number, "flood": _shaped("flood"), "exit": _exit_code, "ignore-stdin": _flag,
    "ignore-signals": _signals, "close": _streams, "usage": _counts,
}  # fmt: skip
