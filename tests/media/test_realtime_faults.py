"""The table of faults: what is benign, what is over, and what another session would meet again."""

import pytest

from media.realtime.events import Severity
from media.realtime.faults import ACTIVE_RESPONSE, BY_CODE, BY_WORDS, FINAL, classify, close_fault


@pytest.mark.parametrize("code", BY_CODE)
def test_a_listed_code_decides_whatever_the_words(code: str) -> None:
    assert classify(code, "anything").severity is BY_CODE[code]


@pytest.mark.parametrize(("words", "code"), BY_WORDS)
def test_known_words_decide_where_the_code_is_missing_or_strange(words: str, code: str) -> None:
    for given in ("", "invalid_request"):
        assert classify(given, f"Error: {words.upper()}!").code == code


@pytest.mark.parametrize(
    ("code", "message", "kind", "severity"),
    [
        ("", "", "", Severity.RECOVERABLE),
        ("brand_new_code", "something", "invalid_request_error", Severity.RECOVERABLE),
        ("unsupported_content_type", "this item cannot hold images", "", Severity.RECOVERABLE),
        ("", "The server had an error", "server_error", Severity.RECOVERABLE),
        ("", "bad key", "authentication_error", Severity.FATAL),
        ("rate_limit_exceeded", "", "", Severity.RECOVERABLE),
    ],
)
def test_the_unlisted_is_recoverable_unless_its_type_ends_everything(
    code: str, message: str, kind: str, severity: Severity
) -> None:
    assert classify(code, message, kind).severity is severity


def test_every_word_leads_to_a_listed_code() -> None:
    assert {code for _, code in BY_WORDS} <= set(BY_CODE)
    assert BY_CODE[ACTIVE_RESPONSE] is Severity.BENIGN


def test_what_another_session_would_meet_again_is_not_retried() -> None:
    assert not close_fault(4000, "").retry
    assert not close_fault(3000, "invalid_request_error.invalid_api_key").retry
    assert close_fault(1001, "").retry
    assert close_fault(None, "").retry
    assert all(BY_CODE.get(code, Severity.FATAL) is Severity.FATAL for code in FINAL)
