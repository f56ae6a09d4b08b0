"""What users have of the gateway, put together: the REST API, and the webhooks that tell them what happens."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import structlog

from control.api.ports import Health, ProcessState, RecordingStoreAway
from control.api.rest_api import ApiParts, RestApi
from control.api.shapes import call_object
from control.api.tenant_endpoints import TenantParts
from control.api.webhook_endpoints import WebhookParts
from control.call_record import CallRecord
from control.deliveries import DeliveryWorker
from control.integrations import DEFAULT, Kind, Vendor
from control.secrets import Cipher
from control.stores.errors import StoreUnavailable
from control.stores.keys import DEFAULT_TENANT
from control.stores.tenants import Tenant
from control.tenant_secrets import TenantSecrets
from control.webhook_post import WebhookPost
from gateway.account_desk import AccountDesk
from gateway.accounts import Account
from gateway.audio_fetch import AudioFetch
from gateway.call_house import CallHouse, node_of
from gateway.delivering import delivering
from gateway.egress import Egress, egress_policy
from gateway.links import connect
from gateway.recording_house import recording_house
from gateway.recording_room import RecordingRoom
from gateway.secret_keys import load_webhook_secret, secret_keys
from gateway.server import our_version
from gateway.settings import Settings, networks_of
from telephony.client_errors import CommandFailed

log = structlog.get_logger()

FIRST_KEY_FILE = "first.key"

# Seconds that a realtime provider has to let us in; less than what whoever asks for all waits for.
_PATIENCE = 4.0


@asynccontextmanager
async def rest_house(settings: Settings, house: CallHouse, egress: Egress) -> AsyncIterator[RestApi]:
    """Open the API and deliver webhooks; leaving lets deliveries under way come to their end.

    Raises:
        OSError, ValueError: keys in the data folder cannot be read or made.
        StoreError: the database does not answer.
    """
    async with AsyncExitStack() as stack:
        cipher, policy = secret_keys(settings), egress_policy(settings)
        await _ensure_default_tenant(house)
        worker = _worker(settings, house, egress, cipher)
        house.hears_of_events.append(worker.notify)
        await stack.enter_async_context(delivering(worker))
        await _ensure_first_key(house, settings)
        fetch_audio = AudioFetch(egress)
        room = await stack.enter_async_context(recording_house(settings, house, decode=fetch_audio.decoded))
        desk = AccountDesk(settings, house.accounts, house.providers, policy, connect)
        yield RestApi(
            ApiParts(
                calls=house.service,
                store=house.store,
                agents=house.book,
                directory=house.directory,
                effective=house.reception.effective,
                unknown_providers=house.reception.unknown_providers,
                policy=policy,
                news=house.news,
                fetch_audio=fetch_audio,
                recordings=room,
                accounts=desk,
                office=house.office,
                find_agent=house.switchboard,
                cipher=cipher,
                health=_HealthChecks(house, room, desk, [DEFAULT, *settings.providers]),
                carriers=house.accounts.carriers,
                webhooks=WebhookParts(cipher=cipher, sending=worker),
                gaps=house.service.gaps.typical,
                version=our_version(),
                tenants=TenantParts(
                    tenancy=house.tenancy,
                    cipher=cipher,
                    process=lambda: _process(house, settings),
                    version=our_version(),
                    currency=settings.currency,
                ),
                requests=house.live.requests,
                failures=house.live.failures,
                clock=asyncio.get_running_loop().time,
                trusted_proxies=networks_of(settings.trusted_proxies),
            )
        )


def calls_secret(settings: Settings) -> str:
    """What signs webhooks to the URLs of calls, and what is asked of agents' servers.

    Raises:
        OSError, ValueError: the data folder's secret cannot be read or made.
    """
    own = settings.webhook_secret
    return load_webhook_secret(own.get_secret_value() if own is not None else None, settings.data_dir)


def _worker(settings: Settings, house: CallHouse, egress: Egress, cipher: Cipher) -> DeliveryWorker:
    secret, tenants = calls_secret(settings), TenantSecrets(house.store.tenants, cipher)

    async def call_secret(tenant_id: str) -> str:
        return (*await tenants.of(tenant_id), secret)[0]

    post = WebhookPost(fetch=egress, cipher=cipher, call_secret=call_secret)
    return DeliveryWorker(
        house.store.deliveries,
        house.store.webhooks,
        post=post,
        clock=lambda: datetime.now(UTC),
        holder=node_of(settings.data_dir),
    )


def _process(house: CallHouse, settings: Settings) -> ProcessState:
    return ProcessState(
        node=house.node,
        started_at=house.started_at,
        live_calls=len(house.calls),
        max_calls=settings.max_calls,
        unready=house.unready(),
        degraded=house.live.degraded(),
    )


async def _ensure_default_tenant(house: CallHouse) -> None:
    """The tenant that the settings' agents and numbers are of is one like the others."""
    tenant = Tenant(tenant_id=DEFAULT_TENANT, name="Default", created_at=datetime.now(UTC))
    await house.store.tenants.ensure(tenant)


