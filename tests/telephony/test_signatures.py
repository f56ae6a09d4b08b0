"""What the checks of both carriers' signatures share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.errors import TelephonyError
from telephony.signatures import SignatureRefused, equal, header


@pytest.mark.parametrize("name", ["x-twilio-signature", "X-Twilio-Signature", "X-TWILIO-SIGNATURE"])
def test_a_header_is_found_however_it_is_capitalised(name: str) -> None:
    assert header({"host": "a", name: "sig"}, "x-twilio-signature") == "sig"


def test_a_missing_header_is_none() -> None:
    assert header({"host": "a"}, "x-twilio-signature") is None


@given(st.text(), st.text())
def test_equal_is_equality_of_any_text(left: str, right: str) -> None:
    assert equal(left, right) == (left == right)


def test_surrogates_of_a_mangled_header_are_compared_like_anything_else() -> None:
    assert not equal("\udcff", "a")
    assert equal("\udcff", "\udcff")


def test_a_refusal_says_whose_and_why_without_any_secret() -> None:
    refused = SignatureRefused("twilio", "invalid_signature", "not signed")
    assert isinstance(refused, TelephonyError)
    assert (refused.carrier, refused.code, str(refused)) == (
        "twilio",
        "invalid_signature",
        "twilio: not signed",
    )
