"""What the next try of an agent is told about a rejected review, as Markdown.

Everything in it that others wrote is fenced: it is data for the reader, never structure of the page. There is no clock,
session id or absolute path of a copy in it.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from agentpkg.checks.evidence import EvidenceStore
from agentpkg.core.records import CheckResult

#: characters of one check's output that are told, from its end
OUTPUT = 4000

#: failing tests that are named
_FAILURES = 20


def feedback(results: Sequence[CheckResult], store: EvidenceStore) -> str:
    """The failed checks with the end of their output, then the warnings; empty when there are none."""
    failed = [result for result in results if result.status == "fail"]
    warned = [result for result in results if result.status == "warn"]
    parts = [_failure(result, store) for result in failed]
    if warned:
        parts.append("\n".join(["Warnings:", "", *(f"- {_line(result)}" for result in warned)]))
    return "\n\n".join(parts)


def _line(result: CheckResult) -> str:
    return f"{result.group} / {result.name}: {result.detail}"


def _failure(result: CheckResult, store: EvidenceStore) -> str:
    data = _data(result, store)
    lines = [f"- FAILED {_line(result)}"]
    if command := data.get("command"):
        lines += ["", "  Command:", "", _fenced(str(command))]
    if failures := (data.get("tests") or {}).get("failures"):
        lines += ["", "  Failing tests:", "", _fenced("\n".join(failures[:_FAILURES]))]
    if output := str(data.get("output") or "").strip():
        lines += ["", "  Output:" if len(output) <= OUTPUT else "  End of the output:", "", _fenced(output[-OUTPUT:])]
    return "\n".join(lines)


def _data(result: CheckResult, store: EvidenceStore) -> dict[str, Any]:
    raw = store.get(result.evidence) if result.evidence else None
    found = json.loads(raw)["data"] if raw else {}
    return found if isinstance(found, dict) else {}


def _fenced(text: str) -> str:
    """A code block, indented below its list item, that nothing in ``text`` can end; controls are left out."""
    clean = "\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines())
    longest = max(map(len, re.findall("`+", clean)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join(f"  {line}".rstrip() for line in (fence, *clean.split("\n"), fence))
