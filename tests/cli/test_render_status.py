"""A feature as a person sees it."""

from datetime import UTC, datetime
from typing import Any

from agentpkg.cli import render_status
from agentpkg.cli.render_package import Look
from tests.cli.support import status_document, work_package

NOW = datetime(2026, 3, 1, 10, 27, 33, tzinfo=UTC)


def shown(document: dict[str, Any], forecast: int = 0) -> str:
    return "\n".join(line.plain for line in render_status.status(Look(document, NOW, forecast, 4)))


def test_the_whole_of_a_feature_in_the_middle_of_its_work() -> None:
    document = status_document(
        work_package(
            "WP01", "done", title="Models", commits=4, files_changed=3, tests={"passed": 18, "failed": 0},
            agent="claude-code", session="sess_1", merge_commit="4e7a3c2d1f00", started_at="2026-02-27T09:27:33Z",
            finished_at="2026-02-27T10:27:33Z",
        ),
        work_package(
            "WP02", "doing", title="Login Endpoint", dependencies=["WP01"], session="sess_2", agent="claude-code",
            isolation="basic", commits=2, files_changed=4, activity="writing tests",
            started_at="2026-03-01T10:15:33Z",
        ),
        work_package(
            "WP03", title="Middleware", dependencies=["WP02"], blocked_by=["WP02"], estimate_seconds=172800,
        ),
        critical_path=["WP02", "WP03"], estimate_seconds=432000,
    )  # fmt: skip
    assert (
        shown(document, 400000)
        == """\
Feature: 003-auth  Authentication
State:   Implementing  (merges into main)

  WP01  Models          ████████████  done
        Commits: 4 | Files: 3 | Tests: 18/18 passing
        Agent: claude-code | Completed: 2 days ago (took 1h 00m)
        Review cycles: 1 (approved on first pass) | Merge: 4e7a3c2d1f
  WP02  Login Endpoint  ██████░░░░░░  doing (claude-code)  12m 00s
        Session: sess_2 | Isolation: basic
        Started: 10:15 UTC
        Files changed: 4 | Commits: 2
        Current task: writing tests
  WP03  Middleware      ░░░░░░░░░░░░  planned (blocked)
        Blocked by: WP02 (doing)
        Est. effort: 2 days

Total WP progress: ████░░░░░░░░ 1/3 (33%)
Critical path: WP02 → WP03 (5 days)
Estimated completion: 4 days 15 hours with 4 at a time, 1 without an estimate"""
    )


def test_a_rejected_package_says_what_to_do() -> None:
    text = shown(status_document(
        work_package("WP01", "for_review", verdict="changes_requested", reason="changes requested: test-quality/tests",
                     agent="a", review_cycle=2)
    ))  # fmt: skip
    assert "for_review (changes requested)" in text
    assert "changes requested: test-quality/tests" in text
    assert "Review cycle: 2" in text
    assert "Next: agentpkg implement 003-auth --wp WP01" in text


def test_an_approved_package_waits_for_its_landing() -> None:
    text = shown(status_document(work_package("WP01", "for_review", verdict="approved", agent="a")))
    assert "Next: agentpkg move 003-auth WP01 --to done" in text


def test_a_blocked_package_says_why_and_a_forced_one_says_so() -> None:
    text = shown(status_document(
        work_package("WP01", "blocked", reason="agent_timeout", agent="a", session="sess_1"),
        work_package("WP02", "done", forced=True, merge_commit="abc", agent="a"),
        work_package("WP03", "done"), work_package("WP04", "cancelled", reason="not wanted"),
    ))  # fmt: skip
    assert "Reason: agent_timeout" in text
    assert "done (forced)" in text
    assert "Forced: landed without an approval" in text
    assert "Adopted as done" in text
    assert "Reason: not wanted" in text
    assert "2/4 (50%, 1 cancelled)" in text


def test_every_state_is_shown_in_full_and_in_brief_whatever_is_missing() -> None:
    for state in ("planned", "doing", "for_review", "done", "blocked", "cancelled"):
        document = status_document(*(work_package(f"WP{n:02}", state) for n in range(1, 40)))
        assert shown(document).count("WP") >= 39


def test_a_large_feature_gives_a_line_to_each_package_nobody_can_act_on() -> None:
    packages = [work_package(f"WP{n:04}", blocked_by=[f"WP{n - 1:04}"]) for n in range(1, 1001)]
    packages[0] = work_package("WP0001", "doing", agent="a", session="sess_1")
    lines = shown(status_document(*packages)).splitlines()
    assert len(lines) < 1020
    assert lines[-5].endswith("waits for WP0999") or any("waits for WP0998" in line for line in lines)


def test_a_board_fits_its_terminal_and_keeps_what_matters() -> None:
    packages = [work_package(f"WP{n:02}", "done") for n in range(1, 41)]
    packages += [work_package("WP41", "doing", agent="a", session="sess_9", activity="thinking")]
    packages += [work_package(f"WP{n}", blocked_by=["WP41"]) for n in range(42, 90)]
    look = Look(status_document(*packages), NOW, 0, 4)
    for height in (12, 20, 24, 60, 400):
        lines = [line.plain for line in render_status.board(look, height)]
        assert len(lines) <= max(height, 12)
        assert any("WP41" in line and "doing (a)" in line for line in lines), height
        assert "40/89" in lines[-1]
    small = "\n".join(line.plain for line in render_status.board(look, 20))
    assert "40 over: WP01, WP02" in small
    assert "48 waiting: WP42" in small


def test_stages_are_shown_with_why_one_fails() -> None:
    stages = [{"name": "one", "state": "done", "detail": None}, {"name": "two", "state": "failed", "detail": "no luck"}]
    last = {"name": None, "state": "waiting", "detail": None}
    document = status_document(work_package(), stages=stages, done_check=last)
    shown = "\n".join(text.plain for text in render_status.status(Look(document, NOW, 0, 4)))
    assert "Stages: one done, two failed, done check waiting\n  two fails: no luck" in shown
