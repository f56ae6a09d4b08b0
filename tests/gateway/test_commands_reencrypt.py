"""`offhook reencrypt`: a key of the settings is replaced without giving any secret anew."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control.secrets import SecretKeys, new_key
from control.stores.store import Store
from gateway.__main__ import app
from tests.contracts.test_integrations import integration

pytestmark = pytest.mark.sockets

cli = CliRunner()


def test_secrets_are_brought_under_the_first_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old, new, url = new_key(), new_key(), f"sqlite:///{tmp_path / 'offhook.db'}"

    async def kept() -> None:
        store = await Store.open(url, migrate=True)
        await store.integrations.add(integration(credentials=SecretKeys([old]).encrypt("secret")))
        await store.close()

    async def read() -> str:
        store = await Store.open(url)
        found = await store.integrations.find("int_1")
        await store.close()
        assert found is not None
        return SecretKeys([new]).decrypt(found.credentials)

    asyncio.run(kept())
    settings = {"OFFHOOK_DATABASE_URL": url, "OFFHOOK_DATA_DIR": str(tmp_path)}
    both = cli.invoke(app, ["reencrypt"], env={**settings, "OFFHOOK_SECRET_KEYS": f"{new},{old}"})
    assert both.exit_code == 0, both.output
    assert "1 secrets" in both.output
    assert asyncio.run(read()) == "secret"
    lost = cli.invoke(app, ["reencrypt"], env={**settings, "OFFHOOK_SECRET_KEYS": new_key()})
    assert lost.exit_code == 1
    assert "under none of the keys" in lost.output
