"""Tenants, the account, and the platform as a whole, as answers have them."""

from pydantic import Field

from control.api.shapes import Moment, Money, NewKeyShape, Shape
from control.stores.platform import PlatformUse
from control.stores.tenants import Tenant


class TenantShape(Shape):
    """A tenant."""

    tenant_id: str
    name: str
    max_calls: int | None = Field(description="At a time; null: as many as there is room for.")
    requests_per_minute: int | None = Field(description="Null: as many as the settings say.")
    own_webhook_secret: bool = Field(
        description="Whether what goes to the URLs of its calls and agents is signed with a secret of its own."
    )
    disabled: bool
    disabled_at: Moment | None
    created_at: Moment


class NewTenantShape(TenantShape):
    """A tenant with its first key and its secret, which are shown this once."""

    key: NewKeyShape
    webhook_secret: str = Field(description="Signs what goes to the URLs of its calls and agents.")


class TenantList(Shape):
    """A page of all tenants, newest first."""

    data: list[TenantShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


def tenant_shape(tenant: Tenant) -> TenantShape:
    return TenantShape(
        tenant_id=tenant.tenant_id,
        name=tenant.name,
        max_calls=tenant.max_calls,
        requests_per_minute=tenant.requests_per_minute,
        own_webhook_secret=tenant.webhook_secret is not None,
        disabled=tenant.disabled_at is not None,
        disabled_at=tenant.disabled_at,
        created_at=tenant.created_at,
    )


class Account(Shape):
    """Whose key it is, and what they may."""

    tenant_id: str
    name: str
    key_id: str
    key_name: str
    scope: str
    concurrent_call_limit: int
    live_calls: int
    requests_per_minute: int
    own_webhook_secret: bool = Field(
        description="Whether what goes to the URLs of calls and agents is signed with a secret of the tenant's own."
    )


class WebhookSecretShape(Shape):
    """A secret, which is shown this once."""

    webhook_secret: str


class TenantUseShape(Shape):
    """What one tenant has used."""

    tenant_id: str
    name: str
    live_calls: int
    calls: int
    minutes_used: Money
    total_cost: Money


class PlatformStats(Shape):
    """The gateway as a whole: the process that answers, and what all tenants have and have used."""

    version: str
    node: str
    started_at: Moment
    ready: bool
    reasons: list[str] = Field(description="Why no call is taken, and what else is not as it should be.")
    process_live_calls: int
    process_max_calls: int
    tenants: int
    tenants_disabled: int
    webhooks: int
    webhooks_disabled: int
    deliveries_pending: int
    live_calls: int = Field(description="Of all processes.")
    since: Moment
    calls: int = Field(description="Begun since then, with what follows.")
    minutes_used: Money
    currency: str
    total_cost: Money
    by_tenant: list[TenantUseShape]


def use_shapes(use: PlatformUse) -> list[TenantUseShape]:
    return [
        TenantUseShape(
            tenant_id=each.tenant_id,
            name=each.name,
            live_calls=each.live_calls,
            calls=each.calls,
            minutes_used=each.minutes_used,
            total_cost=each.total_cost,
        )
        for each in use.by_tenant
    ]