async def _ensure_first_key(house: CallHouse, settings: Settings) -> None:
    """Make the first API key of a new database, and say it once, to the person at the terminal and in no log."""
    new = await house.store.keys.ensure_bootstrap(datetime.now(UTC))
    if new is None:
        return
    path = settings.data_dir / FIRST_KEY_FILE
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"{new.secret}\n", encoding="ascii")
    log.warning("first API key made; take it from its file, then delete the file", path=str(path))
    if sys.stderr.isatty():
        sys.stderr.write(f"\nAPI key (shown this once): {new.secret}\n\n")


def described(record: CallRecord) -> dict[str, object]:
    """Return a call as events tell it: the whole call object."""
    return dict(call_object(record).model_dump(mode="json"))


class _HealthChecks:
    """Asks the database and the recordings' store, and says of each account whether it could be asked."""

    def __init__(
        self, house: CallHouse, room: RecordingRoom, desk: AccountDesk, providers: Sequence[str]
    ) -> None:
        """
        Args:
            providers: names of the realtime providers of the settings, which every tenant's calls may use.
        """
        self._house = house
        self._room = room
        self._desk = desk
        self._providers = providers

    async def __call__(self, tenant_id: str) -> Mapping[str, Health]:
        found = {"database": await self._database(), "recordings": await self._recordings()}
        if self._house.live.redis is not None:
            found["redis"] = await self._house.live.redis()
        reasons = self._house.unready()
        found["calls"] = Health(ok=not reasons, detail="; ".join(reasons))
        accounts = await self._accounts(tenant_id)
        providers = await self._realtime(tenant_id)
        answers = await asyncio.gather(
            *(_carrier(account) for account in accounts),
            *(self._provider(tenant_id, name) for name in providers),
        )
        names = [f"{account.carrier}/{account.integration_id}" for account in accounts]
        return found | dict(zip([*names, *(f"realtime/{name}" for name in providers)], answers, strict=True))

    async def _accounts(self, tenant_id: str) -> Sequence[Account]:
        try:
            return await self._house.accounts.of_tenant(tenant_id)
        except StoreUnavailable:
            return self._house.accounts.of_settings(tenant_id)

    async def _realtime(self, tenant_id: str) -> Sequence[str]:
        try:
            stored = await self._house.store.integrations.of_kind(tenant_id, Kind.PROVIDER)
        except StoreUnavailable:
            return self._providers
        return [*self._providers, *(each.integration_id for each in stored)]

    async def _provider(self, tenant_id: str, name: str) -> Health:
        """A session is opened, and let go of."""
        trial = await self._desk.tried(tenant_id, Vendor.REALTIME, name, patience=_PATIENCE)
        return Health(ok=trial.problem is None, latency=trial.latency, detail=trial.problem or "")

    async def _database(self) -> Health:
        try:
            return Health(ok=True, latency=await self._house.store.ping())
        except StoreUnavailable as error:
            return Health(ok=False, detail=str(error))

    async def _recordings(self) -> Health:
        try:
            return Health(ok=True, latency=await self._room.ping())
        except RecordingStoreAway as away:
            return Health(ok=False, detail=str(away))


# A call that no carrier knows: asking for it shows whether the account can be asked.
_NO_CALL = "CA00000000000000000000000000000000"


async def _carrier(account: Account) -> Health:
    loop = asyncio.get_running_loop()
    before = loop.time()
    try:
        await account.is_alive(_NO_CALL)
    except CommandFailed as failed:
        return Health(ok=False, detail=f"{failed.verdict.value}: {failed.detail}")
    return Health(ok=True, latency=loop.time() - before)
