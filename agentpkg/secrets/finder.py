"""Secret values found in what an agent commits: in any shape, in disguise, and in pieces.

Output is searched as it streams (:mod:`agentpkg.secrets.redact`), a commit as a whole, so that more can be looked for:
a value with anything but letters and digits between its characters, as a list of character codes, encoded twice,
packed, or cut up over several lines, files, names and messages. Whoever encrypts a value is not found out.
"""

import bz2
import codecs
import lzma
import re
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from io import BytesIO
from zipfile import BadZipFile, ZipFile

from agentpkg.secrets.controls import strip_controls
from agentpkg.secrets.patterns import SHORTEST, nested_patterns, patterns

#: a piece of a value: the secret's name, and where in the value it begins
Piece = tuple[str, int]

#: letters and digits of a piece, and of the shortest value that is looked for in pieces
_PIECE, _SHORTEST_IN_PIECES = 6, 12
#: letters and digits of the shortest value that is looked for in disguise
_SHORTEST_IN_DISGUISE = 8

_BREAKS = b"\r\n"
_DIGITS = bytes(range(ord("0"), ord("9") + 1))
_OTHERS = bytes(one for one in range(256) if one > 127 or not chr(one).isalnum())
_NO_DIGITS = bytes(one for one in range(256) if one not in _DIGITS)
_LOWER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz")

#: bytes that are unpacked of one thing, and how often what was unpacked is unpacked again
_UNPACKED, _DEPTH = 32 << 20, 3
#: how gzip, zlib, bzip2, xz and zip begin, when they were put into base64
_PACKED_TEXT = re.compile(rb"(?:H4sI|eJ[wxyz]|eNo|eAE|eF4|Qlpo|/Td6WFoA|UEsDB)[A-Za-z0-9+/]{12,}")

#: what is raised by what is damaged, encrypted or packed in another way
_DAMAGED = (BadZipFile, zlib.error, OSError, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)


class Finder:
    """Looks for secrets in bytes.

    Args:
        secrets: values by name.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = dict(secrets)

    def find(self, data: bytes) -> str | None:
        """The name of the first secret whose value is in ``data`` in any shape, None when there is none."""
        if not self._secrets:
            return None
        found = self._named(data)
        return found if found is not None else next(filter(None, map(self._named, _unpacked(data, _DEPTH))), None)

    def pieces(self, data: bytes) -> frozenset[Piece]:
        """The pieces of values that are in ``data``."""
        if not self._in_pieces:
            return frozenset()
        bare = _bare(data)
        return frozenset((name, at) for name, grams in self._in_pieces.items() for at, g in grams.items() if g in bare)

    def whole(self, pieces: Iterable[Piece]) -> str | None:
        """The name of a secret whose value can be put together from these pieces."""
        found: dict[str, set[int]] = {}
        for name, at in pieces:
            found.setdefault(name, set()).update(range(at, at + _PIECE))
        lengths = {name: len(grams) + _PIECE - 1 for name, grams in self._in_pieces.items()}
        return next((name for name, covered in found.items() if len(covered) == lengths[name]), None)

    def _named(self, data: bytes) -> str | None:
        flat, bare = data.translate(None, _BREAKS), _bare(data)
        digits = bare.translate(None, _NO_DIGITS)
        for name, shapes in self._shapes.items():
            for found, inside in zip(shapes, (flat, bare, digits), strict=True):
                if any(one in inside for one in found):
                    return name
        return None

    @cached_property
    def _shapes(self) -> dict[str, tuple[tuple[bytes, ...], ...]]:
        """By name, what is looked for in the data as they are, in their letters and digits, and in their digits."""
        return {name: (*_split(value), tuple(_codes(value))) for name, value in self._secrets.items()}

    @cached_property
    def _in_pieces(self) -> dict[str, dict[int, bytes]]:
        bare = {name: _bare(_bytes(value)) for name, value in self._secrets.items()}
        return {
            name: {at: value[at : at + _PIECE] for at in range(len(value) - _PIECE + 1)}
            for name, value in bare.items() if len(value) >= _SHORTEST_IN_PIECES
        }  # fmt: skip


def _bare(data: bytes) -> bytes:
    """Letters and digits alone, in lower case."""
    return data.translate(_LOWER, _OTHERS)


def _split(value: str) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What of a value's shapes is looked for as it is, and what without all that is no letter and no digit.

    The latter finds the former too, so that each is looked for once; what has too few of them is left as it is.
    """
    shapes = {_bytes(strip_controls(one).replace("\n", "")) for one in patterns(value) | nested_patterns(value)}
    shapes |= set(_disguised(value))
    bare = {short for one in shapes if len(short := _bare(one)) >= _SHORTEST_IN_DISGUISE}
    plain = {one for one in shapes if len(one) >= SHORTEST and len(_bare(one)) < _SHORTEST_IN_DISGUISE}
    return tuple(plain), tuple(bare)


def _disguised(value: str) -> Iterator[bytes]:
    yield _bytes(codecs.encode(value, "rot13"))
    pairs = [f"{byte:02x}" for byte in _bytes(value)]
    yield from (before.join(pairs).encode() for before in ("0x", "u00", "x00"))
    # both orders of UTF-16, since the first and the last zero are left off
    yield value.encode("utf-16-le", "surrogatepass")[:-1]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _codes(value: str) -> Iterator[bytes]:
    """Character codes, decimal, octal and binary, without what stands between them."""
    for form in ("{:d}", "{:03d}", "{:o}", "{:03o}", "{:04o}", "{:08b}", "{:b}"):
        yield "".join(map(form.format, _bytes(value))).encode()


# --------------------------------------------------------------------------- what is packed


def _unpacked(data: bytes, depth: int) -> Iterator[bytes]:
    """What was packed in these bytes, and what was packed in that."""
    if not depth:
        return
    for inner in _layers(data):
        yield inner
        yield from _unpacked(inner, depth - 1)


def _layers(data: bytes) -> Iterator[bytes]:
    for begin, unpack in _UNPACKERS.items():
        if data.startswith(begin):
            yield from unpack(data)
    for found in _PACKED_TEXT.finditer(data.translate(None, _BREAKS)):
        text = found[0][: len(found[0]) // 4 * 4]
        yield b64decode(text)


def _stream(start: Callable[[], "zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor"]) -> "_Unpacker":
    def unpack(data: bytes) -> Iterator[bytes]:
        # cut off or damaged, what came before counts
        with suppress(*_DAMAGED):
            yield start().decompress(data, _UNPACKED)

    return unpack


def _archive(data: bytes) -> Iterator[bytes]:
    left = _UNPACKED
    with suppress(*_DAMAGED), ZipFile(BytesIO(data)) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                inner = file.read(left)
            left -= len(inner)
            yield _bytes(entry.filename) + b"\n" + inner


_Unpacker = Callable[[bytes], Iterator[bytes]]

_UNPACKERS: Mapping[bytes, _Unpacker] = {
    b"\x1f\x8b": _stream(lambda: zlib.decompressobj(wbits=31)),
    b"\x78": _stream(zlib.decompressobj),
    b"BZh": _stream(bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": _stream(lzma.LZMADecompressor),
    b"PK\x03\x04": _archive,
}
