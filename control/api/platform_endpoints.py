"""Keys, carriers, drains and the health of what the gateway depends on."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from control.api.endpoint import Access, Answer, Asked, Body, Endpoint, NoBody, NoQuery, Reply, endpoints_of
from control.api.gate import Gate
from control.api.ports import CallControl, Health, HealthChecks
from control.api.problem import Problem
from control.api.shapes import (
    CarrierList,
    DetailedHealth,
    DrainShape,
    HealthShape,
    KeyList,
    KeyShape,
    NewKeyShape,
    carrier_shape,
    key_fields,
)
from control.stores.keys import NewKey, Scope
from control.stores.store import Store
from telephony.capabilities import CAPABILITIES

# What the detailed health waits for; a dependency that takes longer is not well.
_PATIENCE = 5.0

StreamGaps = Callable[[str], float | None]
"""How long callers of a carrier were not heard while a stream was opened again, at the median, in seconds."""


class KeyBody(Body):
    """A new key."""

    name: str = Field(min_length=1, max_length=100, description="For people.")
    scope: Literal["read", "full"] = "full"


class PlatformEndpoints:
    """Driven by the routes."""

    def __init__(
        self,
        calls: CallControl,
        store: Store,
        gate: Gate,
        *,
        carriers: Callable[[str], Awaitable[frozenset[str]]],
        gaps: StreamGaps,
        health: HealthChecks,
        version: str,
    ) -> None:
        """
        Args:
            carriers: those that a tenant has an account with.
        """
        self._calls = calls
        self._store = store
        self._gate = gate
        self._carriers = carriers
        self._gaps = gaps
        self._health = health
        self._version = version

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        line = endpoints_of("Platform")
        kept, admin = ("not_found", "admin_key_required"), Access.ADMIN
        return [
            line(
                "GET", "/v1/carriers", self.carriers,
                "What can be done to a call, carrier by carrier", {200: CarrierList},
            ),
            line("GET", "/v1/health/detailed", self.health, "How every dependency is", {200: DetailedHealth}),
            line("GET", "/v1/keys", self.keys, "List keys", {200: KeyList}, access=Access.FULL),
            line(
                "POST", "/v1/keys", self.add_key,
                "Make a key; its secret is shown this once", {201: NewKeyShape}, body=KeyBody,
            ),
            line("DELETE", "/v1/keys/{key_id}", self.revoke, "Revoke a key", {204: None}, *kept),
            line(
                "POST", "/v1/keys/{key_id}/rotate", self.rotate,
                "Give a key another secret", {200: NewKeyShape}, *kept,
            ),
            line("POST", "/v1/admin/drain", self.drain, "Take no new calls", {200: DrainShape}, access=admin),
            line("DELETE", "/v1/admin/drain", self.undrain, "Take calls again", {200: DrainShape}, access=admin),
        ]  # fmt: skip

    async def carriers(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        configured = await self._carriers(asked.tenant_id)
        rows = [
            carrier_shape(row, configured=name in configured, gap=self._gaps(name))
            for name, row in CAPABILITIES.items()
        ]
        return Reply(CarrierList(data=rows))

    async def health(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await self._health(asked.tenant_id)
        except TimeoutError:
            found = {"checks": Health(ok=False, detail=f"not all have answered within {_PATIENCE:.0f} s")}
        shapes = {
            name: HealthShape(
                ok=each.ok,
                latency_ms=None if each.latency is None else round(each.latency * 1000, 1),
                detail=each.detail,
            )
            for name, each in found.items()
        }
        well = all(each.ok for each in found.values())
        return Reply(
            DetailedHealth(status="ok" if well else "degraded", version=self._version, dependencies=shapes)
        )

    async def keys(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        found = await self._store.keys.of_tenant(asked.tenant_id)
        return Reply(KeyList(data=[KeyShape(**key_fields(key)) for key in found]))

    async def add_key(self, asked: Asked[NoQuery, KeyBody]) -> Answer:
        scope = Scope(asked.body.scope)
        new = await self._store.keys.add(asked.tenant_id, asked.body.name, scope, datetime.now(UTC))
        return Reply(shown(new), 201)

    async def revoke(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        key_id = asked.path["key_id"]
        await self._check_theirs(asked)
        if not await self._store.keys.revoke(asked.tenant_id, key_id, datetime.now(UTC)):
            raise _no_such_key()
        self._gate.forget(key_id)
        return web.Response(status=204)

    async def rotate(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        key_id = asked.path["key_id"]
        await self._check_theirs(asked)
        new = await self._store.keys.rotate(asked.tenant_id, key_id)
        if new is None:
            raise _no_such_key()
        self._gate.forget(key_id)
        return Reply(shown(new))

    async def _check_theirs(self, asked: Asked[NoQuery, NoBody]) -> None:
        """
        Raises:
            Problem: 403 or 404; a key that may do more than who asks is not theirs to take or to have.
        """
        key = await self._store.keys.get(asked.tenant_id, asked.path["key_id"])
        if key is None:
            raise _no_such_key()
        if key.scope is Scope.ADMIN and asked.key.scope is not Scope.ADMIN:
            raise Problem(403, "admin_key_required", "the key may administer the platform, and yours may not")

    async def drain(self, _: Asked[NoQuery, NoBody]) -> Answer:
        self._calls.drain(True)
        return Reply(DrainShape(draining=self._calls.draining))

    async def undrain(self, _: Asked[NoQuery, NoBody]) -> Answer:
        self._calls.drain(False)
        return Reply(DrainShape(draining=self._calls.draining))


def shown(new: NewKey) -> NewKeyShape:
    return NewKeyShape(**key_fields(new.key), secret=new.secret)


def _no_such_key() -> Problem:
    return Problem(404, "not_found", "there is no such key")
