"""Lists of what is stored and of what the settings have: the settings' entries come last, after the oldest stored one.

They have no place among the rows of a table, so a cursor into them counts them instead.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from control.api.page_queries import PageQuery
from control.stores.errors import InvalidCursor
from control.stores.keyset import Page

# No cursor of a table holds a dot.
_PREFIX = "settings."

Stored = TypeVar("Stored")
Fixed = TypeVar("Fixed")


async def with_settings(
    query: PageQuery,
    stored: Callable[[Page], Awaitable[tuple[Sequence[Stored], str | None]]],
    fixed: Sequence[Fixed],
) -> tuple[Sequence[Stored], Sequence[Fixed], str | None]:
    """Return a page of both, and the cursor of the next; None: it was the last.

    Raises:
        InvalidCursor: the page comes after nothing of this list.
    """
    rows: Sequence[Stored] = ()
    begin = _place(query.after)
    if begin is None:
        rows, cursor = await stored(query.page())
        if cursor is not None:
            return rows, (), cursor
        begin = 0
    end = begin + query.limit - len(rows)
    return rows, fixed[begin:end], f"{_PREFIX}{end}" if end < len(fixed) else None


def _place(cursor: str | None) -> int | None:
    """Where among the settings' entries a page begins; None: it begins before them."""
    if cursor is None or not cursor.startswith(_PREFIX):
        return None
    place = cursor.removeprefix(_PREFIX)
    if not (place.isascii() and place.isdigit() and len(place) < 6):
        raise InvalidCursor("the cursor is none of ours")
    return int(place)
