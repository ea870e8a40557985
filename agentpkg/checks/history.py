"""Who made which commits of the package's branch, and how they are called."""

import re

from agentpkg.checks.base import GOVERNANCE, Finding, ReviewContext, named, one_line
from agentpkg.git import diff
from agentpkg.git.diff import Commit

#: what acts on the terminal of whoever reads the log, or has them read it in another order than it is written
_ACTS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: the trailer that anchors the audit chain
_ANCHOR = re.compile(r"^audit-hash\s*:", re.MULTILINE | re.IGNORECASE)

#: a subject is matched up to here, so that no pattern can take for ever on a hostile one
_SUBJECT = 1000


def check(context: ReviewContext) -> list[Finding]:
    """Commit convention, identity and history of the branch."""
    commits = diff.commits(context.control, context.head, context.base, *context.carried)
    if not commits:
        return [Finding(GOVERNANCE, "history", "fail", "the branch has no commit that the target does not have")]
    return [_convention(context, commits), *_texts(commits), _identity(context, commits), _history(commits)]


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


def _texts(commits: list[Commit]) -> list[Finding]:
    """Messages and names that would do something to whoever reads them, or say what agentpkg alone says."""
    shown = [(_told(c), c.shown) for c in commits]
    acting = [told for told, texts in shown if any(map(_ACTS.search, texts))]
    anchors = [told for told, texts in shown if any(map(_ANCHOR.search, texts))]
    unread = [told for told, texts in shown if len(texts) < 2]
    found = (
        (acting, "have control characters in message or name"), (anchors, "carry agentpkg's trailer Audit-Hash"),
        (unread, "name an encoding that cannot be read here"),
    )  # fmt: skip
    return [
        Finding(GOVERNANCE, "commit texts", "fail", f"{named(bad)} {what}", {"bad": bad}) for bad, what in found if bad
    ]


def _identity(context: ReviewContext, commits: list[Commit]) -> Finding:
    strangers = sorted({who for c in commits for who in _made_by(c)} - context.identities)
    data = {"accepted": sorted(context.identities), "others": strangers}
    if strangers:
        detail = f"commits by {named(strangers)}, not by {named(sorted(context.identities))}"
        return Finding(GOVERNANCE, "identity", "fail", detail, data)
    borrowed = _in_anothers_name(context, commits)
    if borrowed:
        detail = f"a session made commits in the name of {named(borrowed)}"
        return Finding(GOVERNANCE, "identity", "fail", detail, {**data, "others": borrowed})
    authors = sorted({c.author for c in commits})
    return Finding(GOVERNANCE, "identity", "pass", named(authors), data)


def _in_anothers_name(context: ReviewContext, commits: list[Commit]) -> list[str]:
    """People whom an agent has named as those who made its commits; what a person commits to the branch is theirs."""
    others = {c.sha: names for c in commits if (names := _made_by(c) - context.agents)}
    if not others or not context.agents:
        return []
    made = {sha for old, new in context.sessions for sha in diff.commit_ids(context.control, new, old, context.base)}
    return sorted({name for sha, names in others.items() if sha in made for name in names})


def _made_by(commit: Commit) -> set[str]:
    return {commit.author, commit.committer}


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
