"""API keys. Only a digest is kept: a secret is shown once, when it is made, and never again.

A secret is 256 random bits, so a plain SHA-256 of it cannot be searched for. It is looked up by its digest: the
database compares digests, whose distance from one another says nothing of the secret.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.stores.columns import Instant, Values
from control.stores.database import Database
from control.stores.tables import api_keys

PREFIX = "ok_live_"
DEFAULT_TENANT = "default"

# `last_used_at` is for people who tidy up; a write per request would be dear.
_USED_EVERY = timedelta(minutes=1)


class Scope(StrEnum):
    """What a key may do; each may do what the ones before it may."""

    READ = "read"
    FULL = "full"
    ADMIN = "admin"
    """Also what concerns all tenants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, without its secret."""

    key_id: str
    tenant_id: str
    name: str
    scope: Scope
    hint: str
    """The secret's last four characters, for people to know it by."""
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key with its secret, which nobody will see again."""

    key: ApiKey
    secret: str = field(repr=False)


class Keys:
    """Makes, finds and revokes keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tenant_id: str, name: str, scope: Scope, now: datetime) -> NewKey:
        """Make a key."""
        async with self._database.write() as connection:
            return await self.add_within(connection, tenant_id, name, scope, now)

    async def add_within(
        self, connection: AsyncConnection, tenant_id: str, name: str, scope: Scope, now: datetime
    ) -> NewKey:
        """Make a key in a transaction that makes more."""
        new = _new_key(f"key_{secrets.token_hex(12)}", tenant_id, name, scope, now)
        await connection.execute(insert(api_keys).values(_row(new)))
        return new

    async def ensure_bootstrap(self, now: datetime) -> NewKey | None:
        """Make the first key of a database that has none, for the first tenant; None if there are keys already."""
        new = _new_key("key_bootstrap", DEFAULT_TENANT, "bootstrap", Scope.ADMIN, now)
        async with self._database.write() as connection:
            if await connection.scalar(select(func.count()).select_from(api_keys)):
                return None
            # Its id is always the same: of two processes that start together one makes it.
            made = await self._database.insert_new(connection, api_keys, [_row(new)], "key_id")
        return new if made else None

    async def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret; None if there is none, or it was revoked."""
        query = select(api_keys).where(api_keys.c.digest == _digest(secret), api_keys.c.revoked_at.is_(None))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _key_of(row)

    async def used(self, key: ApiKey, now: datetime) -> None:
        """Note that it was used, to the minute."""
        if key.last_used_at is not None and now - key.last_used_at < _USED_EVERY:
            return
        async with self._database.write() as connection:
            await connection.execute(
                update(api_keys)
                .where(
                    api_keys.c.key_id == key.key_id,
                    api_keys.c.last_used_at.is_(None) | (api_keys.c.last_used_at <= now - _USED_EVERY),
                )
                .values(last_used_at=now)
            )

    async def get(self, tenant_id: str, key_id: str) -> ApiKey | None:
        async with self._database.read() as connection:
            query = select(api_keys).where(_is(tenant_id, key_id))
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _key_of(row)

    async def of_tenant(self, tenant_id: str) -> list[ApiKey]:
        """Return the tenant's keys, newest first, revoked ones too."""
        query = (
            select(api_keys)
            .where(api_keys.c.tenant_id == tenant_id)
            .order_by(api_keys.c.created_at.desc(), api_keys.c.key_id)
        )
        async with self._database.read() as connection:
            return [_key_of(row) for row in (await connection.execute(query)).mappings()]

    async def revoke(self, tenant_id: str, key_id: str, now: datetime) -> bool:
        """Let nobody in with it from now on; whether there was such a key."""
        async with self._database.write() as connection:
            result = await connection.execute(
                update(api_keys)
                .where(_is(tenant_id, key_id))
                .values(revoked_at=func.coalesce(api_keys.c.revoked_at, literal(now, Instant())))
            )
            return result.rowcount == 1

    async def rotate(self, tenant_id: str, key_id: str) -> NewKey | None:
        """Give a key another secret; the old one is worth nothing. None if there is no such key in force."""
        secret = _secret()
        async with self._database.write() as connection:
            result = await connection.execute(
                update(api_keys)
                .where(_is(tenant_id, key_id), api_keys.c.revoked_at.is_(None))
                .values(digest=_digest(secret), hint=secret[-4:])
                .returning(*api_keys.c)
            )
            row = result.mappings().one_or_none()
        return None if row is None else NewKey(_key_of(row), secret)


def _is(tenant_id: str, key_id: str) -> ColumnElement[bool]:
    return (api_keys.c.tenant_id == tenant_id) & (api_keys.c.key_id == key_id)


def _secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _new_key(key_id: str, tenant_id: str, name: str, scope: Scope, now: datetime) -> NewKey:
    secret = _secret()
    key = ApiKey(key_id=key_id, tenant_id=tenant_id, name=name, scope=scope, hint=secret[-4:], created_at=now)
    return NewKey(key, secret)


def _row(new: NewKey) -> dict[str, object]:
    key = new.key
    return {
        "key_id": key.key_id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "scope": key.scope,
        "digest": _digest(new.secret),
        "hint": key.hint,
        "created_at": key.created_at,
    }


def _key_of(row: Values) -> ApiKey:
    return ApiKey(
        key_id=row["key_id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        scope=Scope(row["scope"]),
        hint=row["hint"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
