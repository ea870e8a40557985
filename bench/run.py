"""Measures agentpkg against the plain commands and calls that do the same, in one run.

Each figure is a median; the product and its plain counterpart take turns, so that a busy machine slows down both. What
counts is the ratio.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import measures
import walls
from measures import Pairs, Sizes

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Bench:
    """One line of the table: ``measure`` yields the pairs, ``share`` is its part of the rounds asked for."""

    name: str
    what: str
    plain: str
    measure: Callable[[Path, Sizes], Pairs]
    share: float = 1.0


@dataclass(frozen=True)
class Measured:
    """Medians in seconds, how many rounds, and the smallest and largest ratio of a round."""

    name: str
    ours: float
    plain: float
    ratio: float
    low: float
    high: float
    rounds: int


BENCHES = (
    Bench("first-instruction", "implement up to the agent's first instruction", "git worktree add, agent",
          measures.first_instruction),
    Bench("package", "implement, review --merge; the agent only commits",
          "git worktree add, agent, merge, worktree remove, branch -d", measures.whole_package),
    Bench("walls", "a process behind the best isolation that works here", "the process", walls.start, 2.0),
    Bench("admission", "ten commits through admission", "git fetch", walls.admission),
    Bench("status", "status of 100 packages", "git status, git worktree list", measures.status),
    Bench("corpus", "read the whole corpus", "YAML of the same files with CSafeLoader", measures.corpus),
    Bench("ledger", "entries written one by one, verified", "sqlite3 inserts, hashlib", measures.ledger, 0.3),
    Bench("ledger-batch", "entries written by the hundred, verified", "sqlite3 inserts, hashlib",
          measures.ledger_batch, 0.5),
)  # fmt: skip


def measure(bench: Bench, rounds: int, sizes: Sizes) -> Measured:
    """Runs one bench; the first round warms up and is not counted."""
    count = max(1, round(rounds * bench.share))
    ours, plain = [], []
    with (
        tempfile.TemporaryDirectory(prefix="agentpkg-bench-", ignore_cleanup_errors=True) as folder,
        closing(bench.measure(Path(folder), sizes)) as pairs,
    ):
        for number, (product, by_hand) in enumerate(islice(pairs, count + 1)):
            first, second = (product, by_hand) if number % 2 else (by_hand, product)
            times = {first: first(), second: second()}
            if number:
                ours.append(times[product])
                plain.append(times[by_hand])
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    middle, beside = statistics.median(ours), statistics.median(plain)
    return Measured(bench.name, middle, beside, middle / beside, min(ratios), max(ratios), count)


def shown(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def main() -> int:
    """Measures what was asked for; gives the exit code."""
    asked = _arguments()
    sizes = Sizes(asked.files, asked.rounds + 1, asked.entries, asked.corpus)
    chosen = [bench for bench in BENCHES if not asked.only or bench.name in asked.only]
    if not asked.corpus.is_dir():
        print(f"corpus: left out, {asked.corpus} is not there", file=sys.stderr)
        chosen = [bench for bench in chosen if bench.name != "corpus"]
    print(f"{'':<18}{'agentpkg':>11}{'plain':>11}{'ratio':>9}  {'(lowest to highest)':<22}against", flush=True)
    found = []
    for bench in chosen:
        one = measure(bench, asked.rounds, sizes)
        spread = f"({one.low:.2f} to {one.high:.2f})"
        line = (
            f"{bench.name:<18}{shown(one.ours):>11}{shown(one.plain):>11}{one.ratio:>9.2f}  {spread:<22}{bench.plain}"
        )
        print(line, flush=True)
        found.append({**asdict(one), "what": bench.what, "against": bench.plain})
    if asked.json:
        document = {"files": asked.files, "entries": asked.entries, "python": sys.version.split()[0], "benches": found}
        asked.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    names = [bench.name for bench in BENCHES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="BENCH", help=f"of {', '.join(names)}; without one, all")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds of the quick ones (9)")
    parser.add_argument("--files", type=int, default=500, help="tracked files of the scratch repositories (500)")
    parser.add_argument("--entries", type=int, default=10_000, help="ledger entries (10000)")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared/corpus", help="folder with repositories")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    asked = parser.parse_args()
    strange = [name for name in asked.only if name not in names]
    if strange:
        parser.error(f"no bench is called {strange[0]}; there are {', '.join(names)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
