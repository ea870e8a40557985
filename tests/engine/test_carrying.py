"""A branch in flight while another package lands by merge, squash or rebase: nothing is lost and nothing doubled."""

import pytest

from agentpkg.core.model import State, Verdict
from agentpkg.engine.judging import review
from agentpkg.engine.landing import merging
from agentpkg.engine.upkeep import auditing
from tests.support.engine_shop import FEATURE, ShopFactory
from tests.support.repos import git

LINES = "one\ntwo\n3\n4\n5\n6\n7\neight"
#: the target's view in the worktree is that of the dispatch: the agent takes the target in, and goes on
_AGAIN = """\
git merge -q -X ours main -m "feat(WP02): take the target in" || exit 1
sed -i "s/TWO/TWO again/" src/base.txt; git commit -qam "feat(WP02): again"
save src/wp02.txt good
"""


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("takes_in", [False, True])
@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_what_a_branch_has_of_a_package_that_landed_is_not_brought_again(
    shops: ShopFactory, strategy: str, takes_in: bool
) -> None:
    shop = shops(
        {"WP01": [], "WP02": []}, strategy=strategy, cycles=3, checks="{name: check, run: '! grep -rqsx bad src'}",
        packages={wp: {"owned_files": ["src/*"]} for wp in ("WP01", "WP02")},
    )  # fmt: skip
    write = f"printf '%s\\n' {LINES.replace(chr(10), ' ')} > src/base.txt"
    shop.agent("WP01", f'{write}; git commit -qam "feat(WP01): lines"; save src/wp01.txt x')
    shop.agent("WP02", "save src/wp02.txt bad", 1)
    shop.agent("WP02", _AGAIN if takes_in else _AGAIN.partition("\n")[2], 2)
    shop.save()
    shop.implement("WP02")
    assert review.review(shop.project, FEATURE, "WP02").review.verdict is Verdict.CHANGES_REQUESTED
    shop.implement("WP01")
    # sent back, and a person has it build on the other branch, which is not on the target yet
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP02"
    git(worktree, "merge", "-q", "-m", "feat(WP02): build on WP01", f"feat/{FEATURE}-WP01")
    (worktree / "src/base.txt").write_text(LINES.replace("two", "TWO") + "\n")
    git(worktree, "commit", "-qam", "feat(WP02): two")
    assert isinstance(merging.land(shop.project, FEATURE, "WP01", "ci:automation"), merging.Merged)
    shop.implement("WP02")
    found = merging.land(shop.project, FEATURE, "WP02", "ci:automation")
    assert isinstance(found, merging.Merged), (
        found.judged.review.checks if isinstance(found, merging.Rejected) else found
    )
    assert set(shop.states().values()) == {State.DONE}
    assert shop.show("src/base.txt") == LINES.replace("two", "TWO again")
    assert (shop.show("src/wp01.txt"), shop.show("src/wp02.txt")) == ("x", "good")
    subjects = git(shop.repo, "log", "--no-merges", "--format=%s", "main").splitlines()
    wanted = {
        "squash": ["Merge 003-auth-system WP01: Part WP01", "Merge 003-auth-system WP02: Part WP02"],
        "merge": ["feat(WP01): lines", "feat(WP02): again"], "rebase": ["feat(WP01): lines", "feat(WP02): again"],
    }[strategy]  # fmt: skip
    assert [subjects.count(subject) for subject in wanted] == [1, 1]
    shop.check()
    assert auditing.verify(shop.project, FEATURE).ok
