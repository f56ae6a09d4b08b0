"""Accounts with carriers and providers as answers have them: whatever is secret of them stays out."""

from typing import Literal

from pydantic import Field

from control.api.ports import AccountDesk, SettingsAccount
from control.api.shapes import Moment, Shape
from control.integrations import DEFAULT, Vendor
from control.stores.integrations import Integration


class IntegrationShape(Shape):
    """An account with a carrier or a provider. Its credentials are never shown."""

    integration_id: str
    kind: Literal["carrier", "provider"]
    vendor: Vendor
    name: str
    source: Literal["stored", "settings"] = Field(
        description="`settings`: the gateway's own, which cannot be changed here."
    )
    settings: dict[str, str]
    webhook_urls: dict[str, str] = Field(
        description="Where the carrier tells us of its calls. Claiming a number sets them."
    )
    created_at: Moment | None
    updated_at: Moment | None
    checked_at: Moment | None = Field(description="When it was last tried.")
    problem: str | None = Field(description="What was wrong then.")


class IntegrationList(Shape):
    """A page of accounts; those of the settings come last."""

    data: list[IntegrationShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


class IntegrationStatus(Shape):
    """Whether an account works, as far as is known, and what it is used for."""

    integration_id: str
    ok: bool | None = Field(description="Null: it was never tried.")
    problem: str | None
    checked_at: Moment | None
    live_calls: int
    numbers: int
    agents: int = Field(description="Those that name it as their provider, or to fall back on.")


class TrialShape(Shape):
    """What came of trying an account."""

    integration_id: str
    ok: bool
    problem: str | None
    latency_ms: float
    checked_at: Moment


def settings_id(vendor: Vendor) -> str:
    """Return what an account of the settings is called in the API: every one of them is its carrier's `default`."""
    return f"{DEFAULT}-{vendor.value}"


def stored_shape(integration: Integration, desk: AccountDesk) -> IntegrationShape:
    return IntegrationShape(
        integration_id=integration.integration_id,
        kind=integration.kind.value,
        vendor=integration.vendor,
        name=integration.name,
        source="stored",
        settings=dict(integration.settings),
        webhook_urls=dict(desk.webhook_urls(integration.vendor, integration.integration_id)),
        created_at=integration.created_at,
        updated_at=integration.updated_at,
        checked_at=integration.checked_at,
        problem=integration.problem,
    )


def settings_shape(account: SettingsAccount, desk: AccountDesk) -> IntegrationShape:
    return IntegrationShape(
        integration_id=settings_id(account.vendor),
        kind=account.vendor.kind.value,
        vendor=account.vendor,
        name=DEFAULT,
        source="settings",
        settings=dict(account.settings),
        webhook_urls=dict(desk.webhook_urls(account.vendor, DEFAULT)),
        created_at=None,
        updated_at=None,
        checked_at=None,
        problem=None,
    )
