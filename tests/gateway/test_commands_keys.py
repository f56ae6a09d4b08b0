"""`offhook keys`: a key is made, seen without its secret, rotated and revoked; each is in force at once."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control.stores.keys import ApiKey, Scope
from control.stores.store import Store
from gateway.__main__ import app

cli = CliRunner()


@pytest.fixture(autouse=True)
def _made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.invoke(app, ["db", "upgrade"]).exit_code == 0


def typed(*words: str, expect: int = 0) -> Result:
    result = cli.invoke(app, ["keys", *words])
    assert result.exit_code == expect, result.output
    return result


def found(secret: str) -> ApiKey | None:
    async def look() -> ApiKey | None:
        store = await Store.open("sqlite:///offhook-data/offhook.db")
        try:
            return await store.keys.find(secret.strip())
        finally:
            await store.close()

    return asyncio.run(look())


def test_a_key_is_made_and_its_secret_stands_alone_on_the_output() -> None:
    secret = typed("add", "dashboard", "--scope", "read").stdout
    key = found(secret)
    assert key is not None
    assert (key.name, key.scope, key.tenant_id) == ("dashboard", Scope.READ, "default")
    assert len(secret.split()) == 1


def test_a_list_has_keys_whole_and_no_secret() -> None:
    secret = typed("add", "dashboard").stdout.strip()
    key = found(secret)
    assert key is not None
    listed = typed("list").stdout
    assert key.key_id in listed
    assert secret not in listed
    assert "dashboard" not in typed("list", "--tenant", "other").stdout


def test_a_rotated_key_has_another_secret_and_a_revoked_one_none() -> None:
    first = typed("add", "dashboard").stdout
    key = found(first)
    assert key is not None
    second = typed("rotate", key.key_id).stdout
    assert found(first) is None
    again = found(second)
    assert again is not None
    assert again.key_id == key.key_id
    typed("revoke", key.key_id)
    assert found(second) is None
    assert "revoked" in typed("list").stdout
    typed("rotate", key.key_id, expect=1)


def test_what_is_not_there_or_makes_no_sense_is_said() -> None:
    assert "there is no key key_x" in typed("revoke", "key_x", expect=1).stderr
    typed("add", "dashboard")
    assert "there is no key" in typed("rotate", "key_bootstrap", "--tenant", "other", expect=1).stderr
    typed("add", "", expect=2)
    typed("add", "x", "--scope", "odd", expect=2)


def test_no_key_is_made_for_a_tenant_that_there_is_not() -> None:
    refused = typed("add", "dashboard", "--tenant", "nope", expect=1)
    assert "there is no tenant nope" in refused.stderr
    assert refused.stdout == ""
    assert "dashboard" not in typed("list", "--tenant", "nope").stdout
