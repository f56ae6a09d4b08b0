"""Endpoints that are told of events: kept, tried, and what came of telling them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AfterValidator, Field

from control.api.agent_desk import AgentDesk
from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Reply, endpoints_of
from control.api.outgoing_urls import check_url
from control.api.page_queries import PageQuery
from control.api.patching import unless_given
from control.api.ports import CallControl, WebhookSending
from control.api.problem import Fault, Problem
from control.api.webhook_shapes import (
    CallWebhooks,
    DeliveryShape,
    NewWebhookShape,
    WebhookList,
    WebhookLog,
    WebhookShape,
    attempt_shape,
    delivery_shape,
    logged_attempt_shape,
    new_webhook_shape,
    webhook_shape,
)
from control.call_record import PUBLISHED
from control.egress_policy import MAX_URL, EgressPolicy
from control.secrets import Cipher
from control.stores.deliveries import Delivery
from control.stores.delivery_log import LogFilters
from control.stores.store import Store
from control.stores.webhooks import MOST, Payload, Webhook
from control.webhook_message import new_webhook_secret

TAG = "Webhooks"
EVERYTHING = "*"
# Hours for which the secret before signs too, so that receivers can be told of the new one in peace.
_OVERLAP = 24
BY_OWNER = "by request"


def _known(event: str) -> str:
    if event != EVERYTHING and event not in PUBLISHED:
        raise ValueError(f"there is no event {event!r}; `*` is all of them")
    return event


def _once_each(events: list[str]) -> list[str]:
    """Return them in their order; beside `*` no other says anything."""
    return [EVERYTHING] if EVERYTHING in events else list(dict.fromkeys(events))


EventName = Annotated[
    str,
    AfterValidator(_known),
    Field(max_length=64, json_schema_extra={"enum": [EVERYTHING, *sorted(PUBLISHED)]}),
]
EventNames = Annotated[
    list[EventName],
    AfterValidator(_once_each),
    Field(min_length=1, max_length=100, description='Which events; `["*"]` is all of them.'),
]
HookUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL,
        description="https, and a public address, unless the settings say otherwise.",
    ),
]
AgentId = Annotated[str, Field(min_length=1, max_length=128, description="Only this agent's calls.")]
Description = Annotated[str, Field(max_length=500, description="For people.")]


class WebhookBody(Body):
    """A new endpoint."""

    url: HookUrl
    events: EventNames = Field(default=[EVERYTHING])
    agent_id: AgentId | None = None
    payload: Payload = Field(
        default=Payload.ENVELOPE, description="flat: the fields of `data` stand beside the event's own."
    )
    description: Description | None = None


class WebhookPatch(Body):
    """What is to be different; what is left out stays."""

    url: HookUrl = unless_given()
    events: EventNames = unless_given()
    agent_id: AgentId | None = None
    payload: Payload = unless_given()
    description: Description | None = None
    enabled: bool = unless_given(
        description="false: it is told of nothing, nor of what is owed. true: of what happens from now on."
    )


class RotationBody(Body):
    """How a secret is replaced."""

    keep_previous_hours: int = Field(
        default=_OVERLAP, ge=0, le=168, description="For so long the secret before signs too."
    )


class LogQuery(PageQuery):
    """A page of an endpoint's log."""

    success: Literal["true", "false"] | None = None
    event: str | None = Field(default=None, max_length=64)
    call_id: str | None = Field(default=None, max_length=128)

    def filters(self) -> LogFilters:
        success = None if self.success is None else self.success == "true"
        return LogFilters(success=success, event=self.event, call_id=self.call_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookParts:
    """What endpoints are sealed and tried with."""

    cipher: Cipher
    sending: WebhookSending


class WebhookEndpoints:
    """Driven by the routes."""

    def __init__(
        self,
        calls: CallControl,
        store: Store,
        desk: AgentDesk,
        *,
        policy: EgressPolicy,
        parts: WebhookParts,
    ) -> None:
        """
        Args:
            policy: where users may have us send something.
        """
        self._calls = calls
        self._store = store
        self._desk = desk
        self._policy = policy
        self._parts = parts

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        line = endpoints_of(TAG)
        one = "/v1/webhooks/{webhook_id}"
        return [
            line(
                "GET", "/v1/webhooks", self.list, "List endpoints", {200: WebhookList},
                "invalid_cursor", "invalid_sort", query=PageQuery,
                description="Sorted by `created_at`, `updated_at` or `url`.",
            ),
            line(
                "POST", "/v1/webhooks", self.add, "Have an endpoint told of events", {201: NewWebhookShape},
                "too_many_webhooks", "agent_not_found", body=WebhookBody, description="Its secret is shown this once.",
            ),
            line("GET", one, self.get, "An endpoint", {200: WebhookShape}, "not_found"),
            line(
                "PATCH", one, self.change, "Change an endpoint", {200: WebhookShape}, "not_found", "agent_not_found",
                body=WebhookPatch,
                description="`enabled: true` takes up again one that was disabled, by request or by its failures.",
            ),
            line(
                "DELETE", one, self.delete, "Delete an endpoint, its log and what is owed to it", {204: None},
                "not_found",
            ),
            line(
                "POST", f"{one}/rotate-secret", self.rotate, "Give an endpoint another secret", {200: NewWebhookShape},
                "not_found", body=RotationBody,
                description="Shown this once. While both are in force, every message has a signature of each.",
            ),
            line(
                "POST", f"{one}/test", self.test, "Send an endpoint a `webhook.test`", {202: DeliveryShape},
                "not_found", "webhook_disabled", once=True,
                description="It is tried once; what came of it is in the log, and at the `Location` of this answer.",
            ),
            line(
                "GET", f"{one}/logs", self.logs, "What came of telling an endpoint", {200: WebhookLog},
                "not_found", "invalid_cursor", "invalid_sort", query=LogQuery,
            ),
            line("GET", "/v1/deliveries/{delivery_id}", self.delivery, "A delivery", {200: DeliveryShape}, "not_found"),
            line(
                "POST", "/v1/deliveries/{delivery_id}/retry", self.retry, "Deliver once more, now",
                {202: DeliveryShape}, "not_found", "webhook_disabled", once=True,
                description="Whatever has become of it; receivers know it by its `webhook-id`.",
            ),
            line(
                "GET", "/v1/calls/{call_id}/webhooks", self.of_call, "What came of telling of a call",
                {200: CallWebhooks}, "not_found", description="The first 500 attempts.",
            ),
        ]  # fmt: skip

    # Endpoints

    async def list(self, asked: Asked[PageQuery, NoBody]) -> Answer:
        page = await self._store.webhooks.page(asked.tenant_id, asked.query.page())
        return Reply(
            WebhookList(data=[webhook_shape(each) for each in page.entries], next_cursor=page.next_cursor)
        )

    async def add(self, asked: Asked[NoQuery, WebhookBody]) -> Answer:
        body, secret, now = asked.body, new_webhook_secret(), datetime.now(UTC)
        check_url(self._policy, "url", body.url)
        webhook = Webhook(
            webhook_id=f"wh_{token_hex(12)}",
            tenant_id=asked.tenant_id,
            url=body.url,
            events=tuple(body.events),
            agent_id=await self._agent_id(asked.tenant_id, body.agent_id),
            secret=self._parts.cipher.encrypt(secret),
            payload=body.payload,
            description=body.description,
            created_at=now,
            updated_at=now,
        )
        if not await self._store.webhooks.add(webhook):
            raise Problem(409, "too_many_webhooks", f"a tenant has at most {MOST} endpoints")
        location = {"Location": f"/v1/webhooks/{webhook.webhook_id}"}
        return Reply(new_webhook_shape(webhook, secret), 201, location)

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Reply(webhook_shape(await self._webhook(asked)))

    async def change(self, asked: Asked[NoQuery, WebhookPatch]) -> Answer:
        webhook = await self._webhook(asked)
        changes = asked.body.model_dump(include=asked.body.model_fields_set)
        enabled = changes.pop("enabled", None)
        if "url" in changes:
            check_url(self._policy, "url", changes["url"])
        if "agent_id" in changes:
            changes["agent_id"] = await self._agent_id(asked.tenant_id, changes["agent_id"])
        if changes:
            await self._store.webhooks.change(asked.tenant_id, webhook.webhook_id, changes, datetime.now(UTC))
        await self._enable(webhook, enabled)
        return Reply(webhook_shape(await self._webhook(asked)))

    async def _enable(self, webhook: Webhook, enabled: bool | None) -> None:
        """Enable or disable it, if that is asked for and something else."""
        if enabled is None or enabled == (webhook.disabled_at is None):
            return
        now, whose = datetime.now(UTC), (webhook.tenant_id, webhook.webhook_id)
        if enabled:
            await self._store.webhooks.enable(*whose, now)
        else:
            await self._store.webhooks.disable(*whose, BY_OWNER, now)

    async def delete(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        if not await self._store.webhooks.delete(asked.tenant_id, asked.path["webhook_id"]):
            raise _no_such_webhook()
        return web.Response(status=204)

    async def rotate(self, asked: Asked[NoQuery, RotationBody]) -> Answer:
        secret, now = new_webhook_secret(), datetime.now(UTC)
        hours = asked.body.keep_previous_hours
        webhook = await self._store.webhooks.replace_secret(
            asked.tenant_id,
            asked.path["webhook_id"],
            self._parts.cipher.encrypt(secret),
            now,
            previous_until=now + timedelta(hours=hours) if hours else None,
        )
        if webhook is None:
            raise _no_such_webhook()
        return Reply(new_webhook_shape(webhook, secret))

    # Deliveries

    async def test(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        webhook = await self._webhook(asked)
        if webhook.disabled_at is not None:
            raise _disabled()
        delivery_id = await self._parts.sending.send_test(asked.tenant_id, webhook.webhook_id)
        if delivery_id is None:
            raise _no_such_webhook()  # deleted meanwhile
        return await self._accepted(asked.tenant_id, delivery_id)

    async def logs(self, asked: Asked[LogQuery, NoBody]) -> Answer:
        webhook = await self._webhook(asked)
        page = await self._store.delivery_log.of_webhook(
            asked.tenant_id, webhook.webhook_id, asked.query.filters(), asked.query.page()
        )
        return Reply(
            WebhookLog(
                data=[logged_attempt_shape(each) for each in page.entries], next_cursor=page.next_cursor
            )
        )

    async def delivery(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Reply(delivery_shape(await self._delivery(asked.tenant_id, asked.path["delivery_id"])))

    async def retry(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        delivery = await self._delivery(asked.tenant_id, asked.path["delivery_id"])
        if not await self._parts.sending.retry(asked.tenant_id, delivery.delivery_id):
            raise _disabled()
        return await self._accepted(asked.tenant_id, delivery.delivery_id)

    async def of_call(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        tenant_id, call_id = asked.tenant_id, asked.path["call_id"]
        here = self._calls.live_record(tenant_id, call_id) is not None
        if not here and await self._store.status(tenant_id, call_id) is None:
            raise Problem(404, "not_found", "there is no such call")
        attempts = await self._store.delivery_log.of_call(tenant_id, call_id)
        return Reply(CallWebhooks(call_id=call_id, deliveries=[attempt_shape(each) for each in attempts]))

    # What they have in common

    async def _agent_id(self, tenant_id: str, given: str | None) -> str | None:
        """The id that events name an agent by, which may have been named otherwise."""
        if given is None:
            return None
        try:
            return (await self._desk.agent(tenant_id, given)).agent_id
        except Problem:
            raise Problem(
                422,
                "agent_not_found",
                "there is no such agent",
                errors=[Fault("/agent_id", "there is no such agent")],
            ) from None

    async def _webhook(self, asked: Asked[Any, Any]) -> Webhook:
        webhook = await self._store.webhooks.get(asked.tenant_id, asked.path["webhook_id"])
        if webhook is None:
            raise _no_such_webhook()
        return webhook

    async def _delivery(self, tenant_id: str, delivery_id: str) -> Delivery:
        delivery = await self._store.deliveries.get(tenant_id, delivery_id)
        if delivery is None:
            raise Problem(404, "not_found", "there is no such delivery")
        return delivery

    async def _accepted(self, tenant_id: str, delivery_id: str) -> Answer:
        """It will be sent, and its log shows when it was."""
        location = {"Location": f"/v1/deliveries/{delivery_id}"}
        return Reply(delivery_shape(await self._delivery(tenant_id, delivery_id)), 202, location)


def _no_such_webhook() -> Problem:
    return Problem(404, "not_found", "there is no such webhook")


def _disabled() -> Problem:
    return Problem(409, "webhook_disabled", "the endpoint is disabled: enable it first")
