"""Texts with variables: what may be written, what comes of it, and what nobody can make it do."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.templates import (
    LONGEST_TEXT,
    Filling,
    TemplateInvalid,
    TextsUnfilled,
    check_text,
    wanted,
)

VALUES = {
    "name": "Ada",
    "vip": True,
    "balance": 12.5,
    "customer": {"number": "+13125550100"},
    "nothing": None,
}


def filled(text: str, values: dict[str, object] | None = None) -> str:
    filling = Filling(VALUES if values is None else values)
    result = filling.text("/text", text)
    filling.finish()
    return result


def faults(text: str, values: dict[str, object] | None = None) -> list[str]:
    with pytest.raises(TextsUnfilled) as refused:
        filled(text, values)
    return [fault.detail for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Hello {{name}}.", "Hello Ada."),
        ("{{ customer.number }}", "+13125550100"),
        ("{{ customer['number'] }}", "+13125550100"),
        ("You owe {{balance}}.", "You owe 12.5."),
        ("{{ name | upper }}", "ADA"),
        ("{{ title | default('friend') }}", "friend"),
        ("{% if vip %}Welcome back.{% else %}Hello.{% endif %}", "Welcome back."),
        ("{{ 'a lot' if balance > 10 else 'a little' }}", "a lot"),
        ("{% if title is defined %}{{title}} {% endif %}{{name}}", "Ada"),
        ("[{{nothing}}]", "[]"),
        ("two lines\n", "two lines\n"),
        ("Press {#} or { or }", "Press {#} or { or }"),
    ],
)
def test_a_text_is_filled_in(text: str, result: str) -> None:
    assert filled(text) == result


def test_a_value_is_not_itself_a_template() -> None:
    assert filled("{{name}}", {"name": "{{secret}}", "secret": "no"}) == "{{secret}}"


def test_every_unknown_variable_is_named_with_the_text_that_wants_it() -> None:
    filling = Filling({"headers": {}})
    filling.text("/greeting", "{{ first }} {{ second }}")
    filling.text("/instructions", "{{ headers.account }}")
    with pytest.raises(TextsUnfilled) as refused:
        filling.finish()
    assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [
        ("/greeting", "unknown variable first, second"),
        ("/instructions", "unknown variable headers.account"),
    ]


def test_a_branch_that_is_not_taken_wants_nothing() -> None:
    assert filled("{% if not vip %}{{ unheard_of }}{% endif %}") == ""


def test_a_variable_with_parts_is_not_a_text() -> None:
    assert "name one of its parts" in faults("{{ customer }}")[0]


def test_comparing_apples_with_pears_is_a_fault_of_the_text() -> None:
    assert faults("{{ name > 3 }}") != []


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(9) %}x{% endfor %}",
        "{% set x = 1 %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'other' %}",
        "{{ name.upper() }}",
        "{{ 'a' * 1000000 }}",
        "{{ 10 ** 100 }}",
        "{{ a ~ b }}",
        "{{ a + b }}",
        "{{ [1, 2] }}",
        "{{ name | replace('a', 'b') }}",
        "{{ name | attr('x') }}",
        "{{ name[0] }}",
        "{{ name is callable }}",
        "{{ self }}",
        "{{ name",
        "{{ }}",
        "{% if name %}",
        "{{" + "(" * 2_000 + "1",
    ],
)
def test_more_of_the_language_is_refused_when_it_is_written(text: str) -> None:
    with pytest.raises(TemplateInvalid):
        check_text(text)


@pytest.mark.parametrize("path", ["name.__class__", "name.upper", "customer.keys", "customer['__class__']"])
def test_what_python_objects_can_do_is_no_variable(path: str) -> None:
    assert faults(f"{{{{ {path} }}}}") == [
        f"unknown variable {path.replace('[', '.').strip(']').replace(chr(39), '')}"
    ]


def test_a_text_that_becomes_too_long_is_a_fault() -> None:
    assert faults("{{name}}" * 10, {"name": "x" * (LONGEST_TEXT // 10 + 1)}) == [
        f"becomes longer than {LONGEST_TEXT} characters"
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("no variables", set()),
        ("{{a}} {{b.c}} {{b['d']}}", {"a", "b.c", "b.d"}),
        ("{{ a | default('x') }} {% if b is defined %}{{ b }}{% endif %}", set()),
        ("{{ a | upper }} {{ 'x' if c == 'd' else e }}", {"a", "c", "e"}),
    ],
)
def test_what_a_text_cannot_do_without(text: str, names: set[str]) -> None:
    assert wanted(text) == names


@given(st.text(alphabet="{}%#| ab.'()[]=0", max_size=30))
def test_any_text_is_refused_when_written_or_filled_or_says_what_it_lacks(text: str) -> None:
    with suppress(TemplateInvalid, TextsUnfilled):
        filled(check_text(text), {"a": "x", "b": {"a": "y"}})


@given(st.text(max_size=50))
def test_a_text_without_braces_is_left_as_it_is(text: str) -> None:
    plain = text.replace("{", "").replace("\r", "")
    assert filled(plain) == plain
