"""Bodies of which every field may be left out."""

import pytest

from control.api.endpoint import Body
from control.api.patching import unless_given
from control.api.problem import Problem
from control.api.reading import validated


class Dish(Body):
    name: str = unless_given(description="Never null.")
    sauce: str | None = None


def test_what_is_left_out_is_not_among_what_was_given() -> None:
    assert validated(Dish, {}).model_fields_set == set()
    given = validated(Dish, {"sauce": None})
    assert given.model_dump(include=given.model_fields_set) == {"sauce": None}


def test_what_may_not_be_null_is_refused_where_it_is() -> None:
    with pytest.raises(Problem) as caught:
        validated(Dish, {"name": None})
    assert [fault.pointer for fault in caught.value.errors] == ["/name"]


def test_the_document_says_no_default_that_could_not_be_sent() -> None:
    name = Dish.model_json_schema()["properties"]["name"]
    assert (name["type"], name["description"]) == ("string", "Never null.")
    assert "default" not in name
