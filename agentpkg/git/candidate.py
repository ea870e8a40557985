"""The candidate: the commit that would be the target's tip if a work package landed now.

Made with plumbing in the control dir, so no checkout of anybody's is touched, no merge driver runs, and nothing
enters the repository. What is reviewed is this commit, and only this commit may land.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from agentpkg.git import union as uniting
from agentpkg.git.conflict import Place, places
from agentpkg.git.diff import Commit, commits, read_commits
from agentpkg.git.discover import check_git_version
from agentpkg.git.identity import Identity
from agentpkg.git.repo import Git

Strategy = Literal["merge", "squash", "rebase"]

#: the trailers of a landed commit; nobody else's message may end with them
TRAILERS = ("Feature", "Work-Package", "Agent", "Session", "Review-Cycle", "Audit-Hash")

_RESERVED = re.compile(rf"(?:{'|'.join(TRAILERS)})\s*:", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit that may land.

    Attributes:
        commit: its id; the objects are in the control dir only.
        base: the target's tip it was made on.
        head: the admitted branch tip it lands.
        changes_nothing: its tree is the target's own: everything is there already.
        united: files in which both sides' additions were kept.
        renewed: files whose content was made anew.
        carried: other branches' tips that its own has, and whose work the target has in other commits.
    """

    commit: str
    tree: str
    base: str
    head: str
    changes_nothing: bool = False
    united: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """The package and the target do not merge.

    Attributes:
        paths: the files, sorted.
        details: what git says, for people.
        places: where in them, and what each side has there.
    """

    paths: tuple[str, ...]
    details: str
    places: tuple[Place, ...] = ()
    #: the commit that could not be applied, with strategy rebase
    commit: str | None = None
    #: what git made of the merge, conflicts and all
    tree: str = ""


def message(*, feature: str, wp: str, title: str, agent: str, session: str, cycle: int, audit_hash: str) -> str:
    """The message of a landed commit: subject and trailers."""
    values = (feature, wp, agent, session, str(cycle), audit_hash)
    trailers = "\n".join(f"{key}: {_one_line(value)}" for key, value in zip(TRAILERS, values, strict=True))
    return f"Merge {_one_line(feature)} {_one_line(wp)}: {_one_line(title)}\n\n{trailers}\n"


def make(
    control: Git, target_tip: str, head: str, strategy: Strategy, message: str, identity: Identity,
    now: datetime | None = None, union: Container[str] = (), as_target: Container[str] = (),
    carried: Sequence[str] = (),
) -> Candidate | Conflict:  # fmt: skip
    """Makes the candidate for ``head`` on ``target_tip``. The same arguments give the same commit.

    Args:
        control: git on the control dir.
        target_tip: commit id of the target's tip.
        head: commit id of the admitted branch tip.
        strategy: ``merge`` makes a merge commit, ``squash`` one commit, ``rebase`` one commit for each of the branch's.
        message: as :func:`message` gives it; with ``rebase`` its trailers go to the last commit.
        identity: author (but of rebased commits) and committer.
        now: the commit's time, with a time zone; None: now.
        as_target: files that are as the target has them where they are in conflict.
        carried: branch tips that the target has the work of in other commits, by a squash or rebase: what ``head`` has
            of them is not brought again, nor in conflict with it.
        union: the files in which additions of both sides at one place are kept, and are no conflict.

    Raises:
        GitFailed: one of the commits is missing, or they have no common history.
    """
    now = now or datetime.now().astimezone()
    maker = _Maker(control, identity, f"{int(now.timestamp())} {now:%z}", union, as_target, tuple(carried))
    if strategy == "rebase":
        made = maker.rebase(target_tip, head, message)
    else:
        made = maker.merge(target_tip, head, message, (target_tip, head) if strategy == "merge" else (target_tip,))
    return (
        made
        if isinstance(made, Conflict)
        else replace(made, united=tuple(sorted(maker.united)), carried=tuple(carried))
    )


