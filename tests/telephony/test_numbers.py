import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.numbers import InvalidNumber, is_e164, parse, redact

# Ofcom and the North American numbering plan reserve these for fiction; the rest only have the right shape.
NUMBERS = ("+13125550100", "+442079460000", "+6834000", "+491512345678901")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_in_canonical_form_is_itself(number: str) -> None:
    assert parse(number) == number
    assert is_e164(number)


@pytest.mark.parametrize(
    "text", ["+1 (312) 555-0100", " +1 312 555 0100 ", "+1.312.555.0100", "+1\u00a0312\u00a0555\u00a00100"]
)
def test_grouping_is_forgiven(text: str) -> None:
    assert parse(text) == "+13125550100"
    assert not is_e164(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "13125550100",
        "00442079460000",
        "+0312555010",
        "+123456",
        "+1234567890123456",
        "+1312555010a",
        "++13125550100",
        "+1312555\n0100",
        "+١٣١٢٥٥٥٠١٠٠",
        "sip:alice@example.com",
        "anonymous",
    ],
)
def test_what_is_not_international_form_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidNumber) as caught:
        parse(text)
    assert len(text) < 2 or text not in str(caught.value)
    assert not is_e164(text)


def test_a_trailing_line_end_is_no_part_of_a_canonical_number() -> None:
    assert not is_e164("+13125550100\n")


@given(st.text())
def test_any_text_is_a_canonical_number_or_refused(text: str) -> None:
    try:
        number = parse(text)
    except InvalidNumber:
        return
    assert is_e164(number)
    assert parse(number) == number


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+13125550100", "+***00"),
        ("+1 (312) 555-0123", "+***23"),
        ("anonymous", "anonymous"),
        ("Restricted", "restricted"),
        ("sip:alice@example.com", "sip:***"),
        ("client:alice", "client:***"),
        ("alice: 3125550100", "***"),
        ("3125550100", "***"),
        ("", "***"),
    ],
)
def test_redaction_shows_two_digits_and_no_name(text: str, shown: str) -> None:
    assert redact(text) == shown


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_redacted_number_cannot_be_dialled(number: str) -> None:
    assert number[:-2] not in redact(number)
    assert redact(number).endswith(number[-2:])
