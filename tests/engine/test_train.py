"""The merge train of a run: checks side by side on stacked candidates, landings one after the other, green at each."""

import subprocess
from pathlib import Path

import pytest

from agentpkg.core.model import State, Verdict
from agentpkg.engine.running import queueing
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git


def sown(shops: ShopFactory, count: int) -> Shop:
    """Packages that all may land but for: WP03 always fails, WP02 only with WP01 there, WP05 conflicts with WP04."""
    shop = shops({}, cycles=1, checks="{name: check, run: sh check.sh}")
    (shop.repo / "check.sh").write_text(CHECK.format(tools=shop.tools))
    for wp in (f"WP{i:02d}" for i in range(1, count + 1)):
        shop.package(wp, owned_files=[f"src/{wp.lower()}*", f"own/{wp}/**"])
    shop.agent("WP03", 'save "src/wp03.txt" bad')
    shop.package("WP05", owned_files=["src/wp0[45]*"])
    shop.agent("WP05", 'save src/wp05.txt x; save src/wp04.txt "by WP05"')
    shop.save()
    return shop


#: fails where a file says so, or two are together; waits until it has seen two of its kind at work side by side
CHECK = """\
grep -qsx bad src/wp03.txt && exit 1
[ -e src/wp01.txt ] && [ -e src/wp02.txt ] && exit 1
mkdir -p {tools}/met; : > {tools}/met/$$
until [ $(ls {tools}/met | wc -l) -ge 2 ]; do :; done
"""


@pytest.mark.slow
def test_a_train_keeps_the_target_green_and_one_that_fails_holds_up_nobody(shops: ShopFactory, tmp_path: Path) -> None:
    shop = sown(shops, 6)
    # all wait for review when the run begins
    for wp in ("WP01", "WP02", "WP03", "WP04", "WP05", "WP06"):
        shop.implement(wp)
    before = queueing.look(shop.project)
    assert [(one.wp, one.place, one.state) for one in before] == [(f"WP0{i}", i, "queued") for i in range(1, 7)]
    assert {one.wp: one.shares for one in before if one.shares} == {"WP05": {"WP04": ["src/wp04.txt"]}}
    finished = shop.run()
    assert [(one.wp, one.place, one.state) for one in queueing.look(shop.project)] == []
    states = shop.states()
    assert {wp for wp, state in states.items() if state is State.DONE} == {"WP01", "WP04", "WP06"}
    assert {one.wp for one in finished.stuck} == {"WP02", "WP03", "WP05"}
    landed = [t.split(":")[0] for t in shop.transitions() if t.endswith("->done")]
    assert landed == ["WP01", "WP04", "WP06"]
    line = git(shop.repo, "rev-list", "--first-parent", "main").split()
    reviews = [r for wp in states for r in shop.project.ledger.reviews(FEATURE, wp)]
    # no verdict rests on what the target never was, and nobody lost a cycle to somebody else's failure
    assert {review.base for review in reviews} <= set(line)
    assert [len([r for r in reviews if r.wp == wp]) for wp in sorted(states)] == [1] * 6
    assert {r.candidate for r in reviews if r.verdict is Verdict.APPROVED} <= set(line)
    for commit in line:
        aside = tmp_path / commit[:12]
        git(shop.repo, "worktree", "add", "-q", "--detach", str(aside), commit)
        if (aside / "check.sh").exists():
            assert subprocess.run(["sh", "check.sh"], cwd=aside, check=False).returncode == 0
    shop.check()


#: hangs as long as WP01 stands alone on the target
_SLOW = "[ -e src/wp01.txt ] && [ ! -e src/wp03.txt ] && [ ! -e src/wp02.txt ] && exec tail -f /dev/null; true\n"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_slow_package_at_the_front_is_passed_by_those_that_have_nothing_to_do_with_it(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": [], "WP03": []}, checks="{name: check, run: sh check.sh}")
    config = shop.repo / ".kittify/config.yaml"
    config.write_text(config.read_text().replace("merge: {", "merge: {passing: 1, "))
    (shop.repo / "check.sh").write_text(_SLOW)
    shop.save()
    for wp in ("WP01", "WP02", "WP03"):
        shop.implement(wp)
    assert shop.run().stuck == ()
    landed = [t.split(":")[0] for t in shop.transitions() if t.endswith("->done")]
    assert landed == ["WP02", "WP03", "WP01"]
    # each as it was judged: a passing package without the slow one, and that on the others
    [review] = shop.project.ledger.reviews(FEATURE, "WP02")
    assert "src/wp01.txt" not in git(shop.repo, "ls-tree", "-r", "--name-only", review.candidate or "").split()
    shop.check()
