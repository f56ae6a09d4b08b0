"""A key is replaced: everything that was encrypted with the old one is read with the new one alone."""

import pytest
from sqlalchemy import LargeBinary

from control.secrets import SecretKeys, new_key
from control.stores.secret_columns import COLUMNS, Reencrypted
from control.stores.store import Store
from control.stores.tables import api_keys, idempotency, metadata
from tests.contracts.conftest import RunWithStore
from tests.contracts.test_integrations import integration
from tests.contracts.test_webhooks import webhook

pytestmark = pytest.mark.sockets

OLD, NEW = new_key(), new_key()


def test_no_secret_is_left_out() -> None:
    kept = {
        column
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    # A hash and an answer's body: nobody decrypts these.
    assert kept - {api_keys.c.digest, idempotency.c.body} == set(COLUMNS)


def test_every_secret_comes_under_the_current_key_and_lost_ones_stay(stored: RunWithStore) -> None:
    old, both, new = SecretKeys([OLD]), SecretKeys([NEW, OLD]), SecretKeys([NEW])

    async def scenario(store: Store) -> None:
        for place in range(450):
            kept = integration(f"int_{place}", credentials=old.encrypt(f"secret {place}"))
            await store.integrations.add(kept)
        await store.webhooks.add(webhook("wh_new", secret=new.encrypt("new")))
        await store.webhooks.add(webhook("wh_lost", secret=SecretKeys([new_key()]).encrypt("lost")))
        assert await store.secrets.reencrypt(both.rotated) == Reencrypted(changed=450, unreadable=1)
        assert await store.secrets.reencrypt(both.rotated) == Reencrypted(changed=0, unreadable=1)
        for place in (0, 449):
            found = await store.integrations.find(f"int_{place}")
            assert found is not None
            assert new.decrypt(found.credentials) == f"secret {place}"

    stored(scenario)
