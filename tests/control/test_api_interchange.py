"""Bodies are JSON that all its readers understand alike, and that we can keep."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.interchange import DEEPEST, read_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_can_be_exchanged_is_read_as_it_was_written(value: object, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'"\\ud800"', "surrogate"),  # RFC 7493 section 2.1
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a": ["\\u0000"]}', "U\\+0000"),
        (b"1e999", "beyond the numbers"),  # RFC 7493 section 2.2
        (b"[-1e999]", "beyond the numbers"),
        (b"NaN", "no JSON number"),
        (b"[Infinity]", "no JSON number"),
        (b'{"to": 1, "from": 2, "to": 3}', "'to' is there twice"),  # RFC 7493 section 2.3
        (b'"\xff"', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
    ],
)
def test_what_some_reader_would_misread_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_json(raw)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1, 500, 100_000])
def test_nesting_ends_somewhere(depth: int) -> None:
    nested = b"[" * (depth - 1) + b"1" + b"]" * (depth - 1)
    if depth <= DEEPEST:
        read_json(nested)
    else:
        with pytest.raises(ValueError, match="nested deeper than 64"):
            read_json(nested)
