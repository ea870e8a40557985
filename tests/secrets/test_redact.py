"""Secrets in streams: in every shape, however the stream is cut."""

import base64
import json
import random
from urllib.parse import quote

import pytest

from agentpkg.secrets import Redactor, Secret, strip_controls, values_of
from agentpkg.secrets.patterns import patterns

VALUE = "s3cr3t/val+ue=é<xyz>"
OTHER = "hunter2hunter2"


def shapes(value: str) -> dict[str, str]:
    raw = value.encode()
    return {
        "plain": value,
        "reversed": value[::-1],
        "hex": raw.hex(),
        "upper hex": raw.hex().upper(),
        "escaped": "".join(f"\\x{byte:02x}" for byte in raw),
        "url": quote(value, safe=""),
        "url with slashes": quote(value),
        "json": json.dumps(value)[1:-1],
        "json unescaped": json.dumps(value, ensure_ascii=False)[1:-1],
        **{f"base64 at {n}": base64.b64encode(b"x" * n + raw + b"tail").decode() for n in range(3)},
        **{f"base32 at {n}": base64.b32encode(b"x" * n + raw + b"tail").decode() for n in range(5)},
        **{f"base64url at {n}": base64.urlsafe_b64encode(b"y" * n + raw + b"tail").decode() for n in range(3)},
    }


@pytest.mark.parametrize("shape", shapes(VALUE))
def test_every_shape_is_redacted_and_found(shape: str) -> None:
    text = shapes(VALUE)[shape]
    redactor = Redactor({"KEY": Secret("KEY", VALUE), "OTHER": OTHER})
    safe = redactor.redact(f"before {text} after")
    assert "***" in safe
    assert safe.startswith("before ")
    assert safe.endswith(" after")
    assert not any(pattern in safe for pattern in patterns(VALUE))
    assert redactor.finder.find(f"a {text} b".encode()) == "KEY"


def test_the_result_does_not_depend_on_how_the_stream_is_cut() -> None:
    text = f"a {VALUE} b {VALUE[:-1]} c\x1b[31m{OTHER[:5]}\x1b[0m{OTHER[5:]} {OTHER}{OTHER} {VALUE[:4]}\r\nend" * 3
    whole = Redactor({"K": VALUE, "O": OTHER}).redact(text)
    chance = random.Random(7)
    for _ in range(300):
        redactor = Redactor({"K": VALUE, "O": OTHER})
        parts, at = [], 0
        while at < len(text):
            step = chance.choice([1, 1, 2, 3, 7, 20])
            parts.append(redactor.feed(text[at : at + step]))
            at += step
        parts.append(redactor.close())
        assert "".join(parts) == whole
    assert VALUE not in whole
    assert OTHER not in whole


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 100])
def test_a_value_that_overlaps_itself_leaves_nothing(step: int) -> None:
    redactor = Redactor({"A": "abababab", "B": "babcbabc"})
    text = "x" + "ab" * 9 + "cbabcbabc" + "y"
    out = "".join([*(redactor.feed(text[i : i + step]) for i in range(0, len(text), step)), redactor.close()])
    assert out == "x***y"


def test_an_endless_run_of_a_value_is_not_held_back_for_ever() -> None:
    redactor = Redactor({"A": "aaaaaaaa"})
    out = "".join(redactor.feed("a" * 100) for _ in range(100))
    assert out.count("a") == 0
    assert redactor.feed("b") + redactor.close() == "b"


def test_only_a_possible_beginning_is_held_back() -> None:
    redactor = Redactor({"A": "longsecretvalue"})
    assert redactor.feed("ordinary text. ") == "ordinary text. "
    assert redactor.feed("and longsec") == "and "
    assert redactor.feed("ond") == "longsecond"
    assert redactor.close() == ""


def test_a_control_inside_a_value_does_not_hide_it() -> None:
    redactor = Redactor({"A": "longsecretvalue"})
    assert redactor.redact("long\x1b[1msec\u200bret\x07value") == "***"
    assert redactor.feed("long\x1b[") + redactor.feed("1msecretvalue!") + redactor.close() == "***!"


def test_a_key_of_several_lines_is_redacted_line_by_line_but_found_only_whole() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAA\n-----END KEY-----\n"
    redactor = Redactor({"PEM": key})
    assert redactor.redact("line: BAQEFAASCBKcwggSjAgEAA") == "line: ***"
    assert redactor.finder.find(b"BAQEFAASCBKcwggSjAgEAA") is None
    assert redactor.finder.find(b"x" + key.encode()) == "PEM"


