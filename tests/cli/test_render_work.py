"""Sessions, landings and runs as a person sees them."""

from typing import Any

from agentpkg.cli import render_run, render_work
from agentpkg.core.records import EventRow
from agentpkg.engine.moving import Moved


def plain(lines: Any) -> str:
    return "\n".join(line.plain for line in lines)


def ended(**more: Any) -> dict[str, Any]:
    return {
        "feature": "003-auth", "wp": "WP02", "session": "sess_1", "agent": "a", "outcome": "completed",
        "state": "for_review", "reason": None, "base": "b", "commits": ["1", "2"], "files_changed": 4,
        "exit_code": 0, "duration_seconds": 125, "attempts": 1, "usage": None, **more,
    }  # fmt: skip


def end(document: dict[str, Any], **more: Any) -> str:
    settings: dict[str, Any] = {"target": "main", "worktree": ".worktrees/003-auth-WP02", "retried": False, **more}
    return plain(render_work.ended(document, **settings))


def test_a_session_that_succeeded_names_the_review() -> None:
    text = end(ended(usage={"output_tokens": 12}))
    assert "✓ WP02 moved to for_review after 2m 05s" in text
    assert "Commits: 2 (ahead of main), 4 files changed" in text
    assert "output_tokens 12" in text
    assert "agentpkg review 003-auth WP02" in text


def test_a_session_that_timed_out_offers_both_ways_on() -> None:
    text = end(ended(outcome="timeout", state="blocked", reason="agent_timeout", exit_code=-9), timeout=1800)
    assert "Agent session timed out after 2m 05s (it had 30m 00s):" in text
    assert "Exit code:     ended by signal 9 (timeout)" in text
    assert "Commits made:  2 (partial work)" in text
    assert "WP02 moved to blocked.  Reason: agent_timeout" in text
    assert "Option 1" in text
    assert "cd .worktrees/003-auth-WP02" in text
    assert "agentpkg move 003-auth WP02 --to for_review" in text
    assert "Option 2" in text
    assert "agentpkg implement 003-auth --wp WP02 --fresh" in text


def test_a_failure_that_is_tried_again_offers_nothing() -> None:
    text = end(ended(outcome="failed", state="blocked", commits=[], reason="no commits", exit_code=3), retried=True)
    assert "WP02 is tried again." in text
    assert "Option" not in text


def test_a_record_of_many_lines_is_indented_below_its_time() -> None:
    record = {"seq": 1, "time": "2026-03-01T10:15:33.5Z", "kind": "output", "text": "one\ntwo\n\x1b[31mthree"}
    assert plain(render_work.log_lines(record)) == "[10:15:33] one\n           two\n           three"
    assert plain(render_work.log_lines(record, 2)).endswith("… 1 more line")
    assert plain(render_work.log_lines({**record, "text": "x" * 9000}, 2)).endswith("xx… 7000 characters more")


def test_kinds_of_records_read_like_sentences() -> None:
    said = [("commit", "feat: x", {}), ("started", "session s", {}), ("tool", "ls", {"tool": "Bash"}), ("end", "", {})]
    lines = [
        plain(render_work.log_lines({"time": "2026-03-01T10:15:33Z", "kind": kind, "text": text, **more}))
        for kind, text, more in said
    ]
    assert lines == ["[10:15:33] Commit: feat: x", "[10:15:33] Started: session s", "[10:15:33] Bash: ls", ""]


def test_a_landing_names_branch_commit_and_what_it_unblocked() -> None:
    moved = Moved(
        "003-auth", "WP02", "for_review", "done", "4e7a3c2d1f00", ("WP03", "004-x/WP01"), "feat/b", "main", 4, 6
    )
    assert (
        plain(render_work.moved(moved, {"WP03": "Session Middleware"}))
        == """\
WP02 moved to done  (was for_review)
Merging branch feat/b → main
  ✓ Merged (4 commits, 6 files)  4e7a3c2d1f
Dependency resolution:
  WP03 (Session Middleware) is now unblocked
  004-x/WP01 is now unblocked"""
    )


