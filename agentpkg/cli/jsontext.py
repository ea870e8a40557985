"""JSON as the command line prints it: readable in any language, and without what would act on a terminal."""

import json
import re
from typing import Any

#: DEL, C1, and marks that reorder text; json.dumps escapes C0 itself
_ACTING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def json_text(data: Any, indent: int | None = None) -> str:
    """``data`` as JSON; what is no JSON, such as paths, as text."""
    text = json.dumps(data, ensure_ascii=False, indent=indent, default=str)
    # such characters can only stand within strings
    return _ACTING.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
