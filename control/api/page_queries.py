"""What every list is asked in the same words: how much of it, from where on, in which order."""

from typing import Literal

from pydantic import Field

from control.api.endpoint import Query
from control.stores.keyset import MAX_LIMIT, Page

LIMIT = 50
"""Entries of a page, unless more or fewer are asked for."""


class PageQuery(Query):
    """A page of a list; a list with filters inherits from both: `class CallListQuery(CallFilter, PageQuery)`."""

    limit: int = Field(default=LIMIT, ge=1, le=MAX_LIMIT)
    after: str | None = Field(default=None, max_length=1024, description="`next_cursor` of the page before.")
    order: Literal["asc", "desc"] = Field(default="desc", description="asc: the oldest first.")
    sort: str | None = Field(
        default=None,
        max_length=200,
        description="Fields, a leading `-` for descending, several by comma; goes before `order`.",
    )

    def page(self, oldest_by: str = "created_at") -> Page:
        """Return it as stores ask for it.

        Args:
            oldest_by: the field whose descending order is the list's own.
        """
        return Page(limit=self.limit, after=self.after, sort=self._sort(oldest_by))

    def _sort(self, oldest_by: str) -> tuple[str, ...]:
        if self.sort is not None:
            return tuple(self.sort.split(","))
        return (oldest_by,) if self.order == "asc" else ()
