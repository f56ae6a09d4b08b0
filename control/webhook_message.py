"""A webhook as it goes out: the event in JSON, signed after Standard Webhooks 1.0.

The message's id is the event's: whatever is sent again, after a lost answer or a crash, is recognised by it. The
timestamp is the attempt's, so a receiver may refuse old ones. Several secrets sign at once while one replaces another.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from standardwebhooks import Webhook

from control.call_record import EventRecord

API_VERSION = "v1"

# The specification recommends 24 to 64 bytes.
SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"

_encoder = msgspec.json.Encoder(decimal_format="number")


def new_webhook_secret() -> str:
    """Return a fresh random secret, as it is shown to its owner."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check_webhook_secret(secret: str) -> str:
    """Return a secret that its owner has chosen.

    Raises:
        ValueError: it is not 24 to 64 bytes in base64 behind `whsec_`.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    if encoded == secret or not 24 <= len(base64.b64decode(encoded, validate=True)) <= 64:
        raise ValueError("a webhook secret is whsec_ and 24 to 64 bytes in base64")
    return secret


def message_body(event: EventRecord, *, flat: bool = False) -> bytes:
    """Return the event as JSON: in the envelope, or with the fields of its data beside the event's own.

    Where both have a field of one name, it is the event's.
    """
    own: dict[str, object] = {
        "id": event.event_id,
        "event": event.name,
        "sequence": event.sequence,
        "timestamp": _rfc3339(event.occurred_at),
        "api_version": API_VERSION,
        "tenant_id": event.tenant_id,
        "agent_id": event.agent_id,
        "call_id": event.call_id or None,
    }
    data = {**event.data, **event.secret}
    return _encoder.encode({**data, **own} if flat else own | {"data": data})


def message_headers(message_id: str, body: bytes, keys: Sequence[str], at: datetime) -> dict[str, str]:
    """Return the headers of one attempt.

    Args:
        message_id: the event's.
        keys: the endpoint's secrets, `whsec_...`; one signature each.
        at: when it is sent.
    """
    at = at.astimezone(UTC)
    text = body.decode()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(message_id, at, text) for key in keys),
    }


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
