"""A session from its start to its end: what the agent gets, how its end is judged, and what is told of it."""

import base64
import json
import os
import re
import signal
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.errors import BadInput, Busy
from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import SessionRow
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.supervising import conclude, control, lease
from agentpkg.engine.upkeep import recovery, rewinding
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git, write
from tests.support.wait import until

BRANCH = f"feat/{FEATURE}-WP01"
TOKEN = "tok-9f8e7d6c5b4a-secret"


def start(shop: Shop, wp: str = "WP01", **wish: Any) -> SessionRow:
    project = shop.project
    return dispatch.start(project, project.good_feature(shop.feature), wp, dispatch.Wish(**wish)).session


def session(shop: Shop, wp: str = "WP01", **wish: Any) -> SessionRow:
    """Runs one session to its end, and gives its row."""
    return attach.wait(shop.project, start(shop, wp, **wish).id)


def folder(shop: Shop, row: SessionRow) -> Path:
    return shop.state / "sessions" / row.id


def records(shop: Shop, row: SessionRow) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder(shop, row) / "events.jsonl").read_text().splitlines()]


def last(shop: Shop, wp: str = "WP01") -> Mapping[str, Any]:
    """Metadata of the package's newest entry."""
    return list(shop.project.ledger.entries(FEATURE, wp=wp))[-1].metadata


