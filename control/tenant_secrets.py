"""What proves to a tenant's servers that a request is for it: its own secret, where it has one."""

from control.secrets import Cipher
from control.tenancy import TenantStore


class TenantSecrets:
    """Driven by whoever signs. A tenant that was made before secrets were has none."""

    def __init__(self, tenants: TenantStore, cipher: Cipher) -> None:
        self._tenants = tenants
        self._cipher = cipher

    async def of(self, tenant_id: str) -> tuple[str, ...]:
        """Return the tenant's secrets, `whsec_...`; none: the gateway's own proves its requests.

        Raises:
            StoreUnavailable
            SecretUnreadable: it was encrypted with a key that is not ours.
        """
        tenant = await self._tenants.get(tenant_id)
        if tenant is None or tenant.webhook_secret is None:
            return ()
        return (self._cipher.decrypt(tenant.webhook_secret),)
