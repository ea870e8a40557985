"""Who is asking: a person, or an agent that runs the product's own functions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentpkg.core.errors import NotAllowed
from agentpkg.engine import actors, attach
from agentpkg.engine.dispatching import dispatch
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.wait import until

_ROOT = Path(__file__).parents[2]

#: an agent's own program that asks agentpkg who it is, and for what it may not have
_ASK = """\
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import State
from agentpkg.engine import moving
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.landing import merging
from agentpkg.engine.project import open_project

project = open_project(Path({repo!r}))
print(project.actor)

def ask(what):
    try:
        what()
        print("allowed")
    except AgentpkgError as error:
        print(error.exit_code, error.code)

feature = project.good_feature({feature!r})
ask(lambda: project.require_person("do this"))
ask(lambda: dispatch.start(project, feature, "WP02", dispatch.Wish()))
"""


def ask(shop: Shop, repo: Path | None = None) -> list[str]:
    return [sys.executable, "-c", _ASK.format(root=str(_ROOT), repo=str(repo or shop.repo), feature=FEATURE)]


def asked(shop: Shop, env: dict[str, str], repo: Path | None = None) -> list[str]:
    done = subprocess.run(ask(shop, repo), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def _argv(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_process_without_a_mark_is_the_person_it_runs_as() -> None:
    assert actors.current({}, lambda session: "coder" if session == "sess_mine" else None).startswith("human:")


def test_a_mark_counts_for_the_repository_that_knows_the_session_and_for_no_other() -> None:
    environ = {actors.MARK: "sess_mine"}
    assert actors.current(environ, lambda session: "coder" if session == "sess_mine" else None) == "agent:coder"
    assert actors.current(environ, lambda session: None).startswith("human:")


def test_an_agent_is_refused_what_is_for_people() -> None:
    with pytest.raises(NotAllowed, match="agent:coder may not approve") as refused:
        actors.require_person("agent:coder", "approve")
    assert (refused.value.code, refused.value.exit_code) == ("not_for_agents", 3)
    actors.require_person("human:ada", "approve")


@pytest.mark.slow
def test_a_process_of_a_session_is_its_agent_and_so_is_whatever_descends_from_it(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    elsewhere = shops({"WP02": []})
    program = shop.tools / "ask.py"
    program.write_text(ask(shop)[2])
    other = shop.tools / "ask-elsewhere.py"
    other.write_text(ask(shop, elsewhere.repo)[2].partition("ask(lambda: dispatch")[0])
    shop.agent(
        "WP01",
        f"""
        {sys.executable} "$here/ask.py" > "$here/marked" 2>&1
        env -u AGENTPKG_SESSION {sys.executable} "$here/ask.py" > "$here/descends" 2>&1
        {sys.executable} "$here/ask-elsewhere.py" > "$here/elsewhere" 2>&1
        save src/wp01.txt x""",
    )
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish())
    attach.wait(shop.project, begun.session.id)
    said = {name: (shop.tools / name).read_text().split("\n")[:-1] for name in ("marked", "descends", "elsewhere")}
    refused = ["agent:scripted", "3 not_for_agents", "3 not_for_agents"]
    assert said["marked"] == refused
    assert said["descends"] == refused
    # another repository knows nothing of that session: there it is the person it runs as
    assert said["elsewhere"][0].startswith("human:")
    assert said["elsewhere"][1] == "allowed"
    assert [s.wp for s in shop.project.ledger.sessions()] == ["WP01"]


@pytest.mark.slow
def test_the_mark_still_counts_after_the_session_has_ended(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    shop.implement("WP01")
    (row,) = shop.project.ledger.sessions()
    # until then it ends whatever carries the mark
    until(lambda: not any(row.id in _argv(pid) for pid in shop.processes()), what="the watcher's end")
    said = asked(shop, {**os.environ, "AGENTPKG_SESSION": row.id})
    assert said == ["agent:scripted", "3 not_for_agents", "3 not_for_agents"]


@pytest.mark.slow
def test_a_mark_that_nobody_knows_is_no_mark(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    said = asked(shop, {**os.environ, "AGENTPKG_SESSION": "sess_00000000000000000000000000"})
    assert said[0].startswith("human:")
    assert said[1:] == ["allowed", "allowed"]
    (row,) = until(lambda: shop.project.ledger.sessions())
    attach.wait(shop.project, row.id)
