"""Packages judged together: one run of the commands at the tip, one move of the target, and whoever fails is found."""

import json
import signal

import pytest

from agentpkg.core.model import State, Verdict
from agentpkg.core.records import Batch, EventRow
from agentpkg.engine.judging import attesting, explaining, frozen
from agentpkg.engine.running import queueing
from agentpkg.engine.upkeep import auditing, recovery
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.matrix import points
from tests.support.repos import git

_DIE = "import os, signal\ndef die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)\n"
#: where a run is killed that lands a batch
_KILLS = {
    "after the target moved": (
        "from agentpkg.git import landing\nreal = landing.land\ndef land(*a): real(*a); die()\nlanding.land = land\n"
    ),
    "in the transaction, after the second": (
        "from agentpkg.engine import transition\nreal, seen = transition.landed, []\n"
        "def landed(*a): seen.append(real(*a)); len(seen) < 2 or die(); return seen[-1]\ntransition.landed = landed\n"
    ),
    "before the target moves": "from agentpkg.git import landing\nlanding.land = die\n",
    "while the reviews are recorded": (
        "from agentpkg.engine import transition\nreal, seen = transition.judged, []\n"
        "def judged(*a): seen.append(real(*a)); len(seen) < 2 or die(); return seen[-1]\ntransition.judged = judged\n"
    ),
}


def shop_of(shops: ShopFactory, count: int, batch: int, strategy: str = "merge") -> Shop:
    """Packages whose agents are done; the check counts its runs, and fails where a file says ``bad``."""
    shop = shops({}, cycles=1, checks="{name: check, run: sh check.sh}", strategy=strategy)
    config = shop.repo / ".kittify/config.yaml"
    rules = f"batch: {batch}, batch_seconds: 0, parallel: 1"
    config.write_text(config.read_text().replace("merge: {", f"merge: {{{rules}, "))
    (shop.repo / "check.sh").write_text(
        f"ls src >> {shop.tools}/runs; echo . >> {shop.tools}/runs; ! grep -qx bad src/*\n"
    )
    for wp in (f"WP{i:02d}" for i in range(1, count + 1)):
        shop.package(wp, acceptance=[f"test -e src/{wp.lower()}.txt && : FR-1"], requirement_refs=["FR-1"])
    return shop


def runs(shop: Shop) -> int:
    """How often the check ran."""
    return (shop.tools / "runs").read_text().splitlines().count(".")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", points(["merge"], ["squash", "rebase"]))
def test_a_batch_lands_as_it_was_tested_and_who_fails_is_found_and_told(shops: ShopFactory, strategy: str) -> None:
    shop = shop_of(shops, 5, 5, strategy)
    # one fails the check, one leaves its scope: that one has no part in a batch
    shop.agent("WP02", "save src/wp02.txt bad")
    shop.agent("WP05", "save src/wp05.txt x; save README.md mine")
    shop.save()
    for number in range(1, 6):
        shop.implement(f"WP0{number}")
    begun = shop.tip()
    seen: list[list[str]] = []

    def look(event: EventRow) -> None:
        if event.subject.endswith("review.completed") and not seen:
            seen.extend(list(one.batch) for one in queueing.look(shop.project) if one.batch)

    shop.run(tell=look)
    assert {wp for wp, state in shop.states().items() if state is State.DONE} == {"WP01", "WP03", "WP04"}
    # of 1-4, as 5 is apart; of 1-2, 1 and 2, to find whose fault it is; of 3-4 and 5
    assert runs(shop) <= 6
    ledger = shop.project.ledger
    failed, strayed = (ledger.reviews(FEATURE, wp) for wp in ("WP02", "WP05"))
    assert [[c.name for c in r.checks if c.status == "fail"] for r in failed] == [["check"]]
    assert [r.verdict for r in strayed] == [Verdict.CHANGES_REQUESTED]
    assert failed[0].batch is None
    [together] = {r.batch for wp in ("WP03", "WP04") for r in ledger.reviews(FEATURE, wp)}
    assert together is not None
    assert together.packages[:2] == ("WP03", "WP04")
    # the target went to the very commit that the commands ran on, in one step
    moves = git(shop.repo, "reflog", "show", "--format=%H %gs", "main").splitlines()
    [move] = [line for line in moves if "WP03 WP04" in line]
    assert move.split()[0] == together.tip == ledger.reviews(FEATURE, together.packages[-1])[-1].candidate
    for wp in ("WP03", "WP04"):
        review = ledger.reviews(FEATURE, wp)[-1]
        [done] = [e for e in ledger.entries(FEATURE, wp=wp) if e.transition.endswith("->done")]
        assert done.metadata["merge_commit"] == review.candidate
        assert done.metadata["batch"] == {"tip": together.tip, "packages": list(together.packages)}
        assert [ref["fr_id"] for ref in done.evidence_refs] == ["FR-1"]
        documents = [json.loads(frozen.store(shop.project).get(c.evidence or "") or b"") for c in review.checks]
        ran = [d for d in documents if d["data"].get("command")]
        assert {d["data"]["command"] for d in ran} == {"sh check.sh", f"test -e src/{wp.lower()}.txt && : FR-1"}
        assert {d["batch"]["tip"] for d in ran} == {together.tip}
        assert "together" in next(c.looked_at for c in explaining.explain(shop.project, FEATURE, wp).checks if c.ran)
    told = [e.payload["batch"] for e in shop.told if e.subject.endswith("WP03.review.completed")]
    assert told == [{"tip": together.tip, "packages": list(together.packages)}]
    assert {wp for one in seen for wp in one} >= {"WP03", "WP04"}
    assert begun in git(shop.repo, "rev-list", "main").split()
    shop.check()
    assert auditing.verify(shop.project, FEATURE).ok
    statements = list(attesting.statements(shop.project, FEATURE))
    assert [one["predicate"]["result"] for one in statements] == ["PASSED"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("step", points(list(_KILLS)[:1], list(_KILLS)[1:]))
def test_a_batch_whose_landing_is_killed_has_landed_as_a_whole_or_not_at_all(shops: ShopFactory, step: str) -> None:
    shop = shop_of(shops, 3, 3)
    shop.save()
    for number in (1, 2, 3):
        shop.implement(f"WP0{number}")
    begun = shop.tip()
    child = shop.python(f"{_DIE}{_KILLS[step]}shop.run()")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, errors
    recovery.reconcile(shop.project)
    landed = shop.tip() != begun
    assert set(shop.states().values()) == {State.DONE if landed else State.FOR_REVIEW}
    assert landed == (step in list(_KILLS)[:2])
    assert shop.run().stuck == ()
    assert set(shop.states().values()) == {State.DONE}
    batches = {shop.project.ledger.reviews(FEATURE, wp)[-1].batch for wp in ("WP01", "WP02", "WP03")}
    assert batches == {Batch(shop.tip(), ("WP01", "WP02", "WP03"))}
    assert [t for t in shop.transitions() if t.endswith("->done")] == [f"WP0{n}:for_review->done" for n in (1, 2, 3)]
    assert git(shop.repo, "status", "--porcelain") == ""
    assert git(shop.repo, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"
    shop.check()
    assert auditing.verify(shop.project, FEATURE).ok
