"""The standard streams, made fit to be written to: whatever text there is, and whoever has closed or filled them."""

import contextlib
import io
import os
import sys

from agentpkg.core.errors import FellShort


class _Tolerant(io.FileIO):
    """A descriptor whose failing writes are dropped: words on standard error never stop the work they are about."""

    def write(self, data: object) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def open_closed() -> None:
    """Puts the null device in the place of each standard stream that the caller has closed.

    Not only for the words that are written there: the next file opened would get its number, and what is printed
    would go into it. To be called before any file is opened.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # the lowest free number: those below are open by now
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for life


def write_anything() -> None:
    """Lets both streams take whatever text there is, whole.

    Text of files and agents may hold what the terminal's encoding, or any, has no bytes for. And without a buffer, as
    with ``PYTHONUNBUFFERED``, Python drops the rest of a write that a signal cuts short.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if isinstance(stream.buffer, io.RawIOBase):
            buffered = io.BufferedWriter(stream.buffer)
            stream = io.TextIOWrapper(buffered, stream.encoding, line_buffering=True)
            setattr(sys, name, stream)
        stream.reconfigure(errors="backslashreplace")
    _drop_what_stderr_refuses()


def _drop_what_stderr_refuses() -> None:
    stream = sys.stderr
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if isinstance(stream, io.TextIOWrapper) and isinstance(raw, io.FileIO) and raw.fileno() == 2:
        tolerant = io.BufferedWriter(_Tolerant(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(tolerant, stream.encoding, "backslashreplace", line_buffering=True)


def finish() -> FellShort | None:
    """Writes out what standard output still holds; the error when it cannot take it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        let_go()
    except OSError as error:
        let_go()
        return FellShort(
            f"standard output cannot be written: {error.strerror or error}",
            "make room, or send the output elsewhere; what was done is recorded, `agentpkg status` shows it",
            code="output",
        )
    return None


def let_go() -> None:
    """Turns standard output into the null device: nobody takes it, and the interpreter must not try at its end."""
    # a stream of somebody else's, as under a test, has no number
    with contextlib.suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
