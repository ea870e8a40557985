"""A review as a person reads it."""

from typing import Any

from agentpkg.cli import render_review


def check(group: str, name: str, status: str = "pass", detail: str = "", evidence: str | None = None) -> dict[str, Any]:
    return {"group": group, "name": name, "status": status, "detail": detail, "evidence": evidence}


def document(verdict: str, *checks: dict[str, Any], candidate: str | None = "c" * 40) -> dict[str, Any]:
    return {
        "feature": "003-auth", "wp": "WP02", "verdict": verdict, "cycle": 1, "head": "a" * 40, "base": "b" * 40,
        "candidate": candidate, "checks": list(checks),
    }  # fmt: skip


def shown(found: dict[str, Any], **more: Any) -> str:
    return "\n".join(line.plain for line in render_review.review(found, "Login Endpoint", **more))


def test_groups_stand_in_their_order_with_a_mark_for_each_check() -> None:
    text = shown(document(
        "approved",
        check("governance", "commit messages", "pass", "2 follow the convention"),
        check("own-group", "spelling", "warn", "3 words"),
        check("deliverables", "src/login.py", "pass", "245 lines"),
        check("deliverables", "deliverables", "pass", "All 1 deliverables present"),
        check("test-quality", "tests", "pass", "All tests pass (26/26)"),
        check("code-quality", "lint", "skip", "not configured"),
        check("specification", "FR-1", "pass", "1 command passed"),
    ))  # fmt: skip
    assert (
        text
        == """\
Reviewing WP02: Login Endpoint
candidate cccccccccc: branch aaaaaaaaaa on target bbbbbbbbbb, review cycle 1

Deliverables Check
  ✓ src/login.py (245 lines)
  ✓ All 1 deliverables present

Test Quality
  ✓ All tests pass (26/26)  tests

Code Quality
  - lint: not configured

Specification Compliance
  ✓ FR-1: 1 command passed

Governance
  ✓ commit messages (2 follow the convention)

own-group
  ! spelling: 3 words

Result: APPROVED ✓  (1 warning)"""
    )


def test_a_failed_check_shows_the_end_of_what_it_said_and_where_the_rest_lies() -> None:
    detail = "2 failed\n" + "\n".join(f"line {n}" for n in range(30))
    text = shown(document("changes_requested", check("test-quality", "tests", "fail", detail, "sha256:ab12")),
                 evidence="/state/evidence")  # fmt: skip
    assert "  ✗ tests: 2 failed" in text
    assert "… 18 lines" in text
    assert "line 29" in text
    assert "line 17" not in text
    assert "Result: CHANGES REQUESTED ✗  (1 check failed)" in text
    assert "Evidence: /state/evidence/ab/ab12" in text


def test_a_conflict_has_no_candidate_and_an_answer_from_the_record_says_so() -> None:
    found = document("changes_requested", check("merge", "conflict", "fail", "conflicts in a.py"), candidate=None)
    text = shown(found, reused=True)
    assert "no candidate: branch" in text
    assert "from the record" in text
    assert "  ✗ conflict: conflicts in a.py" in text


def test_text_of_checks_is_harmless() -> None:
    text = shown(
        document("changes_requested", check("test-quality", "[red]x", "fail", "\x1b[2Jgone\n\x1b]0;t\x07more"))
    )
    assert "\x1b" not in text
    assert "  ✗ [red]x: gone" in text


def test_each_verdict_names_the_next_step() -> None:
    steps = [
        render_review.next_step(document("approved"), "for_review"),
        render_review.next_step(document("changes_requested"), "for_review"),
        render_review.next_step(document("changes_requested"), "blocked"),
    ]
    words = ["\n".join(line.plain for line in lines) for lines in steps]
    assert "agentpkg move 003-auth WP02 --to done" in words[0]
    assert "agentpkg implement 003-auth --wp WP02" in words[1]
    assert "--to planned --review-feedback-file" in words[2]


def test_what_was_judged_in_a_batch_is_explained_as_that() -> None:
    ran = {
        "name": "tests", "status": "pass", "looked_at": "a copy of tree d57f, which has WP01, WP02 together",
        "ran": "pytest", "milliseconds": 1100, "reused": None, "again": False, "why": "the package is done",
    }  # fmt: skip
    explain = {"batch": {"tip": "e" * 40, "packages": ["WP01", "WP02"]}, "reviewer": "me", "stale": [], "checks": [ran]}
    lines = render_review.explained({**document("approved"), "explain": explain})
    text = "\n".join(one.plain for one in lines)
    assert "in one batch, WP01, WP02: their commands ran once, on eeeeeeeeee" in text
    assert "✓ tests  1.1 s\n  looked at a copy of tree d57f, which has WP01, WP02 together" in text
