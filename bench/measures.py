"""What is measured, each beside the plain commands or calls that do the same.

A measurement yields pairs of functions, the product's and the plain one, as often as it is asked. Both give
seconds. Preparing and cleaning up lie outside of what is timed.
"""

import hashlib
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count, repeat
from pathlib import Path
from typing import Any

from scenes import FEATURE, Scene, name

Timed = Callable[[], float]
Pairs = Generator[tuple[Timed, Timed], None, None]


@dataclass(frozen=True)
class Sizes:
    """How large the scenes are: tracked files, rounds (warm-up included), ledger entries; where the corpus lies."""

    files: int
    rounds: int
    entries: int
    corpus: Path


def timed(act: Callable[..., object], *args: str) -> float:
    """Seconds that ``act`` takes."""
    start = time.perf_counter()
    act(*args)
    return time.perf_counter() - start


# --------------------------------------------------------------------------- processes


def first_instruction(folder: Path, sizes: Sizes) -> Pairs:
    """``implement`` up to the agent's first instruction."""
    ours = Scene(folder / "ours", sizes.files, sizes.rounds)
    plain = Scene(folder / "plain", sizes.files, sizes.rounds)

    def implement(package: str) -> float:
        start = time.time_ns()
        # the agent makes no commit, so its session ends as failed
        ours.agentpkg("implement", FEATURE, "--wp", package, ok=(1,))
        return ours.since(start, ours.repo / ".worktrees" / f"{FEATURE}-{package}")

    def by_hand(package: str) -> float:
        worktree = plain.repo.parent / package
        start = time.time_ns()
        plain.git("worktree", "add", "-q", "-b", package, str(worktree), "main")
        plain.play(worktree, package)
        return plain.since(start, worktree)

    try:
        yield from _packages(implement, by_hand)
    finally:
        ours.leave()
        plain.leave()


def whole_package(folder: Path, sizes: Sizes) -> Pairs:
    """``implement`` and ``review --merge`` with an agent that only commits."""
    ours = Scene(folder / "ours", sizes.files, sizes.rounds, commit=True)
    plain = Scene(folder / "plain", sizes.files, sizes.rounds, commit=True)

    def product(package: str) -> None:
        ours.agentpkg("implement", FEATURE, "--wp", package)
        ours.agentpkg("review", FEATURE, package, "--merge")

    def by_hand(package: str) -> None:
        worktree = plain.repo.parent / package
        plain.git("worktree", "add", "-q", "-b", package, str(worktree), "main")
        plain.play(worktree, package)
        plain.git("merge", "-q", "--no-ff", "-m", f"Merge {package}", package)
        plain.git("worktree", "remove", str(worktree))
        plain.git("branch", "-q", "-d", package)

    try:
        yield from _packages(partial(timed, product), partial(timed, by_hand))
    finally:
        ours.leave()
        plain.leave()


def _packages(ours: Callable[[str], float], plain: Callable[[str], float]) -> Pairs:
    """A pair for each package: a scene's packages can be worked on once."""
    for number in count(1):
        yield partial(ours, name(number)), partial(plain, name(number))


def status(folder: Path, sizes: Sizes) -> Pairs:
    """``status`` of a feature with 100 packages."""
    scene = Scene(folder / "ours", sizes.files, 100, layers=10)
    # any change registers all packages
    scene.agentpkg("move", FEATURE, "WP100", "--to", "cancelled", "--reason", "bench")

    def by_hand() -> None:
        scene.git("status", "--porcelain")
        scene.git("worktree", "list", "--porcelain")

    try:
        yield from _again(partial(scene.agentpkg, "status", FEATURE), by_hand)
    finally:
        scene.leave()


def _again(ours: Callable[[], object], plain: Callable[[], object]) -> Pairs:
    yield from repeat((partial(timed, ours), partial(timed, plain)))


# --------------------------------------------------------------------------- calls


def corpus(folder: Path, sizes: Sizes) -> Pairs:
    """Reading every feature of the corpus, in this process."""
    import yaml

    from agentpkg.features.folder import load_all

    roots = [path for path in sorted(sizes.corpus.iterdir()) if path.is_dir()]
    names = ("spec.md", "plan.md", "meta.yaml", "meta.json")
    files = [
        path
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and (path.name in names or (path.parent.name == "tasks" and path.match("WP*.md")))
    ]

    def plain() -> None:
        for path in files:
            text = path.read_bytes().decode()
            if path.suffix in (".yaml", ".json"):
                yaml.load(text, yaml.CSafeLoader)
            elif text.startswith("---\n"):
                yaml.load(text[4:].partition("\n---")[0], yaml.CSafeLoader)

    yield from _again(lambda: [load_all(root) for root in roots], plain)


_METADATA = {"kind": "review", "verdict": "approved", "candidate": "a" * 40, "reason": "tests passed"}
_EVIDENCE = [{"fr_id": "FR-1", "evidence_id": "sha256:" + "b" * 64}]


def ledger(folder: Path, sizes: Sizes) -> Pairs:
    """Entries written, each in a transaction of its own, then read back and verified."""
    yield from _ledger(folder, sizes.entries, 1)


def ledger_batch(folder: Path, sizes: Sizes) -> Pairs:
    """The same in transactions of a hundred entries: what is left when the disk's share is small."""
    yield from _ledger(folder, sizes.entries, 100)


def _ledger(folder: Path, entries: int, batch: int) -> Pairs:
    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=folder)) / "ledger.db"

    yield from _again(lambda: _product_ledger(fresh(), entries, batch), lambda: _plain_ledger(fresh(), entries, batch))


def _product_ledger(path: Path, entries: int, batch: int) -> None:
    from agentpkg.ledger import audit
    from agentpkg.ledger.ledger import Ledger

    with closing(Ledger.open(path)) as ours:
        for _ in range(entries // batch):
            with ours.write() as tx:
                for _ in range(batch):
                    tx.append("001-bench", "WP01", "for_review", "for_review", "ci:automation", _METADATA, _EVIDENCE)
        report = audit.verify(ours.entries("001-bench"), None, {}, set(), recorded=ours.head("001-bench"))
    assert report.ok, report
    assert report.entries == entries, report


def _plain_ledger(path: Path, entries: int, batch: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        plain.execute("PRAGMA journal_mode=WAL")
        plain.execute("PRAGMA synchronous=FULL")
        plain.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, entry TEXT NOT NULL, hash TEXT NOT NULL)")
        previous = "0" * 64
        for first in range(1, entries + 1, batch):
            plain.execute("BEGIN IMMEDIATE")
            for number in range(first, first + batch):
                text = _entry(number, previous)
                previous = hashlib.sha256(text.encode()).hexdigest()
                plain.execute("INSERT INTO entries VALUES (?, ?, ?)", (number, text, previous))
            plain.execute("COMMIT")
        for text, digest in plain.execute("SELECT entry, hash FROM entries ORDER BY id"):
            again = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert hashlib.sha256(again.encode()).hexdigest() == digest


def _entry(number: int, previous: str) -> str:
    entry: dict[str, Any] = {
        "id": number, "feature_id": "001-bench", "wp_id": "WP01", "timestamp": "2026-03-02T12:00:00.000000Z",
        "actor": "ci:automation", "transition": "WP01:for_review->for_review", "evidence_refs": _EVIDENCE,
        "metadata": _METADATA, "prev_hash": previous,
    }  # fmt: skip
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
