"""Reading XML that a candidate's code wrote: bounded, no entities, no network.

Entities can only be declared inside a document type, so refusing every document type with an inside removes entity
expansion and external entities at once (the attacks that https://docs.python.org/3/library/xml.html lists). One that
only names a DTD, as gcovr and Istanbul write it, is harmless: expat fetches nothing by itself.
"""

from collections.abc import Callable, Mapping
from xml.parsers import expat

#: no report of a real test suite comes near
MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 100
MAX_ELEMENTS = 5_000_000

Start = Callable[[str, Mapping[str, str]], None]
End = Callable[[str], None]
Text = Callable[[str], None]


class BadReport(ValueError):
    """A report that cannot be read; the message says why, in one line."""


def read(data: bytes, start: Start, end: End | None = None, text: Text | None = None) -> None:
    """Feeds elements to ``start(name, attributes)``, ``end(name)`` and ``text(data)``.

    Raises:
        BadReport: when it is no well-formed XML, declares anything, or is beyond the limits.
    """
    if len(data) > MAX_BYTES:
        raise BadReport(f"larger than {MAX_BYTES} bytes")
    depth = elements = 0

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth += 1
        elements += 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise BadReport("too deep or too many elements")
        start(name, attributes)

    def closed(name: str) -> None:
        nonlocal depth
        depth -= 1
        if end is not None:
            end(name)

    parser = expat.ParserCreate()
    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    if text is not None:
        parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_inside
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadReport(f"no well-formed XML: {error}") from error
    except (LookupError, UnicodeError, ValueError) as error:
        # the encoding that the document claims
        raise error if isinstance(error, BadReport) else BadReport(f"unreadable text: {error}") from error


def _refuse_inside(name: str, system: str | None, public: str | None, inside: bool) -> None:
    if inside:
        _refuse()


def _refuse(*_: object) -> None:
    raise BadReport("it declares entities or types of its own, which is not accepted")
