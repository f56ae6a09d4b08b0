"""The values that configurations are made of."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from control.configuration import Destination, Language, Money, Number, WebUrl


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Number, "+1 (312) 555-0100", "+13125550100"),
        (Destination, "+1 312 555 0100", "+13125550100"),
        (Destination, "sip:sales@pbx.example", "sip:sales@pbx.example"),
        (Language, "de-AT", "de-AT"),
        (WebUrl, "https://example.com/a?b=c", "https://example.com/a?b=c"),
        (Money, "0.0125", Decimal("0.0125")),
        (Money, 0.1, Decimal("0.1")),
    ],
)
def test_values_are_read(kind: Any, text: object, value: object) -> None:
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Number, "312 555 0100"),
        (Destination, "sip:sales"),
        (Destination, "sip:a b@pbx.example"),
        (Destination, "911"),
        (Language, "english please"),
        (WebUrl, "//example.com"),
        (WebUrl, "https://example.com/#part"),
        (WebUrl, "http://["),
        (Money, -1),
        (Money, "0.00000001"),
    ],
)
def test_what_is_none_is_refused(kind: Any, text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


def test_money_is_written_as_a_number() -> None:
    assert TypeAdapter(Money).dump_json(Decimal("0.015")) == b"0.015"
