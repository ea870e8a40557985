"""A ledger that is deleted, cut off or full of garbage is made again; what came after the last anchor is found anew."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agentpkg.core import chain
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import Entry, PackageRow, SessionRow
from agentpkg.engine import attach, moving
from agentpkg.engine.asking import approvals
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.judging.review import review
from agentpkg.engine.landing import merging
from agentpkg.engine.upkeep import auditing, mending, rebuilding
from agentpkg.engine.upkeep.rebuilding.replay import Replay
from agentpkg.git.audit import anchored
from agentpkg.sessions.pulse import read_pulse
from tests.cli.support import quick
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.matrix import points
from tests.support.repos import git
from tests.support.wait import until

BRANCH = f"feat/{FEATURE}-WP01"


def ledger(shop: Shop) -> Path:
    return shop.state / "ledger.db"


def drop(path: Path) -> None:
    for file in path.parent.glob("ledger.db*"):
        file.unlink()


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _bad_page(path: Path) -> None:
    """The last pages are nonsense: the newest rows of the tables."""
    with path.open("r+b") as file:
        file.seek(-4096 * 3, os.SEEK_END)
        file.write(b"\xa5" * 4096 * 3)


def _bad_first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(4096))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "deleted": drop, "empty": lambda path: os.truncate(path, 0), "half": _half, "garbage": _garbage,
    "bad-page": _bad_page, "bad-first-page": _bad_first_page,
}  # fmt: skip


def _copy(path: Path, to: Path) -> None:
    """All of a database in one file."""
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(to)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = WAL")


def wait_anchored(shop: Shop) -> None:
    """The relay has appended all of the chain, and has gone."""
    project = shop.project
    project.poke()
    want = project.ledger.head(FEATURE)
    until(lambda: anchored(project.repository, FEATURE) == want, what="the anchor")
    project.ledger.close()


def still(shop: Shop) -> None:
    """No process of agentpkg is left that could write the ledger."""
    until(lambda: not shop.processes(), what="the relay's end", seconds=30)


def lines(shop: Shop) -> list[str]:
    with shop.project.ledger as known:
        return list(chain.export_lines(known.entries(FEATURE)))


def rows(shop: Shop) -> tuple[list[PackageRow], list[SessionRow]]:
    """The current rows without what no entry tells."""
    with shop.project.ledger as known:
        packages = [replace(p, tests_passed=None, tests_failed=None, reason=None) for p in known.packages()]
        sessions = [
            replace(s, pid=None, pid_started=None, agent_pid=None, boot_id=None, usage={}, new_head=None)
            for s in known.sessions()
        ]
    return packages, sessions


def rebuild(shop: Shop) -> rebuilding.Rebuilt:
    return rebuilding.rebuild(shop.project)


def worked(shops: ShopFactory) -> Shop:
    """WP01 has landed, WP02 was rejected, WP03 failed, WP04 waits; all of it is anchored."""
    shop = shops(
        {"WP01": [], "WP02": [], "WP03": [], "WP04": ["WP02"]},
        checks="{name: ok, run: \"! grep -q bad src/*.txt\"}",
    )  # fmt: skip
    shop.agent("WP02", 'save src/wp02.txt "bad"')
    shop.agent("WP03", "exit 3")
    for wp in ("WP01", "WP02", "WP03"):
        shop.implement(wp)
    merging.land(shop.project, FEATURE, "WP01", "human:me")
    review(shop.project, FEATURE, "WP02")
    assert shop.states() == dict(
        zip(("WP01", "WP02", "WP03", "WP04"), (State.DONE, State.FOR_REVIEW, State.BLOCKED, State.PLANNED), strict=True)
    )
    wait_anchored(shop)
    return shop


@pytest.mark.slow
def test_every_kind_of_damage_is_told_and_mended_where_all_was_anchored(shops: ShopFactory) -> None:
    shop = worked(shops)
    still(shop)
    before, known = lines(shop), rows(shop)
    saved = shop.state.parent / "saved.db"
    _copy(ledger(shop), saved)
    for name, damage in DAMAGE.items():
        drop(ledger(shop))
        shutil.copyfile(saved, ledger(shop))
        damage(ledger(shop))
        for words in (["status"], ["status", "003"], ["features"], ["move", "003", "WP03", "--to", "planned"],
                      ["events", "export"], ["clean"], ["logs", "003", "WP01"], ["run", "003"],
                      ["snapshots", "003", "WP01"]):  # fmt: skip
            said = quick(shop.repo, *words)
            if name == "bad-page" and said.code != 5:
                # this command has not met it
                continue
            assert (said.code, "agentpkg rebuild" in said.err, "Traceback" in said.err) == (5, True, False), (
                name, words, said,
            )  # fmt: skip
        done = rebuild(shop)
        assert done.why, name
        assert done.unknown == (), name
        assert lines(shop) == before, name
        assert rows(shop) == known, name
        assert auditing.verify(shop.project, FEATURE).ok, name
        if name != "deleted":
            assert done.kept
            assert (done.kept / "ledger.db").exists(), name
        assert rebuild(shop).why is None
    shop.check()
    # work goes on: the rejected one is tried again, and what waited for it follows
    shop.agent("WP02", 'save src/wp02.txt "good"')
    shop.agent("WP03", "save src/wp03.txt x")
    shop.run()
    assert shop.states()["WP04"] is State.DONE
    assert auditing.verify(shop.project, FEATURE).ok


@pytest.mark.slow
def test_entries_that_can_still_be_read_come_back_as_they_were(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    wait_anchored(shop)
    still(shop)
    moving.cancel(shop.project, FEATURE, "WP01", "no")
    still(shop)
    git(shop.repo, "update-ref", f"refs/agentpkg/audit/{FEATURE}", f"refs/agentpkg/audit/{FEATURE}~1")
    before = lines(shop)
    _spoil_table(ledger(shop), "events")
    done = rebuild(shop)
    assert lines(shop) == before
    (one,) = done.chains
    assert one.read > 0
    assert one.found == 0


def _spoil_table(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()[0]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xee" * 4096)


def cut_anchor(shop: Shop, entries: int) -> None:
    """Leaves so many entries in git, as a relay that was killed early does."""
    ref = f"refs/agentpkg/audit/{FEATURE}"
    project = shop.project
    kept = lines(shop)[:entries]
    git(shop.repo, "update-ref", "-d", ref)
    if kept:
        from agentpkg.git.audit import append_audit

        append_audit(project.repository, FEATURE, kept)


def moves_told(shop: Shop) -> list[tuple[str, str]]:
    events = [event for event in shop.project.ledger.events() if event.subject.endswith(".state.changed")]
    return [
        (event.subject.split(".wp.")[1].split(".")[0], event.payload["to"])
        for event in events
        if ".wp." in event.subject
    ]


@pytest.mark.slow
@pytest.mark.parametrize("entries", [*points(range(5)), pytest.param(5, marks=pytest.mark.exhaustive)])
def test_what_was_not_anchored_is_found_from_git_and_folders(shops: ShopFactory, entries: int) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    shop.implement("WP01")
    merging.land(shop.project, FEATURE, "WP01", "human:me")
    still(shop)
    landed = shop.row("WP01").merge_commit
    cut_anchor(shop, entries)
    drop(ledger(shop))
    done = rebuild(shop)
    row = shop.row("WP01")
    assert (row.state, row.merge_commit) == (State.DONE, landed)
    shop.check()
    assert json.loads(lines(shop)[-1])["timestamp"]
    found = [entry for entry in shop.project.ledger.entries(FEATURE) if "recovered" in entry.metadata]
    assert found
    assert {entry.actor for entry in found} == {"system:recovery"}
    assert done.unknown
    shop.run()
    assert set(shop.states().values()) == {State.DONE}
    shop.check()
    assert auditing.verify(shop.project, FEATURE).ok
    still(shop)
    told = moves_told(shop)
    assert told.count(("WP01", "done")) == 1
    drop(ledger(shop))
    rebuild(shop)
    assert moves_told(shop) == told


@pytest.mark.slow
def test_a_session_that_was_running_goes_on_and_ends_in_the_new_ledger(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'touch "$here/here"; wait_for go; save src/wp01.txt "by WP01"')
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish()).session
    until((shop.tools / "here").exists)
    _garbage(ledger(shop))
    rebuild(shop)
    (live,) = shop.project.ledger.sessions(live=True)
    assert live.id == begun.id
    shop.go("go")
    ended = attach.wait(shop.project, begun.id)
    assert (ended.outcome, ended.commits) == ("completed", 1)
    assert shop.row("WP01").state is State.FOR_REVIEW


@pytest.mark.slow
def test_a_session_outlives_its_ledger_and_waits_for_the_new_one_at_its_end(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'touch "$here/here"; wait_for go; save src/wp01.txt "by WP01"')
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish()).session
    until((shop.tools / "here").exists)
    drop(ledger(shop))
    gone = time.monotonic()
    # long enough for a look at the ledger, which comes once a second
    until(lambda: _sign(shop, begun.id, "running", gone + 2.5), seconds=60)
    shop.go("go")
    first = until(lambda: _sign(shop, begun.id, "ending", gone), seconds=60)
    until(lambda: _sign(shop, begun.id, "ending", first), seconds=60)
    rebuild(shop)
    ended = attach.wait(shop.project, begun.id)
    assert (ended.outcome, ended.commits) == ("completed", 1)


def _sign(shop: Shop, session: str, phase: str, after: float) -> float | None:
    """When the session's supervisor has last said that it is at this phase, if that was later."""
    pulse = read_pulse(shop.state / "sessions" / session)
    return pulse.at if pulse is not None and pulse.phase == phase and pulse.at > after else None


