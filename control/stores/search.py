"""Full-text search over transcripts and notes: which calls hold all of these words.

Words are cut and folded here, the same way for both databases and for what is looked for: case and accents do not
count, nothing is stemmed, and a word is a run of letters and digits. Besides the words that were said, a call is
indexed under words of its tenant, agent and month, which nobody can say (they hold a colon): a common word among
one agent's few calls is then found by intersecting lists, not by looking at each of the others' calls.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Insert, Select, bindparam, column, delete, func, table, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import CallRecord
from control.stores.columns import Text
from control.stores.database import Database
from control.stores.tables import calls

index = table("call_search", column("rowid", BigInteger), column("words"))
"""One row per call that has anything to find; `rowid` is the call's number."""

# A word longer than this is not one; a call of more words than this is found by its first ones. PostgreSQL takes
# a megabyte of them.
LONGEST_WORD = 40
MOST_WORDS = 10_000
# More words than anyone looks for; each costs a lookup.
MOST_LOOKED_FOR = 20
# Beyond this many months a date does not narrow the search, and is only checked.
_MOST_MONTHS = 24

_WORD = re.compile(r"[^\W_]+")


def words_of(texts: Iterable[str]) -> Iterator[str]:
    """Return the words of these texts as they are indexed: ASCII, whatever script they are in."""
    for each in texts:
        folded = unicodedata.normalize("NFKD", each.casefold())
        plain = "".join(letter for letter in folded if not unicodedata.combining(letter))
        for word in _WORD.findall(plain):
            short = word[:LONGEST_WORD]
            yield short if short.isascii() else f"u:{short.encode('utf-8', 'replace').hex()}"


def texts_of(record: CallRecord) -> Iterator[str]:
    """Return what a call is searched by."""
    for entry in record.transcript:
        content = entry.get("content")
        if isinstance(content, str):
            yield content
    if record.notes:
        yield record.notes


def _named(kind: str, name: str) -> str:
    return f"{kind}:{name.encode('utf-8', 'replace').hex()}"


def _month(moment: date) -> str:
    return f"m:{moment.year:04}{moment.month:02}"


def found_first(query: Select[Any]) -> Select[Any]:
    """Have a query of calls and the index look into the index first, then for each call by its number.

    SQLite would rather walk an index of calls and ask of each whether it holds the words, which costs a thousand times
    as much: it knows nothing of how frequent a word is.
    """
    return query.with_hint(calls, "NOT INDEXED", "sqlite")


class Search:
    """Keeps the index, and says how to look into it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, connection: AsyncConnection, number: int, record: CallRecord) -> None:
        """Index the call, whose number this is, anew."""
        await self.drop(connection, number)
        entry = self.entry(number, record)
        if entry is not None:
            await connection.execute(self.insertion(), entry)

    def entry(self, number: int, record: CallRecord) -> dict[str, Any] | None:
        """Return what `insertion` takes; None if there is nothing to find."""
        said = list(dict.fromkeys(words_of(texts_of(record))))[:MOST_WORDS]
        if not said:
            return None
        known_by = [_named("t", record.tenant_id), _month(record.started_at)]
        if record.agent_id is not None:
            known_by.append(_named("a", record.agent_id))
        words = known_by + said
        return {"number": number, "kept": words if self._database.postgresql else " ".join(words)}

    def insertion(self) -> Insert:
        """The statement that puts entries, one or many, of calls that have none into the index."""
        kept: ColumnElement[Any] = bindparam("kept")
        if self._database.postgresql:
            kept = func.array_to_tsvector(bindparam("kept", type_=ARRAY(Text)))
        return index.insert().values(rowid=bindparam("number"), words=kept)

    async def drop(self, connection: AsyncConnection, number: int) -> None:
        await connection.execute(delete(index).where(index.c.rowid == number))

    def holds(
        self,
        sought: str,
        tenant_id: str,
        agent_id: str | None = None,
        between: tuple[datetime | None, datetime | None] = (None, None),
    ) -> ColumnElement[bool] | None:
        """Return the condition on `index`; None if nothing can be found by this text."""
        said = list(dict.fromkeys(words_of([sought])))[:MOST_LOOKED_FOR]
        if not said:
            return None
        groups = [[word] for word in said]
        groups.append([_named("t", tenant_id)])
        if agent_id is not None:
            groups.append([_named("a", agent_id)])
        if months := _months(*between):
            groups.append(months)
        return self._match(groups)

    def _match(self, groups: Sequence[Sequence[str]]) -> ColumnElement[bool]:
        """All of the groups, of each one word. Words are ASCII letters, digits and colons: they need no escape."""
        if self._database.postgresql:
            query = " & ".join("(" + " | ".join(f"'{word}'" for word in group) + ")" for group in groups)
            clause = text("call_search.words @@ CAST(:sought AS tsquery)")
        else:
            query = " AND ".join("(" + " OR ".join(f'"{word}"' for word in group) + ")" for group in groups)
            clause = text("call_search MATCH :sought")
        return clause.bindparams(sought=query)  # type: ignore[return-value]  # text is a condition wherever one may stand


def _months(first: datetime | None, last: datetime | None) -> list[str]:
    """The words of all months from one moment to another; none where the range is open or long."""
    if first is None or last is None or last < first:
        return []
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    if count > _MOST_MONTHS:
        return []
    start = first.year * 12 + first.month - 1
    return [_month(date(number // 12, number % 12 + 1, 1)) for number in range(start, start + count)]
