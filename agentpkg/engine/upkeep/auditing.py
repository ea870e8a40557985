"""Verifying a feature's audit chain against both of its anchors in git: commit trailers and the audit ref."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from agentpkg.core.records import Entry, SessionRow
from agentpkg.engine.project import Project
from agentpkg.git import refs, signing
from agentpkg.git.audit import anchored_features, newest_signed, read_audit, sign_audit
from agentpkg.git.repo import Git
from agentpkg.ledger import audit, exported
from agentpkg.ledger.audit import AuditReport

#: per commit: id, then the trailers that matter, one a line
_FORMAT = "%H%n" + "%n".join(
    f"%(trailers:key={key},valueonly,separator=%x20)" for key in ("Feature", "Session", "Audit-Hash")
)


def audited(project: Project) -> list[str]:
    """The features that have a chain: in the ledger, or in git where the ledger has lost them."""
    known = project.ledger_or_none.heads() if project.ledger_or_none else {}
    return sorted({*known, *anchored_features(project.repository)})


def anchored(project: Project) -> list[str]:
    """The features that have a chain in git."""
    return sorted(anchored_features(project.repository))


def verify(project: Project, feature: str) -> AuditReport:
    """Recomputes a feature's chain and compares it with what git holds, signatures too.

    The anchor is read first and the target last, so that work that goes on meanwhile does not look like damage.
    """
    return _signed(project, feature, _verify(project, feature))


def verify_export(project: Project, feature: str, lines: Sequence[str], target: str | None = None) -> AuditReport:
    """As :func:`verify`, for an exported chain and with no ledger: git's refs and commits are all that is asked.

    Args:
        lines: the exported entries of this feature, one each.
        target: the branch that it landed on; by default as the files and the configuration say.
    """
    anchor = read_audit(project.repository, feature)
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        entry = exported.entry(line, number)
        if entry is None:
            report = AuditReport(False, len(lines), None, number, f"entry {number} is not one that was exported")
            return _signed(project, feature, report)
        entries.append(entry)
    git = project.repository.git
    named = _present(git, _merge_commits(entries))
    tip = _tip(project, target or project.target(project.read(feature))) or ""
    seen = _landed_since_ever(git, tip, feature)
    report = audit.verify(
        entries, anchor or None, _trailers(git, named), _on_target(git, named, tip),
        landed={commit: digest for commit, _, digest in seen},
    )  # fmt: skip
    return _signed(project, feature, exported.complete(report, entries, seen))


def _tip(project: Project, branch: str) -> str | None:
    """The tip of a branch, else of the one that a clone got from its origin."""
    return project.branch_tip(branch) or refs.tip(project.repository.git, f"refs/remotes/origin/{branch}")


def _landed_since_ever(git: Git, tip: str, feature: str) -> list[tuple[str, str, str]]:
    """Commits on the target that landed for a feature: ids, sessions and ``Audit-Hash``, oldest first."""
    if not tip:
        return []
    found = ("--fixed-strings", f"--grep=Feature: {feature}", "--first-parent", "--reverse", "--no-show-signature")
    records = _records(git.text("log", *found, f"--format={_FORMAT}", tip, "--"))
    return [(commit, session, digest) for commit, of, session, digest in records if of == feature and digest]


def sign(project: Project, feature: str) -> int:
    """Signs a feature's anchor with the user's key; gives how many entries it has, 0 where there is none.

    Raises:
        NotAllowed: an agent asks.
        SigningFailed: there is no key, or its program would not sign.
    """
    project.require_person("sign the audit chain")
    how = signing.signing(project.work_tree)
    if how is None:
        raise signing.SigningFailed("git's gpg.format is one that is not known here", "set it to ssh or openpgp")
    return sign_audit(project.repository, feature, partial(signing.sign, how))


def _signed(project: Project, feature: str, report: AuditReport) -> AuditReport:
    """The report with what the anchor's signature is worth; where the configuration wants one it must be good."""
    found = newest_signed(project.repository, feature)
    wanted = project.settings.audit.sign
    if found is None:
        return _unsigned(report, 1, "the audit ref in git is not signed") if wanted and report.entries else report
    worth = signing.check(signing.signing(project.work_tree), found.payload, found.signature)
    said = {
        "entries": found.entries, "newest": found.newest, "good": worth.good,
        "by": worth.by if worth.good else None, "reason": None if worth.good else worth.by,
    }  # fmt: skip
    report = replace(report, signed=said)
    if wanted and not worth.good:
        return _unsigned(report, 1, f"the signature of the audit ref in git is not good: {worth.by}")
    if wanted and not found.newest:
        return _unsigned(report, found.entries + 1, "the audit ref in git is not signed from here on")
    return report


