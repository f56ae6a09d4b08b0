"""Stored accounts: found by whoever is asked in their name, changed without a restart, unknown ones refused unread."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import time as unix_time

import aiohttp
import pytest
from nacl.signing import SigningKey

from control.integrations import CONFIGS, Kind, Vendor, secrets_of, settings_of
from control.secrets import SecretKeys, new_key
from control.stores.errors import StoreUnavailable
from control.stores.integrations import Integration, Integrations
from control.stores.store import Store
from gateway.account_book import Accounts, StoredAccounts
from gateway.accounts import TelnyxAccount, TwilioAccount
from gateway.task_set import TaskSet
from tests.conftest import RunAsync
from tests.second_account import ALLOWED, added, second_carrier
from tests.served_api import whole_api

pytestmark = pytest.mark.sockets

ID = "int_" + "a" * 24
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Shelf:
    """The store's accounts, which can be out of reach, or slow."""

    def __init__(self, integrations: Integrations) -> None:
        self.gone, self.hangs = False, False
        self._integrations = integrations

    async def find(self, integration_id: str) -> Integration | None:
        if self.gone:
            raise StoreUnavailable("gone")
        if self.hangs:
            await asyncio.Event().wait()
        return await self._integrations.find(integration_id)

    async def of_kind(self, tenant_id: str, kind: Kind) -> list[Integration]:
        return await self._integrations.of_kind(tenant_id, kind)


class Scene:
    def __init__(self, store: Store, shelf: Shelf, keys: SecretKeys, book: Accounts) -> None:
        self.store, self.shelf, self.keys, self.book = store, shelf, keys, book

    async def keep(
        self, token: str, integration_id: str = ID, at: datetime = NOW, **settings: str
    ) -> Integration:
        sid = "AC" + "1" * 32
        given = {"credentials": {"auth_token": token}, "settings": {"account_sid": sid, **settings}}
        config = CONFIGS[Vendor.TWILIO].model_validate(given)
        integration = Integration(
            integration_id=integration_id,
            tenant_id="acme",
            vendor=Vendor.TWILIO,
            name="x",
            credentials=self.keys.encrypt(secrets_of(config)),
            settings=settings_of(config),
            created_at=NOW,
            updated_at=at,
        )
        changed = await self.store.integrations.change("acme", integration_id, lambda *_: integration)
        if changed is None:
            await self.store.integrations.add(integration)
        return integration


@asynccontextmanager
async def scene(folder: Path, public_url: str | None = "https://example.com") -> AsyncIterator[Scene]:
    store = await Store.open(f"sqlite:///{folder / 'offhook.db'}", migrate=True)
    keys, tasks = SecretKeys([new_key()]), TaskSet()
    shelf = Shelf(store.integrations)
    book = Accounts([], StoredAccounts(shelf, keys, public_url, lambda _: False, tasks))
    try:
        yield Scene(store, shelf, keys, book)
    finally:
        await tasks.close()
        await book.close()
        await store.close()


