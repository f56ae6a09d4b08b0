"""YAML by people: every complaint says where."""

from pathlib import Path

import pytest

from gateway.yaml_document import Field, ScriptError, parse_document, read, required


def document(text: str) -> Field:
    return parse_document(text, source="x.yaml", folder=Path())


def test_values_are_read_as_they_are_asked_for() -> None:
    fields = document("a: 1.5\nb: [1, 2]\nc: true\nd: near\n").fields("a", "b", "c", "d", "e")
    assert fields["a"].number(0, 2) == 1.5
    assert [each.integer(0, 9) for each in fields["b"].items()] == [1, 2]
    assert fields["c"].flag() is True
    assert fields["d"].choice("near", "far") == "near"
    assert read(fields, "e", Field.text, "default") == "default"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "x.yaml:1: the script is empty"),
        ("a: [", "x.yaml:1: not YAML"),
        ("- 1\n", "x.yaml:1: expected a mapping with a"),
        ("a: 1\nb: 2\n", "x.yaml:2: b: unknown field; known here: a"),
        ("a: 1\na: 2\n", "x.yaml:2: a: given twice"),
        ("\n\na: far\n", "x.yaml:3: a: expected a number from 0 to 1, got 'far'"),
        ("a: 7\n", "x.yaml:1: a: expected a number from 0 to 1, got 7"),
        ("a: true\n", "x.yaml:1: a: expected a number from 0 to 1, got True"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_field(text: str, where: str) -> None:
    with pytest.raises(ScriptError) as wrong:
        document(text).fields("a")["a"].number(0, 1)
    assert str(wrong.value).startswith(where)


def test_a_field_that_must_be_there() -> None:
    root = document("a: 1\n")
    with pytest.raises(ScriptError, match="needs the field b"):
        required(root, root.fields("a"), "b")


def test_a_mapping_may_have_keys_of_the_writers_own() -> None:
    entries = document('"+1": [1]\n"+2": near\n').entries()
    assert {name: entry.sequence for name, entry in entries.items()} == {"+1": True, "+2": False}
    with pytest.raises(ScriptError, match=r"x\.yaml:2: \+1: given twice"):
        document('"+1": a\n"+1": b\n').entries()
