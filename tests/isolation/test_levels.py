import pytest

from agentpkg.core.errors import Lacking
from agentpkg.isolation import LEVELS, Place, choose, probe_all

PLACE = Place("/w", "/s/git", "/r", "/r/.git", "/s")


def test_basic_works_everywhere_and_calls_itself_no_sandbox() -> None:
    level, probe = choose()
    assert level.name in LEVELS
    assert probe_all()["basic"].works
    assert "not prevented" in probe_all()["basic"].detail
    assert "sandbox" not in probe.detail or level.name != "basic"


def test_basic_changes_nothing_of_a_command() -> None:
    level, _ = choose("basic")
    wrapped = level.wrap(("agent", "-x"), {"A": "1"}, PLACE)
    assert (wrapped.argv, wrapped.env) == (("agent", "-x"), {"A": "1"})


def test_a_level_that_is_required_and_missing_is_an_error_with_a_way_out() -> None:
    if choose()[0].name == "strong":
        pytest.skip("this machine has the best level")
    with pytest.raises(Lacking, match="isolation strong is required") as caught:
        choose("strong")
    assert caught.value.hint
