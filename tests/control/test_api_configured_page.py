"""Pages of what is stored and of what the settings list."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.configured_page import page_of_both
from control.stores.errors import InvalidCursor, InvalidSort
from control.stores.keyset import Page

KEYS = {"size": lambda entry: len(entry), "name": lambda entry: entry}


def all_pages(
    stored: list[str], configured: list[str], limit: int, sort: tuple[str, ...] = ()
) -> list[list[str]]:
    async def of_store(page: Page) -> tuple[Sequence[str], str | None]:
        start = int(page.after or 0)
        end = start + page.limit
        return stored[start:end], str(end) if end < len(stored) else None

    async def turned() -> list[list[str]]:
        pages: list[list[str]] = []
        page = Page(limit=limit, sort=sort)
        while True:
            entries, cursor = await page_of_both(page, of_store, configured, KEYS)
            pages.append(entries)
            if cursor is None:
                return pages
            page = Page(limit=limit, sort=sort, after=cursor)

    return asyncio.run(turned())


@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 5))
def test_every_entry_is_shown_once_in_full_pages(stored: int, configured: int, limit: int) -> None:
    ours, theirs = [f"s{n}" for n in range(stored)], [f"c{n}" for n in range(configured)]
    pages = all_pages(ours, theirs, limit)
    assert [entry for page in pages for entry in page] == ours + theirs
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == max(1, -(-(stored + configured) // limit))


def test_the_settings_part_is_sorted_as_the_page_wants() -> None:
    entries = ["bb", "a", "c", "dd"]
    assert all_pages([], entries, 10, ("-size", "name")) == [["bb", "dd", "a", "c"]]
    assert all_pages([], entries, 10) == [entries]
    with pytest.raises(InvalidSort):
        all_pages([], entries, 10, ("colour",))


@pytest.mark.parametrize("cursor", ["settings.", "settings.-1", "settings.x", "settings.9999999999"])
def test_a_cursor_of_nobodys_is_refused(cursor: str) -> None:
    async def nothing(_: Page) -> tuple[Sequence[str], str | None]:
        return (), None

    with pytest.raises(InvalidCursor):
        asyncio.run(page_of_both(Page(after=cursor), nothing, ["a"], KEYS))
