import pytest

from agentpkg.core.errors import BadInput
from agentpkg.features.naming import number_of, resolve_name, slug_of

IDS = ["003-auth-system", "004-billing", "013-billing-export", "charter-pack-01KSYE4V", "30-reports"]


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("003-auth-system", "003-auth-system"),
        ("003", "003-auth-system"),
        ("3", "003-auth-system"),
        ("13", "013-billing-export"),
        ("030", "30-reports"),
        ("billing", "004-billing"),
        ("auth-system", "003-auth-system"),
        ("auth", "003-auth-system"),
        ("Auth-System", "003-auth-system"),
        ("01ksye4v", "charter-pack-01KSYE4V"),
        ("export", "013-billing-export"),
        ("features/003-auth-system/", "003-auth-system"),
    ],
)
def test_a_feature_is_named_by_number_slug_or_unique_part(name: str, feature: str):
    assert resolve_name(IDS, name) == feature


def test_an_exact_number_beats_a_part():
    assert resolve_name(["003-a", "1003-b", "x-003"], "003") == "003-a"


def test_an_exact_slug_beats_a_part():
    assert resolve_name(["001-auth", "002-auth-extra"], "auth") == "001-auth"


def test_a_number_as_written_beats_an_equal_one():
    assert resolve_name(["3-a", "003-b"], "3") == "3-a"


def test_two_features_of_one_number_are_ambiguous():
    with pytest.raises(BadInput, match="ambiguous: 003-a, 003-b") as caught:
        resolve_name(["003-a", "003-b", "004-c"], "003")
    assert caught.value.code == "ambiguous_feature"
    assert caught.value.details == {"candidates": ["003-a", "003-b"]}


def test_an_ambiguous_part_lists_the_candidates():
    with pytest.raises(BadInput, match="ambiguous: 004-billing, 013-billing-export"):
        resolve_name(IDS, "bill")


@pytest.mark.parametrize("name", ["nope", "", "  ", "/", "99999999999999999999999", "²"])
def test_an_unknown_name_lists_what_there_is(name: str):
    with pytest.raises(BadInput) as caught:
        resolve_name(IDS, name)
    assert caught.value.code == "unknown_feature"
    assert caught.value.exit_code == 2
    assert "003-auth-system" in caught.value.hint


def test_without_features_the_hint_says_how_to_make_one():
    with pytest.raises(BadInput) as caught:
        resolve_name([], "003")
    assert "features/001-NAME/" in caught.value.hint


def test_only_a_leading_number_is_a_number():
    assert [number_of(one) for one in ("003-a", "003", "charter-pack", "01KX-a", "")] == ["003", "003", "", "", ""]
    assert [slug_of(one) for one in ("003-a", "003", "charter-pack")] == ["a", "", "charter-pack"]