def test_events_become_sentences_about_packages() -> None:
    teller = render_run.Teller({"sess_0": "WP01"}.get)
    told = [
        ("feature.003.wp.WP02.state.changed", {"from": "planned", "to": "doing"}),
        ("agent.job.sess_1.started", {"wp_id": "WP02", "agent": "a"}),
        ("agent.job.sess_1.commit", {"sha": "4e7a3c2d1f", "message": "feat(WP02): x [red]"}),
        ("agent.job.sess_1.completed", {"wp_id": "WP02", "success": False, "outcome": "timeout", "commits": 1}),
        ("feature.003.wp.WP02.review.completed", {"verdict": "approved", "cycle": 2}),
        ("feature.003.wp.WP03.unblocked", {"unblocked_by": "WP02"}),
        ("feature.003.state.changed", {"from": "implementing", "to": "validated"}),
        ("agent.job.sess_1.progress", {"text": "x"}),
        # of a session that began before anybody listened
        ("agent.job.sess_0.commit", {"sha": "5e7a3c2d1f", "message": "feat(WP01): y"}),
    ]
    payloads = [
        EventRow(n, "", subject, {"time": "2026-03-01T10:15:33Z", **said}) for n, (subject, said) in enumerate(told)
    ]
    lines = [text.plain.removeprefix("[10:15:33] ") if (text := teller.sentence(row)) else None for row in payloads]
    assert lines == [
        None, "WP02  a started, session sess_1", "WP02  4e7a3c2 feat(WP02): x [red]",
        "WP02  ✗ session timeout (1 commit, 0 files)", "WP02  ✓ review approved (cycle 2)", "WP03  unblocked by WP02",
        "Feature 003: implementing → validated", None, "WP01  5e7a3c2 feat(WP01): y",
    ]  # fmt: skip


def test_the_end_of_a_run_lists_what_is_stuck() -> None:
    document = {
        "feature": "003-auth", "state": "implementing", "progress": {"done": 1, "total": 2},
        "stuck": [{"wp": "WP02", "state": "blocked", "reason": "no commits"}],
    }  # fmt: skip
    text = plain(render_run.finished(document, False, 75))
    assert "✗ 003-auth: stuck after 1m 15s" in text
    assert "WP02  blocked  no commits" in text
    good = plain(render_run.finished({**document, "stuck": [], "state": "validated"}, False, 75))
    assert "✓ 003-auth: done" in good
    assert "agentpkg move 003-auth --to shipped" in good


def test_a_run_until_a_package_says_what_is_done_and_how_to_go_on() -> None:
    document = {"feature": "003-auth", "state": "implementing", "progress": {"done": 2, "total": 5}, "stuck": []}
    text = plain(render_run.finished(document, False, 75, "WP02"))
    assert "✓ 003-auth: WP02 and what it needs: done after 1m 15s" in text
    assert "2/5 packages done, feature implementing" in text
    assert "Next: agentpkg run 003-auth for the rest" in text
    stuck = {**document, "stuck": [{"wp": "WP02", "state": "blocked", "reason": "x"}]}
    assert "agentpkg run 003-auth --until WP02" in plain(render_run.finished(stuck, False, 75, "WP02"))


def test_a_log_shows_of_each_block_of_diagnostics_the_last_line() -> None:
    kinds = ("text", "diagnostic", "diagnostic", "diagnostic", "tool", "diagnostic")
    records = [{"kind": kind, "text": f"{kind} {n}", "time": "2026-01-01T10:00:00Z"} for n, kind in enumerate(kinds)]
    shown = plain(render_work.logged(records, 100)).splitlines()
    assert [text.partition("] ")[2] for text in shown] == [
        "text 0", "… 2 lines of diagnostics (--json has them)", "diagnostic 3", "tool 4", "diagnostic 5",
    ]  # fmt: skip
    assert render_work.live_lines(records[1]) == []
