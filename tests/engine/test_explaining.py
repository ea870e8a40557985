"""Results are taken again by content, and a review says what it did and would do."""

import json

import pytest

from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Verdict
from agentpkg.engine.judging import explaining, frozen
from agentpkg.engine.judging.explaining import Explained
from agentpkg.engine.judging.review import review
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit


def explained(shop: Shop) -> tuple[tuple[str, ...], dict[str, Explained]]:
    found = explaining.explain(shop.project, FEATURE, "WP01")
    return found.stale, {one.result.name: one for one in found.checks}


def runs(shop: Shop) -> dict[str, int]:
    """How often each check has run: it writes a line each time."""
    text = (shop.tools / "ran").read_text()
    return {name: text.splitlines().count(name) for name in ("one", "two", "log")}


@pytest.mark.slow
def test_exactly_what_has_changed_runs_again_and_the_explanation_says_so_before(shops: ShopFactory) -> None:
    shop = shops(checks="CHECKS")
    names = {"one": "echo one", "two": "echo two", "log": "git log -1 > /dev/null; echo log"}

    def configure(text: str) -> None:
        config = shop.repo / ".kittify" / "config.yaml"
        config.write_text(config.read_text().replace(shown[-1], text))
        shown.append(text)

    shown = ["CHECKS"]
    configure(", ".join(f'{{name: {name}, run: "({run}) >> {shop.tools}/ran"}}' for name, run in names.items()))
    shop.implement("WP01")
    with pytest.raises(NotAllowed):
        explained(shop)
    first = review(shop.project, FEATURE, "WP01").review
    assert first.verdict is Verdict.APPROVED
    stale, checks = explained(shop)
    assert stale == ()
    assert {one.again for one in checks.values()} == {False}
    assert checks["one"].ran == f"(echo one) >> {shop.tools}/ran"
    assert checks["one"].milliseconds is not None

    configure(shown[-1].replace("echo two", "echo  two"))
    stale, checks = explained(shop)
    assert stale == ("definitions",)
    assert {name: checks[name].again for name in names} == {"one": False, "two": True, "log": False}
    assert checks["two"].why == "it looks at something else now: definition"
    review(shop.project, FEATURE, "WP01")
    assert runs(shop) == {"one": 1, "two": 2, "log": 1}
    _, checks = explained(shop)
    assert checks["one"].reused is not None
    proof = json.loads(frozen.store(shop.project).get(checks["one"].reused or "") or b"")
    assert proof["candidate"] == first.candidate

    # the same files under another history: only what looks at commits runs again
    commit(shop.repo / ".worktrees" / f"{FEATURE}-WP01", {}, "fix(WP01): nothing")
    stale, checks = explained(shop)
    assert "branch" in stale
    assert {name: checks[name].again for name in names} == {"one": False, "two": False, "log": True}
    review(shop.project, FEATURE, "WP01")
    assert runs(shop) == {"one": 1, "two": 2, "log": 2}

    commit(shop.repo, {"other.txt": "x"})
    stale, checks = explained(shop)
    assert stale == ("target",)
    assert {name: checks[name].again for name in names} == dict.fromkeys(names, True)
    assert explaining.as_json(explaining.explain(shop.project, FEATURE, "WP01"))["checks"][0]["again"]
