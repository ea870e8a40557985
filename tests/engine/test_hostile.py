"""Agents that do what they may not: what stops a package, what is only told, and that nothing of the user's is lost."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import SessionRow
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.judging import review
from agentpkg.engine.landing import merging
from agentpkg.sessions.log import records
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git

BRANCH = f"feat/{FEATURE}-WP01"


def session(shop: Shop, wp: str = "WP01") -> SessionRow:
    project = shop.project
    started = dispatch.start(project, project.good_feature(shop.feature), wp, dispatch.Wish())
    return attach.wait(shop.project, started.session.id)


def said(shop: Shop, wp: str = "WP01") -> Mapping[str, Any]:
    """Metadata of the entry that the session's end made."""
    return list(shop.project.ledger.entries(FEATURE, wp=wp))[-1].metadata


def worktree(shop: Shop, wp: str = "WP01") -> Path:
    return shop.repo / ".worktrees" / f"{FEATURE}-{wp}"


def user_state(shop: Shop) -> object:
    """What of the user's repository no session may change."""
    return (
        git(shop.repo, "rev-parse", "main", "HEAD"), (shop.repo / ".git" / "HEAD").read_text(),
        git(shop.repo, "status", "--porcelain"), git(shop.repo, "fsck", "--connectivity-only", "--no-dangling"),
        agents_leftovers(shop),
    )  # fmt: skip


def agents_leftovers(shop: Shop) -> list[str]:
    """Commits of agents that the repository has and no ref reaches."""
    unreached = git(shop.repo, "fsck", "--connectivity-only").splitlines()
    commits = [line.split()[-1] for line in unreached if line.startswith("dangling commit")]
    authors = {sha: git(shop.repo, "show", "-s", "--format=%ae", sha) for sha in commits}
    # the chain's anchor is written before its ref moves
    return [sha for sha, author in authors.items() if author != "agentpkg@agentpkg.invalid"]


def works_again(shop: Shop) -> None:
    """The package can be started again, and comes to its end."""
    shop.agent("WP01", "save src/wp01-again.txt again")
    row = session(shop)
    assert (row.outcome, shop.row("WP01").state) == ("completed", State.FOR_REVIEW), row.reason


# --------------------------------------------------------------------------- commits that do not come in


#: what an agent does, and what the refusal names; each rule alone is tested with admission
_NOT_COMING_IN = (
    ("save .kittify/config.yaml x", "project's rules"),
    (f"save features/{FEATURE}/spec.md x", "feature files"),
    ("save src/.gitattributes '* text'", ".gitattributes"),
    ("save .gitmodules x", ".gitmodules"),
    ("mkdir -p src; ln -s /etc/passwd src/wp01.txt; git add -A; git commit -qm 'feat(WP01): link'", "link"),
    ("git init -q src/sub; git -C src/sub commit -q --allow-empty -m x; git add -A 2>/dev/null;"
     "git commit -qm 'feat(WP01): sub'", "gitlink"),
    ("git checkout -q --orphan other; git commit -qm x; git branch -f "
     f"{BRANCH} other; git checkout -q {BRANCH}", "history"),
    (f"save src/wp01.txt x; echo junk > $(git rev-parse --git-common-dir)/refs/heads/{BRANCH}", "branch"),
)  # fmt: skip


def test_what_may_not_come_in_stays_out_and_is_named(shops: ShopFactory) -> None:
    shop = shops()
    before = user_state(shop)
    for script, finding in _NOT_COMING_IN:
        shop.agent("WP01", script)
        row = session(shop)
        assert row.outcome == "failed", row
        assert (row.reason or "").startswith("import_refused: ")
        assert finding in (row.reason or "")
        assert row.reason_class is FailureClass.AGENT
        assert git(shop.repo, "rev-parse", BRANCH) == shop.tip()
        assert user_state(shop) == before
        # the worktree went aside, whole
        folder = shop.state / "sessions" / row.id
        assert (folder / "worktree" / "README.md").exists()
        assert not worktree(shop).exists()
    works_again(shop)


