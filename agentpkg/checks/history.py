"""Who made which commits of the package's branch, and how they are called."""

import re

from agentpkg.checks.base import GOVERNANCE, Finding, ReviewContext, named, one_line
from agentpkg.git import diff
from agentpkg.git.diff import Commit

#: a subject is matched up to here, so that no pattern can take for ever on a hostile one
_SUBJECT = 1000


def check(context: ReviewContext) -> list[Finding]:
    """Commit convention, identity and history of the branch."""
    commits = diff.commits(context.control, context.head, context.base)
    if not commits:
        return [Finding(GOVERNANCE, "history", "fail", "the branch has no commit that the target does not have")]
    return [_convention(context, commits), _identity(context, commits), _history(commits)]


def _convention(context: ReviewContext, commits: list[Commit]) -> Finding:
    pattern = context.definitions.commit_expression
    rule = re.compile(pattern)
    # a merge of the target has the message that git gave it
    bad = [c for c in commits if len(c.parents) < 2 and not rule.search(c.subject[:_SUBJECT])]
    data = {"pattern": pattern, "bad": [_told(c) for c in bad], "commits": [c.sha for c in commits]}
    if bad:
        detail = f"{named([_told(c) for c in bad])} do not match {pattern} (history stays: --fresh starts anew)"
        return Finding(GOVERNANCE, "commit messages", "fail", detail, data)
    return Finding(GOVERNANCE, "commit messages", "pass", f"{len(commits)} follow the convention", data)


def _identity(context: ReviewContext, commits: list[Commit]) -> Finding:
    strangers = sorted({who for c in commits for who in (c.author, c.committer)} - context.identities)
    data = {"accepted": sorted(context.identities), "others": strangers}
    if strangers:
        detail = f"commits by {named(strangers)}, not by {named(sorted(context.identities))}"
        return Finding(GOVERNANCE, "identity", "fail", detail, data)
    authors = sorted({c.author for c in commits})
    return Finding(GOVERNANCE, "identity", "pass", named(authors), data)


def _history(commits: list[Commit]) -> Finding:
    """Own commits, and merges of the target: a parent that is not among the own commits is on the target."""
    own = {c.sha for c in commits}
    merges = [c for c in commits if len(c.parents) > 1]
    foreign = [c for c in merges if sum(parent in own for parent in c.parents) > 1]
    data = {"commits": len(commits), "merges": [c.sha for c in merges], "foreign": [c.sha for c in foreign]}
    if foreign:
        detail = f"merges of something else than the target: {named([_told(c) for c in foreign])}"
        return Finding(GOVERNANCE, "history", "fail", detail, data)
    count = len(commits) - len(merges)
    detail = f"{count} own commit{'' if count == 1 else 's'}"
    more = f", {len(merges)} merge{'' if len(merges) == 1 else 's'} of the target" if merges else ""
    return Finding(GOVERNANCE, "history", "pass", detail + more, data)


def _told(commit: Commit) -> str:
    return f"{commit.sha[:10]} {one_line(commit.subject, 80)!r}"
