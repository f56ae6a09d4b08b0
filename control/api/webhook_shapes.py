"""Endpoints that are told of events, and what came of telling them, as answers have them."""

from typing import Literal

from pydantic import Field

from control.api.shapes import Moment, Shape
from control.stores.deliveries import Delivery
from control.stores.delivery_log import LoggedAttempt
from control.stores.webhooks import Webhook

State = Literal["pending", "delivered", "dead"]


class WebhookShape(Shape):
    """An endpoint, without its secret."""

    webhook_id: str
    url: str
    events: list[str] = Field(description='What it is told of; `["*"]`: everything.')
    agent_id: str | None = Field(description="Only this agent's calls; null: all.")
    payload: Literal["envelope", "flat"]
    description: str | None
    enabled: bool
    previous_secret_until: Moment | None = Field(
        description="Until then the secret before this one signs too; null: it does not."
    )
    failing_since: Moment | None = Field(description="The first failure since the last success.")
    disabled_at: Moment | None
    disabled_reason: str | None
    created_at: Moment
    updated_at: Moment


class NewWebhookShape(WebhookShape):
    """An endpoint with its secret, which is shown this once."""

    secret: str = Field(description="`whsec_...`, as of Standard Webhooks: checks our signatures.")


class WebhookList(Shape):
    """A page of the tenant's endpoints, newest first."""

    data: list[WebhookShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


def webhook_shape(webhook: Webhook) -> WebhookShape:
    return WebhookShape(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        events=list(webhook.events),
        agent_id=webhook.agent_id,
        payload=webhook.payload.value,
        description=webhook.description,
        enabled=webhook.disabled_at is None,
        previous_secret_until=webhook.previous_until,
        failing_since=webhook.failing_since,
        disabled_at=webhook.disabled_at,
        disabled_reason=webhook.disabled_reason,
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
    )


def new_webhook_shape(webhook: Webhook, secret: str) -> NewWebhookShape:
    return NewWebhookShape(**webhook_shape(webhook).model_dump(), secret=secret)


class AttemptShape(Shape):
    """One try to deliver an event."""

    id: str = Field(description="Of the delivery, for `POST /v1/deliveries/{id}/retry`.")
    event: str
    event_id: str = Field(description="What receivers see as `webhook-id`.")
    url: str
    attempt: int = Field(description="From 1.")
    status_code: int | None = Field(description="Null: there was no answer.")
    success: bool
    error: str | None
    created_at: Moment


class LoggedAttemptShape(AttemptShape):
    """One try to deliver an event to an endpoint."""

    call_id: str | None = Field(description="Null: the event is of no call.")
    duration_ms: int


class WebhookLog(Shape):
    """A page of what came of telling an endpoint, the latest first."""

    data: list[LoggedAttemptShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


class CallWebhooks(Shape):
    """What came of telling of a call, the earliest first."""

    call_id: str
    deliveries: list[AttemptShape]


class DeliveryShape(Shape):
    """What is owed to an endpoint for one event, and what has become of it."""

    delivery_id: str
    webhook_id: str | None = Field(description="Null: it goes to the URL of the call.")
    call_id: str | None
    event: str
    event_id: str
    state: State = Field(description="dead: given up.")
    attempts: int
    next_attempt_at: Moment | None = Field(description="Null: it waits for the one before it, or is over.")
    created_at: Moment
    finished_at: Moment | None


def delivery_shape(delivery: Delivery) -> DeliveryShape:
    return DeliveryShape(
        delivery_id=delivery.delivery_id,
        webhook_id=delivery.webhook_id,
        call_id=delivery.call_id,
        event=delivery.event,
        event_id=delivery.event_id,
        state=delivery.state.value,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at,
        created_at=delivery.created_at,
        finished_at=delivery.finished_at,
    )


def attempt_shape(attempt: LoggedAttempt) -> AttemptShape:
    return AttemptShape(
        id=attempt.delivery_id,
        event=attempt.event,
        event_id=attempt.event_id,
        url=attempt.url,
        attempt=attempt.attempt,
        status_code=attempt.status_code,
        success=attempt.success,
        error=attempt.error,
        created_at=attempt.created_at,
    )


def logged_attempt_shape(attempt: LoggedAttempt) -> LoggedAttemptShape:
    return LoggedAttemptShape(
        **attempt_shape(attempt).model_dump(), call_id=attempt.call_id, duration_ms=attempt.duration_ms
    )
