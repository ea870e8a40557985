"""A run killed at every step of stages, done checks and fixes: the next one ends where an undisturbed one does."""

from collections import Counter

import pytest

from agentpkg.core.model import State
from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Options, Stop
from tests.engine.test_kills_landing import end, kill
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.matrix import points
from tests.support.repos import git

_RUN = """
from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Options, Stop
options = Options(2, until_done=True, max_cycles=3)
project = shop.project
Run(project, project.good_feature(shop.feature), options, shop.told.append, Stop()).to_the_end()
"""

#: every step of a gate, in order: its commands, its entry, its tag, and the fix that it asks for
POINTS = (
    "agentpkg.engine.dispatching.gatekeeping:check:call",
    "agentpkg.checks.pipeline:run_commands:return",
    "agentpkg.engine.dispatching.gatekeeping:_said:return",
    "agentpkg.engine.dispatching.gatekeeping:_record:call",
    "agentpkg.engine.dispatching.gatekeeping:_record:return",
    "agentpkg.git.tags:make:call",
    "agentpkg.git.tags:make:return",
    "agentpkg.engine.dispatching.gatekeeping:check:return",
    "agentpkg.engine.dispatching.gatekeeping:check_entry:call",
    "agentpkg.engine.dispatching.gatekeeping:check_entry:return",
    "agentpkg.engine.running.gating:_fix:call",
    "agentpkg.engine.fixing:text:return",
    "agentpkg.engine.transition.registration:register_fix:return",
    "agentpkg.engine.running.gating:_fix:return",
)

_STAGES = """\
stages:
- {name: one, packages: [WP01], done_check: [test -e src/wp01.txt]}
- {name: two, packages: [WP02], needs: [one], entry_check: [test -e src/wp01.txt]}
done_check: [test -e fixed]
"""


def staged(shops: ShopFactory) -> Shop:
    """Two stages, and a check of the whole that passes after one fix."""
    shop = shops({"WP01": [], "WP02": []})
    (shop.repo / "features" / FEATURE / "meta.yaml").write_text(_STAGES)
    shop.save("stages")
    shop.agent("FIX01", 'save fixed "by FIX01" "one more"')
    return shop


@pytest.mark.slow
@pytest.mark.parametrize("point", points(POINTS))
def test_a_run_that_is_killed_at_a_gate_is_followed_by_the_next(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = staged(shops)
    kill(shop, monkeypatch, _RUN, point)
    project = shop.project
    options = Options(2, until_done=True, max_cycles=3)
    done = Run(project, project.good_feature(FEATURE), options, shop.told.append, Stop()).to_the_end()
    assert done.stuck == ()
    _, rows = end(shop)
    assert {row.wp: row.state for row in rows} == dict.fromkeys(("FIX01", "WP01", "WP02"), State.DONE)
    ledger = shop.project.ledger
    # no check is recorded twice, none is lost: the whole is checked before its fix and after it
    checked = Counter((e.metadata["stage"], e.metadata["passed"]) for e in ledger.noted(FEATURE, "stage_checked"))
    assert checked == {("one", True): 1, ("two", True): 1, (None, False): 1, (None, True): 1}
    assert [e.metadata["stage"] for e in ledger.noted(FEATURE, "stage_entered")] == ["two"]
    assert len(ledger.sessions(FEATURE)) == 3
    tags = git(shop.repo, "for-each-ref", "--format=%(refname:short) %(*objectname)", "refs/tags").splitlines()
    merged = {row.wp: row.merge_commit for row in rows}
    assert tags == [f"{FEATURE}/one-done {merged['WP01']}", f"{FEATURE}/two-done {merged['WP02']}"]
