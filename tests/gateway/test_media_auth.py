"""The gate of the media sockets: every rule, and closed where none applies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.media_auth import (
    Authorised,
    MediaAuth,
    MediaRefused,
    StreamTokens,
    is_loopback,
    media_origin,
    shared_secret,
)
from telephony.twilio.webhooks import signature

SECRET = "a-secret-of-enough-length"


def gate(mode: str = "tokens", **changes: str | None) -> tuple[MediaAuth, StreamTokens]:
    tokens = StreamTokens()
    bound = changes.pop("bound_host", None) or "127.0.0.1"
    secrets = {"default": changes.pop("twilio_auth_token", None), "int_1": "another"}
    return MediaAuth(mode, tokens=tokens, bound_host=bound, twilio_secret=secrets.get, **changes), tokens


def ask(auth: MediaAuth, token: str = "abc", carrier: str = "twilio", **headers: str) -> Authorised:
    fields = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return auth.authorise(carrier, token, target=f"/media/{carrier}/{token}", headers=fields, now=0.0)


def test_a_token_opens_the_stream_it_was_minted_for_once() -> None:
    auth, tokens = gate()
    token = tokens.mint("call_1", 3, 0.0)
    assert ask(auth, token) == Authorised("token", "call_1", 3)
    with pytest.raises(MediaRefused) as refused:
        ask(auth, token)
    assert (refused.value.status, refused.value.code) == (404, "unknown_stream_token")


def test_a_token_expires_unused() -> None:
    tokens = StreamTokens()
    token, longer = tokens.mint("call_1", 1, 0.0), tokens.mint("call_2", 1, 0.0, lifetime=70.0)
    assert tokens.redeem(token, 60.0) is None
    assert tokens.redeem(longer, 69.9) == Authorised("token", "call_2", 1)
    assert len(tokens) == 0


def test_a_call_that_is_over_takes_its_tokens_with_it() -> None:
    tokens = StreamTokens()
    gone, kept = tokens.mint("call_1", 1, 0.0), tokens.mint("call_2", 1, 0.0)
    tokens.revoke("call_1")
    assert tokens.redeem(gone, 1.0) is None
    assert tokens.redeem(kept, 1.0) is not None


@given(st.text())
def test_no_guess_opens_anything(guess: str) -> None:
    tokens = StreamTokens()
    tokens.mint("call_1", 1, 0.0)
    assert tokens.redeem(guess, 1.0) is None


def test_forgotten_tokens_do_not_pile_up() -> None:
    tokens = StreamTokens()
    for second in range(1000):
        tokens.mint("call", 1, float(second))
    assert len(tokens) <= 60


def test_none_lets_this_machine_in_and_nobody_else() -> None:
    auth, _ = gate("none")
    assert ask(auth, host="127.0.0.1:8080") == Authorised("none")
    assert ask(auth, host="localhost:8080", origin="http://127.0.0.1:8080") == Authorised("none")
    for proxied in (
        {"X_Forwarded_For": "1.2.3.4"},
        {"x_forwarded_proto": "https"},
        {"Forwarded": "for=1.2.3.4"},
        {"host": "abc.ngrok.app"},
        {"host": "localhost", "origin": "https://evil.example"},
        {"host": "localhost", "origin": "null"},
    ):
        with pytest.raises(MediaRefused, match="no stream"):
            ask(auth, **proxied)


@pytest.mark.parametrize(
    ("bound", "public"), [("0.0.0.0", None), ("::", None), ("127.0.0.1", "https://example.com"), ("", None)]
)
def test_none_is_not_believed_where_others_can_reach_us(bound: str, public: str | None) -> None:
    auth = MediaAuth("none", tokens=StreamTokens(), bound_host=bound, public_url=public)
    assert auth.warning() is None
    with pytest.raises(MediaRefused):
        ask(auth, host="127.0.0.1")


def test_none_holds_with_a_loopback_public_url() -> None:
    auth, _ = gate("none", public_url="http://localhost:8080")
    assert ask(auth) == Authorised("none")
    assert auth.warning() is not None


def test_the_shared_secret_opens_from_anywhere_and_is_loud() -> None:
    auth, tokens = gate(f"shared:{SECRET}", public_url="https://example.com", bound_host="0.0.0.0")
    warning = auth.warning()
    assert warning is not None
    assert SECRET not in warning
    assert ask(auth, SECRET, X_Forwarded_For="1.2.3.4") == Authorised("shared")
    assert ask(auth, SECRET) == Authorised("shared")
    assert ask(auth, tokens.mint("call_1", 1, 0.0)).by == "token"
    with pytest.raises(MediaRefused):
        ask(auth, SECRET[:-1])
    with pytest.raises(MediaRefused):
        ask(auth, "ünicode")


@pytest.mark.parametrize(
    "mode", ["", "open", "shared", "shared:", "shared:short", "shared:with/slash/inside-it"]
)
def test_an_unknown_mode_is_an_error(mode: str) -> None:
    with pytest.raises(ValueError, match=r"is one of|at least"):
        shared_secret(mode)


def test_a_signed_upgrade_needs_signature_and_token_both() -> None:
    auth, tokens = gate(public_url="https://example.com/phone/", twilio_auth_token="12345")
    token = tokens.mint("call_1", 1, 0.0)
    signed = signature("12345", f"wss://example.com/phone/media/twilio/{token}")
    with pytest.raises(MediaRefused) as refused:
        ask(auth, token, X_Twilio_Signature="A" + signed[1:])
    assert (refused.value.status, refused.value.code) == (403, "invalid_signature")
    with pytest.raises(MediaRefused) as refused:
        ask(auth, token, x_twilio_signature="nönsense")
    assert refused.value.status == 403
    assert ask(auth, token, X_Twilio_Signature=signed).call_id == "call_1"  # a forgery burns no token
    with pytest.raises(MediaRefused, match="no stream"):
        ask(auth, token, X_Twilio_Signature=signed)


def test_a_signature_is_only_asked_of_twilio_and_only_with_a_key() -> None:
    auth, tokens = gate(public_url="https://example.com", twilio_auth_token="12345")
    assert ask(auth, tokens.mint("a", 1, 0.0)).by == "token"  # Twilio does not promise the header
    assert ask(auth, tokens.mint("a", 1, 0.0), "telnyx", x_twilio_signature="x").by == "token"
    keyless, tokens = gate(public_url="https://example.com")
    assert ask(keyless, tokens.mint("a", 1, 0.0), x_twilio_signature="x").by == "token"


def test_the_account_that_the_call_is_with_is_the_one_whose_signature_counts() -> None:
    auth, tokens = gate(public_url="https://example.com", twilio_auth_token="12345")
    token = tokens.mint("call_1", 1, 0.0, integration_id="int_1")
    url = f"wss://example.com/media/twilio/{token}"
    with pytest.raises(MediaRefused) as refused:
        ask(auth, token, X_Twilio_Signature=signature("12345", url))
    assert (refused.value.status, refused.value.code) == (403, "invalid_signature")
    assert ask(auth, token, X_Twilio_Signature=signature("another", url)).call_id == "call_1"


def test_a_signature_that_cannot_be_checked_is_refused() -> None:
    auth, tokens = gate(twilio_auth_token="12345")
    with pytest.raises(MediaRefused, match="public URL"):
        ask(auth, tokens.mint("a", 1, 0.0), x_twilio_signature="x")


def test_media_sockets_are_opened_at_the_public_url_as_wss() -> None:
    assert media_origin("https://example.com:8443/base/") == "wss://example.com:8443/base"


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "example.com", "10.0.0.1", "127.0.0.1.nip.io", ""]))
