"""Telling a provider's refusal from an agent's own failure by what was printed last. Conservative on purpose.

Only messages that model providers and their client libraries are known to print are taken for theirs: HTTP 429, 503 and
529 with their reason phrases (RFC 6585 and RFC 9110), the error types of the Anthropic API (``overloaded_error``,
``rate_limit_error``), the OpenAI API (``insufficient_quota``, ``RateLimitError``), Google's ``RESOURCE_EXHAUSTED``, and
the plain sentences that command line clients make of them. Anything else is the agent's.
"""

import re
from collections.abc import Iterable

_KNOWN = re.compile(
    r"\b(?:http|status|error|code)[\s:/\w.]{0,20}\b(?:429|529)\b"
    r"|\b429\W{1,3}too many requests\b"
    r"|\b503\W{1,3}service unavailable\b"
    r"|\b529\W{1,3}.{0,20}overloaded\b"
    r"|\b(?:overloaded_error|rate_limit_error|rate_limit_exceeded|insufficient_quota|resource_exhausted)\b"
    r"|\b(?:RateLimitError|ServiceUnavailableError|OverloadedError)\b"
    r"|\b(?:rate|usage|quota) limit (?:was |has been |is )?(?:reached|exceeded|hit)\b"
    r"|\bexceeded your (?:current )?(?:quota|usage limit|rate limit)\b"
    r"|\b(?:out of|exceeded|exhausted) (?:quota|credits)\b|\bquota (?:was |has been |is )?(?:exceeded|exhausted)\b"
    r"|\bcredit balance is too low\b"
    r"|\bmodel is (?:currently |temporarily )?overloaded\b",
    re.IGNORECASE,
)


def provider_message(lines: Iterable[str]) -> str | None:
    """The last of these lines in which a model's provider refuses to serve; None when there is none."""
    found = None
    for line in lines:
        if _KNOWN.search(line):
            found = line
    return found
