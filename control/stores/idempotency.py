"""What an idempotency key was used for, and the first answer it got.

A key is claimed before its request is carried out, and finished with the answer. Kept for a day. A
process that dies in between leaves the key claimed: the same request is then told that it is in progress, and, of a
dial, which call it made.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.stores.columns import Values
from control.stores.database import Database
from control.stores.tables import idempotency

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request that shall be carried out at most once."""

    key: str
    fingerprint: str
    """Of the request: another one with the same key is a conflict."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Nobody has used the key: carry the request out, then `finish` or `abandon` the key."""


@dataclass(frozen=True, slots=True)
class Answered:
    """It was carried out, and this was the answer."""

    status: int
    body: bytes
    location: str | None = None
    """Where what it made is, of an answer that said so."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class InProgress:
    """The first request with the key has no answer yet."""

    since: datetime
    call_id: str | None
    """What it dialled."""


ClaimOutcome = Claimed | Answered | Conflict | InProgress


class Idempotency:
    """Claims keys and keeps answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, tenant_id: str, claim: Claim, now: datetime) -> ClaimOutcome:
        """Claim the key for this request, unless it was claimed before."""
        async with self._database.write() as connection:
            return await self.claim_within(connection, tenant_id, claim, now)

    async def claim_within(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        claim: Claim,
        now: datetime,
        call_id: str | None = None,
    ) -> ClaimOutcome:
        """Claim the key in the transaction that also adds the call."""
        ours = (idempotency.c.tenant_id == tenant_id) & (idempotency.c.key == claim.key)
        await connection.execute(delete(idempotency).where(ours, idempotency.c.created_at <= now - KEPT))
        row = {
            "tenant_id": tenant_id,
            "key": claim.key,
            "fingerprint": claim.fingerprint,
            "call_id": call_id,
            "created_at": now,
        }
        # Of two at the same moment the second waits here for the first one's transaction.
        if await self._database.insert_new(connection, idempotency, [row], "key"):
            return Claimed()
        first = (await connection.execute(select(idempotency).where(ours))).mappings().one()
        return _outcome(first, claim)

    async def look(
        self, tenant_id: str, claim: Claim, now: datetime
    ) -> Answered | Conflict | InProgress | None:
        """Return what became of the key, claiming nothing; None: nobody has used it."""
        query = select(idempotency).where(
            idempotency.c.tenant_id == tenant_id,
            idempotency.c.key == claim.key,
            idempotency.c.created_at > now - KEPT,
        )
        async with self._database.read() as connection:
            first = (await connection.execute(query)).mappings().one_or_none()
        return None if first is None else _outcome(first, claim)

    async def finish(
        self, tenant_id: str, key: str, status: int, body: bytes, location: str | None = None
    ) -> None:
        """Keep the answer; the first one stays."""
        async with self._database.write() as connection:
            await connection.execute(
                update(idempotency)
                .where(
                    idempotency.c.tenant_id == tenant_id,
                    idempotency.c.key == key,
                    idempotency.c.status.is_(None),
                )
                .values(status=status, body=body, location=location)
            )

    async def abandon(self, tenant_id: str, key: str) -> None:
        """Forget a claim whose request was not carried out: the key may be used again."""
        async with self._database.write() as connection:
            await connection.execute(
                delete(idempotency).where(
                    idempotency.c.tenant_id == tenant_id,
                    idempotency.c.key == key,
                    idempotency.c.status.is_(None),
                )
            )

    async def purge(self, now: datetime, limit: int = 500) -> int:
        """Delete what is older than a day, so many at most; return how many there were."""
        which = (idempotency.c.tenant_id, idempotency.c.key)
        old = select(*which).where(idempotency.c.created_at <= now - KEPT)
        old = old.order_by(idempotency.c.created_at).limit(limit).with_for_update(skip_locked=True)
        async with self._database.write() as connection:
            return (await connection.execute(delete(idempotency).where(tuple_(*which).in_(old)))).rowcount


def _outcome(first: Values, claim: Claim) -> Answered | Conflict | InProgress:
    if first["fingerprint"] != claim.fingerprint:
        return Conflict()
    if first["status"] is None:
        return InProgress(first["created_at"], first["call_id"])
    return Answered(first["status"], first["body"], first["location"])
