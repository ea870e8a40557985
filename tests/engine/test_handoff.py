"""What the next try of a package is told of the one before: the same past gives the same bytes, and names no place."""

import pytest

from agentpkg.engine.dispatching import prompting
from tests.support.engine_shop import FEATURE, Shop, ShopFactory

HALF = """\
save "src/$n.txt" half "half of it"
echo "Traceback in $PWD/src/thing.py of $AGENTPKG_SESSION"
echo draft > src/wp01-draft.txt
exit 3
"""


def prior(shop: Shop, wp: str = "WP01") -> str:
    project = shop.project
    feature = project.good_feature(FEATURE)
    text = prompting.bundle(project, feature, feature.packages[wp]).prompt
    return text.partition("## Prior work")[2].partition("## Your task")[0]


@pytest.mark.slow
def test_a_failed_try_hands_on_its_commits_their_files_how_it_failed_and_what_it_left(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", HALF)
    row = shop.implement("WP01")
    told = prior(shop)
    assert "This is try 2." in told
    assert "agent_error: exit code 3" in told
    assert "feat(WP01): half of it" in told
    assert "A src/wp01.txt" in told
    assert "still in your worktree as it was left" in told
    assert "A src/wp01-draft.txt" in told
    assert "Traceback in src/thing.py of the session" in told
    assert str(shop.repo) not in told
    assert str(row.session) not in told
    assert prior(shop) == told


@pytest.mark.slow
def test_work_that_was_set_aside_is_told_as_such(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'ln -s /etc src/wp01-out; save "src/$n.txt" x; git add -A; git commit -qm "feat(WP01): out"; '
               "echo draft > src/wp01-draft.txt")  # fmt: skip
    shop.implement("WP01")
    told = prior(shop)
    assert "import_refused" in told
    assert "Not committed, and kept aside" in told
    assert "A src/wp01-draft.txt" in told


@pytest.mark.slow
def test_a_try_that_the_machine_ended_is_not_quoted_as_if_it_had_failed(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "echo noise; kill -9 $$")
    shop.implement("WP01")
    told = prior(shop)
    assert "it was killed from outside" in told
    assert "noise" not in told
