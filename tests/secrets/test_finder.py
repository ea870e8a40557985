"""Values in disguise, packed and in pieces, as an agent could commit them; and what only looks like one."""

import base64
import binascii
import bz2
import codecs
import gzip
import io
import lzma
import time
import zipfile
import zlib

import pytest

from agentpkg.secrets.finder import Finder

VALUE = "tok-Zq7vN2xW9pLk4RtY8bHs3MdF"
RAW = VALUE.encode()
FINDER = Finder({"OTHER": "swordfish-42-swordfish", "KEY": VALUE})


def _zipped(content: bytes = b"key = " + RAW) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", content)
    return out.getvalue()


SHAPES = {
    "spaced": " ".join(VALUE).encode(),
    "a character a line": "\r\n".join(VALUE).encode(),
    "a list": repr(list(VALUE)).encode(),
    "put together": b'key = "tok-Zq7vN2xW" + \\\n    "9pLk4RtY8bHs3MdF"',
    "upper case": VALUE.upper().encode(),
    "rot13": codecs.encode(VALUE, "rot13").encode(),
    "backwards and spaced": " ".join(VALUE[::-1]).encode(),
    "decimal codes": str(list(RAW)).encode(),
    "octal codes": " ".join(f"{one:03o}" for one in RAW).encode(),
    "binary codes": " ".join(f"{one:08b}" for one in RAW).encode(),
    "hex codes": ", ".join(map(hex, RAW)).encode(),
    "unicode escapes": "".join(f"\\u{one:04x}" for one in RAW).encode(),
    "entities": "".join(f"&#{one};" for one in RAW).encode(),
    "calls": "+".join(f"chr({one})" for one in RAW).encode(),
    "base64 twice": base64.b64encode(base64.b64encode(b"x" + RAW)),
    "base64 in parts": base64.b64encode(RAW).replace(b"2", b'2" + "'),
    "hex in base64": base64.b64encode(RAW.hex().encode()),
    "utf-16": VALUE.encode("utf-16"),
    "gzip": gzip.compress(RAW),
    "gzip in base64": base64.encodebytes(gzip.compress(RAW)),
    "zlib": zlib.compress(RAW),
    "zlib in base64": base64.b64encode(zlib.compress(RAW)),
    "bzip2": bz2.compress(RAW),
    "xz": lzma.compress(RAW),
    "zip": _zipped(),
    "a zip in gzip": gzip.compress(_zipped()),
    "gzip in a zip": _zipped(gzip.compress(RAW)),
    "zlib in an image": b"\x89PNG\r\n\x1a\n\0\0\0\x30zTXtk\0\0" + zlib.compress(RAW) + b"crc.",
    "a number": str(int.from_bytes(RAW, "big")).encode(),
    "a hex number": f"{int.from_bytes(RAW, 'big'):X}".encode(),
    "uuencoded": binascii.b2a_uu(b"k=" + RAW),
    "base64 backwards": base64.b64encode(RAW)[::-1],
    "full width": "".join(chr(ord(one) + 0xFEE0) for one in VALUE).encode(),
    "mathematical": "".join(chr(0x1D400 + ord(c) - 65) if c.isupper() else c for c in VALUE).encode(),
    "base85": base64.b85encode(RAW + b"\n"),
    "ascii85": base64.a85encode(RAW + b"\n"),
    "half of it percent-encoded": "".join(c if n % 2 else f"%{ord(c):02x}" for n, c in enumerate(VALUE)).encode(),
    "some of it as entities": "".join(f"&#{ord(c)};" if n % 3 else c for n, c in enumerate(VALUE)).encode(),
    "some of it as escapes": "".join(c if n % 4 else f"\\u{{{ord(c):x}}}" for n, c in enumerate(VALUE)).encode(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_value_in_disguise_is_found(shape: str) -> None:
    assert FINDER.find(SHAPES[shape]) == "KEY"
    if "zip" not in shape and shape not in ("zlib", "xz"):
        assert FINDER.find(b"before = " + SHAPES[shape] + b" # after") == "KEY"


@pytest.mark.parametrize(
    "data",
    [b"", RAW[:20], b"\x1f\x8b junk", b"PK\x03\x04 junk", b"x" * 100_000, bytes(range(256)) * 100,
     gzip.compress(b"\0" * 1_000_000)[:-20], b"tok = Zq7", b"H4sIAAAAAAAAAAAAAAAA"],
)  # fmt: skip
def test_what_is_none_or_damaged_is_no_secret(data: bytes) -> None:
    assert FINDER.find(data) is None


def test_a_value_is_whole_when_its_pieces_cover_it() -> None:
    first, second = FINDER.pieces(b"a = " + RAW[:14]), FINDER.pieces(b"b = " + RAW[14:] + b" # rest")
    assert FINDER.whole(first) is FINDER.whole(second) is None
    assert FINDER.whole(first | second) == "KEY"
    assert FINDER.whole(first | FINDER.pieces(RAW[15:])) is None
    assert FINDER.pieces(b"tok- and MdF are too short to be one") == frozenset()


def test_a_short_value_is_not_looked_for_in_pieces() -> None:
    finder = Finder({"PIN": "12345678"})
    assert finder.pieces(b"123456 345678") == frozenset()
    assert finder.find(b"1-2-3-4-5-6-7-8") == "PIN"


@pytest.mark.parametrize("marks", [b"H4sIabcdefghijklmnop ", b"%41%42"])
def test_marks_of_packed_and_escaped_text_without_end_are_not_all_followed(marks: bytes) -> None:
    def seconds(text: bytes) -> float:
        begun = time.process_time()
        assert FINDER.find(text * ((2 << 20) // len(text))) is None
        return time.process_time() - begun

    # each followed, they take thirty times as long
    assert seconds(marks) < 10 * seconds(b"The quick brown fox ")