def test_values_of_copied_files_are_redacted_but_do_not_refuse() -> None:
    also = values_of(b"# c\nDB=postgres://u:pw@h/db\nSHORT=abc\nexport T='two words here'\nyaml_key: some-long-value\n")
    assert also == ("postgres://u:pw@h/db", "two words here", "some-long-value")
    redactor = Redactor({}, also)
    assert redactor.redact("url postgres://u:pw@h/db") == "url ***"
    assert redactor.finder.find(b"url postgres://u:pw@h/db") is None


def test_data_of_events_is_redacted_in_keys_and_values() -> None:
    redactor = Redactor({"A": "longsecretvalue"})
    data = {"a": ["x longsecretvalue", 3, None, True], "longsecretvalue": {"b": ("longsecretvalue",)}}
    assert redactor.redact_value(data) == {"a": ["x ***", 3, None, True], "***": {"b": ["***"]}}


def test_another_stream_starts_with_nothing_held() -> None:
    redactor = Redactor({"A": "longsecretvalue"})
    redactor.feed("longsec")
    other = redactor.fresh()
    assert other.feed("retvalue ") == "retvalue "
    assert redactor.feed("retvalue") + redactor.close() == "***"


def test_without_secrets_text_only_loses_its_controls() -> None:
    redactor = Redactor({})
    assert redactor.feed("a\x1b[2Kb\n") + redactor.close() == "ab\n"
    assert redactor.finder.find(b"anything") is None


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1b(Bplain\x1bcreset\x1b7", "plainreset"),
        ("a\r\nb\rc\x08d\x7fe\x00", "a\nbcde"),
        ("tab\tstays\n", "tab\tstays\n"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("byte \udcff and \ud800", "byte \\xff and \ufffd"),
        ("\x1b]0;never ends\nnext line", "]0;never ends\nnext line"),
        ("\x1b[12\nline", "[12\nline"),
        ("👩\u200d💻 naïve", "👩\u200d💻 naïve"),
    ],
)
def test_controls_are_stripped_whole_and_in_pieces(text: str, clean: str) -> None:
    assert strip_controls(text) == clean
    redactor = Redactor({})
    assert "".join([*map(redactor.feed, text), redactor.close()]) == clean


def test_floods_of_broken_sequences_are_stripped_in_linear_time() -> None:
    for piece in ("\x1b]", "\x9d", "\x1b[", "\x1b", "\x9b0"):
        assert len(strip_controls(piece * 100_000)) <= 100_000


def wrapped(text: str, width: int) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


@pytest.mark.parametrize("shape", shapes(VALUE))
@pytest.mark.parametrize("width", [3, 7, 19])
def test_line_breaks_hide_no_shape(shape: str, width: int) -> None:
    text = wrapped(f"before {shapes(VALUE)[shape]} after", width)
    safe = Redactor({"KEY": VALUE}).redact(text)
    assert "***" in safe
    assert not any(pattern in safe.replace("\n", "") for pattern in patterns(VALUE))
    assert Redactor({"KEY": VALUE}).finder.find(text.replace("\n", "\r\n").encode()) == "KEY"


def test_a_value_over_a_line_break_is_found_however_the_stream_is_cut() -> None:
    text = wrapped(base64.b64encode(f"TOKEN={VALUE};".encode() * 9).decode(), 76) + "\nend\n"
    for step in (1, 5, 76, 77, 300):
        redactor = Redactor({"KEY": VALUE})
        parts = [redactor.feed(text[at : at + step]) for at in range(0, len(text), step)]
        said = "".join([*parts, redactor.close()])
        assert [pattern for pattern in patterns(VALUE) if pattern in said.replace("\n", "")] == [], step
        assert said.endswith("end\n")


def test_a_finished_line_does_not_wait_for_the_next_one() -> None:
    redactor = Redactor({"KEY": VALUE})
    assert redactor.feed(f"it ends in {VALUE[:5]}\n") == f"it ends in {VALUE[:5]}\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_wide_text_in_a_commit_is_found(encoding: str) -> None:
    assert Redactor({"KEY": VALUE}).finder.find(f"key = {VALUE}!".encode(encoding)) == "KEY"


def test_neither_half_of_a_value_is_said_alone() -> None:
    value = "tok-Zq7vN2xW9pLk4RtY8bHs3MdF"
    stream = Redactor({"KEY": value})
    said = stream.feed(f"first: {value[:14]}\n") + stream.feed(f"then: {value[14:]}\n") + stream.close()
    assert said == "first: ***\nthen: ***\n"
