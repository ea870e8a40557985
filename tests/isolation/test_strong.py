"""Sessions at level ``strong``: how they stop and end, what they find, and that nothing of them stays."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from agentpkg import proc
from agentpkg.core.model import FailureClass
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.judging import review
from agentpkg.engine.supervising import control
from tests.isolation.support import require, said, session
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git
from tests.support.wait import until


@pytest.fixture
def shop(shops: ShopFactory) -> Shop:
    require("strong")
    return shops(level="strong")


def begun(shop: Shop) -> str:
    """A session whose agent has said that it is there."""
    project = shop.project
    started = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish())
    until(lambda: "ready" in said(shop), what="the agent's first word")
    return started.session.id


@pytest.mark.slow
def test_ordinary_git_works_and_the_real_git_dir_stays_as_it_is(shop: Shop) -> None:
    commands = (
        "git status", "git log --oneline main", "git stash list", "git tag mine", "git branch side", "git gc -q",
        "git pack-refs --all", "git config alias.x y", "git notes add -m note", "echo a > src/wp01a.txt",
        "git stash -u -q", "git stash pop -q", "git add -A", "git commit -q --amend -m 'feat(WP01): amended'",
        "git rebase -q main", "git worktree list", "git fsck", "git reflog",
        "git clone -q . $HOME/clone", "git -C $HOME/clone fsck",
    )  # fmt: skip
    shop.agent("WP01", "save src/wp01.txt x\n" + "".join(f"{c} || {{ echo failed: {c}; exit 9; }}\n" for c in commands))
    before = (shop.repo / ".git/config").read_bytes()
    row = session(shop)
    assert row.outcome == "completed", (row.reason, said(shop))
    assert (shop.repo / ".git/config").read_bytes() == before
    refs = {line.split("\t")[1] for line in git(shop.repo, "for-each-ref").splitlines()}
    assert {ref for ref in refs if not ref.startswith("refs/agentpkg/")} == {
        "refs/heads/main", f"refs/heads/feat/{FEATURE}-WP01",
    }  # fmt: skip
    assert git(shop.repo / ".worktrees" / f"{FEATURE}-WP01", "status", "--porcelain") == ""


@pytest.mark.slow
def test_an_agent_that_is_asked_to_stop_can_say_goodbye(shop: Shop) -> None:
    shop.agent("WP01", "save src/wp01.txt x; trap 'echo goodbye; exit 0' INT; echo ready; while :; do sleep 0.05; done")
    name = begun(shop)
    control.interrupt(shop.state, name, "human:tester")
    row = attach.wait(shop.project, name)
    assert (row.outcome, row.commits) == ("cancelled", 1)
    assert "goodbye" in said(shop)


def test_nothing_of_it_outlives_its_supervisor(shop: Shop, tmp_path: Path) -> None:
    shop.agent("WP01", "setsid sh -c 'exec env -i sleep 4711' & sleep 4711 & echo ready; wait")
    name = begun(shop)

    def sleeping() -> list[int]:
        return [pid for pid in proc.table() if command_of(pid) == "sleep 4711"]

    sleepers = until(lambda: len(found := sleeping()) == 2 and found, what="both of them")
    supervisor = shop.project.ledger.session(name)
    assert supervisor is not None
    assert supervisor.pid is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: not any(command_of(pid) == "sleep 4711" for pid in sleepers), what="the end of all of it")


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip().decode("utf-8", "replace")
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("code", [1, 2, 126, 127, 143])
def test_its_exit_code_is_the_agents_own(shop: Shop, code: int) -> None:
    shop.agent("WP01", f"save src/wp01.txt x; exit {code}")
    row = session(shop)
    assert (row.outcome, row.exit_code, row.reason_class) == ("failed", code, FailureClass.AGENT)


@pytest.mark.slow
def test_home_and_temporary_folder_are_its_own_and_empty(shop: Shop, still_world: Path) -> None:
    (still_world / "mine").touch()
    shop.agent("WP01", "save src/wp01.txt x; echo home $HOME $(ls -A $HOME | wc -l) $TMPDIR; touch $HOME/a $TMPDIR/b")
    row = session(shop)
    assert row.outcome == "completed", row.reason
    assert "home /agent-home 0 /tmp" in said(shop)
    assert not (shop.state / "sessions" / row.id / "home").exists()


@pytest.mark.slow
def test_prompt_and_task_are_readable_where_their_variables_say(shop: Shop) -> None:
    shop.agent("WP01", 'save src/wp01.txt x; head -n 1 "$AGENTPKG_PROMPT"; grep "Write the file" "$AGENTPKG_TASK"')
    assert session(shop).outcome == "completed"
    assert "# Mission" in said(shop)


@pytest.mark.slow
def test_linked_folders_are_read_only_and_setup_runs_inside(shops: ShopFactory) -> None:
    require("strong")
    more = "worktree: {link: [cache], setup: ['echo setup in $HOME; echo made > made.log']}\n"
    shop = shops(level="strong", more=more)
    commit(shop.repo, {".gitignore": "cache\nmade.log\n"})
    (shop.repo / "cache").mkdir()
    (shop.repo / "cache" / "big").write_text("large\n")
    shop.agent("WP01", "save src/wp01.txt x; cat cache/big made.log; ( echo evil > cache/big ) 2>/dev/null || echo no")
    row = session(shop)
    assert row.outcome == "completed", (row.reason, said(shop))
    assert {"setup in /agent-home", "large", "made", "no"} <= set(said(shop))
    assert (shop.repo / "cache" / "big").read_text() == "large\n"


@pytest.mark.slow
def test_settings_of_the_kernel_cannot_be_written_by_root_either(shop: Shop) -> None:
    # each gets the value that it has, so that the test does no harm where it should fail
    writes = "".join(
        f'( v=$(cat {path}) && echo "$v" > {path} ) 2>/dev/null && echo written {path}\n'
        for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sys/kernel/hostname")
    )
    shop.agent(
        "WP01", f"save src/wp01.txt x\n{writes}\nhead -c 1 /proc/kcore >/dev/null 2>&1 && echo read kcore\nexit 0"
    )
    assert session(shop).outcome == "completed"
    assert [line for line in said(shop) if line.startswith(("written", "read"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("level", ["strong", "medium"])
def test_a_script_that_an_interpreter_is_given_is_there(shops: ShopFactory, tmp_path: Path, level: str) -> None:
    require(level)
    shop = shops(level=level)
    script = tmp_path / "a folder" / "agent.sh"
    script.parent.mkdir()
    script.write_text("echo x > src/wp01.txt; git add -A; git commit -qm 'feat(WP01): by a script'")
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace(f'["{shop.tools}/agent.sh"]', f'[sh, "{script}"]'))
    assert str(script) in config.read_text()
    row = session(shop)
    assert (row.outcome, row.commits) == ("completed", 1), row.reason


@pytest.mark.slow
@pytest.mark.parametrize("level", ["strong", "medium"])
def test_objects_that_the_repository_borrows_are_there_however_they_are_named(
    shops: ShopFactory, tmp_path: Path, level: str
) -> None:
    require(level)
    shop = shops(level=level)
    objects = shop.repo / ".git" / "objects"
    git(shop.repo, "clone", "-q", "--bare", str(shop.repo), str(tmp_path / "lender.git"))
    for folder in objects.iterdir():
        if len(folder.name) == 2:
            shutil.rmtree(folder)
    (objects / "info").mkdir(exist_ok=True)
    (objects / "info" / "alternates").write_text("../../../lender.git/objects\n")
    git(shop.repo, "fsck")
    shop.agent("WP01", "git fsck 2>&1; git cat-file -p HEAD:README.md; save src/wp01.txt x")
    row = session(shop)
    assert (row.outcome, row.commits) == ("completed", 1), row.reason
    lines = said(shop)
    assert "# scratch" in lines
    assert not any("alternate" in line or "error" in line for line in lines), lines
    assert review.review(shop.project, FEATURE, "WP01").review.verdict == "approved"


@pytest.mark.slow
def test_medium_shows_of_the_main_checkout_what_tools_look_for_above_them_alone(shops: ShopFactory) -> None:
    require("medium")
    shop = shops(level="medium")
    commit(shop.repo, {"Cargo.toml": "[package]\n", "private.toml": "token\n"}, "manifests")
    (shop.repo / "package.json").symlink_to("private.toml")
    tries = "; ".join(f"cat {shop.repo}/{name}" for name in ("Cargo.toml", "private.toml", "package.json"))
    shop.agent("WP01", f"save src/wp01.txt x; ({tries}) 2>/dev/null; exit 0")
    assert session(shop).outcome == "completed"
    assert "[package]" in said(shop)
    assert "token" not in said(shop)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["#!/nowhere/interpreter", "#!/usr/bin/env no-such-interpreter"])
def test_a_program_that_cannot_run_inside_is_not_the_agents_fault(shops: ShopFactory, first: str) -> None:
    require("strong")
    shop = shops(level="strong", more="limits: {disk: 1000000000}\n")
    (shop.tools / "agent.sh").write_text(f"{first}\nexit 0\n")
    row = session(shop)
    assert (row.outcome, row.reason_class) == ("failed", FailureClass.ENVIRONMENT), row.reason
    assert "cannot run inside: " in (row.reason or "")
    assert "agentpkg doctor" in (row.reason or "")
