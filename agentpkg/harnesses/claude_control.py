"""The requests for permission of Claude Code with ``--permission-prompt-tool stdio``, and their answers.

Lines of the control protocol that its own SDKs speak (github.com/anthropics/claude-agent-sdk-python, ``can_use_tool``).
What a hook allows is not asked about. What comes here is judged by the scope once more, outside of the agent's reach,
and what that does not refuse is for a person.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentpkg.core.records import SessionEvent
from agentpkg.core.scope import Word
from agentpkg.harnesses import guard
from agentpkg.harnesses.base import Ask, Decided, Job, Reply
from agentpkg.harnesses.programs import mapping, short, telling, unknown

Said = Mapping[str, Any]

#: the beginning of a request's line, where the line itself was too long to be kept whole
_BEGINNING = re.compile(r'\{\s*"type":\s*"control_request",\s*"request_id":\s*"([\w-]{1,100})"')


def request(said: Said, job: Job | None) -> Iterator[SessionEvent | Reply | Ask]:
    """What a request means; every one gets an answer sooner or later."""
    asked, number = mapping(said.get("request")), str(said.get("request_id"))
    if asked.get("subtype") != "can_use_tool":
        yield unknown(said, f"control_request/{asked.get('subtype')}")
        yield Reply(_line(number, {"subtype": "error", "error": "agentpkg does not offer this"}))
        return
    tool, given = str(asked.get("tool_name")), mapping(asked.get("input"))
    text = short(f"{tool} {telling(given)}".strip(), 500)
    word = guard.judge(job.scope, job.worktree, tool, given) if job else Word("deny", "nobody is here to decide")
    if word.decision == "deny":
        yield SessionEvent("permission", f"{text}: {word.why}", {"decision": "refused"})
        yield Reply(_refusal(number, word.why))
    else:
        why = word.why or str(asked.get("decision_reason") or "the program asks before it does this")
        yield Ask(number, tool, text, why, given)


def unreadable(line: str) -> Sequence[SessionEvent | Reply] | None:
    """The answer to a request that is too long to be read: a refusal. None when the line is no request."""
    begins = _BEGINNING.match(line)
    if begins is None:
        return None
    why = "the call is too large to be judged"
    return SessionEvent("permission", why, {"decision": "refused"}), Reply(_refusal(begins[1], why))


def answer(decided: Decided) -> Reply:
    """What the program is sent; a secret in the call's input goes as the mark that has taken its place."""
    if not decided.allowed:
        return Reply(_refusal(decided.ask.id, decided.reason))
    response = {"behavior": "allow", "updatedInput": dict(decided.ask.input)}
    return Reply(_line(decided.ask.id, {"subtype": "success", "response": response}))


def _refusal(number: str, why: str) -> bytes:
    return _line(number, {"subtype": "success", "response": {"behavior": "deny", "message": why}})


def _line(number: str, response: Said) -> bytes:
    said = {"type": "control_response", "response": {**response, "request_id": number}}
    return json.dumps(said).encode() + b"\n"
