"""What a supervisor understands of a process behind walls: whose end it was, and with what code."""

import signal

from agentpkg.isolation import Wrapped

#: what each line of bubblewrap's own begins with
_VOICE = "bwrap: "

#: how it says that a program which is there cannot be executed inside
_CANNOT_RUN = "bwrap: execvp "


def speaks(text: str) -> bool:
    """Whether the walls themselves may have printed this."""
    return _VOICE in text


def trouble(wrapped: Wrapped, exit_code: int | None, output: str) -> str | None:
    """Why what was to run inside never ran, which is nobody's fault who works there; None when it did.

    Args:
        output: what was printed, or the part of it for which :func:`speaks` holds.
    """
    if wrapped.status is None:
        return None
    last = next((line for line in reversed(output.splitlines()) if line.startswith(_VOICE)), "")
    cannot_run = exit_code == 1 and last.startswith(_CANNOT_RUN)
    failed = wrapped.failed_to_start(exit_code)
    wrapped.status.close()
    if not failed and not cannot_run:
        return None
    why = last.removeprefix(_VOICE) or f"it ended with {exit_code}"
    hint = "name what it needs in isolation.mounts" if cannot_run else "`agentpkg doctor` tells more"
    return f"the sandbox did not start: {why[:300]}; {hint}"


def exit_code(wrapped: Wrapped, code: int | None) -> int | None:
    """The exit code of what ran inside; bubblewrap tells of SIGKILL as shells do, and only that matters here."""
    return -signal.SIGKILL if wrapped.status is not None and code == 128 + signal.SIGKILL else code
