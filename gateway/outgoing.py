"""What leaves for users' URLs: the policy, and the worker that delivers webhooks under it."""

from datetime import UTC, datetime

from control.deliveries import DeliveryWorker
from control.egress_policy import EgressPolicy
from control.stores.store import Store
from control.webhook_post import WebhookPost
from gateway.egress import Egress
from gateway.secret_keys import load_secret_keys, load_webhook_secret
from gateway.settings import Settings


def egress_policy(settings: Settings) -> EgressPolicy:
    """Where users may send us."""
    return EgressPolicy.allowing(settings.egress_allow or "", allow_http=settings.egress_allow_http)


def delivery_worker(settings: Settings, store: Store, egress: Egress) -> DeliveryWorker:
    """What posts webhooks.

    Raises:
        ValueError: a key or secret in the settings or the data folder is none.
        OSError: the data folder's secrets can be neither read nor made.
    """
    given = settings.secret_keys
    keys = load_secret_keys(given.get_secret_value() if given is not None else None, settings.data_dir)
    chosen = settings.webhook_secret
    secret = load_webhook_secret(chosen.get_secret_value() if chosen is not None else None, settings.data_dir)

    async def call_secret(_: str) -> str:
        return secret

    return DeliveryWorker(
        store.deliveries,
        store.webhooks,
        post=WebhookPost(fetch=egress, cipher=keys, call_secret=call_secret),
        clock=lambda: datetime.now(UTC),
    )
