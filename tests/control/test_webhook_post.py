"""One post: signed with the right secret, never unsigned, and what comes back is returned."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from control.call_record import EventRecord
from control.egress import EgressFailed, EgressFault, OutgoingAnswer, OutgoingRequest
from control.secrets import SecretKeys, new_key
from control.stores.deliveries import Due
from control.stores.webhooks import Payload, Webhook
from control.webhook_message import new_webhook_secret
from control.webhook_post import WebhookPost
from tests.conftest import RunAsync

NOW = datetime.now(UTC)
KEYS = SecretKeys([new_key()])
ENDPOINT, CALL = new_webhook_secret(), new_webhook_secret()


class World:
    """Keeps what is sent; answers, or fails, as told."""

    def __init__(self, outcome: OutgoingAnswer | EgressFailed) -> None:
        self.outcome = outcome
        self.sent: list[OutgoingRequest] = []

    async def __call__(self, request: OutgoingRequest) -> OutgoingAnswer:
        self.sent.append(request)
        if isinstance(self.outcome, EgressFailed):
            raise self.outcome
        return self.outcome


async def of_calls(tenant_id: str) -> str:
    return {"default": CALL}[tenant_id]


def due(secret: bytes | None, payload: Payload = Payload.ENVELOPE, **changes: Any) -> Due:
    event = EventRecord(
        event_id="evt_1",
        tenant_id="default",
        call_id="call_1",
        agent_id=None,
        name="call.ended",
        sequence=1,
        occurred_at=NOW,
        at=0.0,
        data={"a": 1},
    )
    webhook = Webhook(
        webhook_id="wh_1",
        tenant_id="default",
        url="https://h/",
        secret=secret or b"",
        payload=payload,
        created_at=NOW,
        updated_at=NOW,
        **changes,
    )
    return Due(
        delivery_id="dlv_1",
        lease="x",
        attempt=1,
        owed_since=NOW,
        event=event,
        url="https://h/",
        webhook=webhook if secret is not None else None,
    )


def send(virtual: RunAsync, world: World, what: Due) -> OutgoingAnswer | EgressFailed:
    # The verifier looks at the real clock and takes nothing that is older than five minutes.
    now = datetime.now(UTC)
    return virtual(WebhookPost(fetch=world, cipher=KEYS, call_secret=of_calls).send(what, now))


def test_an_endpoints_post_is_signed_with_its_secrets_while_one_replaces_the_other(virtual: RunAsync) -> None:
    world, until = World(OutgoingAnswer(status=204)), datetime.now(UTC) + timedelta(minutes=1)
    newer = new_webhook_secret()
    what = due(KEYS.encrypt(newer), previous_secret=KEYS.encrypt(ENDPOINT), previous_until=until)
    assert send(virtual, world, what) == OutgoingAnswer(status=204)
    (sent,) = world.sent
    assert (sent.method, sent.url, sent.redirects) == ("POST", "https://h/", 0)
    for secret in (newer, ENDPOINT):
        assert Verifier(secret).verify(sent.body or b"", dict(sent.headers))["data"] == {"a": 1}


def test_a_secret_that_was_replaced_signs_no_longer_than_it_was_said_to(virtual: RunAsync) -> None:
    world = World(OutgoingAnswer(status=204))
    newer = new_webhook_secret()
    send(virtual, world, due(KEYS.encrypt(newer), previous_secret=KEYS.encrypt(ENDPOINT), previous_until=NOW))
    (sent,) = world.sent
    assert Verifier(newer).verify(sent.body or b"", dict(sent.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(ENDPOINT).verify(sent.body or b"", dict(sent.headers))


def test_a_calls_own_url_gets_the_tenants_signature(virtual: RunAsync) -> None:
    world = World(OutgoingAnswer(status=204))
    send(virtual, world, due(None))
    assert (
        Verifier(CALL).verify(world.sent[0].body or b"", dict(world.sent[0].headers))["event"] == "call.ended"
    )


def test_flat_is_flat(virtual: RunAsync) -> None:
    world = World(OutgoingAnswer(status=204))
    send(virtual, world, due(KEYS.encrypt(ENDPOINT), Payload.FLAT))
    assert Verifier(ENDPOINT).verify(world.sent[0].body or b"", dict(world.sent[0].headers))["a"] == 1


def test_a_failure_is_an_outcome(virtual: RunAsync) -> None:
    failed = EgressFailed(EgressFault.TIMEOUT, "no answer within 10 s")
    assert send(virtual, World(failed), due(KEYS.encrypt(ENDPOINT))) is failed


@pytest.mark.parametrize(
    "kept",
    [b"", b"plain", SecretKeys([new_key()]).encrypt(ENDPOINT), KEYS.encrypt(""), KEYS.encrypt("short")],
    ids=["nothing", "plain", "another's", "empty", "short"],
)
def test_without_a_sound_secret_nothing_is_sent(virtual: RunAsync, kept: bytes) -> None:
    world = World(OutgoingAnswer(status=204))
    outcome = send(virtual, world, due(kept))
    assert isinstance(outcome, EgressFailed)
    assert (outcome.fault, world.sent) == (EgressFault.REFUSED, [])


def test_each_attempt_has_its_own_time(virtual: RunAsync) -> None:
    world = World(OutgoingAnswer(status=204))
    what = due(KEYS.encrypt(ENDPOINT))
    post = WebhookPost(fetch=world, cipher=KEYS, call_secret=of_calls)
    virtual(post.send(what, datetime.fromtimestamp(1_000, UTC)))
    virtual(post.send(replace(what, attempt=2), datetime.fromtimestamp(2_000, UTC)))
    assert [each.headers["webhook-timestamp"] for each in world.sent] == ["1000", "2000"]
    assert {each.headers["webhook-id"] for each in world.sent} == {"evt_1"}