def renew(control: Git, made: Candidate, files: Mapping[str, bytes], identity: Identity) -> Candidate:
    """The candidate with other contents of some of its files; nothing else of its commit is another."""
    tree = uniting.with_files(control, made.tree, made.commit, files)
    [old] = read_commits(control, [made.commit])
    maker = _Maker(control, identity, old.committer_date, (), ())
    commit = maker.again(old, tree)
    unchanged = tree == _tree_of(control, made.base)
    return replace(made, commit=commit, tree=tree, changes_nothing=unchanged, renewed=tuple(sorted(files)))


@dataclass(frozen=True, slots=True)
class _Maker:
    git: Git
    identity: Identity
    date: str
    union: Container[str]
    as_target: Container[str]
    carried: tuple[str, ...] = ()
    #: the files that were united so far
    united: set[str] = field(default_factory=set)

    def merge(self, target_tip: str, head: str, text: str, parents: tuple[str, ...]) -> Candidate | Conflict:
        """One commit with what both sides have."""
        tree = self._merged(self._with_carried(target_tip), head, None)
        if isinstance(tree, Conflict):
            return tree
        commit = self.commit(tree, parents, text)
        return Candidate(commit, tree, target_tip, head, tree == _tree_of(self.git, target_tip))

    def _with_carried(self, target_tip: str) -> str:
        """The target as a commit that has the branches in its history whose work it has; it is thrown away."""
        if not self.carried:
            return target_tip
        return self.commit(_tree_of(self.git, target_tip), (target_tip, *self.carried), "synthetic\n")

    def _merged(self, ours: str, theirs: str, base: str | None, *options: str) -> str | Conflict:
        """The tree of a merge; conflicts of the safe shape are resolved where that is wished."""
        tree = _merge_tree(self.git, ours, theirs, *options)
        if not isinstance(tree, Conflict) or not all(p in self.union or p in self.as_target for p in tree.paths):
            return tree
        base = base or self.git.run("merge-base", ours, theirs, ok=(0, 1)).text
        whole = self._resolved(tree, base, ours, theirs) if base else None
        if whole is None:
            return tree
        self.united.update(path for path in tree.paths if path not in self.as_target)
        return whole

    def _resolved(self, conflict: Conflict, base: str, ours: str, theirs: str) -> str | None:
        return uniting.resolved(self.git, conflict.tree, base, ours, theirs, conflict.paths, self.as_target)

    def commit(self, tree: str, parents: tuple[str, ...], text: str, author: Mapping[str, str] | None = None) -> str:
        dates = {"GIT_AUTHOR_DATE": self.date, "GIT_COMMITTER_DATE": self.date}
        environment = {**self.git.environment, **self.identity.variables(), **dates, **(author or {})}
        of = [word for parent in parents for word in ("-p", parent)]
        raw = text.replace("\0", "").encode("utf-8", "backslashreplace")
        return self.git.but(environment=environment).run("commit-tree", tree, *of, "-F", "-", stdin=raw).text

    def rebase(self, target_tip: str, head: str, text: str) -> Candidate | Conflict:
        """Applies each of the branch's own commits, merges left out, as ``git rebase`` does.

        A merge of the target in which a conflict was resolved is not left out: all up to it becomes one commit.
        """
        target_tree = _tree_of(self.git, target_tip)
        onto, tree = target_tip, target_tree
        last: tuple[Commit, str] | None = None
        for pick in self._picks(commits(self.git, head, target_tip, *self.carried)):
            applied = self._apply(pick, onto, tree)
            if isinstance(applied, Conflict):
                return replace(applied, commit=pick.sha)
            if applied == tree:
                continue
            last = (pick, onto)
            tree = applied
            onto = pick.sha if pick.parents == (onto,) else self._pick(pick, onto, tree, _text(pick))
        if last is None:
            return Candidate(self.commit(tree, (target_tip,), text), tree, target_tip, head, True)
        pick, below = last
        tip = self._pick(pick, below, tree, _with_trailers(_text(pick), text))
        return Candidate(tip, tree, target_tip, head, tree == target_tree)

    def _picks(self, own: Sequence[Commit]) -> list[Commit]:
        """What is applied one by one; the newest merge that has content of its own stands for all before it."""
        resolved = [at for at, one in enumerate(own) if len(one.parents) == 2 and self._has_content(one)]
        after = own[resolved[-1] + 1 :] if resolved else own
        folded = [self._folded(own[: resolved[-1] + 1])] if resolved else []
        return [*folded, *(one for one in after if len(one.parents) == 1)]

    def _folded(self, own: Sequence[Commit]) -> Commit:
        """One commit in place of those that end in a merge of the target, on what was merged."""
        merge = own[-1]
        mine = {one.sha for one in own}
        target = next((parent for parent in merge.parents if parent not in mine), merge.parents[-1])
        told = [one for one in own if len(one.parents) == 1] or [merge]
        text = _text(told[0]).rstrip() + "\n\n" + "".join(f"* {one.subject}\n" for one in told[1:])
        sha = self._pick(told[0], target, merge.tree, text.rstrip() + "\n")
        return read_commits(self.git, [sha])[0]

    def _has_content(self, merge: Commit) -> bool:
        """Whether a merge is anything but what git makes of its parents by itself."""
        return _merge_tree(self.git, *merge.parents) != merge.tree

    def _apply(self, pick: Commit, onto: str, tree: str) -> str | Conflict:
        """The tree of ``onto`` with the change of ``pick``; a merge whose base is the parent of ``pick``."""
        [parent] = pick.parents
        if parent == onto:
            return pick.tree
        if check_git_version() >= (2, 40):
            return self._merged(onto, pick.sha, parent, f"--merge-base={parent}")
        # git before 2.40 cannot be told the base: a commit with the tree of `onto`, whose only parent is that base
        synthetic = self.commit(tree, (parent,), "synthetic\n")
        return self._merged(synthetic, pick.sha, parent)

    def again(self, old: Commit, tree: str) -> str:
        """The same commit with another tree."""
        return self._by(old, old.parents, tree, _text(old))

    def _pick(self, pick: Commit, onto: str, tree: str, text: str) -> str:
        return self._by(pick, (onto,), tree, text)

    def _by(self, whose: Commit, parents: tuple[str, ...], tree: str, text: str) -> str:
        """A commit by the author of another."""
        name, _, mail = whose.author.rpartition(" <")
        author = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail.rstrip(">"), "GIT_AUTHOR_DATE": whose.author_date}
        return self.commit(tree, parents, text, {key: value for key, value in author.items() if value.strip()})


