"""``run``: what it starts, in which order, how it ends, and what it tells of what is stuck."""

import threading
import time

import pytest

from agentpkg import views
from agentpkg.core.errors import Busy
from agentpkg.core.model import FeatureState, State
from agentpkg.engine import looking, moving
from agentpkg.engine.doctor import look
from agentpkg.engine.running.values import Finished, Stop
from agentpkg.engine.upkeep import rewinding
from tests.support.engine_shop import FEATURE, Shop, ShopFactory, shape
from tests.support.repos import commit, git
from tests.support.wait import until

DONE, BLOCKED, PLANNED, FOR_REVIEW = State.DONE, State.BLOCKED, State.PLANNED, State.FOR_REVIEW


class Running:
    """A run in a thread, as the command line has it."""

    def __init__(self, shop: Shop, jobs: int = 4) -> None:
        self.stop = Stop()
        self._found: list[Finished] = []
        self._thread = threading.Thread(target=lambda: self._found.append(shop.run(jobs, self.stop)))
        self._thread.start()

    def finished(self, seconds: float = 20) -> Finished:
        self._thread.join(seconds)
        assert self._found, "the run has not ended"
        return self._found[0]


def stuck(finished: Finished) -> dict[str, str]:
    return {one.wp: one.reason for one in finished.stuck}


def most_at_once(diary: list[str]) -> int:
    now = most = 0
    for line in diary:
        now += 1 if line.endswith("start") else -1
        most = max(most, now)
    return most


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("diamond", 4),
        *(
            pytest.param(kind, 10, marks=[pytest.mark.slow, pytest.mark.exhaustive])
            for kind in ("chain", "wide", "layers")
        ),
    ],
)
def test_a_feature_of_any_shape_is_done_in_an_order_that_its_dependencies_allow(
    shops: ShopFactory, kind: str, count: int
) -> None:
    needs = shape(kind, count)
    shop = shops(needs)
    assert shop.run().stuck == ()
    assert set(shop.states().values()) == {DONE}
    landed = [t.split(":")[0] for t in shop.transitions() if t.endswith("->done")]
    started = [t.split(":")[0] for t in shop.transitions() if t.endswith("->doing")]
    assert len(landed) == len(started) == count
    entries = shop.transitions()
    for wp, before in needs.items():
        for name in before:
            assert entries.index(f"{name}:for_review->done") < entries.index(f"{wp}:planned->doing")
    shop.check()
    assert shop.project.ledger.feature(FEATURE).state is FeatureState.VALIDATED  # type: ignore[union-attr]
    # nothing is left lying about
    assert not list((shop.repo / ".worktrees").iterdir())
    assert git(shop.repo, "status", "--porcelain") == ""
    assert git(shop.repo, "branch", "--list", "feat/*") == ""


@pytest.mark.slow
def test_higher_priority_goes_first_then_what_most_work_waits_for(shops: ShopFactory) -> None:
    shop = shops(
        {"WP01": [], "WP02": [], "WP03": ["WP02"], "WP04": [], "WP05": []},
        packages={"WP02": {"estimate": "1d"}, "WP01": {"estimate": "1d"}, "WP04": {"priority": 5}},
    )
    shop.run(jobs=1)
    assert shop.order()[:3] == ["WP04", "WP02", "WP01"] or shop.order()[:3] == ["WP04", "WP02", "WP03"]
    assert shop.order()[-1] in ("WP03", "WP05")


@pytest.mark.slow
def test_no_more_sessions_than_jobs_run_at_once(shops: ShopFactory) -> None:
    shop = shops(shape("wide", 6))
    for wp in shop.project.good_feature("003").packages:
        shop.agent(wp, 'wait_for go; save "src/$n.txt" x')
    running = Running(shop, jobs=2)
    until(lambda: len(shop.order()) == 2)
    shop.go("go")
    assert running.finished(60).stuck == ()
    assert most_at_once(shop.diary()) == 2


@pytest.mark.slow
def test_until_does_only_a_package_and_what_it_needs(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"], "WP03": [], "WP04": ["WP02"]})
    assert shop.run(until="WP02").stuck == ()
    assert shop.states() == {"WP01": DONE, "WP02": DONE, "WP03": PLANNED, "WP04": PLANNED}


@pytest.mark.slow
def test_a_failing_agent_is_tried_again_then_it_and_its_dependents_are_stuck_and_say_why(
    shops: ShopFactory,
) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"], "WP03": []}, retries=2)
    shop.agent("WP01", "echo no idea; exit 3")
    found = stuck(shop.run())
    assert shop.order().count("WP01") == 3
    assert shop.states() == {"WP01": BLOCKED, "WP02": PLANNED, "WP03": DONE}
    assert "3" in found["WP01"]
    assert found["WP02"] == "waits for WP01"
    assert set(found) == {"WP01", "WP02"}


@pytest.mark.slow
def test_a_second_try_that_succeeds_lets_the_run_go_on(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]}, retries=1)
    shop.agent("WP01", "exit 1", attempt=1)
    assert shop.run().stuck == ()
    assert shop.order() == ["WP01", "WP01", "WP02"]


