import json

import pytest

from agentpkg.bus import subjects
from agentpkg.bus.access import Access, Settings


@pytest.mark.parametrize(
    "name", ["feature.a b.x", "feature..x", "feature.*.x", "feature.>", "feature.é", "feature." + "a" * 65, "", "a\n"]
)
def test_tokens_that_would_go_astray_are_refused(name: str) -> None:
    with pytest.raises(subjects.Unpublishable):
        subjects.subject("agentpkg", name)


def test_a_subject_of_more_than_255_characters_is_refused() -> None:
    with pytest.raises(subjects.Unpublishable):
        subjects.subject("p", ".".join(["a" * 60] * 5))


def test_a_subject_gets_the_prefix() -> None:
    name = "feature.003-auth-system.wp.WP02.state.changed"
    assert subjects.subject("mine", name) == f"mine.{name}"


def test_long_texts_of_a_body_that_is_too_large_are_cut() -> None:
    told = json.loads(subjects.body({"id": "1", "text": "é" * 300_000}))
    assert told == {"id": "1", "text": "é" * 1_000, "truncated": True}


def test_a_body_that_stays_too_large_is_refused() -> None:
    with pytest.raises(subjects.Unpublishable):
        subjects.body({"list": ["x" * 1_000] * 1_000})


def test_surrogates_do_not_stop_a_body() -> None:
    assert json.loads(subjects.body({"text": "a\udcff"}))["text"].startswith("a")


def test_passwords_are_not_shown() -> None:
    assert Access(("nats://u:p@h:1", "nats://t@h:2"), "agentpkg").shown == "nats://h:1,nats://h:2"


def test_settings_survive_the_way_to_the_relay() -> None:
    settings = Settings("nats://h:1", "c", "p", "s")
    assert Settings.from_json(settings.as_json()) == settings
    assert settings.digest() != Settings().digest()
