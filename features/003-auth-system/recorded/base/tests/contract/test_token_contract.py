"""What the security team asks of tokens; not for an implementer to change."""

import base64
import json

import pytest

tokens = pytest.importorskip("auth.tokens", reason="tokens are not there yet")

KEY = b"a key of the service, for tests"
NOW = 1_700_000_000


def test_a_token_names_its_user_until_it_expires():
    session = tokens.verify(tokens.issue("user-1", KEY, NOW, lifetime=60), KEY, NOW + 59)
    assert (session.user_id, session.expires_at) == ("user-1", NOW + 60)


def test_a_token_is_refused_at_the_second_it_expires():
    token = tokens.issue("user-1", KEY, NOW, lifetime=60)
    with pytest.raises(tokens.InvalidToken):
        tokens.verify(token, KEY, NOW + 60)


def test_a_payload_of_ones_own_making_is_refused():
    payload = json.dumps({"sub": "admin", "exp": NOW + 60, "jti": "x"}).encode()
    forged = base64.urlsafe_b64encode(payload).decode().rstrip("=")
    signature = tokens.issue("user-1", KEY, NOW).rpartition(".")[2]
    for token in (f"{forged}.{signature}", f"{forged}.", forged):
        with pytest.raises(tokens.InvalidToken):
            tokens.verify(token, KEY, NOW)


@pytest.mark.parametrize("junk", ["", ".", "a.b", "ä.ö", "....", "x" * 5000])
def test_junk_is_an_invalid_token_and_nothing_worse(junk):
    with pytest.raises(tokens.InvalidToken):
        tokens.verify(junk, KEY, NOW)
