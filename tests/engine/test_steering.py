"""Control of runs and of sessions: pause, resume, stop, tell, and who runs."""

import json
from dataclasses import asdict, replace

import pytest

from agentpkg import files
from agentpkg.core.errors import Busy, NotAllowed
from agentpkg.core.model import State
from agentpkg.engine import looking
from agentpkg.engine.dispatching import prompting, telling
from agentpkg.engine.running import background, owner, steering
from agentpkg.engine.running.values import Options
from agentpkg.sessions.log import NAME, tail
from tests.engine.test_run import Running
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git
from tests.support.wait import until


def replaying(shop: Shop, **transcripts: str) -> None:
    """Makes the packages' agent one that replays these transcripts."""
    for name, text in transcripts.items():
        (shop.tools / f"{name}.yaml").write_text(text)
    path = shop.repo / ".kittify" / "config.yaml"
    first = f'{{harness: command, command: ["{shop.tools / "agent.sh"}"]}}'
    path.write_text(path.read_text().replace(first, f"{{harness: replay, transcripts: {shop.tools}}}"))


@pytest.mark.slow
def test_a_run_says_who_it_is_until_it_has_ended(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(lambda: shop.order() == ["WP01"])
    runner = owner.current(shop.state, FEATURE)
    assert runner is not None
    assert (runner.jobs, runner.actor.partition(":")[0], runner.alive) == (4, "human", True)
    with pytest.raises(Busy):
        shop.run()
    shop.go("go")
    assert running.finished().stuck == ()
    assert owner.current(shop.state, FEATURE) is None


@pytest.mark.slow
def test_a_paused_run_starts_and_lands_nothing_and_goes_on_when_it_is_resumed(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(lambda: shop.order() == ["WP01"])
    project = shop.project
    assert steering.pause(project, FEATURE, "lunch").changed
    assert not steering.pause(project, FEATURE, None).changed
    shown = looking.see(project, project.good_feature(FEATURE)).run
    assert shown["paused"]["reason"] == "lunch"
    shop.go("go")
    until(lambda: shop.states()["WP01"] is State.FOR_REVIEW)
    before = shop.tip()
    assert shop.tip() == before
    assert shop.states() == {"WP01": State.FOR_REVIEW, "WP02": State.PLANNED}
    steering.resume(project, FEATURE)
    assert running.finished().stuck == ()
    told = [e.subject.rpartition(".run.")[2] for e in shop.told if ".run." in e.subject]
    assert told == ["paused", "resumed"]


def test_a_paused_feature_can_be_stopped_and_says_what_it_waited_for(shops: ShopFactory) -> None:
    shop = shops()
    steering.pause(shop.project, FEATURE, None)
    running = Running(shop)
    until(lambda: owner.current(shop.state, FEATURE) is not None)
    steering.stop(shop.project, FEATURE, now=False)
    finished = running.finished()
    assert finished.interrupted
    assert "agentpkg resume" in finished.stuck[0].reason
    with pytest.raises(NotAllowed):
        steering.stop(shop.project, FEATURE, now=False)


def test_a_request_to_stop_is_for_the_run_that_it_was_made_for_alone(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    running = Running(shop)
    until(lambda: shop.order() == ["WP01"])
    runner = steering.stop(shop.project, FEATURE, now=True)
    assert running.finished().interrupted
    assert steering.presses(shop.project.ledger, runner) == 2
    later = owner.Owner(FEATURE, runner.pid, "another start", runner.boot_id, runner.since, runner.actor, 1)
    assert steering.presses(shop.project.ledger, later) == 0


HEARING = """\
- expect: "# Mission"
- say: "ready"
- hear: 30
- write: {path: src/wp01.txt, text: "done"}
- commit: "feat(WP01): {heard}"
"""


@pytest.mark.slow
def test_an_instruction_reaches_an_agent_while_it_works(shops: ShopFactory) -> None:
    shop = shops()
    replaying(shop, WP01=HEARING)
    running = Running(shop)
    until(lambda: shop.states().get("WP01") is State.DOING and b"ready" in log_of(shop))
    told = telling.tell(shop.project, FEATURE, "WP01", "call it a token")
    assert told.session is not None
    assert running.finished().stuck == ()
    assert "feat(WP01): call it a token" in git(shop.repo, "log", "--format=%s", "main").splitlines()
    kinds = [(r["kind"], r["text"]) for r in tail(shop.state / "sessions" / told.session / NAME, 50)]
    assert ("told", "call it a token") in kinds
    assert ("commit", "feat(WP01): call it a token") in kinds


def log_of(shop: Shop) -> bytes:
    session = shop.row("WP01").session
    path = shop.state / "sessions" / str(session) / NAME
    return path.read_bytes() if path.exists() else b""


@pytest.mark.slow
def test_an_instruction_nobody_can_hear_now_is_in_the_next_prompt_with_who_told_it_on_record(
    shops: ShopFactory,
) -> None:
    shop = shops(retries=1)
    shop.agent("WP01", "wait_for go; exit 3", attempt=1)
    running = Running(shop)
    until(lambda: shop.order() == ["WP01"])
    assert telling.tell(shop.project, FEATURE, "WP01", "mind the gap\nbetween them").session is None
    shop.go("go")
    assert running.finished().stuck == ()
    second = shop.project.ledger.sessions(FEATURE, "WP01")[-1]
    prompt = (shop.state / "sessions" / second.id / "prompt.md").read_text()
    assert "mind the gap\nbetween them" in prompt
    entry = shop.project.ledger.newest(FEATURE, "told")
    assert entry is not None
    assert (entry.metadata["wp"], entry.actor.partition(":")[0]) == ("WP01", "human")
    with pytest.raises(NotAllowed):
        telling.tell(shop.project, FEATURE, "WP01", "too late")


def test_what_was_told_before_the_first_try_is_in_its_prompt(shops: ShopFactory) -> None:
    shop = shops()
    telling.tell(shop.project, FEATURE, "WP01", "use the helper")
    project = shop.project
    feature = project.good_feature(FEATURE)
    text = prompting.bundle(project, feature, feature.packages["WP01"]).prompt
    assert "use the helper" in text.partition("## Prior work")[2]


@pytest.mark.slow
def test_a_detached_run_goes_on_without_its_starter_and_leaves_how_it_ended(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    shop.agent("WP02", 'wait_for go; save "src/$n.txt" x')
    pid = background.start(shop.project, FEATURE, Options(2))
    runner = owner.current(shop.state, FEATURE)
    assert runner is not None
    assert (runner.pid, runner.detached) == (pid, True)
    with pytest.raises(Busy, match=f"in process {pid}"):
        background.start(shop.project, FEATURE, Options(2))
    # the lock decides: not a record that is gone, nor one of a process that nobody here can judge
    record = shop.state / "runs" / f"{FEATURE}.json"
    record.rename(record.with_suffix(".kept"))
    with pytest.raises(Busy, match="somebody runs"):
        background.start(shop.project, FEATURE, Options(2))
    record.with_suffix(".kept").rename(record)
    shop.go("go")
    until(lambda: (last := owner.last(shop.state, FEATURE)) is not None and last.exit_code is not None, seconds=60)
    last = owner.last(shop.state, FEATURE)
    assert last is not None
    assert (last.exit_code, json.loads(json.dumps(last.document))["progress"]) == (0, {"done": 2, "total": 2})
    until(lambda: not files.is_locked(owner.lock_path(shop.state, FEATURE)), what="the end of the run's process")
    elsewhere = replace(last, ended_at=None, boot_id=f"{last.boot_id.rpartition('.')[0]}.1")
    record.write_text(json.dumps(asdict(elsewhere)))
    assert elsewhere.alive
    assert owner.current(shop.state, FEATURE) is None