def _unsigned(report: AuditReport, number: int, why: str) -> AuditReport:
    if not report.ok:
        return report
    return replace(report, ok=False, first_bad=number, reason=f"{why}; `agentpkg events sign` signs what you believe")


def _verify(project: Project, feature: str) -> AuditReport:
    anchor = read_audit(project.repository, feature)
    ledger = project.ledger_or_none
    if ledger is None:
        return audit.verify((), anchor or None, {}, (), landed=_landed_ever(project, feature))
    with ledger.snapshot() as look:
        entries = list(look.entries(feature))
        recorded = look.head(feature)
        sessions = look.sessions(feature)
        row = look.feature(feature)
    git = project.repository.git
    named = _present(git, _merge_commits(entries))
    target = (project.branch_tip(row.target) if row else None) or ""
    return audit.verify(
        entries, anchor or None, _trailers(git, named), _on_target(git, named, target),
        recorded=recorded if recorded[0] else None, landed=_landed(git, target, feature, sessions),
    )  # fmt: skip


def _merge_commits(entries: Sequence[Entry]) -> list[str]:
    found = (e.metadata.get("merge_commit") for e in entries if e.transition.endswith("->done"))
    return [str(commit) for commit in found if commit]


def _present(git: Git, commits: Sequence[str]) -> list[str]:
    """Those that are commits of this repository, asked in one process."""
    if not commits:
        return []
    lines = git.text("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin="\n".join(commits).encode())
    there = {line.split(" ")[0] for line in lines.split("\n") if line.endswith(" commit")}
    return [commit for commit in commits if commit in there]


def _trailers(git: Git, commits: Sequence[str]) -> dict[str, str | None]:
    """The ``Audit-Hash`` of each commit."""
    if not commits:
        return {}
    said = git.text("log", "--no-walk=unsorted", "--no-show-signature", f"--format={_FORMAT}", *commits)
    return {commit: digest or None for commit, _, _, digest in _records(said)}


def _on_target(git: Git, commits: Sequence[str], target: str) -> set[str]:
    """Those in the history of the target; one process, however many there are."""
    if not commits:
        return set()
    if not target:
        return set()
    outside = git.text("rev-list", "--stdin", stdin="\n".join([*commits, f"^{target}"]).encode()).split("\n")
    return set(commits) - set(outside)


def _landed(git: Git, target: str, feature: str, sessions: Sequence[SessionRow]) -> Mapping[str, str]:
    """What this ledger's sessions landed on the target since the first of them started, with its ``Audit-Hash``."""
    bases = _present(git, [s.base for s in sessions if s.base][:1])
    if not bases or not target:
        return {}
    log = ("log", "--first-parent", "--no-show-signature", f"--format={_FORMAT}", target, f"^{bases[0]}", "--")
    mine = {s.id for s in sessions}
    return {
        commit: digest
        for commit, of, session, digest in _records(git.text(*log))
        if of == feature and session in mine and digest
    }


def _landed_ever(project: Project, feature: str) -> Mapping[str, str]:
    """The newest commit that landed for a feature whose ledger is gone, whoever landed it, with its ``Audit-Hash``."""
    tip = project.branch_tip(project.target(project.read(feature)))
    if tip is None:
        return {}
    found = ("-1", "--fixed-strings", f"--grep=Feature: {feature}", "--first-parent", "--no-show-signature")
    records = _records(project.repository.git.text("log", *found, f"--format={_FORMAT}", tip, "--"))
    return {commit: digest for commit, of, _, digest in records if of == feature and digest}


def _records(text: str) -> list[tuple[str, str, str, str]]:
    lines = text.split("\n")
    return [(lines[i], lines[i + 1], lines[i + 2], lines[i + 3]) for i in range(0, len(lines) - 3, 4)]
