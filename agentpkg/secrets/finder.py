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
from base64 import a85encode, b64decode, b64encode, b85encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from unicodedata import normalize
from zipfile import BadZipFile, ZipFile

from agentpkg.secrets.controls import strip_controls
from agentpkg.secrets.patterns import SHORTEST, aligned, nested_patterns, patterns

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

_BASE10 = "0123456789"
_BASE36 = _BASE10 + "abcdefghijklmnopqrstuvwxyz"
#: as bitcoin has it: without 0, O, I and l
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#: from the letters of base64 to those of uuencode
_UU = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "`" + "".join(map(chr, range(33, 96)))
)
#: how letters and digits begin that look like others: full width, enclosed, mathematical
_LOOKALIKE = re.compile(rb"\xef[\xbc\xbd]|\xe2[\x92\x93]|\xf0\x9d|\xf0\x9f\x84")

#: how often what was unpacked is unpacked again, and bytes that are given to an unpacker at once
_DEPTH, _STEP = 3, 1 << 16
#: gzip, zlib, bzip2, xz, and the first of a zip's entries, wherever they begin: files hold such things among others
_PACKED = re.compile(rb"\x1f\x8b\x08|x[\x01^\x9c\xda]|BZh[1-9]1AY&SY|\xfd7zXZ\x00|(?<!PK\x03\x04)PK\x03\x04")
#: a character written as its number: %74, =74, \x74, \u0074, \u{74}, &#x74; and &#116;
_NUMBER = rb"(?:%|=|\\x|\\u00|\\u\{|&#[xX]0*)[0-7][0-9a-fA-F][;}]?|&#0*\d{2,3};"
_ESCAPED = re.compile(_NUMBER)
#: several of them with little between, and how much around them may belong to it
_ESCAPED_TEXT, _AROUND, _LONGEST_RUN = (
    re.compile(rb"(?:" + _NUMBER + rb")(?:.{0,4}?(?:" + _NUMBER + rb")){3,}"),
    16,
    1 << 14,
)
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
        return (
            found if found is not None else next(filter(None, map(self._named, _unpacked(data, _DEPTH, _Left()))), None)
        )

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
    # without the group that depends on what follows
    whole = _bytes(value)[: len(_bytes(value)) // 4 * 4]
    yield from (b85encode(whole), a85encode(whole))
    number = int.from_bytes(_bytes(value), "big")
    yield from (_in_digits(number, digits) for digits in (_BASE10, _BASE36, _BASE58))
    for one in aligned(_bytes(value), 6, b64encode):
        yield one.translate(_UU).encode()
        yield one[::-1].encode()
    yield _bytes(value).hex()[::-1].encode()
    # both orders of UTF-16, since the first and the last zero are left off
    yield value.encode("utf-16-le", "surrogatepass")[:-1]


def _in_digits(number: int, digits: str) -> bytes:
    out = ""
    while number:
        number, rest = divmod(number, len(digits))
        out = digits[rest] + out
    return out.encode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _codes(value: str) -> Iterator[bytes]:
    """Character codes, decimal, octal and binary, without what stands between them."""
    for form in ("{:d}", "{:03d}", "{:o}", "{:03o}", "{:04o}", "{:08b}", "{:b}"):
        yield "".join(map(form.format, _bytes(value))).encode()


# --------------------------------------------------------------------------- what is packed


@dataclass
class _Left:
    """What may still be unpacked of one thing: a few bytes can stand for any number, one in another."""

    tries: int = 200
    bytes: int = 32 << 20
    #: these take a hundred times longer than what is merely packed
    escaped: int = 1 << 19


def _unpacked(data: bytes, depth: int, left: _Left) -> Iterator[bytes]:
    """What was packed or escaped in these bytes, and what was in that."""
    if not depth:
        return
    for inner in _layers(data, left):
        yield inner
        yield from _unpacked(inner, depth - 1, left)


def _layers(data: bytes, left: _Left) -> Iterator[bytes]:
    escaped = b"\n".join(_escaped(data, left))
    if escaped:
        yield _ESCAPED.sub(_unescaped, escaped)
    if _LOOKALIKE.search(data):
        yield normalize("NFKC", data.decode("utf-8", "replace")).encode()
    for found in _PACKED.finditer(data):
        if left.tries <= 0 or left.bytes <= 0:
            break
        left.tries -= 1
        for inner in _UNPACKERS[found[0][:2]](memoryview(data)[found.start() :], left.bytes):
            left.bytes -= len(inner)
            yield inner
    for found in _PACKED_TEXT.finditer(data.translate(None, _BREAKS)):
        if left.tries <= 0:
            break
        left.tries -= 1
        text = found[0][: len(found[0]) // 4 * 4]
        yield b64decode(text)


def _escaped(data: bytes, left: _Left) -> Iterator[bytes]:
    """What is written as numbers, with what stands around it."""
    for at in range(0, len(data), _STEP):
        if left.escaped <= 0:
            break
        # runs that lie across two parts are in the part and its overlap
        part = data[max(0, at - _LONGEST_RUN) : at + _STEP]
        for found in _ESCAPED_TEXT.finditer(part):
            begin, end = found.span()
            left.escaped -= end - begin
            yield part[max(0, begin - _AROUND) : end + _AROUND]


def _unescaped(found: re.Match[bytes]) -> bytes:
    """One character of ASCII, from its number in hex or decimal."""
    digits = found[0].lstrip(b"%=\\xu{&#X").rstrip(b";}")
    code = int(digits) if found[0][:2] == b"&#" and found[0][2:3] not in b"xX" else int(digits, 16)
    return bytes((code,)) if code < 128 else found[0]


def _stream(start: Callable[[], "zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor"]) -> "_Unpacker":
    def unpack(data: memoryview, most: int) -> Iterator[bytes]:
        # cut off or damaged, what came before counts
        one, inner = start(), b""
        with suppress(*_DAMAGED):
            for at in range(0, len(data), _STEP):
                inner += one.decompress(data[at : at + _STEP], most - len(inner))
                if one.eof or len(inner) >= most:
                    break
        if inner:
            yield inner

    return unpack


def _archive(data: memoryview, most: int) -> Iterator[bytes]:
    with suppress(*_DAMAGED), ZipFile(BytesIO(data)) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                inner = file.read(max(0, most))
            most -= len(inner)
            yield _bytes(entry.filename) + b"\n" + inner


_Unpacker = Callable[[memoryview, int], Iterator[bytes]]

_zlib = _stream(zlib.decompressobj)

#: by the two bytes that each begins with
_UNPACKERS: Mapping[bytes, _Unpacker] = {
    b"\x1f\x8b": _stream(lambda: zlib.decompressobj(wbits=31)),
    **dict.fromkeys((b"x\x01", b"x^", b"x\x9c", b"x\xda"), _zlib),
    b"BZ": _stream(bz2.BZ2Decompressor),
    b"\xfd7": _stream(lzma.LZMADecompressor),
    b"PK": _archive,
}
