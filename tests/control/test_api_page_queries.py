"""What lists are asked, as stores are asked it."""

import pytest
from multidict import MultiDict

from control.api.page_queries import PageQuery
from control.api.problem import Problem
from control.api.reading import read_query
from control.stores.keyset import Page


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ({}, Page(limit=50)),
        ({"limit": "100", "after": "abc"}, Page(limit=100, after="abc")),
        ({"order": "desc"}, Page()),
        ({"order": "asc"}, Page(sort=("created_at",))),
        ({"sort": "-name,created_at"}, Page(sort=("-name", "created_at"))),
        ({"sort": "name", "order": "asc"}, Page(sort=("name",))),
    ],
)
def test_a_page_is_asked_for_in_the_words_of_every_list(given: dict[str, str], page: Page) -> None:
    assert read_query(PageQuery, MultiDict(given)).page() == page


def test_a_list_may_be_in_the_order_of_another_field() -> None:
    assert read_query(PageQuery, MultiDict(order="asc")).page("started_at") == Page(sort=("started_at",))


@pytest.mark.parametrize(
    "given",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"order": "up"},
        {"after": "x" * 1025},
        {"limits": "5"},
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        read_query(PageQuery, MultiDict(given))
    assert (caught.value.status, caught.value.code) == (400, "invalid_query")
