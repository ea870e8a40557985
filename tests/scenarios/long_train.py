"""A train of many packages with failures and conflicts sown in known places: is the target green at every commit?

``python -m tests.scenarios.long_train 50`` prints how long the queue took with several candidates judged side by side
and one after the other, against the time that the checks of what landed alone would take.

Sown are packages whose checks always fail, pairs that fail only together, and pairs that change the same line.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from agentpkg.core.model import State, Verdict
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git

#: takes a while, fails where a package says so, and where both of a pair are there
CHECK = """\
sleep {seconds}
grep -qlx bad src/wp*.txt 2>/dev/null && exit 1
for one in src/*.not; do [ -e "$one" ] && [ -e "$(cat "$one")" ] && exit 1; done
exit 0
"""


@dataclass(frozen=True)
class Sown:
    """What becomes of a package: ``good``, ``bad``, ``not WPnn`` (fails beside it), ``as WPnn`` (conflicts with it)."""

    wp: str
    kind: str

    def script(self) -> str:
        """What its agent does."""
        mine = f"src/{self.wp.lower()}.txt"
        if self.kind.startswith("not "):
            return f'save {mine} x; save src/{self.wp.lower()}.not "src/{self.kind[4:].lower()}.txt"'
        if self.kind.startswith("as "):
            return f'save {mine} x; save src/{self.kind[3:].lower()}.txt "by {self.wp}"'
        return f"save {mine} {'bad' if self.kind == 'bad' else self.wp}"


def sow(count: int) -> list[Sown]:
    """The packages: of twelve in a row one is bad, one fails beside the one before it, one conflicts with it."""
    found = []
    for number in range(1, count + 1):
        before = f"WP{number - 1:02d}"
        kind = {5: "bad", 8: f"not {before}", 11: f"as {before}"}.get(number % 12, "good")
        found.append(Sown(f"WP{number:02d}", kind))
    return found


@dataclass(frozen=True)
class Figures:
    """How one train went: seconds from the first to the last landing's end, and how many landed and were judged."""

    parallel: int
    seconds: float
    landed: int
    left: int
    reviews: int


def prepare(root: Path, sown: list[Sown], parallel: int, seconds: float) -> Shop:
    """A shop in which all packages wait for review."""
    shop = ShopFactory(root)({}, cycles=1, checks="{name: check, run: sh check.sh}")
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace("merge: {", f"merge: {{parallel: {parallel}, "))
    (shop.repo / "check.sh").write_text(CHECK.format(seconds=seconds))
    for one in sown:
        other = one.kind[3:].lower() if one.kind.startswith("as ") else one.wp.lower()
        shop.package(one.wp, owned_files=[f"src/{one.wp.lower()}*", f"src/{other}.txt"])
        shop.agent(one.wp, one.script())
    shop.save()
    for one in sown:
        shop.implement(one.wp)
    return shop


def play(root: Path, count: int, parallel: int, seconds: float) -> Figures:
    """Runs one train and looks at what became of it, and at every commit that the target has been at."""
    sown = sow(count)
    shop = prepare(root, sown, parallel, seconds)
    begun = time.monotonic()
    shop.run()
    took = time.monotonic() - begun
    states = shop.states()
    wanted = {one.wp for one in sown if one.kind == "good"}
    assert {wp for wp, state in states.items() if state is State.DONE} == wanted, states
    reviews = [review for wp in states for review in shop.project.ledger.reviews(FEATURE, wp)]
    line = git(shop.repo, "rev-list", "--first-parent", "main").split()
    assert {review.base for review in reviews} <= set(line)
    assert {r.candidate for r in reviews if r.verdict is Verdict.APPROVED} <= set(line)
    for commit in line[: len(wanted)]:
        require_green(shop, root / "green", commit)
    shop.check()
    shop.close()
    return Figures(parallel, took, len(wanted), count - len(wanted), len(reviews))


def require_green(shop: Shop, folder: Path, commit: str) -> None:
    """Checks a commit out and runs the checks on it, without their sleep."""
    git(shop.repo, "worktree", "add", "-q", "--force", "--detach", str(folder), commit)
    script = (folder / "check.sh").read_text().replace("sleep", ": ")
    assert subprocess.run(["sh", "-c", script], cwd=folder, check=False).returncode == 0, commit
    git(shop.repo, "worktree", "remove", "--force", str(folder))


def main(count: int, seconds: float, widths: list[int]) -> None:
    """Prints the figures of trains of several widths."""
    for parallel in widths:
        with tempfile.TemporaryDirectory(prefix="agentpkg-train-", ignore_cleanup_errors=True) as folder:
            found = play(Path(folder), count, parallel, seconds)
        least = seconds * found.landed / parallel
        print(
            f"{parallel} at a time: {found.seconds:.1f} s for {found.landed} landed and {found.left} that were not, "
            f"{found.reviews} verdicts; the checks of what landed alone: {least:.1f} s; target green at each commit",
            flush=True,
        )


if __name__ == "__main__":
    words = [float(word) for word in sys.argv[1:]]
    main(int(words[0]) if words else 50, words[1] if len(words) > 1 else 3.0, [int(w) for w in words[2:]] or [1, 4])