def outbox(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    """Every event ever recorded, in order, read with plain SQLite."""
    with sqlite3.connect(shop.state / "ledger.db") as db:
        return [(s, json.loads(p)) for s, p in db.execute("SELECT subject, payload FROM events ORDER BY rowid")]


def given_back(shop: Shop, wp: str = "WP01") -> bool:
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-{wp}"
    return (worktree / ".git").read_text().strip().startswith(f"gitdir: {shop.repo}/.git/worktrees/")


def configure(shop: Shop, old: str, new: str) -> None:
    path = shop.repo / ".kittify" / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    shop.save("configuration")


def with_secret(shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Shop:
    shop = shops(more=more)
    configure(shop, "retries: 0", "retries: 0, environment: {TOKEN: '${{ secrets.MY_TOKEN }}', PLAIN: word}")
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    return shop


# --------------------------------------------------------------------------- ends


@pytest.mark.slow
def test_a_session_that_commits_and_ends_well_has_completed(shops: ShopFactory) -> None:
    shop = shops()
    row = session(shop)
    assert (row.outcome, row.reason, row.exit_code, row.commits, row.files_changed) == ("completed", None, 0, 1, 1)
    assert row.new_head == git(shop.repo, "rev-parse", BRANCH) == shop.row("WP01").head
    assert shop.row("WP01").state is State.FOR_REVIEW
    assert given_back(shop)
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    assert git(worktree, "status", "--porcelain") == ""
    assert git(worktree, "rev-parse", "--abbrev-ref", "HEAD") == BRANCH
    author = git(shop.repo, "log", "-1", "--format=%an <%ae> %cn", BRANCH)
    assert author == "scripted <scripted@agentpkg.invalid> scripted"
    assert not (folder(shop, row) / "git").exists()
    shop.check()


@pytest.mark.slow
def test_exit_code_zero_alone_proves_nothing(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "mkdir -p src; echo draft > src/wp01.txt; exit 0")
    row = session(shop)
    assert (row.outcome, row.reason_class, row.commits) == ("failed", FailureClass.AGENT, 0)
    assert row.reason
    assert row.reason.startswith("no_commits: it ended without a commit; 1 changed path")
    assert (shop.row("WP01").state, shop.row("WP01").failures) == (State.BLOCKED, 1)
    assert (shop.repo / ".worktrees" / f"{FEATURE}-WP01" / "src" / "wp01.txt").read_text() == "draft\n"


@pytest.mark.slow
def test_an_exit_code_without_commits_has_failed(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "echo could not; exit 3")
    row = session(shop)
    assert (row.outcome, row.exit_code, row.commits) == ("failed", 3, 0)
    assert "exit code 3" in (row.reason or "")


@pytest.mark.slow
def test_an_exit_code_with_commits_has_failed_too_and_its_commits_are_kept(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; exit 3")
    row = session(shop)
    assert (row.outcome, row.exit_code, row.commits) == ("failed", 3, 1)
    assert shop.row("WP01").state is State.BLOCKED
    assert git(shop.repo, "rev-parse", BRANCH) == row.new_head == shop.row("WP01").head


@pytest.mark.slow
def test_a_tree_that_ignores_being_asked_is_killed_after_the_grace(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", """
        trap '' INT TERM HUP
        setsid sh -c 'trap "" INT TERM HUP; echo $$ > '"$here"'/child; while :; do sleep 0.1; done' &
        save src/wp01.txt x
        while :; do sleep 0.1; done""")  # fmt: skip
    row = session(shop, timeout=1)
    assert (row.outcome, row.reason_class) == ("timeout", FailureClass.TIMEOUT)
    assert (row.reason or "").startswith("timeout")
    assert row.commits == 1
    assert not alive(int((shop.tools / "child").read_text()))
    entry = list(shop.project.ledger.entries(FEATURE, wp="WP01"))[-1]
    assert entry.actor == "system:timeout"
    assert entry.metadata["timeout_seconds"] == 1


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_cancel_stops_the_agent_and_keeps_its_commits(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; touch $here/here; wait_for never")
    begun = start(shop)
    until((shop.tools / "here").exists)
    control.cancel(shop.project.state, begun.id, "human:ada", "no longer wanted")
    row = attach.wait(shop.project, begun.id)
    assert (row.outcome, row.reason, row.commits) == ("cancelled", "no longer wanted", 1)
    package = shop.row("WP01")
    assert (package.state, package.failures) == (State.CANCELLED, 0)
    entry = list(shop.project.ledger.entries(FEATURE, wp="WP01"))[-1]
    assert (entry.actor, entry.transition) == ("human:ada", "WP01:doing->cancelled")
    assert git(shop.repo, "rev-parse", BRANCH) == row.new_head


@pytest.mark.slow
def test_an_interrupted_session_is_blocked_and_may_be_started_again(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "touch $here/here; wait_for never", attempt=1)
    begun = start(shop)
    until((shop.tools / "here").exists)
    control.interrupt(shop.project.state, begun.id, "human:ada")
    row = attach.wait(shop.project, begun.id)
    assert (row.outcome, row.reason, row.reason_class) == ("cancelled", "interrupted", FailureClass.CANCELLED)
    assert (shop.row("WP01").state, shop.row("WP01").failures) == (State.BLOCKED, 0)
    assert session(shop).outcome == "completed"


@pytest.mark.slow
def test_a_supervisor_that_is_asked_to_end_interrupts_its_session(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; touch $here/here; wait_for never")
    begun = start(shop)
    until((shop.tools / "here").exists)
    supervisor = until(lambda: (r := shop.project.ledger.session(begun.id)) and r.agent_pid and r.pid)
    os.kill(supervisor, signal.SIGTERM)
    row = attach.wait(shop.project, begun.id)
    assert (row.outcome, row.reason_class, row.commits) == ("cancelled", FailureClass.CANCELLED, 1)
    assert given_back(shop)


@pytest.mark.slow
def test_a_session_that_its_supervisor_cannot_run_keeps_what_the_agent_made(shops: ShopFactory) -> None:
    shop = shops()
    # the log's place is taken, so that the end of the session cannot be written
    shop.agent(
        "WP01",
        f"""
        save src/wp01.txt x
        log={shop.state}/sessions/$AGENTPKG_SESSION/facts.json
        mkdir -p $log/taken""",
    )
    row = session(shop)
    assert (row.outcome, row.reason_class) == ("failed", FailureClass.ENVIRONMENT)
    assert shop.row("WP01").state is State.BLOCKED
    shop.agent("WP01", "save src/wp01-b.txt y")
    assert session(shop).outcome == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-a co:lon quo'te\"s ünïcode dollar$HOME", "#{wp}"])
def test_a_repository_may_lie_anywhere(shops: ShopFactory, name: str) -> None:
    shop = shops()
    shop.repo = shop.repo.rename(shop.repo.parent / name)
    row = session(shop)
    assert (row.outcome, row.commits) == ("completed", 1), row.reason
    assert given_back(shop)
    shop.check()


@pytest.mark.slow
def test_a_session_whose_lease_is_gone_changes_nothing_any_more(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt old; echo $$ > $here/pid; wait_for never", attempt=1)
    begun = start(shop)
    until((shop.tools / "pid").exists)
    until(lambda: (r := shop.project.ledger.session(begun.id)) and r.agent_pid)
    assert lease.take(shop.project.ledger, begun.id, os.getpid(), lambda row: True)
    conclude.failed(shop.project, begun.id, "ended by somebody else")
    until(lambda: not alive(int((shop.tools / "pid").read_text())), what="the agent's end")
    assert git(shop.repo, "rev-parse", BRANCH) == shop.tip()
    assert shop.row("WP01").state is State.BLOCKED
    assert shop.transitions("WP01")[-1] == "WP01:doing->blocked"
    # its commits are where it made them, and the next try is not disturbed
    assert (folder(shop, begun) / "git").is_dir()
    shop.agent("WP01", "save src/wp01.txt new", attempt=2)
    assert session(shop).outcome == "completed"
    assert shop.show("src/wp01.txt", BRANCH) == "new"


@pytest.mark.slow
def test_what_a_session_leaves_running_is_ended(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", """
        save src/wp01.txt x
        setsid sh -c 'echo $$ > '"$here"'/child; exec >/dev/null 2>&1 </dev/null; while :; do sleep 0.1; done' &
        wait_for child""")  # fmt: skip
    assert session(shop).outcome == "completed"
    assert not alive(int((shop.tools / "child").read_text()))


@pytest.mark.slow
def test_a_flood_of_output_is_no_harm(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "yes 'a line of output' | head -c 3000000; save src/wp01.txt x; echo the very end")
    row = session(shop)
    assert row.outcome == "completed"
    assert any("the very end" in r["text"] for r in records(shop, row)[-6:])


# --------------------------------------------------------------------------- what an agent gets


@pytest.mark.slow
def test_the_agents_environment_is_exactly_what_is_written_down(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = with_secret(shops, monkeypatch)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "must not get through")
    shop.agent("WP01", 'env -0 > "$here/env"; pwd > "$here/pwd"; cat "$AGENTPKG_PROMPT" > "$here/prompt";'
               'cat > "$here/stdin"; cat "$AGENTPKG_TASK" > "$here/task"; save src/wp01.txt x')  # fmt: skip
    row = session(shop)
    assert row.outcome == "completed", row.reason
    env = dict(line.split("=", 1) for line in (shop.tools / "env").read_text().split("\0") if line)
    expected = {
        "PATH", "HOME", "LC_ALL", "TZ", "TMPDIR", "TERM", "TOKEN", "PLAIN", "AGENTPKG_SESSION", "AGENTPKG_FEATURE",
        "AGENTPKG_WP", "AGENTPKG_PROMPT", "AGENTPKG_TASK", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL",
    }  # fmt: skip
    # PWD, OLDPWD, SHLVL and _ are the shell's own
    assert env.keys() - {"PWD", "OLDPWD", "SHLVL", "_", "LANG", "VIRTUAL_ENV"} == expected
    assert env["TOKEN"] == TOKEN
    assert (env["AGENTPKG_SESSION"], env["AGENTPKG_FEATURE"], env["AGENTPKG_WP"]) == (row.id, FEATURE, "WP01")
    assert env["GIT_AUTHOR_EMAIL"] == env["GIT_COMMITTER_EMAIL"] == "scripted@agentpkg.invalid"
    assert (shop.tools / "pwd").read_text().strip() == str(shop.repo / ".worktrees" / f"{FEATURE}-WP01")
    prompt = (folder(shop, row) / "prompt.md").read_text()
    assert prompt.startswith("# Mission")
    assert (shop.tools / "prompt").read_text() == (shop.tools / "stdin").read_text() == prompt
    assert "Write the file." in (shop.tools / "task").read_text()


@pytest.mark.slow
def test_setup_runs_in_the_worktree_before_the_agent(shops: ShopFactory) -> None:
    shop = shops(more="worktree: {setup: ['echo made > built.log', 'pwd > built.pwd']}\n")
    write(shop.repo, {".gitignore": "built.*\n"})
    shop.save("ignore")
    shop.agent("WP01", 'test "$(cat built.log)" = made || exit 9; save src/wp01.txt x')
    row = session(shop)
    assert row.outcome == "completed"
    assert [r["text"] for r in records(shop, row) if r["kind"] == "tool"] == [
        "worktree.setup: echo made > built.log", "worktree.setup: pwd > built.pwd",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_setup_that_fails_is_the_environments_fault_and_the_agent_never_runs(shops: ShopFactory) -> None:
    shop = shops(more="worktree: {setup: ['echo no such tool >&2; exit 7']}\n")
    row = session(shop)
    assert (row.outcome, row.reason_class) == ("failed", FailureClass.ENVIRONMENT)
    assert "worktree.setup" in (row.reason or "")
    assert "ended with 7: no such tool" in (row.reason or "")
    assert shop.diary() == []
    assert shop.row("WP01").failures == 0
    assert given_back(shop)


def test_a_session_cancelled_during_setup_is_cancelled_and_no_failure(shops: ShopFactory) -> None:
    shop = shops()
    never = shop.tools / "never"
    here = shop.tools / "in-setup"
    with open(shop.repo / ".kittify" / "config.yaml", "a") as file:
        file.write(f"worktree: {{setup: ['touch {here}; while [ ! -e {never} ]; do sleep 0.05; done']}}\n")
    begun = start(shop)
    until(here.exists)
    control.interrupt(shop.project.state, begun.id, "human:ada")
    row = attach.wait(shop.project, begun.id)
    assert (row.outcome, row.reason_class, row.reason) == ("cancelled", FailureClass.CANCELLED, "interrupted")


def test_files_are_copied_and_linked_and_are_no_change_of_the_worktree(shops: ShopFactory) -> None:
    shop = shops(more="worktree: {copy: ['.env'], link: ['cache']}\n")
    write(shop.repo, {".env": "API_KEY=copied-value-123456\n", "cache/big": "big\n"})
    shop.agent(
        "WP01", 'cat .env cache/big; echo "got copied-value-123456"; save src/wp01.txt x "use copied-value-123456"'
    )
    row = session(shop)
    assert (row.outcome, row.commits) == ("completed", 1)
    assert "snapshot" not in last(shop)
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    assert (worktree / ".env").read_text() == "API_KEY=copied-value-123456\n"
    assert os.readlink(worktree / "cache") == str(shop.repo / "cache")
    # redacted, but it does not keep the commit out
    assert not leaks(shop, "copied-value-123456", {".env"})


# --------------------------------------------------------------------------- secrets


def leaks(shop: Shop, value: str, allowed: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Files below the state folder, and rows of the ledger, that hold a value."""
    found = []
    for path in shop.state.rglob("*"):
        if path.is_file() and path.name not in allowed and value.encode() in path.read_bytes():
            found.append(str(path))
    with sqlite3.connect(shop.state / "ledger.db") as db:
        found += [line for line in db.iterdump() if value in line]
    return found


def test_a_secret_is_redacted_in_everything_that_is_written(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = with_secret(shops, monkeypatch, more="worktree: {setup: ['echo setup says $TOKEN']}\n")
    shop.agent("WP01", 'echo "out $TOKEN"; echo "err $TOKEN" >&2; printf %s "$TOKEN" | base64; save src/wp01.txt x')
    row = session(shop)
    assert row.outcome == "completed"
    texts = [r["text"] for r in records(shop, row)]
    assert any("out ***" in text for text in texts)
    assert any("setup says ***" in text for text in texts)
    assert leaks(shop, TOKEN) == []
    assert (folder(shop, row) / "supervisor.log").read_bytes() == b""


@pytest.mark.slow
def test_wrapped_and_encoded_output_and_a_crash_leave_no_secret_behind(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = with_secret(shops, monkeypatch)
    shop.agent(
        "WP01",
        """env | sort | base64
        printf %s "$TOKEN" | base64 | fold -w 5; printf %s "$TOKEN" | fold -w 3; printf %s "$TOKEN" | base32
        for word in $(printf %s "$TOKEN" | fold -w 4); do printf %s "$word"; sleep 0.02; done; echo
        ulimit -c > "$here/core"
        save src/wp01.txt x; kill -ABRT $$""",
    )
    row = session(shop)
    texts = "".join(r["text"] for r in records(shop, row)).replace("\n", "")
    shapes = [TOKEN, base64.b64encode(TOKEN.encode()).decode(), base64.b32encode(TOKEN.encode()).decode()]
    assert [shape for shape in shapes if shape in texts] == []
    for found in re.findall("[A-Za-z0-9+/]{40,}", texts):
        assert TOKEN.encode() not in base64.b64decode(found + "=" * (-len(found) % 4))
    assert leaks(shop, TOKEN) == []
    assert (shop.tools / "core").read_text().strip() == "0"


def test_the_supervisor_holds_no_secret_in_its_environment(shops: ShopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = with_secret(shops, monkeypatch)
    shop.package("WP01", secrets=[])
    # which it can have found in another process's environment
    shop.agent("WP01", f"wait_for go; echo found {TOKEN[::-1]} | rev; save src/wp01.txt x")
    project = shop.project
    started = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish())
    until(lambda: shop.order() == ["WP01"], what="the agent")
    assert shop.processes()
    for pid in shop.processes():
        for name in ("environ", "cmdline"):
            assert TOKEN.encode() not in Path(f"/proc/{pid}/{name}").read_bytes(), pid
    shop.go("go")
    attach.wait(shop.project, started.session.id)
    assert leaks(shop, TOKEN) == []


def test_a_secret_in_the_reason_of_a_failure_is_redacted(shops: ShopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = with_secret(shops, monkeypatch, more="worktree: {setup: ['echo bad token $TOKEN; exit 1']}\n")
    row = session(shop)
    assert "bad token ***" in (row.reason or "")
    assert leaks(shop, TOKEN) == []


_LEAKS = (
    'save src/wp01.txt "key = $TOKEN"',
    'save src/wp01.txt x "for $TOKEN"',
    'save src/wp01.txt "$TOKEN"; git rm -q src/wp01.txt; git commit -q -m "feat(WP01): taken back"',
    'save "src/wp01-$TOKEN" x',
)


@pytest.mark.slow
def test_a_secret_in_a_commit_keeps_the_commit_out(shops: ShopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = with_secret(shops, monkeypatch)
    for script in _LEAKS:
        shop.agent("WP01", script)
        row = session(shop)
        assert (row.outcome, row.commits, row.new_head) == ("failed", 0, None)
        assert (row.reason or "").startswith("import_refused: ")
        assert "MY_TOKEN" in (row.reason or "")
        assert last(shop)["cause"] == "import_refused"
        assert git(shop.repo, "rev-parse", BRANCH) == shop.tip()
        with sqlite3.connect(shop.state / "ledger.db") as db:
            assert not [line for line in db.iterdump() if TOKEN in line]
        assert all(TOKEN not in r["text"] for r in records(shop, row))
        # nothing is thrown away
        quarantine = folder(shop, row) / "quarantine.git"
        kept = git(quarantine, "for-each-ref", "--format=%(objectname)", f"refs/session/heads/{BRANCH}")
        known = git(shop.repo, "cat-file", "--batch-check", stdin=kept.encode() + b"\n")
        assert known == f"{kept} missing"


@pytest.mark.slow
def test_a_secret_in_the_name_of_an_uncommitted_file_is_refused_before_anything_tells_that_name(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = with_secret(shops, monkeypatch)
    shop.agent("WP01", 'save src/wp01.txt x; touch "left-$TOKEN"')
    row = session(shop)
    assert (row.outcome, row.commits) == ("failed", 0)
    assert "MY_TOKEN" in (row.reason or "")
    with sqlite3.connect(shop.state / "ledger.db") as db:
        assert not [line for line in db.iterdump() if TOKEN in line]


@pytest.mark.slow
def test_a_package_gets_only_the_secrets_it_names(shops: ShopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = shops(packages={"WP01": {"secrets": []}})
    configure(shop, "retries: 0", "retries: 0, environment: {TOKEN: '${{ secrets.MY_TOKEN }}', PLAIN: word}")
    shop.agent("WP01", '[ -z "$TOKEN" ] && [ "$PLAIN" = word ] && save src/wp01.txt x')
    assert session(shop).outcome == "completed"


# --------------------------------------------------------------------------- what is told


@pytest.mark.slow
def test_the_events_of_a_session_come_in_order_and_carry_its_job_id(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    shop.agent("WP01", "save src/wp01.txt x; save src/wp01-b.txt y second")
    row = session(shop)
    told = [(subject, payload) for subject, payload in outbox(shop)]
    job, package = f"agent.job.{row.id}", f"feature.{FEATURE}.wp.WP01"
    assert [subject for subject, _ in told] == [
        f"feature.{FEATURE}.state.changed",
        f"{package}.state.changed", f"feature.{FEATURE}.state.changed", f"{job}.started", f"{job}.commit",
        f"{job}.commit", f"{job}.completed", f"{package}.state.changed",
    ]  # fmt: skip
    payloads = [payload for _, payload in told]
    first, last_ = payloads[1], payloads[-1]
    assert {k: first[k] for k in ("from", "to", "actor", "job_id")} == {
        "from": "planned", "to": "doing", "actor": "agent:scripted", "job_id": row.id,
    }  # fmt: skip
    assert {k: last_[k] for k in ("from", "to", "actor", "job_id")} == {
        "from": "doing", "to": "for_review", "actor": "agent:scripted", "job_id": row.id,
    }  # fmt: skip
    assert (payloads[2]["from"], payloads[2]["to"]) == ("planned", "implementing")
    assert (payloads[3]["feature_slug"], payloads[3]["wp_id"], payloads[3]["pid"]) == (FEATURE, "WP01", row.agent_pid)
    assert [p["message"] for p in payloads[4:6]] == ["feat(WP01): write src/wp01.txt", "feat(WP01): second"]
    assert git(shop.repo, "rev-list", "--reverse", f"main..{BRANCH}").split() == [p["sha"] for p in payloads[4:6]]
    assert {k: payloads[6][k] for k in ("success", "commits", "files_changed", "outcome", "tests_passed")} == {
        "success": True, "commits": 2, "files_changed": 2, "outcome": "completed", "tests_passed": None,
    }  # fmt: skip
    assert all(p["id"] and p["time"].endswith("Z") and len(p["time"]) == 27 for p in payloads)
    assert len({p["id"] for p in payloads}) == len(payloads)
    seqs = [p["seq"] for p in payloads if "seq" in p]
    assert seqs == sorted(seqs)
    assert all("seq" in p for s, p in told if s.endswith((".changed", ".completed")))


@pytest.mark.slow
def test_commits_are_told_while_the_agent_runs(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; wait_for go")
    begun = start(shop)
    until(lambda: [s for s, _ in outbox(shop) if s.endswith(".commit")])
    assert git(shop.repo, "rev-parse", BRANCH) == shop.tip()
    shop.go("go")
    attach.wait(shop.project, begun.id)
    assert len([s for s, _ in outbox(shop) if s.endswith(".commit")]) == 1


def test_a_failure_is_told_with_its_outcome(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "exit 3")
    row = session(shop)
    told = dict(outbox(shop))
    completed = told[f"agent.job.{row.id}.completed"]
    assert (completed["success"], completed["outcome"], completed["commits"]) == (False, "failed", 0)
    changed = [p for s, p in outbox(shop) if s.endswith("WP01.state.changed")][-1]
    assert (changed["to"], changed["job_id"]) == ("blocked", row.id)


@pytest.mark.slow
def test_the_log_is_that_of_the_session_from_start_to_end(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "echo working; save src/wp01.txt x")
    row = session(shop)
    until(lambda: records(shop, row)[-1]["kind"] == "ended")
    kinds = [r["kind"] for r in records(shop, row)]
    assert (kinds[0], kinds[-1]) == ("started", "ended")
    assert records(shop, row)[-1]["text"] == "completed"


@pytest.mark.slow
def test_uncommitted_work_is_kept_in_the_sessions_quarantine(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; echo draft > src/draft.txt; echo changed > src/base.txt")
    row = session(shop)
    kept = last(shop)["snapshot"]
    quarantine = folder(shop, row) / "quarantine.git"
    assert git(quarantine, "show", f"{kept}:src/draft.txt") == "draft"
    assert git(quarantine, "rev-parse", f"{kept}^") == row.new_head
    assert "refs/snapshots" not in git(shop.repo, "for-each-ref")


@pytest.mark.slow
def test_a_second_person_who_cancels_is_told_who_was_first(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for never")
    begun = start(shop)
    control.cancel(shop.state, begun.id, "human:ada", "no longer wanted")
    with pytest.raises(Busy, match="human:ada"):
        control.cancel(shop.state, begun.id, "human:bob", "me too")
    ended = attach.wait(shop.project, begun.id)
    assert (ended.outcome, ended.reason) == ("cancelled", "no longer wanted")


@pytest.mark.slow
def test_what_a_fresh_start_left_behind_is_not_counted(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'save "src/$n.txt" one; exit 1', 1)
    shop.agent("WP01", 'save "src/$n.txt" two', 2)
    assert shop.implement("WP01").commits == 1
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish(fresh=True))
    attach.wait(project, begun.session.id)
    assert shop.row("WP01").commits == 1


def test_a_secret_that_no_variable_refers_to_is_refused(shops: ShopFactory) -> None:
    shop = shops()
    shop.package("WP01", secrets=["NO_SUCH"])
    shop.save()
    with pytest.raises(BadInput, match="NO_SUCH"):
        shop.implement("WP01")
    assert not (shop.state / "sessions").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["facts.json", "found.json", "fingerprint.json", "launch.json", "worktrees"])
def test_a_file_that_a_power_cut_has_torn_holds_nobody_up_and_loses_nothing(shops: ShopFactory, name: str) -> None:
    shop = shops()
    shop.agent(
        "WP01", 'save src/wp01.txt "by WP01"; echo draft > src/wp01-draft.txt; touch "$here/here"; wait_for never'
    )
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish()).session
    until((shop.tools / "here").exists, seconds=60)
    shop.close()
    if name == "worktrees":
        # all that git knows of worktree and branch
        admin = shop.repo / ".git" / "worktrees" / f"{FEATURE}-WP01"
        files = [admin / one for one in ("gitdir", "commondir", "HEAD", "index", "agentpkg")]
        for torn in (*files, shop.repo / ".git" / "refs/heads" / (shop.row("WP01").branch or "")):
            torn.write_bytes(b"")
    else:
        torn = shop.state / "sessions" / begun.id / name
        torn.write_bytes(b"" if name == "facts.json" else os.urandom(100))
    recovery.reconcile(shop.project)
    row = shop.row("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.ENVIRONMENT)
    kept = {one.as_json()["why"] for one in rewinding.listed(shop.project, FEATURE, "WP01")}
    if name == "launch.json":
        assert kept == {"refused"}
        assert (shop.repo / ".worktrees" / f"{FEATURE}-WP01" / "src/wp01-draft.txt").exists()
    else:
        assert (row.commits, kept) == (1, {"end"}), row.reason
    shop.agent("WP01", "save src/wp01.txt again")
    assert shop.implement("WP01").state is State.FOR_REVIEW
