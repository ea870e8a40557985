"""Admission: the one door through which a session's commits enter the repository.

The private git dir is hostile: git never runs *in* it, its configuration, refs and attributes are not read by git,
and of its objects only bytes are taken, by a git behind the session's own walls where it had any; ``index-pack
--strict`` re-hashes them into a quarantine. Everything is then decided on the quarantine and the repository's own
objects. Any error, a timeout too, is a refusal, and a refusal leaves nothing in the repository. Only the last step
needs the repository's lock: the objects are renamed in, and the branch moves by compare-and-swap.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from agentpkg import files
from agentpkg.git.admission_contents import Contents, SecretScan, link_findings, read_contents
from agentpkg.git.admission_policy import Finding, Guard, Rule
from agentpkg.git.diff import TREE, Commit, Entry, changed_paths, each_commit
from agentpkg.git.discover import Repository
from agentpkg.git.doubt import objects_in_doubt
from agentpkg.git.finite import ENDED, require_finite
from agentpkg.git.identity import agent_identity
from agentpkg.git.incoming import Incoming, incoming
from agentpkg.git.private import private_tip
from agentpkg.git.repo import Enclose, Git, GitFailed, NoRoom, unenclosed
from agentpkg.secrets.finder import Finder

#: findings that are told; one is enough to refuse
_TOLD = 50

#: what git says of a machine that fails it; no object of an agent's can make it say so
_MACHINE = (*map(os.strerror, (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EROFS)), ENDED)

#: seconds to wait for another command that changes the repository
_LOCK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one admission may take: bytes of the compressed pack, and seconds for each step."""

    pack_bytes: int = 2 << 30
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The branch is at ``head`` now.

    ``commits`` are the session's own, oldest first; none after a mere fast-forward to the target.
    """

    head: str
    commits: tuple[Commit, ...]
    files_changed: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing entered the repository; ``findings`` has at least one."""

    findings: tuple[Finding, ...]

    @property
    def by_machine(self) -> bool:
        """It says nothing of the commits: the machine failed before they could be judged."""
        return all(finding.rule == "machine" for finding in self.findings)

    def __str__(self) -> str:
        more = f" (and {len(self.findings) - 1} more)" if len(self.findings) > 1 else ""
        return f"{self.findings[0]}{more}"


@dataclass(frozen=True, slots=True)
class NothingNew:
    """The branch is where it was at dispatch."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be admitted.

    Attributes:
        private: the private git dir, whose processes have all ended.
        branch: without ``refs/heads/``.
        old: the branch's tip at dispatch.
        targets: the target's tip at dispatch, and now; the newest last.
        secrets: finds values that may not come in.
        guard: paths that no session may change.
        foreign: tips of other sessions' branches, admitted or not.
        enclose: puts the one git that reads the private dir's objects behind walls.
    """

    private: Path
    branch: str
    old: str
    targets: tuple[str, ...]
    secrets: Finder
    guard: Guard = field(default_factory=Guard)
    foreign: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    enclose: Enclose = unenclosed


def admit(repo: Repository, control: Git, request: Request) -> Admitted | Refused | NothingNew:
    """Takes a session's commits into the repository, if nothing is wrong with them. May be repeated.

    Raises:
        Busy: another command held the repository's lock for two minutes.
        NoRoom, OSError: the disk is full, which is not for the commits to pay for.
    """
    try:
        return _admit(repo, control, request)
    except NoRoom:
        raise
    except GitFailed as failed:
        said = str((failed.details["stderr"] or [failed.message])[-1])
        told = said if request.secrets.find(os.fsencode(said)) is None else "git's own words hold a secret"
        if any(words in said for words in _MACHINE):
            return _refused("machine", f"the machine failed: {told}")
        return _refused("objects", f"its objects cannot be taken: {told}")
    except OSError as failed:
        if failed.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _refused("machine", f"the machine failed: {failed.strerror or failed}")