@pytest.mark.slow
def test_commits_of_another_package_do_not_come_in(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    other = session(shop, "WP02")
    shop.agent("WP01", f"git merge -q --no-edit {other.new_head}; save src/wp01.txt x")
    row = session(shop)
    assert row.outcome == "failed"
    assert "import_refused" in (row.reason or "")


@pytest.mark.slow
def test_commits_of_another_features_package_of_the_same_name_do_not_come_in(shops: ShopFactory) -> None:
    shop = shops({"WP01": []})
    shop.package("WP01", feature="004-other")
    shop.save("another feature")
    other = shop.implement("WP01", "004-other")
    shop.agent("WP01", f"git merge -q --no-edit {other.head}; save src/wp01-mine.txt x")
    row = session(shop)
    assert (row.outcome, row.commits) == ("failed", 0)
    assert "import_refused" in (row.reason or "")


@pytest.mark.slow
def test_what_the_target_got_meanwhile_may_be_merged(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'save src/wp01.txt x; wait_for go; git merge -q --no-edit "$(cat "$here/tip")"')
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish())
    newer = commit(shop.repo, {"src/base.txt": "newer\n"}, "the user goes on")
    (shop.tools / "tip").write_text(newer)
    shop.go("go")
    row = attach.wait(shop.project, begun.session.id)
    assert row.outcome == "completed", row.reason
    assert row.commits == 2
    # the user's own commit is told, for a person to look at
    assert [line.split(":")[0] for line in said(shop)["reports"] if line.startswith("refs/")] == ["refs/heads/main"]


# --------------------------------------------------------------------------- the real repository


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "finding"),
    [
        ("git config -f $real/config alias.st '!touch /tmp/owned'", "config changed"),
        ("echo 'exit 0' > $real/hooks/pre-commit", "hooks/pre-commit appeared"),
        ("mkdir -p $real/info; echo '* filter=x' > $real/info/attributes", "info/attributes appeared"),
        ("echo /tmp > $real/objects/info/alternates", "objects/info/alternates appeared"),
        (f"echo /elsewhere > $real/worktrees/{FEATURE}-WP01/commondir", "commondir changed"),
    ],
)
def test_what_git_would_obey_stops_the_package_when_it_changed(shops: ShopFactory, script: str, finding: str) -> None:
    shop = shops()
    shop.agent("WP01", f"real={shop.repo}/.git; save src/wp01.txt x; {script}")
    row = session(shop)
    assert (row.outcome, row.reason_class) == ("failed", FailureClass.REPOSITORY), row.reason
    assert (row.reason or "").startswith("repository_changed: ")
    assert finding in (row.reason or "")
    assert row.commits == 0
    assert git(shop.repo, "rev-parse", "--verify", BRANCH) == shop.tip()
    # its work is kept, away from the real repository
    quarantine = shop.state / "sessions" / row.id / "quarantine.git"
    kept = git(quarantine, "for-each-ref", "--format=%(objectname)", f"refs/session/heads/{BRANCH}")
    assert git(quarantine, "show", f"{kept}:src/wp01.txt") == "x"
    # nothing is restored without a person
    assert not worktree(shop).exists()


@pytest.mark.slow
def test_moved_refs_head_and_index_are_told_and_stop_nothing(shops: ShopFactory) -> None:
    shop = shops()
    git(shop.repo, "branch", "side")
    shop.agent(
        "WP01",
        f"""
        save src/wp01.txt x
        real={shop.repo}/.git
        git --git-dir=$real update-ref refs/heads/made main
        git --git-dir=$real update-ref -d refs/heads/side
        git --git-dir=$real tag planted
        git --git-dir=$real symbolic-ref HEAD refs/heads/made""",
    )
    row = session(shop)
    assert row.outcome == "completed", row.reason
    told = "\n".join(said(shop)["reports"])
    for line in ("refs/heads/made: none ->", "-> none", "refs/tags/planted", "HEAD changed"):
        assert line in told
    assert (shop.repo / ".git" / "HEAD").read_text() == "ref: refs/heads/made\n"