@pytest.mark.slow
def test_a_session_that_ended_without_a_ledger_is_concluded_by_the_rebuilding(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'touch "$here/here"; wait_for go; save src/wp01.txt "by WP01"; wait_for never', attempt=1)
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish()).session
    until((shop.tools / "here").exists)
    shop.go("go")
    until(lambda: (project.ledger.session(begun.id) or begun).commits, what="the commit")
    shop.close()
    cut_anchor(shop, 2)
    drop(ledger(shop))
    done = rebuild(shop)
    assert done.finished
    row = shop.row("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.ENVIRONMENT)
    assert shop.show("src/wp01.txt", BRANCH) == "by WP01"


@pytest.mark.slow
def test_a_session_of_which_only_the_anchor_tells_is_over_and_its_package_goes_on(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'touch "$here/here"; echo draft > src/wp01.txt; wait_for never', attempt=1)
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish()).session
    until((shop.tools / "here").exists)
    wait_anchored(shop)
    shop.close()
    still(shop)
    drop(ledger(shop))
    shutil.rmtree(shop.state / "sessions")
    done = rebuild(shop)
    assert [line for line in done.unknown if begun.id in line]
    row = shop.row("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.ENVIRONMENT)
    assert "is gone" in (row.reason or "")
    shop.agent("WP01", "save src/wp01.txt done", attempt=2)
    assert shop.implement("WP01").state is State.FOR_REVIEW


@pytest.mark.slow
def test_a_branch_of_which_nothing_tells_is_not_lost(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    still(shop)
    head = shop.tip(BRANCH)
    cut_anchor(shop, 2)
    drop(ledger(shop))
    shutil.rmtree(shop.state / "sessions")
    rebuild(shop)
    row = shop.row("WP01")
    assert (row.state, row.head, row.branch) == (State.BLOCKED, head, BRANCH)
    shop.run()
    assert shop.row("WP01").state is State.DONE
    assert shop.tip(f"{shop.tip()}^2~1") == head


@pytest.mark.slow
def test_a_commit_that_only_says_that_it_landed_something_is_not_believed(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    shop.implement("WP01")
    wait_anchored(shop)
    still(shop)
    git(
        shop.repo,
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        f"x\n\nFeature: {FEATURE}\nWork-Package: WP02\nAudit-Hash: {'0' * 64}",
    )
    drop(ledger(shop))
    done = rebuild(shop)
    assert shop.row("WP02").state is State.PLANNED
    assert [line for line in done.unknown if "WP02" in line]


@pytest.mark.slow
def test_a_ledger_that_is_gone_is_not_begun_anew(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    still(shop)
    drop(ledger(shop))
    with pytest.raises(AgentpkgError, match="is gone"):
        shop.implement("WP01")
    assert not ledger(shop).exists()
    told = quick(shop.repo, "doctor", "--json")
    (found,) = (one for one in told.json["checks"] if one["name"] == "ledger")
    assert (told.code, found["status"]) == (5, "fail")
    assert "agentpkg doctor --fix" in found["fix"]
    mended = quick(shop.repo, "doctor", "--fix", "--json")
    assert mended.code == 0, mended.out
    assert "the ledger was made again" in mended.json["mended"][0]
    assert shop.row("WP01").state is State.FOR_REVIEW


@pytest.mark.slow
def test_a_run_ends_with_its_ledger_and_the_next_goes_on_with_its_session(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    shop.agent("WP01", 'save src/wp01.txt "by WP01"; touch "$here/here"; wait_for go')
    argv = [sys.executable, "-m", "agentpkg", "run", FEATURE, "--repo", str(shop.repo)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        until((shop.tools / "here").exists, seconds=60)
        _half(ledger(shop))
        _, said = first.communicate(timeout=60)
    assert first.returncode == 5, said
    assert "hint: sessions go on; `agentpkg rebuild`" in said
    assert not [line for line in mending.mend(shop.project) if line.startswith("not done")]
    assert list((shop.state / "damaged").iterdir())
    shop.go("go")
    assert shop.run().stuck == ()
    assert (len(shop.project.ledger.sessions()), shop.check() > 0) == (2, True)


@pytest.mark.parametrize(
    "statement", ["UPDATE packages SET state = 'nonsense'", "DELETE FROM heads", "DROP TABLE reviews"]
)
def test_what_another_program_has_spoiled_is_found_and_mended(shops: ShopFactory, statement: str) -> None:
    shop = shops()
    with shop.project.ledger as known, known.write() as tx:
        shop.project.register(tx, shop.project.good_feature(FEATURE))
    before = lines(shop)
    with closing(sqlite3.connect(ledger(shop))) as db, db:
        db.execute(statement)
    assert rebuild(shop).why
    assert lines(shop) == before
    assert shop.row("WP01").state is State.PLANNED
    assert rebuild(shop).why is None


@pytest.mark.slow
@pytest.mark.parametrize("answered", points([True, False]))
def test_what_needed_people_needs_them_after_a_rebuild_too(shops: ShopFactory, answered: bool) -> None:
    shop = shops(packages={"WP01": {"approval": "required"}})
    shop.implement("WP01")
    review(shop.project, FEATURE, "WP01")
    if answered:
        approvals.decide(shop.project, FEATURE, "WP01", "yes", None)
    wait_anchored(shop)
    still(shop)
    drop(ledger(shop))
    rebuild(shop)
    found = merging.land(shop.project, FEATURE, "WP01", "ci:automation")
    # no entry says all that an answer was bound to: it is asked anew, under a number of its own
    assert isinstance(found, approvals.Waiting)
    assert found.question.number == 2
    approvals.decide(shop.project, FEATURE, "WP01", "yes", None)
    assert isinstance(merging.land(shop.project, FEATURE, "WP01", "ci:automation"), merging.Merged)


def test_a_fix_that_nobody_wrote_a_file_for_keeps_its_title() -> None:
    said = {"kind": "fix", "title": "Get the done check to pass"}
    entry = Entry(1, 1, FEATURE, "FIX01", "2026-03-01T10:00:00Z", "system:x", "FIX01:none->planned", (), said, "", "")
    replay = Replay("main")
    replay.follow([entry])
    assert replay.packages[FEATURE, "FIX01"].title == "Get the done check to pass"
