"""Telling a provider's refusal from an agent's own failure by what was printed last. Conservative on purpose.

Only messages that model providers and their client libraries are known to print are taken for theirs: HTTP 429, 503 and
529 with their reason phrases (RFC 6585 and RFC 9110), the error types of the Anthropic API (``overloaded_error``,
``rate_limit_error``), the OpenAI API (``insufficient_quota``, ``RateLimitError``), Google's ``RESOURCE_EXHAUSTED``, and
the plain sentences that command line clients make of them. Anything else is the agent's.
"""

import math
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
    r"|\bmodel is (?:currently |temporarily )?overloaded\b"
    r"|\bAPI Error: (?:Unable to connect to API|Connection (?:error|dropped|lost|to the API was lost))\b"
    r"|\bAPI returned an empty or malformed response\b",
    re.IGNORECASE,
)


def provider_message(lines: Iterable[str]) -> str | None:
    """The last of these lines in which a model's provider refuses to serve; None when there is none."""
    found = None
    for line in lines:
        if _KNOWN.search(line):
            found = line
    return found


_FULL = re.compile(
    r"\bprompt is too long\b|\bcontext_length_exceeded\b|\bmaximum context length\b"
    r"|\b(?:exceeds?|ran out of room in) (?:the |this )?(?:model's )?context (?:window|length)\b",
    re.IGNORECASE,
)


def conversation_full(text: str) -> bool:
    """Whether an end says that its conversation has become too long for its model, so that going on cannot help."""
    return _FULL.search(text) is not None


#: the header of RFC 9110, 10.2.3, as logs and client libraries print it, and the sentences that they make of it
_AFTER = re.compile(
    r"\bretry[- _]after[\"']?\s*[:=]?\s*[\"']?(?P<seconds>\d{1,6}(?:\.\d+)?)(?!\d|\s*(?:ms|milli|min|m\b|h))"
    r"|\b(?:try|retry) (?:again )?(?:in|after) (?P<more>\d{1,6}(?:\.\d+)?)\s*s(?:ec(?:ond)?s?)?\b"
    r"|\bretry[- _]after[\"']?\s*[:=]\s*[\"']?(?P<date>[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} [\d:]{8} GMT)",
    re.IGNORECASE,
)
#: as clients say it to people: ``resets 3am (UTC)``, ``try again at 1:38 AM``, ``… at Dec 3rd, 2026 1:38 AM``
_CLOCK = re.compile(
    r"\b(?:resets?|try again|available again)(?: at| on)? "
    r"(?:(?P<month>[A-Z][a-z]{2})[a-z]* (?P<day>\d{1,2})(?:st|nd|rd|th)?"
    r"(?:,? (?P<year>\d{4}))?,?(?: at)? )?(?P<hour>1[0-2]|0?[1-9])(?::(?P<minute>[0-5]\d))? ?(?P<half>[ap])\.?m\b"
    r"(?:\.? \((?P<zone>[A-Za-z][\w/+-]{1,40})\))?",
    re.IGNORECASE,
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: a time of day that was a moment ago is not tomorrow's
_JUST_NOW = timedelta(minutes=15)
#: seconds; whoever says more than a week means something else
_LONGEST = 7 * 24 * 3600


def retry_after(lines: Iterable[str], now: float) -> int | None:
    """Seconds after which the provider wants to be asked again, by the last of these lines that says so.

    Args:
        now: seconds since the epoch, for dates.
    """
    found = None
    for line in lines:
        after = [_until(told["date"], now) if told["date"] else float(told["seconds"] or told["more"])
                 for told in _AFTER.finditer(line)]  # fmt: skip
        for seconds in (*after, *(_until_clock(told, now) for told in _CLOCK.finditer(line))):
            if seconds is not None and 0 <= seconds <= _LONGEST:
                found = math.ceil(seconds)
    return found


def _until_clock(told: re.Match[str], now: float) -> float | None:
    """Until a time of day: the next one where no day is told, in the zone that is told, else in this machine's."""
    try:
        here = datetime.fromtimestamp(now, ZoneInfo(told["zone"])) if told["zone"] else _local(now)
        hour = int(told["hour"]) % 12 + (12 if told["half"] in "pP" else 0)
        then = here.replace(hour=hour, minute=int(told["minute"] or 0), second=0, microsecond=0)
        if told["month"]:
            month = _MONTHS.index(told["month"].title()) + 1
            then = then.replace(year=int(told["year"] or here.year), month=month, day=int(told["day"]))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None
    if then < here - _JUST_NOW and not told["year"]:
        then += timedelta(days=365 if told["month"] else 1)
    return max(0.0, then.timestamp() - now)


def _local(now: float) -> datetime:
    return datetime.fromtimestamp(now).astimezone()


def _until(date: str, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except ValueError:
        return None