@pytest.mark.slow
def test_a_branch_that_was_moved_in_the_real_repository_is_not_moved_over(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent(
        "WP01",
        f"""
        git --git-dir={shop.repo}/.git update-ref refs/heads/{BRANCH} \
          $(git --git-dir={shop.repo}/.git commit-tree -m planted main^{{tree}} -p main)
        save src/wp01.txt x""",
    )
    row = session(shop)
    assert row.outcome == "failed"
    assert "was moved while the session ran" in (row.reason or "")
    assert git(shop.repo, "log", "-1", "--format=%s", BRANCH) == "planted"


@pytest.mark.slow
def test_a_landing_meanwhile_is_not_told(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    shop.implement("WP02")
    shop.agent("WP01", "save src/wp01.txt x; wait_for go")
    project = shop.project
    begun = dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish())
    assert review.review(shop.project, FEATURE, "WP02").review.verdict == "approved"
    merging.land(shop.project, FEATURE, "WP02", "ci:automation")
    shop.go("go")
    assert attach.wait(shop.project, begun.session.id).outcome == "completed"
    assert "reports" not in said(shop), said(shop)["reports"]


# --------------------------------------------------------------------------- the worktree


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "rm .git",
        "echo 'gitdir: /nowhere' > .git",
        "echo junk > .git",
        "rm .git; mkdir .git; echo x > .git/config",
        "rm .git; git init -q .; git add -A; git commit -qm mine",
        "rm .git; ln -s /etc .git",
        "head -c 100000 /dev/zero > $(git rev-parse --git-dir)/HEAD",
        "head -c 100000 /dev/urandom > $(git rev-parse --git-dir)/index",
        "git tag t; git update-ref refs/heads/z HEAD; git symbolic-ref HEAD refs/heads/elsewhere",
        "echo '[core] fsmonitor = /bin/false' >> $(git rev-parse --git-common-dir)/config",
        "mkfifo src/pipe",
    ],
)
def test_whatever_becomes_of_its_git_file_the_commits_come_in_and_the_worktree_is_given_back(
    shops: ShopFactory, script: str
) -> None:
    shop = shops()
    before = user_state(shop)
    shop.agent("WP01", f"save src/wp01.txt x; cd {worktree(shop)}; {script}")
    row = session(shop)
    assert (row.outcome, row.commits) == ("completed", 1), row.reason
    assert (worktree(shop) / ".git").is_file()
    assert git(worktree(shop), "rev-parse", "HEAD") == row.new_head == git(shop.repo, "rev-parse", BRANCH)
    assert user_state(shop) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "cd /; rm -rf {worktree}",
        "git worktree remove --force {worktree}; cd /",
        "cd /; rm -rf {worktree}; echo file > {worktree}",
        "cd /; rm -rf {worktree}; ln -s {home} {worktree}",
        "cd /; rm -rf {worktree}; mkdir {worktree}",
    ],
)
def test_a_worktree_that_is_gone_costs_no_commit_and_the_next_try_works(
    shops: ShopFactory, tmp_path: Path, script: str
) -> None:
    shop = shops()
    home = tmp_path / "home"
    home.mkdir()
    (home / "private").write_text("private")
    shop.agent("WP01", "save src/wp01.txt x; " + script.format(worktree=worktree(shop), home=home) + "; exit 3")
    row = session(shop)
    assert (row.outcome, row.commits) == ("failed", 1), row.reason
    assert git(shop.repo, "show", f"{BRANCH}:src/wp01.txt") == "x"
    assert (home / "private").read_text() == "private"
    assert os.listdir(home) == ["private"]
    assert not list((shop.state / "sessions").rglob("private"))
    works_again(shop)


@pytest.mark.slow
def test_private_objects_that_are_gone_are_refused_and_hurt_nobody(shops: ShopFactory) -> None:
    shop = shops()
    before = user_state(shop)
    shop.agent("WP01", "save src/wp01.txt x; rm -rf $(git rev-parse --git-common-dir)/objects/??")
    row = session(shop)
    assert (row.outcome, row.commits) == ("failed", 0)
    assert "import_refused" in (row.reason or "")
    assert user_state(shop) == before
    works_again(shop)


@pytest.mark.slow
def test_a_pipe_among_the_private_objects_holds_nobody_up(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent(
        "WP01",
        "save src/wp01.txt x; echo draft > src/draft; cd $(git rev-parse --git-common-dir)/objects/info;"
        "rm alternates; mkfifo alternates",
    )
    row = session(shop)
    assert (row.outcome, row.commits) == ("failed", 0)
    assert "alternates in its object folder is no plain file" in (row.reason or "")
    works_again(shop)


@pytest.mark.slow
def test_a_private_dir_that_is_gone_is_refused_and_hurts_nobody(shops: ShopFactory) -> None:
    shop = shops()
    before = user_state(shop)
    shop.agent("WP01", "save src/wp01.txt x; rm -rf $(git rev-parse --git-common-dir)")
    row = session(shop)
    assert (row.outcome, row.commits) == ("failed", 0)
    assert user_state(shop) == before
    works_again(shop)


@pytest.mark.slow
def test_a_request_to_cancel_that_nobody_can_read_is_no_request(shops: ShopFactory) -> None:
    shop = shops()
    request = f"{shop.state}/sessions/$AGENTPKG_SESSION/cancel.json"
    shop.agent("WP01", f"echo '[junk' > {request}; save src/wp01.txt x; sleep 0.5")
    assert session(shop).outcome == "completed"


def test_a_repository_planted_in_the_worktree_is_told(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; rm .git; git init -q .; git config alias.st '!touch planted'")
    row = session(shop)
    assert row.outcome == "completed", row.reason
    told = [r["text"] for r in records(shop.state / "sessions" / row.id / "events.jsonl") if r["kind"] == "notice"]
    assert any("in place of the worktree's .git file" in text for text in told)
