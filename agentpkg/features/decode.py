"""The bytes of a file that a person wrote, as text."""

from agentpkg.core.model import Problem

#: what a file may have: bytes
MOST_BYTES = 1 << 20


def decode(data: bytes, file: str) -> tuple[str, list[Problem]]:
    """A file's bytes as text with ``\\n`` line ends and no byte order mark, or the problem that it is not UTF-8."""
    if len(data) > MOST_BYTES:
        return "", [Problem(file, 1, f"{len(data)} bytes", f"over {MOST_BYTES} bytes (1 MiB); make it smaller")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        bad = "".join(f"\\x{byte:02x}" for byte in data[error.start : error.end])
        return "", [Problem(file, line, bad, "not UTF-8; save the file as UTF-8")]
    return text.replace("\r\n", "\n"), []