def test_an_account_is_found_by_its_carrier_and_id_alone(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            await s.keep("first")
            assert s.book.find("twilio", ID) is None  # nobody has asked for it yet
            account = await s.book.twilio(ID)
            assert isinstance(account, TwilioAccount)
            assert (account.tenant_id, account.auth_token) == ("acme", "first")
            assert s.book.find("twilio", ID) is account
            assert await s.book.fetch("telnyx", ID) is None
            assert await s.book.twilio("int_" + "b" * 24) is None
            assert await s.book.twilio("int_" + "a" * 25) is None
            assert await s.book.of_tenant("acme") == [account]
            assert await s.book.of_tenant("default") == []
            assert await s.book.carriers("acme") == {"twilio"}

    real(scenario())


def test_a_change_is_known_at_once_where_it_is_made(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            await s.keep("first")
            account = await s.book.twilio(ID)
            assert account is not None
            await s.keep("second", at=NOW.replace(hour=1))
            assert await s.book.twilio(ID) is account
            assert account.auth_token == "first"  # another process's change is seen some seconds later
            s.book.changed(ID)
            assert await s.book.twilio(ID) is account  # which calls in progress have
            assert account.auth_token == "second"
            await s.store.integrations.delete("acme", ID)
            s.book.changed(ID)
            assert await s.book.twilio(ID) is None
            assert s.book.find("twilio", ID) is None

    real(scenario())


def test_many_who_ask_at_once_get_the_same_account(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            await s.keep("first")
            found = await asyncio.gather(*[s.book.twilio(ID) for _ in range(8)])
            assert len({id(account) for account in found}) == 1

    real(scenario())


def test_what_is_known_stands_while_the_store_does_not_answer(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            await s.keep("first")
            account = await s.book.twilio(ID)
            for s.shelf.gone, s.shelf.hangs in ((True, False), (False, True)):
                s.book.changed(ID)
                assert await s.book.twilio(ID) is account
            s.shelf.gone = True
            with pytest.raises(StoreUnavailable):
                await s.book.twilio("int_" + "b" * 24)

    real(scenario())


def test_credentials_under_a_lost_key_are_no_account(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            s.keys = SecretKeys([new_key()])
            await s.keep("first")
            assert await s.book.twilio(ID) is None

    real(scenario())


def test_an_address_that_the_operator_allows_no_more_is_no_account(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            await s.keep("first", base_url="http://10.0.0.1")
            assert await s.book.twilio(ID) is None

    real(scenario())


def test_without_a_public_url_there_are_no_accounts(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, public_url=None) as s:
            await s.keep("first")
            assert await s.book.twilio(ID) is None
            assert await s.book.of_tenant("acme") == []

    real(scenario())


def test_webhooks_are_proved_by_the_account_that_they_name(real: RunAsync, tmp_path: Path) -> None:
    """Added, changed and deleted while the gateway runs; another account's signature is worth nothing."""

    def signed(seed: bytes) -> tuple[bytes, dict[str, str]]:
        payload = {"call_control_id": "v3:x", "call_leg_id": "x", "call_session_id": "x"}
        event = {"record_type": "event", "event_type": "call.cost", "id": "e", "payload": payload}
        body = json.dumps({"data": event})
        stamp = str(int(unix_time()))
        signature = SigningKey(seed).sign(f"{stamp}|{body}".encode()).signature
        headers = {"telnyx-signature-ed25519": b64encode(signature).decode(), "telnyx-timestamp": stamp}
        return body.encode(), headers

    first, second, third = (bytes(range(begin, begin + 32)) for begin in (0, 1, 2))

    async def scenario() -> None:
        async with (
            whole_api("telnyx", tmp_path, **ALLOWED) as (house, users),
            second_carrier("telnyx") as carrier,
            aiohttp.ClientSession(f"http://127.0.0.1:{house.gateway.port}") as http,
        ):

            async def answer(integration_id: str, seed: bytes) -> int:
                body, headers = signed(seed)
                path = f"/carriers/telnyx/{integration_id}/webhook"
                async with http.post(path, data=body, headers=headers) as said:
                    return said.status

            assert await answer("int_" + "0" * 24, second) == 404
            integration_id = await added(users, carrier)
            assert isinstance(await house.gateway.house.accounts.telnyx(integration_id), TelnyxAccount)
            assert await answer(integration_id, second) == 200
            assert await answer(integration_id, first) == 403
            assert await answer("default", second) == 403
            key = b64encode(bytes(SigningKey(third).verify_key)).decode()
            path = f"/v1/integrations/{integration_id}"
            assert (await users.ask("PATCH", path, json={"settings": {"public_key": key}})).status == 200
            assert await answer(integration_id, second) == 403
            assert await answer(integration_id, third) == 200
            assert (await users.ask("DELETE", path)).status == 204
            assert await answer(integration_id, third) == 404

    real(scenario())
