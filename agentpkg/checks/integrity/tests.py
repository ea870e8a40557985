"""What a change does to tests that there were: deleted, skipped, weakened, told to expect something else."""

import ast
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentpkg.checks.integrity import neutral, oddity, pythonic, roles
from agentpkg.checks.integrity.change import FileChange, Intent
from agentpkg.checks.integrity.facts import NOTHING, FileFacts, Skip, TestFacts
from agentpkg.checks.integrity.oddity import Oddity, Weight

_COLLECTED = re.compile(r"(^|/)(test_[^/]*|[^/]*_test)\.py$")
_REMOVING = ("remov", "delet", "drop", "obsolet", "retir", "deprecat", "clean", "prun", "unus", "consolidat", "dedup")
#: a plan that says so of what a test is about has it expect something else
_CHANGING = (
    "chang", "instead", "renam", "replac", "switch", "migrat", "rewrit", "rework", "longer", "convert",
)  # fmt: skip
#: these stand in most plans, and say it only of what they name
_MENDING = ("updat", "correct", "fix", "adjust", "round", "bump")
_COMMON = frozenset((
    "assert", "equal", "equals", "expect", "test", "tests", "self", "pytest", "approx", "raises", "true", "false",
    "none", "value", "result", "the", "and", "len", "str", "int", "float", "list", "dict", "for",
))  # fmt: skip
_DEFINED = re.compile(
    r"^\s*(?:export\s+|pub\s+|public\s+|static\s+|async\s+|default\s+)*(?:def|class|func|fn|function|const|let|interface|struct|enum|trait|type)\s+(\w+)",
    re.M,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A test before and after; ``moved`` when it is under another path or name, ``was`` its old path."""

    path: str
    before: TestFacts
    after: TestFacts
    moved: bool = False
    was: str = ""
    skip: tuple[Skip, Skip] = ("", "")


@dataclass(frozen=True, slots=True)
class Tests:
    """The tests of the files that a change touches, told apart.

    Attributes:
        gone: path and test, of those that are no more.
        new: those that were not there.
        pairs: those that are still there, changed or not.
        hidden: path and name of those that another one of the same name hides, and none did before.
    """

    #: not a test class, whatever its name suggests to pytest
    __test__ = False

    gone: tuple[tuple[str, TestFacts], ...]
    new: tuple[tuple[str, TestFacts], ...]
    pairs: tuple[Pair, ...]
    hidden: tuple[tuple[str, str], ...] = ()

    @property
    def hollow(self) -> bool:
        """All that is new asserts no more than that something is there, and nothing that was there has changed."""
        new = [test for _, test in self.new if test.skip != "always"]
        return bool(new) and not self.changed and all(test.hollow for test in new)

    @property
    def changed(self) -> list[Pair]:
        """Pairs whose test is another one now."""
        return [
            p for p in self.pairs if p.before.body != p.after.body or p.before.asserts != p.after.asserts or p.moved
        ]


def read(changes: Sequence[FileChange]) -> Tests:
    """Tells the tests of a change apart; one that only moved, or has another name, is still there."""
    renamed = _renamed(changes)
    before: dict[tuple[str, str], TestFacts] = {}
    after: dict[tuple[str, str], TestFacts] = {}
    whole: dict[tuple[str, bool], Skip] = {}
    hidden: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for change in changes:
        for then, text, known in ((True, change.before, before), (False, change.after, after)):
            facts = _facts(change.path, text)
            whole[change.path, then] = facts.skip
            hidden[then] |= {(change.path, name) for name in facts.hidden}
            known.update({(change.path, name): one for name, one in facts.tests.items()})
    pairs = [_pair(key[0], key[0], before[key], after[key], whole) for key in before.keys() & after.keys()]
    gone = {key: before[key] for key in before.keys() - after.keys()}
    new = {key: after[key] for key in after.keys() - before.keys()}
    for key, test in sorted(gone.items(), key=lambda item: item[0]):
        other = _other(key, test, new, renamed)
        if other is not None:
            pairs.append(_pair(key[0], other[0], test, new.pop(other), whole, moved=True))
            del gone[key]
    return Tests(
        tuple((key[0], facts) for key, facts in sorted(gone.items(), key=lambda item: item[0])),
        tuple((key[0], facts) for key, facts in sorted(new.items(), key=lambda item: item[0])),
        tuple(sorted(pairs, key=lambda pair: (pair.path, pair.after.line))),
        tuple(sorted(hidden[False] - hidden[True])),
    )


def of(path: str, text: str | None) -> Mapping[str, TestFacts]:
    """The tests of a file by name; none where it has none, or cannot be read."""
    return _facts(path, text).tests


def _facts(path: str, text: str | None) -> FileFacts:
    if text is None or roles.is_snapshot(path):
        return NOTHING
    if path.endswith(".py"):
        return pythonic.read(text) if roles.is_test(path) or "def test" in text else NOTHING
    # Rust and some others have tests within the code
    return (
        neutral.read(path, text) if neutral.known(path) and (roles.is_test(path) or path.endswith(".rs")) else NOTHING
    )


def _renamed(changes: Sequence[FileChange]) -> re.Pattern[str]:
    """Names that the code defined on one side only: a test that differs in them alone is the same."""
    names = _defined(changes, True) ^ _defined(changes, False)
    return re.compile(rf"\b({'|'.join(map(re.escape, sorted(names)))})\b" if names else r"(?!)")


def _other(
    key: tuple[str, str], found: TestFacts, new: Mapping[tuple[str, str], TestFacts], renamed: re.Pattern[str]
) -> tuple[str, str] | None:
    """Where a test went: the same doing elsewhere, or the same name in another file, where it is still collected."""
    there = [k for k in sorted(new) if _seen(key[0], k[0])]
    body = renamed.sub("?", found.body)
    same = [k for k in there if body and renamed.sub("?", new[k].body) == body]
    named = [k for k in there if new[k].short == found.short and k[0] != key[0]]
    likewise = [k for k in there if k[0] == key[0] and new[k].short == found.short]
    return next(iter([*same, *likewise, *named]), None)


def _seen(before: str, now: str) -> bool:
    """A test of the one file is still collected in the other one."""
    return not _COLLECTED.search(before) or bool(_COLLECTED.search(now)) or not now.endswith(".py")


def _pair(
    path: str,
    now: str,
    before: TestFacts,
    after: TestFacts,
    whole: Mapping[tuple[str, bool], Skip],
    moved: bool = False,
) -> Pair:
    skips = _worst(before.skip, whole.get((path, True), "")), _worst(after.skip, whole.get((now, False), ""))
    return Pair(now, before, after, moved, path, skips)


def _worst(*skips: Skip) -> Skip:
    return max(skips, key=_weigh)


def _weigh(skip: Skip) -> int:
    return ("", "platform", "condition", "always").index(skip)


# --------------------------------------------------------------------------- what is odd


def odd(tests: Tests, changes: Sequence[FileChange], intent: Intent) -> list[Oddity]:
    """What is odd about the tests of a change, by what the sources say alone."""
    return [
        *_deleted(tests, changes, intent), *_skipped(tests, intent), *_weakened(tests, intent),
        *_expectations(tests, intent), *_empty(tests),
    ]  # fmt: skip


def _deleted(tests: Tests, changes: Sequence[FileChange], intent: Intent) -> Iterator[Oddity]:
    lost = _removed_names(changes)
    files = {posixpath.splitext(posixpath.basename(c.path))[0] for c in changes if c.gone and roles.is_product(c.path)}
    rewritten = _rewritten(tests)
    still = sum((pair.after.asserts for pair in tests.pairs), Counter[str]())
    for path, test in tests.gone:
        kept = sum((t.asserts for where, t in tests.new if _seen(path, where)), still)
        weight, why = _why_gone(path, test, lost, files, kept, rewritten, intent)
        yield Oddity(oddity.DELETED, path, test.line, test.name, why, weight)
    for pair in tests.pairs:
        top = pair.path.partition("/")[0]
        if pair.was.partition("/")[0] != top and top != "tests":
            yield Oddity(oddity.DELETED, pair.was, 0, pair.before.name, f"now in {pair.path}", "doubtful")
    for path, name in tests.hidden:
        yield Oddity(oddity.DELETED, path, 0, name, "another test of the same name hides it")


def _why_gone(
    path: str,
    test: TestFacts,
    lost: frozenset[str],
    files: set[str],
    kept: Counter[str],
    rewritten: bool,
    intent: Intent,
) -> tuple[Weight, str]:
    removing = intent.says(*_REMOVING)
    subject = sorted(test.names & lost)
    stem = posixpath.splitext(posixpath.basename(path))[0].removeprefix("test_").removesuffix("_test")
    if subject and (removing or stem in files):
        return "odd", f"what it tested is removed: {subject[0]}"
    if stem in files:
        return "odd", f"what it tested is removed: {stem}"
    if test.asserts and all(kept[text] for text in test.asserts):
        return "odd", "other tests assert the same"
    if rewritten:
        return "doubtful", "other tests may have taken its place"
    if subject or removing:
        return "doubtful", f"{subject[0]} is gone too" if subject else "the package is to remove something"
    return "grave", "nothing took its place"


def _rewritten(tests: Tests) -> bool:
    """There are as many cases as before, and they assert about as much."""
    gone = [t for _, t in tests.gone]
    new = [t for _, t in tests.new]
    more = sum(p.after.cases - p.before.cases for p in tests.pairs)
    stronger = sum(max(0, p.after.strength - p.before.strength) for p in tests.pairs)
    cases = sum(t.cases for t in new) + more >= sum(t.cases for t in gone)
    return cases and (sum(t.strength for t in new) + stronger) * 10 >= sum(t.strength for t in gone) * 8


def _removed_names(changes: Sequence[FileChange]) -> frozenset[str]:
    """What the code defined before and defines nowhere now."""
    return _defined(changes, True) - _defined(changes, False)


def _defined(changes: Sequence[FileChange], before: bool) -> frozenset[str]:
    texts = [(c.before if before else c.after) or "" for c in changes if roles.is_product(c.path)]
    return frozenset(name for text in texts for name in _DEFINED.findall(text))


def _skipped(tests: Tests, intent: Intent) -> Iterator[Oddity]:
    for pair in tests.pairs:
        then, now = pair.skip
        marks = sorted(pair.after.marks - pair.before.marks)
        if _weigh(now) > _weigh(then):
            yield _skip(pair.path, pair.after, now, intent, "ran before")
        elif marks:
            why = f"it is marked {', '.join(marks)} now"
            yield Oddity(oddity.SKIPPED, pair.path, pair.after.line, pair.after.name, why, "doubtful")
    unrun = [(path, test) for path, test in tests.new if test.skip == "always"]
    for path, test in unrun:
        # a new test that never runs is no test; beside others that do it is only a promise
        alone = len(unrun) == len(tests.new)
        yield Oddity(oddity.SKIPPED, path, test.line, test.name, "new, and never runs", "grave" if alone else "odd")


def _skip(path: str, test: TestFacts, skip: Skip, intent: Intent, then: str) -> Oddity:
    reason = f": {test.reason}" if test.reason else ""
    if skip == "platform":
        return Oddity(oddity.SKIPPED, path, test.line, test.name, f"on other machines only{reason}", "odd")
    if skip == "condition":
        weight: Weight = (
            "odd" if test.reason and intent.says("skip", "platform", "optional", "windows", "macos") else "doubtful"
        )
        return Oddity(oddity.SKIPPED, path, test.line, test.name, f"{then}, and now on a condition{reason}", weight)
    return Oddity(oddity.SKIPPED, path, test.line, test.name, f"{then}, and never runs now{reason}")


def _weakened(tests: Tests, intent: Intent) -> Iterator[Oddity]:
    kept = sum((t.asserts for _, t in tests.new), Counter[str]()) + sum(
        (p.after.asserts for p in tests.pairs), Counter()
    )
    for pair in tests.changed:
        if pair.after.strength >= pair.before.strength:
            continue
        lost = pair.before.asserts - pair.after.asserts
        if lost and all(kept[text] for text in lost):
            continue
        near = sum(test.strength for path, test in tests.new if path == pair.path)
        replaced = near >= pair.before.strength - pair.after.strength and pair.after.strength > 0
        what = f"{pair.after.name}: {_shown(lost)}"
        if replaced or intent.says(*_REMOVING):
            yield Oddity(oddity.WEAKENED, pair.path, pair.after.line, what, "perhaps in other tests now", "doubtful")
        else:
            yield Oddity(oddity.WEAKENED, pair.path, pair.after.line, what, "it asserts less than it did")


def _expectations(tests: Tests, intent: Intent) -> Iterator[Oddity]:
    """Tests that assert as much as before, of other values."""
    for pair in tests.changed:
        if pair.after.strength < pair.before.strength:
            continue
        lost, come = pair.before.asserts - pair.after.asserts, pair.after.asserts - pair.before.asserts
        old, new = _literals(lost), _literals(come)
        gone = sorted(value for value in (old - new) if value not in pair.after.literals)
        if not gone:
            continue
        what = f"{pair.after.name}: {_shown(lost)} became {_shown(come)}"
        wanted = any(intent.mentions(value) for value in (new - old) if len(value) > 1)
        forbidden = any(intent.mentions(value) for value in gone if len(value) > 2) and not wanted
        planned = not forbidden and (wanted or pair.path in intent.named or _about(pair, lost, intent))
        why = "the plan names the old value" if forbidden else "the plan speaks of a change" if planned else ""
        yield Oddity(oddity.EXPECTATIONS, pair.path, pair.after.line, what, why, "odd" if planned else "doubtful")


def _about(pair: Pair, lost: Mapping[str, int], intent: Intent) -> bool:
    """The plan is to change what the assertions of a test are about: by a name in them, or that of the file."""
    said = [re.sub(r"(['\"`]).*?\1", "", text) for text in lost]
    stem = posixpath.splitext(posixpath.basename(pair.path))[0]
    names = {part for text in (*said, stem) for part in _parts(text)} - _COMMON
    words = set(_parts(intent.words))
    if intent.says(*_MENDING) and names & words:
        return True
    begin = {word[:4] for word in words if len(word) > 3}
    return intent.says(*_CHANGING) and any(name[:4] in begin or name in words for name in names if len(name) > 2)


def _parts(text: str) -> list[str]:
    """The words in identifiers: ``netPrice`` and ``net_price`` have two."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}", text)]


def _literals(asserts: Mapping[str, int]) -> Counter[str]:
    """The values that assertions compare with, as text."""
    found: Counter[str] = Counter()
    for text in asserts:
        try:
            nodes = list(ast.walk(ast.parse(text, mode="eval")))
            found.update(str(n.value) for n in nodes if isinstance(n, ast.Constant) and n.value is not None)
        except (SyntaxError, ValueError):
            found.update(re.findall(r"-?\d+(?:\.\d+)?|(?<=['\"`])[^'\"`]+(?=['\"`])", text))
    return found


def _empty(tests: Tests) -> Iterator[Oddity]:
    new = [(path, test) for path, test in tests.new if test.skip != "always"]
    nothing = [(path, test) for path, test in new if not test.strength]
    for path, test in nothing:
        weight: Weight = "grave" if len(nothing) == len(new) and not tests.changed else "odd"
        yield Oddity(oddity.EMPTY, path, test.line, test.name, "nothing in it can fail but the code it calls", weight)


def _shown(asserts: Mapping[str, int]) -> str:
    texts = list(asserts)
    return "; ".join(text if len(text) < 60 else text[:59] + "…" for text in texts[:2]) or "nothing"
