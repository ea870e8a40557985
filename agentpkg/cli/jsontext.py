"""JSON as the command line prints it: readable in any language, and without what would act on a terminal."""

import json
import re
from typing import Any

from agentpkg.secrets.controls import HIDDEN

#: DEL, C1, line separators, and what reorders or hides text; json.dumps escapes C0 itself
_ACTING = re.compile(f"[\x7f-\x9f\u2028\u2029{HIDDEN}]")


def json_text(data: Any, indent: int | None = None) -> str:
    """``data`` as JSON; what is no JSON, such as paths, as text."""
    return escaped(json.dumps(data, ensure_ascii=False, indent=indent, default=str))


def escaped(text: str) -> str:
    """The same JSON without what would act on a terminal."""
    # such characters can only stand within strings
    return _ACTING.sub(lambda found: json.dumps(found.group())[1:-1], text)
