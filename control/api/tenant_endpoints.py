"""Tenants, for who runs the gateway; the account, for the tenant itself; and the platform as a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from control.api.endpoint import (
    Access,
    Answer,
    Asked,
    Body,
    Endpoint,
    NoBody,
    NoQuery,
    Query,
    Reply,
    endpoints_of,
)
from control.api.gate import Gate
from control.api.page_queries import PageQuery
from control.api.patching import unless_given
from control.api.platform_endpoints import KeyBody, shown
from control.api.ports import ProcessState
from control.api.problem import Problem
from control.api.shapes import NewKeyShape
from control.api.tenant_shapes import (
    Account,
    NewTenantShape,
    PlatformStats,
    TenantList,
    TenantShape,
    WebhookSecretShape,
    tenant_shape,
    use_shapes,
)
from control.secrets import Cipher
from control.stores.keys import DEFAULT_TENANT, Scope
from control.stores.platform import PlatformUse
from control.stores.store import Store
from control.stores.tenants import Removal, Tenant, new_tenant_id
from control.tenancy import Tenancy
from control.webhook_message import new_webhook_secret

TAG = "Tenants"
_NOTHING = Decimal(0)
FIRST_KEY = "first"

Name = Annotated[str, Field(min_length=1, max_length=100, description="For people.")]
MaxCalls = Annotated[
    int, Field(ge=0, le=1_000_000, description="At a time; null: as many as there is room for.")
]
RequestsPerMinute = Annotated[
    int, Field(ge=1, le=1_000_000, description="Null: as many as the settings say.")
]


class TenantBody(Body):
    """A new tenant."""

    name: Name
    max_calls: MaxCalls | None = None
    requests_per_minute: RequestsPerMinute | None = None


class TenantPatch(Body):
    """What is to be different; what is left out stays."""

    name: Name = unless_given()
    max_calls: MaxCalls | None = None
    requests_per_minute: RequestsPerMinute | None = None
    disabled: bool = unless_given(
        description="true: its keys open nothing, and it has no new calls; those that live go on."
    )


class StatsQuery(Query):
    """How far back."""

    hours: int = Field(default=24, ge=1, le=744)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantParts:
    """What tenants are looked after with."""

    tenancy: Tenancy
    cipher: Cipher
    process: Callable[[], ProcessState]
    version: str
    currency: str


class TenantEndpoints:
    """Driven by the routes."""

    def __init__(self, store: Store, gate: Gate, parts: TenantParts) -> None:
        self._store = store
        self._gate = gate
        self._parts = parts

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        line = endpoints_of(TAG)
        one, admin = "/v1/tenants/{tenant_id}", Access.ADMIN
        return [
            line("GET", "/v1/account", self.account, "Whose key this is, and what they may", {200: Account}),
            line(
                "POST", "/v1/account/rotate-webhook-secret", self.rotate,
                "Give the tenant another webhook secret", {200: WebhookSecretShape},
                description="Signs what goes to the URLs of calls and agents, from now on. Shown this once.",
            ),
            line(
                "GET", "/v1/tenants", self.list, "List tenants", {200: TenantList},
                "invalid_cursor", "invalid_sort", access=admin, query=PageQuery,
                description="Sorted by `created_at` or `name`.",
            ),
            line(
                "POST", "/v1/tenants", self.add, "Make a tenant", {201: NewTenantShape}, access=admin, body=TenantBody,
                description="Its first key and its webhook secret are shown this once.",
            ),
            line("GET", one, self.get, "A tenant", {200: TenantShape}, "not_found", access=admin),
            line(
                "PATCH", one, self.change, "Change a tenant", {200: TenantShape},
                "not_found", "tenant_needed", access=admin, body=TenantPatch,
            ),
            line(
                "DELETE", one, self.delete, "Delete a tenant that has nothing, and its keys", {204: None},
                "not_found", "tenant_needed", "tenant_not_empty", access=admin,
            ),
            line(
                "POST", f"{one}/keys", self.add_key, "Make another key for a tenant", {201: NewKeyShape},
                "not_found", access=admin, body=KeyBody,
            ),
            line(
                "GET", "/v1/admin/stats", self.stats, "The gateway as a whole", {200: PlatformStats},
                access=admin, query=StatsQuery,
            ),
        ]  # fmt: skip

    # The tenant itself

    async def account(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        key = asked.key
        terms = await self._parts.tenancy.terms(key.tenant_id)
        tenant = await self._store.tenants.get(key.tenant_id)
        return Reply(
            Account(
                tenant_id=key.tenant_id,
                name=tenant.name if tenant is not None else key.tenant_id,
                key_id=key.key_id,
                key_name=key.name,
                scope=key.scope.value,
                concurrent_call_limit=terms.max_calls,
                live_calls=len(await self._store.live_calls(tenant_id=key.tenant_id)),
                requests_per_minute=terms.requests_per_minute,
                own_webhook_secret=tenant is not None and tenant.webhook_secret is not None,
            )
        )

    async def rotate(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        secret, now = new_webhook_secret(), datetime.now(UTC)
        await self._store.tenants.ensure(
            Tenant(tenant_id=asked.tenant_id, name=asked.tenant_id, created_at=now)
        )
        await self._store.tenants.change(
            asked.tenant_id, {"webhook_secret": self._parts.cipher.encrypt(secret)}
        )
        return Reply(WebhookSecretShape(webhook_secret=secret))

    # All tenants

    async def list(self, asked: Asked[PageQuery, NoBody]) -> Answer:
        page = await self._store.tenants.page(asked.query.page())
        return Reply(
            TenantList(data=[tenant_shape(each) for each in page.entries], next_cursor=page.next_cursor)
        )

    async def add(self, asked: Asked[NoQuery, TenantBody]) -> Answer:
        body, secret = asked.body, new_webhook_secret()
        tenant = Tenant(
            tenant_id=new_tenant_id(),
            name=body.name,
            max_calls=body.max_calls,
            requests_per_minute=body.requests_per_minute,
            webhook_secret=self._parts.cipher.encrypt(secret),
            created_at=datetime.now(UTC),
        )
        key = await self._store.tenants.add(tenant, FIRST_KEY)
        shape = NewTenantShape(**tenant_shape(tenant).model_dump(), key=shown(key), webhook_secret=secret)
        return Reply(shape, 201, {"Location": f"/v1/tenants/{tenant.tenant_id}"})

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Reply(tenant_shape(await self._tenant(asked)))

    async def change(self, asked: Asked[NoQuery, TenantPatch]) -> Answer:
        tenant = await self._tenant(asked)
        changes = asked.body.model_dump(include=asked.body.model_fields_set)
        disabled = changes.pop("disabled", None)
        if disabled:
            _not_needed(asked)
        if disabled is not None:
            changes["disabled_at"] = (tenant.disabled_at or datetime.now(UTC)) if disabled else None
        changed = await self._store.tenants.change(tenant.tenant_id, changes) if changes else tenant
        if changed is None:
            raise _no_such_tenant()  # deleted meanwhile
        self._parts.tenancy.forget(tenant.tenant_id)
        return Reply(tenant_shape(changed))

    async def delete(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        tenant_id = asked.path["tenant_id"]
        _not_needed(asked)
        match await self._store.tenants.remove(tenant_id):
            case Removal.MISSING:
                raise _no_such_tenant()
            case Removal.NOT_EMPTY:
                raise Problem(
                    409, "tenant_not_empty", "the tenant has calls, agents or other things of its own"
                )
            case Removal.REMOVED:
                self._gate.forget_tenant(tenant_id)
                self._parts.tenancy.forget(tenant_id)
                return web.Response(status=204)

    async def add_key(self, asked: Asked[NoQuery, KeyBody]) -> Answer:
        tenant = await self._tenant(asked)
        scope = Scope(asked.body.scope)
        new = await self._store.keys.add(tenant.tenant_id, asked.body.name, scope, datetime.now(UTC))
        return Reply(shown(new), 201)

    async def _tenant(self, asked: Asked[Any, Any]) -> Tenant:
        tenant = await self._store.tenants.get(asked.path["tenant_id"])
        if tenant is None:
            raise _no_such_tenant()
        return tenant

    # The platform

    async def stats(self, asked: Asked[StatsQuery, NoBody]) -> Answer:
        since = datetime.now(UTC) - timedelta(hours=asked.query.hours)
        return Reply(self._stats(await self._store.platform.use(since), since))

    def _stats(self, use: PlatformUse, since: datetime) -> PlatformStats:
        process, by_tenant = self._parts.process(), use_shapes(use)
        return PlatformStats(
            version=self._parts.version,
            node=process.node,
            started_at=process.started_at,
            ready=not process.unready,
            reasons=[*process.unready, *process.degraded],
            process_live_calls=process.live_calls,
            process_max_calls=process.max_calls,
            tenants=use.tenants,
            tenants_disabled=use.tenants_disabled,
            webhooks=use.webhooks,
            webhooks_disabled=use.webhooks_disabled,
            deliveries_pending=use.deliveries_pending,
            live_calls=sum(each.live_calls for each in by_tenant),
            since=since,
            calls=sum(each.calls for each in by_tenant),
            minutes_used=sum((each.minutes_used for each in by_tenant), start=_NOTHING),
            currency=self._parts.currency,
            total_cost=sum((each.total_cost for each in by_tenant), start=_NOTHING),
            by_tenant=by_tenant,
        )


def _not_needed(asked: Asked[Any, Any]) -> None:
    """
    Raises:
        Problem: 409, without this tenant nobody could undo it, or the settings' own agents would have no home.
    """
    if asked.path["tenant_id"] in (asked.tenant_id, DEFAULT_TENANT):
        raise Problem(409, "tenant_needed", "it is the tenant of this key, or that of the settings")


def _no_such_tenant() -> Problem:
    return Problem(404, "not_found", "there is no such tenant")
