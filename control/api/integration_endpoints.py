"""Accounts with carriers and providers: given, changed, tried, taken away; what is secret of them goes in only."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, Field, StringConstraints

from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.integration_shapes import (
    IntegrationList,
    IntegrationShape,
    IntegrationStatus,
    TrialShape,
    settings_id,
    settings_shape,
    stored_shape,
)
from control.api.page_queries import PageQuery
from control.api.ports import AccountDesk, SettingsAccount
from control.api.problem import Fault, Problem
from control.api.reading import validated
from control.api.settings_tail import with_settings
from control.configuration import Name
from control.integrations import (
    CONFIGS,
    DEFAULT,
    IDENTITY,
    Config,
    Kind,
    Vendor,
    foreign_address,
    secrets_of,
    settings_of,
)
from control.secrets import Cipher, SecretUnreadable
from control.stores.integrations import Integration, Removal
from control.stores.store import Store

TAG = "Integrations"

Field64 = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")]
Value = Annotated[str, StringConstraints(max_length=2_000)]


def _table(part: str) -> str:
    """What a part of an account is made of, vendor by vendor, for the document."""
    lines = []
    for vendor, config in CONFIGS.items():
        model: type[BaseModel] = config.model_fields[part].annotation  # type: ignore[assignment]  # they are models
        names = [
            f"`{name}`" if field.is_required() else f"`{name}`?" for name, field in model.model_fields.items()
        ]
        lines.append(f"{vendor.value}: {', '.join(names)}")
    return "; ".join(lines)


class IntegrationBody(Body):
    """A new account."""

    vendor: Vendor = Field(description="`realtime`: any other server of the OpenAI Realtime wire.")
    name: Name = Field(description="For people.")
    credentials: dict[Field64, Value] = Field(
        default_factory=dict,
        max_length=10,
        description=f"Kept encrypted, never shown. {_table('credentials')}.",
    )
    settings: dict[Field64, Value] = Field(
        default_factory=dict, max_length=10, description=f"{_table('settings')}."
    )


class IntegrationChange(Body):
    """What is to be another; what is left out stays. A null takes an entry away."""

    name: Name | None = None
    credentials: dict[Field64, Value | None] = Field(default_factory=dict, max_length=10)
    settings: dict[Field64, Value | None] = Field(default_factory=dict, max_length=10)


class IntegrationFilter(Query):
    """Which accounts."""

    kind: Kind | None = None
    vendor: Vendor | None = None


class IntegrationListQuery(IntegrationFilter, PageQuery):
    """A page of the accounts."""


class IntegrationEndpoints:
    """Driven by the routes."""

    def __init__(
        self,
        store: Store,
        desk: AccountDesk,
        cipher: Cipher,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._desk = desk
        self._cipher = cipher
        self._now = now

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        path = "/v1/integrations/{integration_id}"
        return [
            endpoint(
                "GET", "/v1/integrations", self.list,
                summary="List accounts with carriers and providers", tag=TAG, query=IntegrationListQuery,
                body=NoBody, answers={200: IntegrationList}, problems=("invalid_cursor", "invalid_sort"),
            ),
            endpoint(
                "POST", "/v1/integrations", self.add,
                summary="Add an account", tag=TAG, query=NoQuery, body=IntegrationBody,
                answers={201: IntegrationShape}, once=True,
            ),
            endpoint(
                "GET", path, self.get,
                summary="An account", tag=TAG, query=NoQuery, body=NoBody, answers={200: IntegrationShape},
                problems=("not_found",),
            ),
            endpoint(
                "PATCH", path, self.change,
                summary="Change an account", tag=TAG, query=NoQuery, body=IntegrationChange,
                answers={200: IntegrationShape},
                problems=("not_found", "integration_in_use", "read_only_settings"),
                description="Calls in progress go on with the new credentials. Which account it is cannot be changed "
                "while numbers or calls are with it.",
            ),
            endpoint(
                "DELETE", path, self.delete,
                summary="Take an account away", tag=TAG, query=NoQuery, body=NoBody, answers={204: None},
                problems=("not_found", "integration_in_use", "read_only_settings"),
            ),
            endpoint(
                "POST", f"{path}/test", self.test,
                summary="Ask the vendor whether an account works", tag=TAG, query=NoQuery, body=NoBody,
                answers={200: TrialShape}, problems=("not_found",),
            ),
            endpoint(
                "GET", f"{path}/status", self.status,
                summary="Whether an account works, and what it is used for", tag=TAG, query=NoQuery, body=NoBody,
                answers={200: IntegrationStatus}, problems=("not_found",),
            ),
        ]  # fmt: skip

    async def list(self, asked: Asked[IntegrationListQuery, NoBody]) -> Answer:
        query = asked.query
        of_settings = [
            account
            for account in self._desk.of_settings(asked.tenant_id)
            if query.kind in (None, account.vendor.kind) and query.vendor in (None, account.vendor)
        ]
        stored, fixed, cursor = await with_settings(
            query,
            lambda page: self._store.integrations.page(
                asked.tenant_id, page, kind=query.kind, vendor=query.vendor
            ),
            of_settings,
        )
        shapes = [stored_shape(each, self._desk) for each in stored]
        shapes += [settings_shape(each, self._desk) for each in fixed]
        return Reply(IntegrationList(data=shapes, next_cursor=cursor))

    async def add(self, asked: Asked[NoQuery, IntegrationBody]) -> Answer:
        body, now = asked.body, self._now()
        config = self._checked(body.vendor, body.credentials, body.settings)
        integration = Integration(
            integration_id=f"int_{token_hex(12)}",
            tenant_id=asked.tenant_id,
            vendor=body.vendor,
            name=body.name,
            credentials=self._cipher.encrypt(secrets_of(config)),
            settings=settings_of(config),
            created_at=now,
            updated_at=now,
        )
        await self._store.integrations.add(integration)
        location = {"Location": f"/v1/integrations/{integration.integration_id}"}
        return Reply(stored_shape(integration, self._desk), 201, location)

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        found = await self._found(asked)
        if isinstance(found, SettingsAccount):
            return Reply(settings_shape(found, self._desk))
        return Reply(stored_shape(found, self._desk))

    async def change(self, asked: Asked[NoQuery, IntegrationChange]) -> Answer:
        integration_id = asked.path["integration_id"]
        self._refuse_settings(asked, integration_id)
        changed = await self._store.integrations.change(
            asked.tenant_id, integration_id, lambda before, used: self._changed(before, used, asked.body)
        )
        if changed is None:
            raise _no_such_integration()
        self._desk.changed(integration_id)
        return Reply(stored_shape(changed, self._desk))

    async def delete(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        integration_id = asked.path["integration_id"]
        self._refuse_settings(asked, integration_id)
        match await self._store.integrations.delete(asked.tenant_id, integration_id):
            case Removal.MISSING:
                raise _no_such_integration()
            case Removal.HAS_NUMBERS:
                raise _in_use("release the numbers of the account first")
            case Removal.HAS_CALLS:
                raise _in_use("calls of the account are going on")
            case Removal.HAS_AGENTS:
                raise _in_use("agents name the account as their provider: give them another one first")
            case Removal.DONE:
                self._desk.changed(integration_id)
                return web.Response(status=204)

    async def test(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        found, now = await self._found(asked), self._now()
        integration_id = DEFAULT if isinstance(found, SettingsAccount) else found.integration_id
        trial = await self._desk.tried(asked.tenant_id, found.vendor, integration_id)
        if isinstance(found, Integration):
            await self._store.integrations.checked(asked.tenant_id, integration_id, now, trial.problem)
        return Reply(
            TrialShape(
                integration_id=asked.path["integration_id"],
                ok=trial.problem is None,
                problem=trial.problem,
                latency_ms=round(trial.latency * 1000, 1),
                checked_at=now,
            )
        )

    async def status(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        found = await self._found(asked)
        checked_at = found.checked_at if isinstance(found, Integration) else None
        problem = found.problem if isinstance(found, Integration) else None
        integration_id = DEFAULT if isinstance(found, SettingsAccount) else found.integration_id
        use = await self._store.integrations.use(asked.tenant_id, found.vendor, integration_id)
        return Reply(
            IntegrationStatus(
                integration_id=asked.path["integration_id"],
                ok=None if checked_at is None else problem is None,
                problem=problem,
                checked_at=checked_at,
                live_calls=use.live_calls,
                agents=use.agents,
                numbers=use.numbers,
            )
        )

    async def _found(self, asked: Asked[NoQuery, NoBody]) -> Integration | SettingsAccount:
        integration_id = asked.path["integration_id"]
        fixed = self._of_settings(asked.tenant_id, integration_id)
        if fixed is not None:
            return fixed
        found = await self._store.integrations.get(asked.tenant_id, integration_id)
        if found is None:
            raise _no_such_integration()
        return found

    def _of_settings(self, tenant_id: str, integration_id: str) -> SettingsAccount | None:
        named = (
            each for each in self._desk.of_settings(tenant_id) if settings_id(each.vendor) == integration_id
        )
        return next(named, None)

    def _refuse_settings(self, asked: Asked[Any, Any], integration_id: str) -> None:
        if self._of_settings(asked.tenant_id, integration_id) is not None:
            raise Problem(409, "read_only_settings", "the account is in the gateway's settings")

    def _checked(self, vendor: Vendor, credentials: Mapping[str, str], settings: Mapping[str, str]) -> Config:
        """
        Raises:
            Problem: 422, something is missing or wrong, or we do not go where it says.
        """
        config: Config = validated(
            CONFIGS[vendor], {"credentials": dict(credentials), "settings": dict(settings)}
        )
        foreign = foreign_address(vendor, config)
        if foreign is not None and not self._desk.allowed(foreign[1]):
            detail = "is not an address of the vendor, nor of a host that OFFHOOK_EGRESS_ALLOW names"
            raise Problem(
                422, "invalid_body", f"{foreign[0][1:]}: {detail}", errors=[Fault(foreign[0], detail)]
            )
        return config

    def _changed(self, before: Integration, used: bool, change: IntegrationChange) -> Integration:
        """
        Raises:
            Problem: 409 or 422, it cannot be changed so.
        """
        settings = _merged(before.settings, change.settings)
        config = self._checked(
            before.vendor, _merged(self._credentials(before, change), change.credentials), settings
        )
        after = settings_of(config)
        if used and any(before.settings.get(name) != after.get(name) for name in IDENTITY):
            raise _in_use("it cannot become another account while numbers or calls are with it")
        after_change = replace(
            before,
            name=change.name or before.name,
            credentials=self._cipher.encrypt(secrets_of(config)),
            settings=after,
            updated_at=max(self._now(), before.updated_at),
        )
        if not (change.credentials or change.settings):
            return after_change
        # What was found of the old ones says nothing of the new.
        return replace(after_change, checked_at=None, problem=None)

    def _credentials(self, before: Integration, change: IntegrationChange) -> Mapping[str, str]:
        """What is known of the credentials so far; where it cannot be read any more, all are to be given anew."""
        try:
            known: dict[str, str] = json.loads(self._cipher.decrypt(before.credentials))
        except SecretUnreadable:
            return {}
        return known


def _merged(known: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    merged = {**known, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _no_such_integration() -> Problem:
    return Problem(404, "not_found", "there is no such account")


def _in_use(detail: str) -> Problem:
    return Problem(409, "integration_in_use", detail)