@pytest.mark.slow
def test_a_rejected_package_is_dispatched_again_until_its_cycles_are_used_up(shops: ShopFactory) -> None:
    shop = shops(cycles=2)
    shop.agent("WP01", 'save "src/other.txt" "$try"')
    found = stuck(shop.run())
    assert shop.order() == ["WP01"] * 2
    assert "review cycles used up (2)" in found["WP01"]
    assert shop.states() == {"WP01": BLOCKED}


@pytest.mark.slow
def test_a_run_does_not_turn_in_circles_on_a_tip_that_a_person_put_up_for_review_again(shops: ShopFactory) -> None:
    shop = shops(cycles=1)
    shop.agent("WP01", 'save "src/other.txt" "$try"')
    shop.run()
    moving.move(shop.project, FEATURE, "WP01", moving.Wish(FOR_REVIEW))
    before = len(shop.transitions())
    assert "used up" in stuck(Running(shop).finished())["WP01"]
    assert shop.states() == {"WP01": BLOCKED}
    # answered from the record: no further review, only the way back to blocked
    assert shop.transitions()[before:] == ["WP01:for_review->blocked"]
    assert len(shop.project.ledger.reviews(FEATURE, "WP01")) == 1


@pytest.mark.slow
def test_a_check_that_gives_no_verdict_stops_the_package_and_not_the_run(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]}, checks="{name: tests, run: no-such-program-anywhere}")
    found = stuck(Running(shop).finished())
    assert "no verdict" in found["WP01"]
    assert shop.row("WP01").cycle == 1
    assert shop.project.ledger.reviews(FEATURE, "WP01") == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["approval", "auto"])
def test_what_a_person_must_approve_is_judged_and_waits(shops: ShopFactory, how: str) -> None:
    more = {"WP01": {"approval": "required"}} if how == "approval" else {}
    shop = shops({"WP01": [], "WP02": ["WP01"]}, auto=how != "auto", packages=more)
    found = stuck(shop.run())
    assert ("agentpkg approve" if how == "approval" else "agentpkg move") in found["WP01"]
    assert found["WP02"] == "waits for WP01"
    moved = moving.move(shop.project, FEATURE, "WP01", moving.Wish(DONE))
    assert isinstance(moved, moving.Moved)
    assert moved.unblocked == ("WP02",)
    assert [one.wp for one in shop.run().stuck] == (["WP02"] if how == "auto" else [])


@pytest.mark.slow
def test_an_interrupt_lets_sessions_finish_and_a_later_run_goes_on(shops: ShopFactory) -> None:
    shop = shops(shape("chain", 3))
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(lambda: shop.order() == ["WP01"])
    running.stop.press()
    shop.go("go")
    finished = running.finished()
    assert finished.interrupted
    assert shop.states() == {"WP01": DONE, "WP02": PLANNED, "WP03": PLANNED}
    assert "stopped" in stuck(finished)["WP02"]
    assert shop.run().stuck == ()
    assert shop.order() == ["WP01", "WP02", "WP03"]


@pytest.mark.slow
def test_a_second_interrupt_stops_sessions_and_checks_and_loses_nothing(shops: ShopFactory) -> None:
    shop = shops(
        {"WP01": [], "WP02": [], "WP03": []},
        checks='{name: slow, run: "sleep 30"}',
    )
    shop.agent("WP01", 'save "src/$n.txt" one; wait_for never')
    shop.agent("WP03", "wait_for never")
    running = Running(shop)
    until(lambda: shop.states().get("WP02") is FOR_REVIEW and shop.order().count("WP01") == 1)
    until(lambda: (shop.tools / "WP03.tries").exists())
    began = time.monotonic()
    running.stop.press()
    running.stop.press()
    finished = running.finished()
    assert time.monotonic() - began < 5
    states = shop.states()
    assert states == {"WP01": BLOCKED, "WP02": FOR_REVIEW, "WP03": BLOCKED}
    assert stuck(finished)["WP01"].startswith("interrupted")
    assert not [pid for pid in shop.processes() if "agent.sh" in _argv(pid)]
    assert shop.project.ledger.reviews(FEATURE, "WP02") == []