def _admit(repo: Repository, control: Git, request: Request) -> Admitted | Refused | NothingNew:
    tip = private_tip(request.private, request.branch)
    if tip == request.old:
        return NothingNew()
    if tip is None:
        # a machine that opens no file any more must not pass for a branch that is gone
        with suppress(FileNotFoundError, NotADirectoryError):
            os.close(os.open(request.private, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        return _refused("branch", "the branch is gone from the session's git dir, or its name cannot be read")
    doubt = objects_in_doubt(request.private / "objects", repo.objects)
    if doubt:
        return _refused("objects", doubt)
    return _Admission(repo, control, request, tip).run()


@dataclass(frozen=True, slots=True)
class _Admission:
    repo: Repository
    control: Git
    request: Request
    tip: str

    def run(self) -> Admitted | Refused:
        request = self.request
        excluded = (request.old, *request.targets)
        with incoming(self.control, self.repo.objects) as arrived:
            theirs = request.private / "objects"
            walls = request.enclose((self.control.git_dir, self.repo.objects, theirs), ())
            source = self.control.but(alternates=(theirs,), prefix=walls)
            limits = request.limits
            arrived.receive(source, self.tip, excluded, max_bytes=limits.pack_bytes, timeout=limits.seconds)
            parents = _new_commits(arrived.git, self.tip, excluded, limits.seconds)
            ids = list(parents)
            require_finite(arrived.git, [*ids, self.tip], limits.seconds)
            changes = dict(each_commit(arrived.git, ids, limits.seconds))
            contents = read_contents(arrived.git, ids, changes, request.secrets, limits.seconds)
            if contents.commits.keys() != parents.keys():
                return _refused("limit", "a commit of several megabytes")
            own = [contents.commits[sha] for sha in ids]
            found = self._history(arrived.git, parents)
            found += islice(self._policy(arrived.git, own, changes), _TOLD)
            scan = SecretScan(arrived.git, request.secrets, contents, lambda: self._earlier(arrived.git))
            found += islice(scan.findings(own, changes), _TOLD)
            found += islice(link_findings(arrived.git, self.tip, ids, changes, contents), _TOLD)
            if found:
                return Refused(tuple(self._safe(f) for f in found[:_TOLD]))
            return self._enter(arrived) or Admitted(self.tip, tuple(own), _count_files(changes))

    def _earlier(self, git: Git) -> tuple[Contents, dict[str, list[Entry]]]:
        """What was on the branch at dispatch and not on the target: the work of earlier sessions."""
        request, seconds = self.request, self.request.limits.seconds
        ids = list(_new_commits(git, request.old, request.targets, seconds))
        changes = dict(each_commit(git, ids, seconds))
        return read_contents(git, ids, changes, request.secrets, seconds), changes

    def _history(self, git: Git, parents: dict[str, tuple[str, ...]]) -> list[Finding]:
        """Rewritten history, and commits that are not the session's own."""
        old, targets = self.request.old, self.request.targets
        found: list[Finding] = []
        descends = any(old in of for of in parents.values()) or _is_ancestor(git, old, self.tip)
        if not descends or (not parents and not _is_commit(git, self.tip)):
            found.append(Finding("history", self.tip, "", "history that was there at dispatch has been rewritten"))
        for sha, of in parents.items():
            if not of:
                found.append(Finding("history", sha, "", "a commit without a parent: the history of something else"))
            merged = of if len(of) > 1 else ()
            elsewhere = [p for p in merged if p in parents or not any(_is_ancestor(git, p, t) for t in targets)]
            if len(elsewhere) > 1:
                found.append(Finding("history", sha, "", "a merge of something that is not on the target"))
        foreign = sorted(self._foreign(parents))
        return found + [Finding("foreign_commit", sha, "", "a commit of another branch") for sha in foreign]

    def _foreign(self, parents: dict[str, tuple[str, ...]]) -> set[str]:
        """Commits that another branch or tag has: what a session made is in nobody's refs yet, but its own branch's."""
        known = parents.keys() & set(self.request.foreign)
        lines = "".join(f"{sha}\n" for sha in parents).encode()
        asked = self.control.run("cat-file", "--batch-check=%(objectname)", stdin=lines).text.split("\n")
        there = {sha for sha in asked if sha in parents}
        if not there:
            return known
        listed = self.repo.git.text("for-each-ref", "--format=%(objectname) %(refname)")
        refs = [line.split(" ", 1) for line in listed.splitlines()]
        tips = [sha for sha, name in refs if not self._is_own(name)]
        revisions = [*tips, *(f"^{sha}" for sha in (self.request.old, *self.request.targets))]
        reached = self.repo.git.text("rev-list", "--stdin", stdin=("\n".join(revisions) + "\n").encode())
        return known | (there & set(reached.split("\n")))

    def _is_own(self, ref: str) -> bool:
        return ref.startswith(("refs/agentpkg/", "refs/stash")) or ref.endswith(f"/{self.request.branch}")

    def _policy(self, git: Git, own: Sequence[Commit], changes: dict[str, list[Entry]]) -> Iterator[Finding]:
        for commit in own:
            yield from self.request.guard.findings(commit.sha, changes.get(commit.sha, ()))
        if any(len(commit.parents) > 1 for commit in own):
            yield from self._undone_by_merges(git)

    def _undone_by_merges(self, git: Git) -> Iterator[Finding]:
        """Guarded paths in which a merge kept an old version: against its parents alone that shows no change."""
        now = self._guarded_since_target(git, self.tip)
        before = self._guarded_since_target(git, self.request.old) if now else {}
        for path in now.keys() - before.keys():
            rule, sentence = now[path]
            yield Finding(rule, self.tip, path, f"{sentence}: a merge takes back what the target has")

    def _guarded_since_target(self, git: Git, commit: str) -> dict[str, tuple[Rule, str]]:
        base = git.text("merge-base", commit, self.request.targets[-1])
        rules = {c.path: self.request.guard.rule(c.path) for c in changed_paths(git, base, commit, sizes=False)}
        return {path: rule for path, rule in rules.items() if rule}

    def _safe(self, finding: Finding) -> Finding:
        """A finding that tells no secret: a path may hold one."""
        held = self.request.secrets.find(os.fsencode(finding.path)) if finding.path else None
        return finding if held is None else Finding(finding.rule, finding.commit, "", finding.message)

    def _enter(self, arrived: Incoming) -> Refused | None:
        ref = f"refs/heads/{self.request.branch}"
        git = self.repo.git.but(environment=agent_identity("agentpkg").variables())
        with files.lock(self.repo.lock_file(), _LOCK_SECONDS, what="the repository"):
            arrived.accept()
            moved = git.run("update-ref", "-m", "agentpkg: admit", ref, self.tip, self.request.old, ok=(0, 1, 128))
            if moved.returncode and git.run("rev-parse", "-q", "--verify", ref, ok=(0, 1)).text != self.tip:
                return _refused("branch", f"the branch {self.request.branch} was moved while the session ran")
        return None


def _new_commits(git: Git, tip: str, excluded: Sequence[str], timeout: float) -> dict[str, tuple[str, ...]]:
    """The parents of every new commit, oldest first; fails when any object they reach is missing."""
    revisions = "".join(f"{sha}\n" for sha in (tip, *(f"^{sha}" for sha in excluded))).encode()
    # the time stamp tells commits from other objects: only they have more than one word on their line
    args = ("rev-list", "--objects", "--no-object-names", "--topo-order", "--parents", "--timestamp", "--stdin")
    lines = git.run(*args, stdin=revisions, timeout=timeout).text.split("\n")
    commits = [line.split(" ")[1:] for line in lines if " " in line]
    return {sha: tuple(parents) for sha, *parents in reversed(commits)}


def _is_ancestor(git: Git, old: str, new: str) -> bool:
    return git.run("merge-base", "--is-ancestor", old, new, ok=(0, 1)).returncode == 0


def _is_commit(git: Git, sha: str) -> bool:
    return git.text("cat-file", "-t", sha) == "commit"


def _count_files(changes: dict[str, list[Entry]]) -> int:
    return len({e.path for of in changes.values() for e in of if TREE not in (e.mode, e.old[0][0])})


def _refused(rule: Rule, message: str) -> Refused:
    return Refused((Finding(rule, "", "", message),))
