"""What is on record of calls that still live, piece by piece: kept with the entries that tell of it, and gone with the
call's last one."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_draft import CallDraft, DraftKind, DraftPiece
from control.stores.database import Database
from control.stores.events import StoredEvent
from control.stores.tables import call_drafts, tool_logs


class Drafts:
    """Keeps the pieces of calls' drafts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(
        self, connection: AsyncConnection, call_id: str, revision: int, new: Sequence[StoredEvent]
    ) -> None:
        """Keep what the events that were just stored bring; a later save's piece stays.

        Args:
            revision: of the record that the events came with.
        """
        if any(each.event.name == "call.ended" for each in new):
            await connection.execute(delete(call_drafts).where(call_drafts.c.call_id == call_id))
            return
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for each in new:
            for piece in each.event.draft:
                rows[piece.kind, piece.key] = {
                    "call_id": call_id,
                    "kind": piece.kind.value,
                    "key": piece.key,
                    "revision": revision,
                    "data": piece.data,
                }
        if not rows:
            return
        statement = self._database.insert(call_drafts)
        later = statement.excluded
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["call_id", "kind", "key"],
                set_={"revision": later.revision, "data": later.data},
                where=call_drafts.c.revision <= later.revision,
            ),
            list(rows.values()),
        )

    async def of(self, call_id: str) -> CallDraft:
        """Return what is on record of a call whose end was not told yet; of its tools' runs, those that have not
        ended."""
        ended = exists().where(
            tool_logs.c.call_id == call_id,
            tool_logs.c.tool_call_id == call_drafts.c.key,
            call_drafts.c.kind == DraftKind.TOOL.value,
        )
        query = (
            select(call_drafts)
            .where(call_drafts.c.call_id == call_id, ~ended)
            .order_by(call_drafts.c.kind, call_drafts.c.key)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return CallDraft(tuple(DraftPiece(DraftKind(row["kind"]), row["key"], row["data"]) for row in rows))
