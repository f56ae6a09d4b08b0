"""Pages that are stable while rows are added: a cursor says after which row the next page begins.

A cursor is opaque to clients: base64 of the order it belongs to, and of the last row's place in it. It is no secret
and no permission, so it is not signed: whoever writes one of his own gets another page of what he may see anyway.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Row,
    RowMapping,
    Select,
    and_,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from control.stores.columns import Instant, Money, Text, micros_of, moment_of
from control.stores.errors import InvalidCursor, InvalidSort

MAX_LIMIT = 100

# Beyond every amount that SQLite keeps (`Money`: millionths, in 64 bits).
_BEYOND_MONEY = Decimal(1 << 63).scaleb(-6)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which page of a list is wanted."""

    limit: int = 50
    after: str | None = None
    """The cursor that the page before ended with."""
    sort: tuple[str, ...] = ()
    """Fields, a leading `-` for descending; none: the list's own order."""

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise ValueError(f"a page has 1 to {MAX_LIMIT} entries")


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A page of a list."""

    entries: tuple[T, ...]
    next_cursor: str | None
    """None: it was the last."""


@dataclass(frozen=True, slots=True)
class Keyset:
    """A total order of rows: named expressions with their directions, the last of them unique."""

    names: tuple[str, ...]
    columns: tuple[ColumnElement[Any], ...]
    descending: tuple[bool, ...]

    @classmethod
    def of(
        cls, sort: Sequence[str], fields: Mapping[str, ColumnElement[Any]], unique: ColumnElement[Any]
    ) -> "Keyset":
        """Return the order that these fields ask for; the last one's direction goes for ties.

        Raises:
            InvalidSort: there is no such field.
        """
        names = [name.removeprefix("-") for name in sort]
        for name in names:
            if name not in fields:
                raise InvalidSort(name)
        columns, descending = [fields[name] for name in names], [name.startswith("-") for name in sort]
        # An index in this order, and in no longer one, is read off instead of sorted.
        if columns[-1] is not unique:
            columns.append(unique)
            descending.append(descending[-1])
        return cls(tuple(sort), tuple(columns), tuple(descending))

    async def page(
        self, connection: AsyncConnection, query: Select[Any], page: Page, *others: Select[Any]
    ) -> tuple[Sequence[RowMapping], str | None]:
        """Return a page of a query that has no order yet, and the cursor of the next; None: it was the last.

        With `others` it is a page of all their rows, of which none may be in two: each is read in the list's order, as
        its own index has it, and only as far as the page needs.

        Raises:
            InvalidCursor: what the page comes after is no cursor, or one of another order.
        """
        heads = [self._head(each, page) for each in (query, *others)]
        statement = heads[0] if not others else self._merged(heads, page)
        rows = (await connection.execute(statement)).all()
        shown = rows[: page.limit]
        cursor = self.cursor(shown[-1]) if len(rows) > page.limit else None
        return [row._mapping for row in shown], cursor

    def _head(self, query: Select[Any], page: Page) -> Select[Any]:
        """As much of a query as a page can need, in order."""
        query = query.add_columns(*self._labelled())
        if page.after is not None:
            query = query.where(self.after(page.after))
        return query.order_by(*_ordered(self.columns, self.descending)).limit(page.limit + 1)

    def _merged(self, heads: Sequence[Select[Any]], page: Page) -> Select[Any]:
        every = union_all(*[select(head.subquery()) for head in heads]).subquery()
        keys = [every.c[f"key_{place}"] for place in range(len(self.columns))]
        return select(every).order_by(*_ordered(keys, self.descending)).limit(page.limit + 1)

    def _labelled(self) -> list[ColumnElement[Any]]:
        """Return what a query must also select, for `cursor` to find."""
        return [column.label(f"key_{place}") for place, column in enumerate(self.columns)]

    def cursor(self, row: Row[Any]) -> str:
        """Return the cursor of the page that follows this row."""
        place = [_written(row._mapping[f"key_{number}"]) for number in range(len(self.columns))]
        text = json.dumps([list(self.names), place], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def after(self, cursor: str) -> ColumnElement[bool]:
        """Return the condition of being on a later page.

        Raises:
            InvalidCursor: it is no cursor, or one of another order.
        """
        values = self._read(cursor)
        if len(set(self.descending)) == 1:
            # Written as one comparison of rows, an index in this order is entered at the right place.
            here = tuple_(*self.columns)
            there = tuple_(
                *[literal(*pair) for pair in zip(values, [each.type for each in self.columns], strict=True)]
            )
            return here < there if self.descending[0] else here > there
        return or_(*[self._beyond(place, values) for place in range(len(self.columns))])

    def _beyond(self, place: int, values: Sequence[Any]) -> ColumnElement[bool]:
        """Equal in everything before this column, and beyond in it."""
        same = [column == value for column, value in zip(self.columns[:place], values[:place], strict=True)]
        column, value = self.columns[place], values[place]
        return and_(*same, column < value if self.descending[place] else column > value)

    def _read(self, cursor: str) -> list[Any]:
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            names, place = json.loads(text)
            if names != list(self.names) or len(place) != len(self.columns):
                raise InvalidCursor("the cursor belongs to a list in another order")
            return [_read(value, column) for value, column in zip(place, self.columns, strict=True)]
        except InvalidCursor:
            raise
        except (binascii.Error, ValueError, TypeError, OverflowError, InvalidOperation) as error:
            raise InvalidCursor("the cursor is none of ours") from error


def _ordered(columns: Sequence[ColumnElement[Any]], descending: Sequence[bool]) -> list[ColumnElement[Any]]:
    return [column.desc() if down else column.asc() for column, down in zip(columns, descending, strict=True)]


def _written(value: object) -> str | int:
    match value:
        case datetime():
            return micros_of(value)
        case Decimal():
            return str(value)
        case str() | int():
            return value
        case _:
            raise TypeError(f"no cursor goes through {type(value).__name__}")


def _read(value: object, column: ColumnElement[Any]) -> Any:  # noqa: ANN401  # of the column's type
    match column.type, value:
        case Instant(), int():
            return moment_of(value)
        case Money(), str() if _is_kept(amount := Decimal(value)):
            return amount
        case Integer() as kind, int() if abs(value) < 1 << (63 if isinstance(kind, BigInteger) else 31):
            return value
        case Text(), str():
            return value
        case _:
            raise InvalidCursor("the cursor is none of ours")


def _is_kept(amount: Decimal) -> bool:
    return amount.is_finite() and amount.copy_abs() < _BEYOND_MONEY
