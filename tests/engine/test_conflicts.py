"""Packages that contradict each other: who, where, what both wanted; mended on the branch by a merge of the target."""

import json

import pytest

from agentpkg.core.model import State, Verdict
from agentpkg.engine.asking import approvals
from agentpkg.engine.judging import frozen
from agentpkg.engine.landing import merging
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git

_CHANGE = 'printf "one\\nby %s\\nthree\\n" "$AGENTPKG_WP" > src/list.txt; git commit -qam "feat($AGENTPKG_WP): a line"'
_MEND = """git merge main >/dev/null && exit 1
printf "one\\nby WP01\\nby WP02\\nthree\\n" > src/list.txt
git commit -qam "Merge main"
save src/wp02.txt more"""


def two(shops: ShopFactory, strategy: str) -> Shop:
    # one rejection is one too many where the strategy is rebase: then a person is asked
    shop = shops({}, strategy=strategy, cycles=1 if strategy == "rebase" else 2)
    (shop.repo / "src/list.txt").write_text("one\ntwo\nthree\n")
    for wp in ("WP01", "WP02"):
        shop.package(wp, owned_files=["src/*"], deliverables=["src/list.txt"])
        shop.agent(wp, _CHANGE)
    shop.agent("WP02", _MEND, attempt=2)
    shop.save()
    for wp in ("WP01", "WP02"):
        shop.implement(wp)
    return shop


_ADD = """\
echo "by $AGENTPKG_WP" >> src/list.txt; cp src/list.txt src/lock.txt; git add src
git commit -qm "feat($AGENTPKG_WP): a line"
"""


@pytest.mark.slow
def test_safe_shapes_are_resolved_by_rule_where_the_configuration_says_so_and_shown(shops: ShopFactory) -> None:
    shop = shops({})
    config = shop.repo / ".kittify/config.yaml"
    rules = "union: [src/list.txt], regenerate: [{path: src/lock.txt, run: cp src/list.txt src/lock.txt}]"
    config.write_text(config.read_text().replace("merge: {", f"merge: {{{rules}, "))
    for name in ("list.txt", "lock.txt"):
        (shop.repo / "src" / name).write_text("one\n")
    for wp in ("WP01", "WP02"):
        shop.package(wp, owned_files=["src/*"], deliverables=["src/list.txt"])
        shop.agent(wp, _ADD)
    shop.save()
    for wp in ("WP01", "WP02"):
        shop.implement(wp)
    merged = [merging.land(shop.project, FEATURE, wp, "human:me") for wp in ("WP01", "WP02")]
    assert all(isinstance(one, merging.Merged) for one in merged)
    assert git(shop.repo, "show", "main:src/list.txt") == "one\nby WP01\nby WP02"
    assert git(shop.repo, "show", "main:src/lock.txt") == git(shop.repo, "show", "main:src/list.txt")
    [shown] = [check for check in shop.project.ledger.reviews(FEATURE, "WP02")[-1].checks if check.group == "merge"]
    assert (shown.name, shown.status) == ("resolved by rule", "warn")
    assert "src/list.txt (merge.union); src/lock.txt was made anew (merge.regenerate)" in shown.detail
    assert git(shop.repo, "status", "--porcelain") == ""
    shop.check()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["merge", "rebase"])
def test_a_conflict_says_who_and_where_and_its_agent_mends_it_on_the_branch(shops: ShopFactory, strategy: str) -> None:
    shop = two(shops, strategy)
    if strategy == "rebase":
        assert [one.wp for one in shop.run().stuck] == ["WP02"]
        [question] = shop.project.ledger.questions(open_only=True)
        assert question.text.startswith("WP02 still conflicts with WP01 (Part WP01) in src/list.txt:2")
        assert shop.row("WP02").state is State.BLOCKED
        approvals.answer(shop.project, question.number, "again", "its second thoughts are better")
        assert shop.row("WP02").state is State.PLANNED
    assert shop.run().stuck == ()
    assert shop.states() == {"WP01": State.DONE, "WP02": State.DONE}
    assert git(shop.repo, "show", "main:src/list.txt") == "one\nby WP01\nby WP02\nthree"
    assert git(shop.repo, "show", "main:src/wp02.txt") == "more"
    rejected = shop.project.ledger.reviews(FEATURE, "WP02")[0]
    assert (rejected.verdict, rejected.candidate) == (Verdict.CHANGES_REQUESTED, None)
    [check] = rejected.checks
    assert check.detail == "conflicts with WP01 (Part WP01) in src/list.txt:2"
    data = json.loads(frozen.store(shop.project).get(check.evidence or "") or b"")["data"]
    assert [(side["name"], side["intent"]) for side in (*data["with"], data["own"])] == [
        ("WP01", "Write the file."), ("WP02", "Write the file."),
    ]  # fmt: skip
    assert (data["places"][0]["target"], data["places"][0]["branch"]) == (["by WP01"], ["by WP02"])
    second = shop.project.ledger.sessions(FEATURE, "WP02")[-1]
    prompt = (shop.state / "sessions" / second.id / "prompt.md").read_text()
    quoted = prompt[prompt.index("What the review found, quoted:") :]
    assert "git merge main" in prompt
    assert all(text in quoted for text in ("WP01 (Part WP01), which is on main, wanted", "+by WP01", "+by WP02"))
    if strategy != "merge":
        assert git(shop.repo, "rev-list", "--merges", "main") == ""
        # what came in by the merge of the target is there once
        assert sum("WP01" in line for line in git(shop.repo, "log", "--format=%s", "main").splitlines()) == 1
    shop.check()
