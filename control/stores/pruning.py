"""What is old is let go of: events, and what came of their deliveries, in small steps.

Theory of operation. Positions grow with time, nearly: a sweep walks the events from the first one and stops where none
of a step is old. A step is one short transaction, for everybody who writes waits for it (SQLite). It lets go of
deliveries that are over, with their attempts, and then of the events of which nothing is left to tell. A call that has
not ended keeps all of its events, and a delivery that is owed keeps its own, however old they are. A `call.ended` stays
for as long as its call: it is how everybody knows that the end was told.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, delete, exists, select

from control.call_record import LIVE
from control.stores.database import Database
from control.stores.tables import calls, deliveries, events

STEP = 200
"""Events looked at in one transaction: some 30 ms on SQLite, of the 250 that a call waits for its save."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a step has let go of."""

    events: int
    deliveries: int
    last: int | None
    """The position to go on after; None: what is left is not old."""


class Pruning:
    """Lets go of what is old. Safe beside itself, in other processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(self, before: datetime, *, after: int = 0, step: int = STEP) -> Pruned:
        """Look at the next events after a position: let go of what was over before this moment."""
        look = (
            select(events.c.position, events.c.occurred_at)
            .where(events.c.position > after)
            .order_by(events.c.position)
            .limit(step)
        )
        async with self._database.read() as connection:
            seen = (await connection.execute(look)).all()
        old = [row.position for row in seen if row.occurred_at < before]
        if not old:
            return Pruned(0, 0, None)
        these = events.c.position.between(old[0], old[-1])
        over = select(deliveries.c.delivery_id).where(
            deliveries.c.position.between(old[0], old[-1]),
            deliveries.c.state != "pending",
            deliveries.c.finished_at < before,
        )
        unfinished = exists().where(calls.c.call_id == events.c.call_id, calls.c.status.in_(sorted(LIVE)))
        told = exists().where(deliveries.c.position == events.c.position)
        done = select(events.c.position).where(
            and_(these, events.c.occurred_at < before, events.c.name != "call.ended", ~unfinished, ~told)
        )
        async with self._database.write() as connection:
            # Who has one of these in hand, a retry or another process's sweep, is not waited for.
            gone = delete(deliveries).where(
                deliveries.c.delivery_id.in_(over.with_for_update(skip_locked=True))
            )
            ended = (await connection.execute(gone)).rowcount
            gone = delete(events).where(
                events.c.position.in_(done.with_for_update(skip_locked=True, of=events))
            )
            past = (await connection.execute(gone)).rowcount
        return Pruned(past, ended, seen[-1].position)
