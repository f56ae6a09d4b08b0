"""Users' schemas: what is one, what is too much of one, and how a value differs from it."""

from collections.abc import Mapping
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.json_schema import MOST_FAULTS, SchemaRefused, check_schema, faults

ORDER: Mapping[str, object] = {
    "type": "object",
    "properties": {"id": {"$ref": "#/$defs/id"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/id"}}},
    "required": ["id"],
    "additionalProperties": False,
    "$defs": {"id": {"type": "string", "pattern": "^[A-Z]+$"}},
}


def object_with(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


def test_a_schema_with_definitions_is_let_in() -> None:
    check_schema(ORDER)
    assert faults(ORDER, {"id": "A", "lines": ["B"]}) == []


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({}, '"type": "object"'),
        ({"type": "array"}, '"type": "object"'),
        ({"type": "objekt"}, "at /type"),
        (object_with(a={"type": 5}), "at /properties/a/type"),
        (object_with(a={"$ref": "https://example.com/schema"}), "must begin with"),
        (object_with(a={"$ref": "#"}), "must begin with"),
        (object_with(a={"$ref": "#/$defs/b"}), "not there"),
        ({**object_with(a={"$ref": "#/$defs/b"}), "$defs": {"b": {"$ref": "#/$defs/b"}}}, "leads back"),
        (object_with(a={"patternProperties": {"(a+)+$": {}}}), "not supported"),
        (object_with(a={"enum": ["x" * 20_000]}), "larger than"),
        (object_with(**{f"p{n}": {} for n in range(600)}), "more than"),
    ],
)
def test_what_is_no_schema_of_ours_is_refused_with_its_place(schema: dict[str, object], why: str) -> None:
    with pytest.raises(SchemaRefused, match=why.replace("$", r"\$")):
        check_schema(schema)


def test_references_that_multiply_are_refused() -> None:
    definitions: dict[str, object] = {
        f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)
    }
    laughs = {**object_with(a={"$ref": "#/$defs/a0"}), "$defs": {**definitions, "a30": {}}}
    with pytest.raises(SchemaRefused, match="more than"):
        check_schema(laughs)


def test_a_reference_in_a_property_called_like_definitions_is_seen() -> None:
    with pytest.raises(SchemaRefused, match="must begin with"):
        check_schema(object_with(**{"$defs": {"$ref": "https://example.com/"}}))


def test_every_fault_has_its_place() -> None:
    found = faults(ORDER, {"lines": [1], "more": True})
    assert {fault.pointer for fault in found} == {"/", "/lines/0"}


def test_the_faults_of_one_value_come_to_an_end() -> None:
    assert len(faults(ORDER, {"id": "A", "lines": [0] * 100})) == MOST_FAULTS


def test_a_long_value_is_not_repeated_whole() -> None:
    (fault,) = faults(object_with(a={"type": "integer"}), {"a": "x" * 5_000})
    assert len(fault.detail) < 400


def test_a_regular_expression_that_never_ends_is_not_run() -> None:
    assert faults(object_with(a={"type": "string", "pattern": "(a+)+$"}), {"a": "a" * 60 + "b"}) == []


def test_checking_the_largest_schema_holds_up_no_call() -> None:
    largest = object_with(**{f"p{n}": {"type": "string", "description": "x" * 60} for n in range(120)})
    before = process_time()
    for _ in range(10):
        check_schema(largest)
    # `jsonschema` alone takes most of a second for one of them here.
    assert process_time() - before < 0.5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(json_values)
def test_any_value_is_judged(value: object) -> None:
    assert isinstance(faults(ORDER, value), list)
