"""What proves to a tenant's servers that a request is for it."""

import asyncio
from datetime import UTC, datetime

import pytest

from control.secrets import SecretKeys, SecretUnreadable, new_key
from control.stores.tenants import Tenant
from control.tenant_secrets import TenantSecrets

KEYS = SecretKeys([new_key()])
NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Register:
    """Two tenants: one has a secret."""

    async def get(self, tenant_id: str) -> Tenant | None:
        kept = {"acme": KEYS.encrypt("whsec_c2VjcmV0"), "old": None}
        if tenant_id not in kept:
            return None
        return Tenant(tenant_id=tenant_id, name=tenant_id, webhook_secret=kept[tenant_id], created_at=NOW)


@pytest.mark.parametrize(("tenant", "expected"), [("acme", ("whsec_c2VjcmV0",)), ("old", ()), ("nobody", ())])
def test_a_tenant_has_a_secret_of_its_own_or_none(tenant: str, expected: tuple[str, ...]) -> None:
    assert asyncio.run(TenantSecrets(Register(), KEYS).of(tenant)) == expected


def test_with_other_keys_it_cannot_be_read() -> None:
    with pytest.raises(SecretUnreadable):
        asyncio.run(TenantSecrets(Register(), SecretKeys([new_key()])).of("acme"))
