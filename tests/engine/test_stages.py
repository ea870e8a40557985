"""Stages, done checks, and the loop that goes on until a feature is done."""

import json

import pytest

from agentpkg import views
from agentpkg.core.errors import BadInput, NotAllowed
from agentpkg.core.model import State
from agentpkg.engine import exporting, looking
from agentpkg.engine.dispatching import dispatch, gatekeeping
from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Finished, Options, Stop
from tests.engine.test_run import Running
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git
from tests.support.wait import until

TWO = [
    {"name": "stage-1", "packages": ["WP01"], "done_check": ["test -e src/wp01.txt"]},
    {"name": "stage-2", "packages": ["WP02"], "needs": ["stage-1"], "done_check": ["test -e src/wp02.txt"]},
]


def meta(shop: Shop, **said: object) -> None:
    path = shop.repo / "features" / FEATURE / "meta.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in said.items()))


def go(shop: Shop, **more: object) -> Finished:
    """One run of the feature with these options."""
    project = shop.project
    options = Options(4, **more)  # type: ignore[arg-type]
    feature = project.good_feature(FEATURE)
    return Run(project, feature, options, shop.told.append, Stop()).to_the_end()


def status(shop: Shop) -> dict[str, object]:
    project = shop.project
    return views.status(looking.see(project, project.good_feature(FEATURE)))


def tagged(shop: Shop) -> dict[str, str]:
    lines = git(shop.repo, "for-each-ref", "--format=%(refname:short) %(*objectname)", "refs/tags").splitlines()
    return dict(line.split(" ") for line in lines)


