"""A target that lives on a remote: others push to it all the while, it refuses, it does not answer, we are killed."""

import signal
from pathlib import Path

import pytest

from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import State
from agentpkg.engine.landing import merging
from agentpkg.engine.upkeep import recovery
from agentpkg.git.remote import Unreachable
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git
from tests.support.wait import until

#: while the checks run another person pushes to the target, the first times
_OTHERS = """\
n=$(ls {other}/mine* 2>/dev/null | wc -l)
[ -e src/wp01.txt ] && [ -e src/wp02.txt ] && [ -e src/bad.txt ] && exit 1
[ $n -ge 3 ] && exit 0
mkdir {other}.lock 2>/dev/null || exit 0
cd {other} && echo $n > mine$n && git add mine$n && git -c user.name=o -c user.email=o@x commit -qm "other $n"
until git pull -q --rebase && git push -q; do :; done
rmdir {other}.lock
"""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return tmp_path / "origin.git"


def away(shops: ShopFactory, bare: Path, *wps: str, checks: str = '{name: ok, run: "true"}') -> Shop:
    """A shop whose target lives on a bare remote."""
    shop = shops({wp: [] for wp in wps}, checks=checks)
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace("merge: {", "merge: {remote: origin, "))
    shop.save()
    git(shop.repo, "clone", "-q", "--bare", ".", str(bare))
    git(shop.repo, "remote", "add", "origin", str(bare))
    git(shop.repo, "fetch", "-q", "origin")
    return shop


def tips(shop: Shop, bare: Path) -> tuple[str, str, str]:
    return shop.tip(), git(bare, "rev-parse", "main"), git(shop.repo, "rev-parse", "origin/main")


@pytest.mark.slow
def test_packages_land_on_a_remote_to_which_others_push_all_the_while(shops: ShopFactory, bare: Path) -> None:
    other = bare.parent / "other"
    shop = away(shops, bare, "WP01", "WP02", "WP03", checks="{name: check, run: sh check.sh}")
    commit(shop.repo, {"check.sh": _OTHERS.format(other=other)}, "check")
    git(shop.repo, "push", "-q", "origin", "main")
    git(bare.parent, "clone", "-q", str(bare), str(other))
    assert shop.run().stuck == ()
    assert set(shop.states().values()) == {State.DONE}
    assert len(set(tips(shop, bare))) == 1
    line = git(shop.repo, "log", "--first-parent", "--format=%s", "main").splitlines()
    # a run of checks that is dropped may be ended before its push
    assert "other 0" in line
    assert sum(subject.startswith("other") for subject in line) >= 2
    assert sum(subject.startswith("Merge") for subject in line) == 3
    for wp in shop.states():
        landed = shop.row(wp).merge_commit or ""
        [review] = [r for r in shop.project.ledger.reviews(FEATURE, wp) if r.candidate == landed]
        assert git(shop.repo, "rev-parse", f"{landed}^1") == review.base
    assert git(shop.repo, "status", "--porcelain") == ""
    shop.check()


@pytest.mark.slow
def test_a_push_that_is_refused_is_an_outcome_and_a_local_target_ahead_is_told(shops: ShopFactory, bare: Path) -> None:
    shop = away(shops, bare, "WP01")
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected by Ann' >&2\nexit 1\n")
    hook.chmod(0o755)
    before = tips(shop, bare)
    [stuck] = shop.run().stuck
    assert "origin does not take WP01" in stuck.reason
    assert "main is protected by Ann" in stuck.reason
    assert (tips(shop, bare), shop.row("WP01").state) == (before, State.FOR_REVIEW)
    assert git(shop.repo, "status", "--porcelain") == ""
    assert not (shop.state / "landing-intent.json").exists()
    hook.unlink()
    commit(shop.repo, {"mine": "x"}, "local")
    with pytest.raises(NotAllowed, match="main has commits that origin/main lacks"):
        merging.land(shop.project, FEATURE, "WP01", "human:me")
    git(shop.repo, "push", "-q", "origin", "main")
    assert isinstance(merging.land(shop.project, FEATURE, "WP01", "human:me"), merging.Merged)
    assert len(set(tips(shop, bare))) == 1
    shop.check()


@pytest.mark.slow
def test_a_landing_that_was_pushed_and_killed_is_recorded_once_the_remote_answers(
    shops: ShopFactory, bare: Path
) -> None:
    shop = away(shops, bare, "WP01")
    shop.implement("WP01")
    pid = bare.parent / "pid"
    hook = bare / "hooks" / "post-receive"
    hook.write_text(f"#!/bin/sh\nkill -9 $(cat {pid})\n")
    hook.chmod(0o755)
    child = shop.python(
        f"import os, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "from agentpkg.engine.landing import merging\nmerging.land(shop.project, shop.feature, 'WP01', 'ci:automation')"
    )
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    pushed = until(lambda: git(bare, "rev-parse", "main") != shop.tip() and git(bare, "rev-parse", "main"))
    hook.unlink()
    bare.rename(bare.parent / "gone")
    assert "had landed" not in " ".join(recovery.reconcile(shop.project))
    with pytest.raises(Unreachable):
        merging.land(shop.project, FEATURE, "WP01", "human:me")
    assert shop.row("WP01").state is State.FOR_REVIEW
    (bare.parent / "gone").rename(bare)
    assert "WP01 had landed; it is recorded now" in recovery.reconcile(shop.project)
    assert (shop.row("WP01").state, shop.row("WP01").merge_commit) == (State.DONE, pushed)
    assert shop.tip() == pushed
    assert shop.transitions("WP01").count("WP01:for_review->done") == 1
    shop.check()