def _merge_tree(git: Git, ours: str, theirs: str, *options: str) -> str | Conflict:
    args = ("merge-tree", "--write-tree", "-z", "--name-only", *options, "--end-of-options", ours, theirs)
    result = git.run(*args, ok=(0, 1))
    tree, _, rest = result.stdout.partition(b"\0")
    if result.returncode == 0:
        return tree.decode()
    names, _, said = rest.partition(b"\0\0")
    paths = {name.decode("utf-8", "surrogateescape") for name in names.split(b"\0") if name}
    ordered = tuple(sorted(paths))
    found = places(git, tree.decode(), ordered, ours, theirs)
    return Conflict(ordered, _explanation(said), found, tree=tree.decode())


def _explanation(said: bytes) -> str:
    """The sentences of merge-tree's last section: a count, so many paths, a kind, a sentence, again and again."""
    fields = said.split(b"\0")
    at, out = 0, []
    while at < len(fields) and fields[at].strip().isdigit():
        at += int(fields[at]) + 2
        if at < len(fields):
            out.append(fields[at].decode("utf-8", "surrogateescape").strip())
        at += 1
    return "\n".join(line for line in out if line.startswith("CONFLICT")) or "\n".join(out)


def _tree_of(git: Git, commit: str) -> str:
    return read_commits(git, [commit])[0].tree


def _text(commit: Commit) -> str:
    """The message as text, whatever encoding its header names."""
    raw = commit.message.encode("utf-8", "surrogateescape")
    try:
        return raw.decode(commit.encoding)
    except (LookupError, UnicodeDecodeError):
        return raw.decode("utf-8", "backslashreplace")


def _with_trailers(text: str, landed: str) -> str:
    """An agent's message with the landed commit's trailers at its end, and none that looks like them before."""
    lines = [line for line in text.rstrip().split("\n") if not _RESERVED.match(line)]
    body = "\n".join(lines).strip() or landed.partition("\n")[0]
    return f"{body}\n\n{landed.strip().rpartition(chr(10) * 2)[2]}\n"


def _one_line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()
