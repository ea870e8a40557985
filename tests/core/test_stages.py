"""Stages as plain values: what waits for what, and how long all of it takes."""

from agentpkg.core import graph
from agentpkg.core.model import Feature, Stage, State, WorkPackage
from agentpkg.core.stages import Checked, Progress, chained, gates, needed

DONE = State.DONE


def feature(*stages: Stage, done_check: tuple[str, ...] = ()) -> Feature:
    packages = {wp: WorkPackage(wp, wp, "003", "x") for wp in ("WP01", "WP02", "WP03")}
    return Feature("003", "x", "features/003", packages=packages, stages=stages, done_check=done_check)


STAGED = feature(
    Stage("one", ("WP01",)), Stage("two", (), ("one",)), Stage("three", ("WP02",), ("two",), entry_check=("true",)),
    done_check=("all",),
)  # fmt: skip


def progress(states: dict[str, State], *passed: str | None, **entered: Checked) -> Progress:
    found = gates(STAGED, {})
    return Progress(found, {s: Checked(True, "c", found[s].packages) for s in passed}, entered, states)


def test_a_stage_waits_for_those_it_needs_then_for_its_entry_condition() -> None:
    assert progress({}).waits_for("WP02") == ["two"]
    assert progress({}).waits_for("WP01") == progress({}).waits_for("WP03") == []
    after = progress({"WP01": DONE}, "one", "two")
    assert after.entry_due("three")
    assert after.waits_for("WP02") == ["three"]
    inside = progress({"WP01": DONE}, "one", "two", three=Checked(True, "c", commands=("true",)))
    assert inside.waits_for("WP02") == []
    # whoever has begun is in, whatever the condition says now
    assert progress({"WP01": DONE, "WP02": State.DOING}, "one", "two").waits_for("WP02") == []


def test_a_gate_is_due_when_its_packages_are_over_and_those_before_it_are_passed() -> None:
    assert [s for s in STAGED.stages if progress({"WP01": DONE}).due(s.name)] == [STAGED.stages[0]]
    done = dict.fromkeys(("WP01", "WP02", "WP03"), DONE)
    assert not progress(done, "one", "two").due(None)
    assert progress(done, "one", "two", "three").due(None)
    assert not progress(done, "one", "two", "three", None).due(None)


def test_a_package_that_comes_later_opens_a_finished_stage_again() -> None:
    more = feature(Stage("one", ("WP01", "WP03")))
    found = Progress(gates(more, {}), {"one": Checked(True, "c", ("WP01",))}, {}, {"WP01": DONE})
    assert not found.finished("one")
    assert not found.due("one")


def test_a_failed_check_is_asked_again_on_another_target_or_with_other_commands() -> None:
    found = Progress(gates(STAGED, {}), {None: Checked(False, "c", commands=("all",))}, {}, {})
    assert found.fails_at(None, "c")
    assert found.fails_at(None, "d") is None
    other = Progress(gates(STAGED, {}), {None: Checked(False, "c", commands=("more",))}, {}, {})
    assert other.fails_at(None, "c") is None


def test_stages_count_for_how_long_all_of_it_takes() -> None:
    needs = chained(dict.fromkeys(("WP01", "WP02", "WP03"), ()), [(s.packages, s.needs, s.name) for s in STAGED.stages])
    assert needs == {"WP01": (), "WP02": ("WP01",), "WP03": ()}
    path, seconds = graph.critical_path(needs, {"WP01": 5, "WP02": 5, "WP03": 9}, ())
    assert (path, seconds) == (["WP01", "WP02"], 10)
    assert needed(STAGED, (), "three") == {"WP01"}
