"""Pages of what is stored and of what the settings list: the stored ones first, as they are sorted, then the others."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from control.stores.errors import InvalidCursor, InvalidSort
from control.stores.keyset import Page

T = TypeVar("T")

Keys = Mapping[str, Callable[[T], Any]]
"""What entries may be sorted by, by its name."""

# A cursor of the second part: how many of it were shown. No cursor of a store has a dot.
_MARK = "settings."


async def page_of_both(
    page: Page,
    stored: Callable[[Page], Awaitable[tuple[Sequence[T], str | None]]],
    configured: Sequence[T],
    keys: Keys[T],
) -> tuple[list[T], str | None]:
    """Return a page and the cursor of the next; None: it was the last.

    Args:
        stored: finds a page of what is stored.

    Raises:
        InvalidCursor, InvalidSort: what the page asks by.
    """
    configured = _sorted(configured, page.sort, keys)
    found: list[T] = []
    shown = _shown(page.after)
    if shown is None:
        part, cursor = await stored(page)
        if cursor is not None:
            return list(part), cursor
        found, shown = list(part), 0
    more = configured[shown : shown + page.limit - len(found)]
    end = shown + len(more)
    return [*found, *more], f"{_MARK}{end}" if end < len(configured) else None


async def none_stored(page: Page) -> tuple[Sequence[Any], str | None]:
    """What is found where only the settings are asked."""
    if page.after is not None:
        raise InvalidCursor("the cursor belongs to another list")
    return (), None


def _shown(cursor: str | None) -> int | None:
    """How many of the settings' the pages so far have shown; None: they show what is stored."""
    if cursor is None or not cursor.startswith(_MARK):
        return None
    number = cursor.removeprefix(_MARK)
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        raise InvalidCursor("the cursor is none of ours")
    return int(number)


def _sorted(entries: Sequence[T], sort: Sequence[str], keys: Keys[T]) -> list[T]:
    found = list(entries)
    for name in reversed(sort):
        key = keys.get(name.removeprefix("-"))
        if key is None:
            raise InvalidSort(name.removeprefix("-"))
        found.sort(key=key, reverse=name.startswith("-"))
    return found
