"""Text of agents without what would act on a terminal or hide from a reader.

Removed: escape sequences of ECMA-48 (CSI, OSC, DCS, … in both forms), C0 and C1 controls but newline and tab, marks
that reorder text (bidirectional overrides) and invisible ones that split words. Bytes that are not UTF-8, carried as
lone surrogates, become ``\\xNN`` text, so that the result can always be encoded.
"""

import re

#: longest parameter list or string of an escape sequence; a longer one is taken for text
_LONGEST = 4096

_PARAMETERS = rf"[0-?]{{0,{_LONGEST}}}[ -/]{{0,16}}"
# a string ends at BEL or ST; without an introducer or newline inside, so that the search stays linear
_STRING = rf"[^\x07\x1b\x9c\n\x90\x98\x9d-\x9f]{{0,{_LONGEST}}}"

_SEQUENCE = re.compile(
    rf"(?:\x1b\[|\x9b){_PARAMETERS}[@-~]"
    rf"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]){_STRING}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{1,16}[0-~]"
    r"|\x1b[0-OQ-WYZ\\`-~]"
)
_UNFINISHED = re.compile(
    rf"(?:(?:\x1b\[|\x9b){_PARAMETERS}"
    rf"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]){_STRING}\x1b?"
    r"|\x1b[ -/]{0,16}"
    r"|\r)\Z"
)
#: format characters: those that reorder, that nobody sees, and tags, in which whole sentences are hidden from people
HIDDEN = (
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\U000e0100-\U000e01ef"
)
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{HIDDEN}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_ENDS = str.maketrans({"\u2028": "\n", "\u2029": "\n"})
_HARMLESS = re.compile(r"[\n\t -~]*")


def strip_controls(text: str) -> str:
    """``text`` without terminal controls; ``\\r\\n`` becomes a newline."""
    if _HARMLESS.fullmatch(text):
        return text
    text = _SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return _SURROGATE.sub(_visible, _CONTROL.sub("", text.translate(_LINE_ENDS)))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    # PEP 383: U+DC80 to U+DCFF stand for the bytes 0x80 to 0xFF
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else "\ufffd"


class ControlStripper:
    """:func:`strip_controls` for a stream: a sequence cut in two is recognised as one."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The clean text that is certain so far."""
        text = self._held + text
        unfinished = _UNFINISHED.search(text)
        cut = unfinished.start() if unfinished else len(text)
        self._held = text[cut:]
        return strip_controls(text[:cut])

    def close(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return strip_controls(held)
