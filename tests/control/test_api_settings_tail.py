"""What the settings have comes after what is stored, whatever the pages."""

import asyncio
from collections.abc import Sequence

import pytest

from control.api.page_queries import PageQuery
from control.api.settings_tail import with_settings
from control.stores.errors import InvalidCursor
from control.stores.keyset import Page


async def turned(stored: Sequence[int], fixed: Sequence[str], limit: int) -> list[list[object]]:
    """Every page of a list."""

    async def rows(page: Page) -> tuple[Sequence[int], str | None]:
        begin = int(page.after or 0)
        end = begin + page.limit
        return stored[begin:end], str(end) if end < len(stored) else None

    pages: list[list[object]] = []
    after: str | None = None
    while True:
        found, tail, after = await with_settings(PageQuery(limit=limit, after=after), rows, fixed)
        pages.append([*found, *tail])
        if after is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 50])
@pytest.mark.parametrize("stored", [[], [1], [1, 2, 3]])
@pytest.mark.parametrize("fixed", [[], ["a"], ["a", "b", "c"]])
def test_every_entry_is_on_one_page_and_no_page_is_too_long(
    stored: list[int], fixed: list[str], limit: int
) -> None:
    pages = asyncio.run(turned(stored, fixed, limit))
    assert [each for page in pages for each in page] == [*stored, *fixed]
    assert all(len(page) <= limit for page in pages)


@pytest.mark.parametrize(
    "cursor", ["settings.", "settings.x", "settings.-1", "settings.9999999", "settings.²"]
)
def test_a_cursor_of_somebodys_own_is_refused(cursor: str) -> None:
    async def nothing(_: Page) -> tuple[Sequence[int], str | None]:
        return [], None

    with pytest.raises(InvalidCursor):
        asyncio.run(with_settings(PageQuery(after=cursor), nothing, ["a"]))