def _argv(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as handle:
            return handle.read()
    except OSError:
        return ""


@pytest.mark.slow
def test_a_second_run_of_one_feature_is_told_that_it_is_busy(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(shop.order)
    with pytest.raises(Busy):
        shop.run()
    shop.go("go")
    assert running.finished().stuck == ()


@pytest.mark.slow
def test_a_run_whose_process_is_killed_is_taken_up_by_the_next(shops: ShopFactory) -> None:
    shop = shops(shape("diamond", 4))
    shop.agent("WP02", 'wait_for go; save "src/$n.txt" x')
    child = shop.python("shop.run()")
    until(lambda: "WP02" in shop.order(), seconds=60)
    child.kill()
    child.communicate()
    shop.go("go")
    assert shop.run().stuck == ()
    # the session of the killed run went on with its supervisor: nothing was done twice
    assert sorted(shop.order()) == ["WP01", "WP02", "WP03", "WP04"]
    shop.check()


@pytest.mark.slow
@pytest.mark.parametrize("nats", [True, False])
def test_a_move_in_another_process_lets_a_run_go_on_at_once(shops: ShopFactory, nats: bool) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"], "WP03": []}, nats=nats, packages={"WP01": {"approval": "required"}})
    shop.agent("WP03", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(lambda: shop.states().get("WP01") is FOR_REVIEW and shop.row("WP01").verdict is not None)
    child = shop.python(
        "from agentpkg.engine import looking, moving; from agentpkg.core.model import State; "
        "moving.move(shop.project, shop.feature, 'WP01', moving.Wish(State.DONE))"
    )
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    until(lambda: "WP02" in shop.order(), 5, "the package that the move unblocked")
    shop.go("go")
    assert running.finished().stuck == ()


@pytest.mark.slow
def test_a_package_that_is_added_later_takes_a_validated_feature_back(shops: ShopFactory) -> None:
    shop = shops()
    shop.run()
    shop.package("WP02", ["WP01"])
    assert shop.run().stuck == ()
    assert shop.states() == {"WP01": DONE, "WP02": DONE}
    changes = [t for t in shop.transitions() if ":" not in t]
    assert changes[-3:] == ["implementing->validated", "validated->implementing", "implementing->validated"]


@pytest.mark.slow
def test_a_package_that_is_added_while_a_run_goes_on_is_done_with_the_others(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(shop.order)
    shop.package("WP02")
    until(lambda: shop.states().get("WP02") is DONE, 10)
    shop.go("go")
    assert running.finished().stuck == ()


@pytest.mark.slow
def test_a_package_whose_file_vanished_keeps_its_state_and_is_told(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    shop.agent("WP02", "exit 1")
    shop.run()
    (shop.repo / "features" / FEATURE / "tasks" / "WP02-part.md").unlink()
    assert stuck(shop.run()) == {"WP02": "its file has vanished"}
    assert shop.states()["WP02"] is BLOCKED


@pytest.mark.slow
def test_files_that_say_nonsense_for_a_while_stop_a_run_only_as_long(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    path = shop.repo / "features" / FEATURE / "tasks" / "WP02-part.md"
    good = path.read_text()
    running = Running(shop)
    until(shop.order)
    path.write_text("---\nwork_package_id: nonsense\n---\n")
    shop.go("go")
    assert "WP02" in stuck(running.finished())
    path.write_text(good)
    assert shop.run().stuck == ()


@pytest.mark.slow
def test_a_dependency_on_another_feature_waits_for_it(shops: ShopFactory) -> None:
    shop = shops({"WP01": ["001-base/WP01"]})
    shop.package("WP01", feature="001-base", deliverables=["src/other.txt"], owned_files=["src/other.txt"])
    assert stuck(shop.run()) == {"WP01": "waits for 001-base/WP01"}
    shop.agent("WP01", 'save "src/other.txt" x', attempt=1)
    shop.feature = "001-base"
    assert shop.run().stuck == ()
    shop.feature = FEATURE
    assert shop.run().stuck == ()
    shop.check()


def test_a_cancelled_dependency_is_named_as_what_nobody_waits_for(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    shop.project.ensure_registered(shop.project.good_feature("003"))
    moving.cancel(shop.project, FEATURE, "WP01", "not needed")
    assert stuck(shop.run()) == {"WP02": "waits for WP01, which is cancelled"}


@pytest.mark.slow
def test_the_configuration_that_changed_while_a_session_ran_asks_for_a_person(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(lambda: shop.states().get("WP02") is DONE)
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text() + "limits: {silence: 99}\n")
    shop.go("go")
    assert "configuration changed" in stuck(running.finished())["WP01"]
    assert shop.row("WP01").verdict is None
    _review(shop, "WP01")
    assert shop.run().stuck == ()


@pytest.mark.slow
def test_the_configuration_that_changed_between_two_sessions_is_simply_used(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]}, auto=False)
    shop.run()
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace("auto: false", "auto: true"))
    assert shop.run().stuck == ()


def _review(shop: Shop, wp: str) -> None:
    from agentpkg.engine.judging import review

    review.review(shop.project, FEATURE, wp)


@pytest.mark.slow
def test_what_is_in_the_way_of_one_package_does_not_stop_the_others(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    (shop.repo / "src" / "wp01.txt").write_text("mine\n")
    found = stuck(shop.run())
    assert "src/wp01.txt" in found["WP01"]
    assert shop.states() == {"WP01": FOR_REVIEW, "WP02": DONE}
    assert (shop.repo / "src" / "wp01.txt").read_text() == "mine\n"
    (shop.repo / "src" / "wp01.txt").unlink()
    assert shop.run().stuck == ()


@pytest.mark.slow
def test_a_target_that_the_user_moves_all_the_while_is_followed(shops: ShopFactory) -> None:
    shop = shops(shape("wide", 3))
    running = Running(shop)
    for i in range(5):
        # each time an agent has begun or ended, so that the target moves between dispatches and landings
        until(lambda i=i: len(shop.diary()) > i)
        commit(shop.repo, {f"user{i}.txt": "x"}, f"user {i}")
    assert running.finished().stuck == ()
    shop.check()
    assert all((shop.repo / f"user{i}.txt").exists() for i in range(5))


@pytest.mark.slow
def test_a_git_lock_that_goes_away_only_delays_a_landing(shops: ShopFactory) -> None:
    shop = shops()
    lock = shop.repo / ".git" / "index.lock"
    lock.touch()
    running = Running(shop)
    until(lambda: shop.states().get("WP01") is FOR_REVIEW and shop.row("WP01").verdict is not None)
    lock.unlink()
    assert running.finished().stuck == ()
    assert len(shop.project.ledger.reviews(FEATURE, "WP01")) == 1


@pytest.mark.slow
def test_a_package_that_changed_the_repository_waits_for_a_person_and_the_doctor_names_it(shops: ShopFactory) -> None:
    shop = shops(retries=2)
    shop.agent("WP01", f"save src/wp01.txt x; echo 'exit 0' > {shop.repo}/.git/hooks/post-checkout")
    stuck = shop.run().stuck
    assert "hooks/post-checkout appeared" in stuck[0].reason
    assert len(shop.project.ledger.sessions()) == 1
    (kept,) = rewinding.listed(shop.project, FEATURE, "WP01")
    assert (kept.as_json()["why"], kept.kept.files) == ("refused", 1)
    told = [f for f in look(shop.repo, shop.project.environ) if f.name == "sessions" and f.status == "warn"]
    assert "hooks/post-checkout appeared" in told[0].detail


@pytest.mark.slow
def test_packages_that_own_the_same_files_do_not_work_side_by_side_and_one_that_fails_holds_up_nobody(
    shops: ShopFactory,
) -> None:
    shop = shops({}, retries=0)
    shared = ["src/*", "shared/**"]
    shop.package("WP01", owned_files=["src/wp01*", "shared/**"])
    shop.package("WP02", owned_files=shared, priority=5)
    shop.package("WP03", owned_files=["src/wp03*", "shared/x"])
    shop.package("WP04", owned_files=["other/*"], deliverables=[])
    shop.agent("WP02", "wait_for go; exit 1")
    shop.agent("WP04", "mkdir other; save other/x y")
    shop.save()
    running = Running(shop)
    until(lambda: shop.states().get("WP04") is DONE, 20)
    package = {one["id"]: one for one in views.status(looking.see(shop.project, shop.project.feature(FEATURE)))[
        "work_packages"]}  # fmt: skip
    assert [one["wp"] for one in package["WP03"]["behind"]] == ["WP02", "WP01"]
    assert package["WP03"]["behind"][1]["reason"].endswith("both may change shared/x")
    assert shop.states()["WP01"] is shop.states()["WP03"] is PLANNED
    shop.go("go")
    assert stuck(running.finished()).keys() == {"WP02"}
    assert shop.states() == {"WP01": DONE, "WP02": BLOCKED, "WP03": DONE, "WP04": DONE}
    entries = shop.transitions()
    assert entries.index("WP01:for_review->done") < entries.index("WP03:planned->doing")
    shop.check()
