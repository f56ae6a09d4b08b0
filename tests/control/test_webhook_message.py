"""What a receiver gets, as the reference library of Standard Webhooks verifies it."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from control.call_record import EventRecord
from control.webhook_message import (
    check_webhook_secret,
    message_body,
    message_headers,
    new_webhook_secret,
)

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def event(**changes: object) -> EventRecord:
    facts: dict[str, object] = {
        "event_id": "evt_1",
        "tenant_id": "default",
        "call_id": "call_1",
        "agent_id": "agent_1",
        "name": "call.gather.completed",
        "sequence": 7,
        "occurred_at": datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC),
        "at": 12.5,
        "data": {"status": "completed", "input": "123"},
    }
    return EventRecord(**{**facts, **changes})  # type: ignore[arg-type]  # fields by name


def test_the_envelope_has_the_event_and_its_data() -> None:
    assert json.loads(message_body(event())) == {
        "id": "evt_1",
        "event": "call.gather.completed",
        "sequence": 7,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "api_version": "v1",
        "tenant_id": "default",
        "agent_id": "agent_1",
        "call_id": "call_1",
        "data": {"status": "completed", "input": "123"},
    }


def test_flat_puts_the_data_beside_and_never_over_the_events_own_fields() -> None:
    body = json.loads(message_body(event(data={"input": "1", "call_id": "other", "id": "x"}), flat=True))
    assert (body["input"], body["call_id"], body["id"], body["sequence"]) == ("1", "call_1", "evt_1", 7)
    assert "data" not in body


def test_times_are_utc_and_money_is_a_number() -> None:
    berlin = timezone(timedelta(hours=1))
    moment = datetime(2026, 1, 2, 4, 4, 5, tzinfo=berlin)
    body = message_body(event(occurred_at=moment, data={"total_cost": Decimal("0.30")}))
    assert json.loads(body)["timestamp"] == "2026-01-02T03:04:05.000Z"
    assert b'"total_cost":0.30' in body


def test_what_is_of_no_call_says_so() -> None:
    assert json.loads(message_body(event(call_id="", sequence=None)))["call_id"] is None


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))),
    st.booleans(),
)
def test_every_message_is_verified_by_the_reference_library(data: dict[str, str], flat: bool) -> None:
    body = message_body(event(data=data), flat=flat)
    headers = message_headers("evt_1", body, [SECRET], datetime.now(UTC))
    assert Webhook(SECRET).verify(body, headers)["id"] == "evt_1"


def test_while_secrets_change_both_verify_and_no_third() -> None:
    keys = [new_webhook_secret(), new_webhook_secret()]
    body = message_body(event())
    headers = message_headers("evt_1", body, keys, datetime.now(UTC))
    for key in keys:
        assert Webhook(key).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_webhook_secret()).verify(body, headers)


def test_a_changed_body_id_or_time_is_not_verified() -> None:
    body = message_body(event())
    headers = message_headers("evt_1", body, [SECRET], datetime.now(UTC))
    earlier = str(int(headers["webhook-timestamp"]) - 1)
    for changed in (headers | {"webhook-id": "evt_2"}, headers | {"webhook-timestamp": earlier}):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)


def test_the_time_is_in_unix_seconds_wherever_it_was_read() -> None:
    moment = datetime(1970, 1, 1, 1, 0, 10, 900_000, tzinfo=timezone(timedelta(hours=1)))
    headers = message_headers("evt_1", b"{}", [SECRET], moment)
    assert headers["webhook-timestamp"] == "10"
    assert headers["webhook-signature"] == Webhook(SECRET).sign(
        "evt_1", datetime.fromtimestamp(10, UTC), "{}"
    )


def test_the_specifications_own_example_is_signed_as_it_says() -> None:
    # Standard Webhooks, libraries' shared vector.
    headers = message_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_new_secrets_are_sound_and_differ() -> None:
    assert check_webhook_secret(new_webhook_secret())
    assert new_webhook_secret() != new_webhook_secret()


@pytest.mark.parametrize("secret", ["", "whsec_", "secret", "whsec_c2hvcnQ=", "whsec_!!!", SECRET[6:]])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|whsec"):
        check_webhook_secret(secret)