@pytest.mark.slow
def test_a_stage_begins_when_those_it_needs_are_finished_and_each_end_is_tagged(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    meta(shop, stages=TWO)
    before = status(shop)
    assert [(p["stage"], p["ready"], p["waits_for_stages"]) for p in before["work_packages"]] == [  # type: ignore
        ("stage-1", True, []), ("stage-2", False, ["stage-1"]),
    ]  # fmt: skip
    assert go(shop).stuck == ()
    assert shop.order() == ["WP01", "WP02"]
    assert [stage["state"] for stage in status(shop)["stages"]] == ["done", "done"]  # type: ignore
    found = tagged(shop)
    assert found == {
        f"{FEATURE}/stage-1-done": shop.row("WP01").merge_commit,
        f"{FEATURE}/stage-2-done": shop.row("WP02").merge_commit,
    }
    assert "Stage: stage-1" in git(shop.repo, "cat-file", "tag", f"{FEATURE}/stage-1-done")
    told = [e.payload["stage"] for e in shop.told if e.subject.endswith(".stage.checked")]
    assert told == ["stage-1", "stage-2"]
    # a tag that somebody has removed comes back the same
    git(shop.repo, "tag", "-d", f"{FEATURE}/stage-1-done")
    assert go(shop).stuck == ()
    assert tagged(shop) == found


@pytest.mark.slow
def test_a_tag_of_the_users_in_the_way_stays_and_is_named(shops: ShopFactory) -> None:
    shop = shops()
    meta(shop, stages=TWO[:1])
    mine = shop.tip()
    git(shop.repo, "tag", FEATURE)
    warned: list[str] = []
    project = shop.project
    run = Run(project, project.good_feature(FEATURE), Options(1), lambda event: None, Stop(), warned.append)
    assert run.to_the_end().stuck == ()
    tags = git(shop.repo, "for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
    assert tags == f"refs/tags/{FEATURE} {mine}"
    (said,) = {line for line in warned if "tag" in line}
    assert f"{FEATURE}/stage-1-done was not made: a tag of yours, {FEATURE}, is in its way" in said
    git(shop.repo, "tag", "-d", FEATURE)
    git(shop.repo, "tag", f"{FEATURE}/stage-1-done/mine")
    assert gatekeeping.ensure_tags(project, FEATURE, warned.append) == [f"{FEATURE}/stage-1-done"]
    assert f"{FEATURE}/stage-1-done/mine" in warned[-1]
    git(shop.repo, "tag", "-d", f"{FEATURE}/stage-1-done/mine")
    assert gatekeeping.ensure_tags(project, FEATURE) == []
    assert list(tagged(shop)) == [f"{FEATURE}/stage-1-done"]


def test_a_package_of_a_stage_that_waits_cannot_be_started_by_hand(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    meta(shop, stages=TWO)
    project = shop.project
    with pytest.raises(NotAllowed, match="WP02 waits for stage-1"):
        dispatch.start(project, project.good_feature(FEATURE), "WP02", dispatch.Wish())


@pytest.mark.slow
def test_a_tag_of_the_users_own_is_never_moved(shops: ShopFactory) -> None:
    shop = shops()
    git(shop.repo, "tag", f"{FEATURE}/stage-1-done")
    mine = git(shop.repo, "rev-parse", f"{FEATURE}/stage-1-done")
    meta(shop, stages=[{"name": "stage-1", "packages": ["WP01"]}])
    assert go(shop).stuck == ()
    assert git(shop.repo, "rev-parse", f"{FEATURE}/stage-1-done") == mine


@pytest.mark.slow
def test_an_entry_condition_that_is_not_met_holds_its_stage_alone_and_says_so(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    stages = [{"name": "a", "packages": ["WP01"]}, {"name": "b", "packages": ["WP02"], "entry_check": ["test -e key"]}]
    meta(shop, stages=stages)
    (one,) = go(shop).stuck
    assert (one.wp, one.state) == ("WP02", State.PLANNED)
    assert one.reason.startswith("the entry condition of b is not met: test -e key: exit code 1")
    (shop.repo / "key").write_text("x")
    shop.save("the key")
    assert go(shop).stuck == ()


@pytest.mark.slow
def test_a_failed_done_check_is_told_and_keeps_the_next_stage_closed(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    stages = [{**TWO[0], "done_check": ["echo no luck; false"]}, TWO[1]]
    meta(shop, stages=stages)
    stuck = go(shop).stuck
    assert [(one.wp, one.stage) for one in stuck] == [("WP02", None), (None, "stage-1")]
    assert stuck[0].reason == "waits for stage-1"
    assert "no luck" in stuck[1].reason
    assert tagged(shop) == {}
    # asked again on the same target it is not run again
    count = len(shop.project.ledger.noted(FEATURE, "stage_checked"))
    go(shop)
    assert len(shop.project.ledger.noted(FEATURE, "stage_checked")) == count == 1


FIX = """\
case "$AGENTPKG_WP" in
FIX*) n=$(cat fixed 2>/dev/null || echo 0); echo $((n + 1)) > fixed; git add fixed
      git commit -q -m "fix($AGENTPKG_WP): one more"; exit 0;;
esac
"""


def fixing(shop: Shop) -> None:
    """The agent mends one thing at a time in fixes."""
    path = shop.tools / "agent.sh"
    head, _, rest = path.read_text().partition("script=")
    path.write_text(f"{head}{FIX}script={rest}")


@pytest.mark.slow
def test_a_failed_last_check_is_mended_by_fixes_until_it_passes(shops: ShopFactory) -> None:
    shop = shops()
    fixing(shop)
    meta(shop, done_check=['echo "fixed: $(cat fixed)"; test "$(cat fixed)" -ge 2'])
    assert go(shop).stuck[0].stage == "done_check"
    assert go(shop, until_done=True, max_cycles=3).stuck == ()
    assert shop.states() == {"FIX01": State.DONE, "FIX02": State.DONE, "WP01": State.DONE}
    shop.check()
    session = shop.project.ledger.sessions(FEATURE, "FIX02")[0]
    prompt = (shop.state / "sessions" / session.id / "prompt.md").read_text()
    assert "fixed: 1" in prompt
    assert git(shop.repo, "status", "--porcelain", "--", "features").count("FIX") == 0
    assert status(shop)["done_check"]["state"] == "done"  # type: ignore
    assert [warning for warning in status(shop)["warnings"] if "FIX" in warning] == []  # type: ignore


@pytest.mark.slow
def test_fixes_end_when_the_cycles_are_used_up_and_go_on_with_more(shops: ShopFactory) -> None:
    shop = shops()
    fixing(shop)
    meta(shop, done_check=['test "$(cat fixed)" -ge 2'])
    (one,) = go(shop, until_done=True, max_cycles=1).stuck
    assert one.reason.startswith("fails after 1 fixes, no cycle is left")
    assert go(shop, until_done=True, max_cycles=2).stuck == ()


@pytest.mark.slow
def test_until_done_gives_failed_packages_another_round_and_stops_after_the_last(shops: ShopFactory) -> None:
    shop = shops(retries=0)
    shop.agent("WP01", "exit 3")
    (one,) = go(shop, until_done=True, max_cycles=2).stuck
    assert one.wp == "WP01"
    assert len(shop.project.ledger.sessions(FEATURE, "WP01")) == 3
    shop.agent("WP01", 'save "src/$n.txt" x')
    assert go(shop, until_done=True, max_cycles=3).stuck == ()


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("no", "`stages` should be a list"),
        ([{"name": "a", "packages": ["WP09"]}], "no such work package; there are WP01, WP02"),
        ([{"name": "a b"}], "`name` should be letters"),
        ([{"name": "a", "packages": ["WP01"]}, {"name": "b", "packages": ["WP01"]}], "WP01 is in a already"),
        ([{"name": "a"}, {"name": "a"}], "another stage is called a"),
        ([{"name": "a", "needs": ["z"]}], "no such stage; there are a"),
        ([{"name": "a", "packages": ["WP01"], "needs": ["b"]}, {"name": "b", "packages": ["WP02"]}], "a cycle: "),
        ([{"name": "a", "ends": 1}], "a stage has no `ends`"),
    ],
)
def test_what_is_wrong_with_stages_is_told_with_its_line(shops: ShopFactory, stages: object, said: str) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    meta(shop, title="x", stages=stages)
    with pytest.raises(BadInput) as caught:
        shop.project.good_feature(FEATURE)
    problems = caught.value.details["problems"]
    assert any(said in p["message"] and p["file"].endswith("meta.yaml") and p["line"] == 2 for p in problems), problems


@pytest.mark.slow
def test_export_writes_what_other_tools_read_and_nothing_over_files_of_others(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    meta(shop, stages=TWO)
    go(shop)
    place = shop.tools / "harness"
    for _ in range(2):
        exporting.export(shop.project, FEATURE, place)
    progress = json.loads((place / "progress.json").read_text())
    assert progress["stages"] == {"stage-1": "complete", "stage-2": "complete"}
    assert progress["tags"]["stage-2"] == f"{FEATURE}/stage-2-done"
    features = json.loads((place / "features.json").read_text())
    assert [(f["id"], f["stage"], f["implemented"]) for f in features] == [
        ("WP01", "stage-1", True), ("WP02", "stage-2", True),
    ]  # fmt: skip
    (place / "progress.json").write_text("mine")
    with pytest.raises(NotAllowed):
        exporting.export(shop.project, FEATURE, place)
    assert (place / "progress.json").read_text() == "mine"


def test_a_killed_check_leaves_nothing_and_is_run_again(shops: ShopFactory) -> None:
    shop = shops()
    meta(shop, done_check=[f"touch {shop.tools}/checking; while [ ! -e {shop.tools}/free ]; do sleep 0.02; done"])
    running = Running(shop)
    until(lambda: (shop.tools / "checking").exists())
    running.stop.press()
    running.stop.press()
    (one,) = running.finished().stuck
    assert one.reason == "the feature's done check was not run: the run was stopped"
    shop.go("free")
    assert go(shop).stuck == ()
