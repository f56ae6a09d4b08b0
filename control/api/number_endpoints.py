"""Telephone numbers: what the carriers have, what of it is claimed, and which agent answers it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, StringConstraints

from control.agents import Agent
from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.integration_shapes import settings_id
from control.api.number_shapes import (
    AvailableList,
    NumberList,
    NumberShape,
    available_shape,
    claimed_shape,
    settings_number_id,
    settings_number_shape,
    silent_shape,
)
from control.api.page_queries import LIMIT, PageQuery
from control.api.problem import Problem
from control.api.settings_tail import with_settings
from control.api.shapes import Done
from control.configuration import Name, Number
from control.directory import NumberEntry
from control.integrations import DEFAULT, Vendor
from control.refusals import OUT_OF_REACH
from control.service.number_office import (
    ClaimRequest,
    NoSuchAccount,
    NumberNotThere,
    NumberOffice,
    NumberTaken,
)
from control.stores.errors import InvalidCursor
from control.stores.keyset import MAX_LIMIT
from control.stores.numbers import AgentDeleted, ClaimedNumber, Numbers
from telephony.client_errors import CommandFailed, Verdict

TAG = "Numbers"

CarrierName = Literal["telnyx", "twilio"]
AccountId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
AgentId = Annotated[str, StringConstraints(min_length=1, max_length=128)]

_FAILURES = ("carrier_rejected", "carrier_unavailable")


class FindAgent(Protocol):
    """Finds agents (`control.service.switchboard`)."""

    async def agent(self, tenant_id: str, id_or_name: str) -> Agent | None:
        """Find an agent of the tenant's."""
        ...


class NumberFilter(Query):
    """Which numbers; all filters that are given hold."""

    carrier: CarrierName | None = None
    integration_id: AccountId | None = Field(default=None, description="The carrier account.")
    agent_id: AgentId | None = Field(default=None, description="Who answers.")
    number: str | None = Field(default=None, max_length=64, description="E.164.")


class NumberListQuery(NumberFilter, PageQuery):
    """A page of the numbers."""


class AvailableQuery(Query):
    """Which accounts' numbers, and how much of them."""

    carrier: CarrierName | None = None
    integration_id: AccountId | None = Field(default=None, description="The carrier account.")
    limit: int = Field(default=LIMIT, ge=1, le=MAX_LIMIT)
    after: str | None = Field(default=None, max_length=64, description="`next_cursor` of the page before.")


class ClaimBody(Body):
    """Which number is wanted."""

    number: Number = Field(max_length=64, description="E.164.")
    carrier: CarrierName | None = Field(default=None, description="Left out: whichever account has it.")
    integration_id: AccountId | None = Field(
        default=None, description="The carrier account; left out: whichever has it."
    )
    agent_id: AgentId | None = Field(default=None, description="Who is to answer; left out: nobody yet.")
    label: Name | None = Field(default=None, description="For people.")


class AssignBody(Body):
    """Who is to answer."""

    agent_id: AgentId


class ReleaseQuery(Query):
    """How a number is released."""

    force: bool = Field(
        default=False,
        description="Forget it even if its carrier cannot be asked to send its calls elsewhere.",
    )


class NumberEndpoints:
    """Driven by the routes."""

    def __init__(
        self,
        numbers: Numbers,
        office: NumberOffice,
        agents: FindAgent,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._numbers = numbers
        self._office = office
        self._agents = agents
        self._now = now

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        path = "/v1/phone-numbers/{number_id}"
        return [
            endpoint(
                "GET", "/v1/phone-numbers", self.list,
                summary="List numbers", tag=TAG, query=NumberListQuery, body=NoBody, answers={200: NumberList},
                problems=("invalid_cursor", "invalid_sort"),
            ),
            # Before the path that takes any id.
            endpoint(
                "GET", "/v1/phone-numbers/available", self.available,
                summary="List numbers of your carrier accounts that are not claimed", tag=TAG,
                query=AvailableQuery, body=NoBody, answers={200: AvailableList},
                problems=("invalid_cursor", "carrier_not_configured", *_FAILURES),
                description="Asked of the carriers each time. An account that does not answer is named in "
                "`unanswered`; if it is the only one that was asked for, that is the answer.",
            ),
            endpoint(
                "POST", "/v1/phone-numbers/claim", self.claim,
                summary="Have a number's calls come here", tag=TAG, query=NoQuery, body=ClaimBody,
                answers={201: NumberShape}, once=True,
                problems=(
                    "agent_not_found", "carrier_not_configured", "number_claimed", "number_not_available",
                    *_FAILURES,
                ),
                description="Points the carrier's number at this gateway. At Telnyx the account's application is "
                "told our webhook URL, too; at Twilio a trunk or an application that the number has is taken away.",
            ),
            endpoint(
                "GET", path, self.get,
                summary="A number", tag=TAG, query=NoQuery, body=NoBody, answers={200: NumberShape},
                problems=("not_found",),
            ),
            endpoint(
                "POST", f"{path}/assign", self.assign,
                summary="Have an agent answer a number", tag=TAG, query=NoQuery, body=AssignBody,
                answers={200: NumberShape}, problems=("not_found", "agent_not_found", "read_only_settings"),
            ),
            endpoint(
                "POST", f"{path}/unassign", self.unassign,
                summary="Have nobody answer a number", tag=TAG, query=NoQuery, body=NoBody,
                answers={200: NumberShape}, problems=("not_found", "read_only_settings"),
            ),
            endpoint(
                "POST", f"{path}/release", self.release,
                summary="Have a number's calls come no more", tag=TAG, query=ReleaseQuery, body=NoBody,
                answers={200: Done},
                problems=("not_found", "carrier_not_configured", "read_only_settings", *_FAILURES),
                description="Calls that are going on go on. The number stays yours at the carrier.",
            ),
        ]  # fmt: skip

    async def list(self, asked: Asked[NumberListQuery, NoBody]) -> Answer:
        query = asked.query
        carrier, integration_id = _account(query.carrier, query.integration_id)
        named = {
            "carrier": carrier,
            "integration_id": integration_id,
            "agent_id": query.agent_id,
            "number": query.number,
        }
        wanted = {name: value for name, value in named.items() if value is not None}
        fixed = [
            shape
            for shape in map(self._settings_shape, self._office.of_settings(asked.tenant_id))
            if query.carrier in (None, shape.carrier)
            and query.integration_id in (None, shape.integration_id)
            and query.agent_id in (None, shape.agent_id)
            and query.number in (None, shape.number)
        ]
        stored, tail, cursor = await with_settings(
            query, lambda page: self._numbers.page(asked.tenant_id, page, wanted), fixed
        )
        return Reply(NumberList(data=[*map(claimed_shape, stored), *tail], next_cursor=cursor))

    async def available(self, asked: Asked[AvailableQuery, NoBody]) -> Answer:
        query = asked.query
        carrier, integration_id = _account(query.carrier, query.integration_id)
        if query.after is not None and not query.after.startswith("+"):
            raise InvalidCursor("the cursor is none of ours")
        with _refusals():
            offers, silent = await self._office.available(
                asked.tenant_id, carrier=carrier, integration_id=integration_id
            )
            if silent and not offers and query.integration_id is not None:
                raise silent[0].failed
        following = [offer for offer in offers if query.after is None or offer.number.number > query.after]
        shown = following[: query.limit]
        return Reply(
            AvailableList(
                data=[available_shape(offer) for offer in shown],
                next_cursor=shown[-1].number.number if len(following) > len(shown) else None,
                unanswered=[silent_shape(each) for each in silent],
            )
        )

    async def claim(self, asked: Asked[NoQuery, ClaimBody]) -> Answer:
        body = asked.body
        carrier, integration_id = _account(body.carrier, body.integration_id)
        agent = None if body.agent_id is None else await self._agent(asked.tenant_id, body.agent_id)
        request = ClaimRequest(
            number=body.number,
            carrier=carrier,
            integration_id=integration_id,
            agent_id=None if agent is None else agent.agent_id,
            label=body.label,
        )
        with _refusals():
            claimed = await self._office.claim(asked.tenant_id, request)
        location = {"Location": f"/v1/phone-numbers/{claimed.number_id}"}
        return Reply(claimed_shape(claimed), 201, location)

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        found = await self._found(asked)
        if isinstance(found, NumberEntry):
            return Reply(self._settings_shape(found))
        return Reply(claimed_shape(found))

    async def assign(self, asked: Asked[NoQuery, AssignBody]) -> Answer:
        await self._stored(asked)
        agent = await self._agent(asked.tenant_id, asked.body.agent_id)
        return await self._assigned(asked, agent.agent_id)

    async def unassign(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        await self._stored(asked)
        return await self._assigned(asked, None)

    async def release(self, asked: Asked[ReleaseQuery, NoBody]) -> Answer:
        held = await self._stored(asked)
        with _refusals():
            await self._office.release(held, force=asked.query.force)
        return Reply(Done())

    async def _assigned(self, asked: Asked[Any, Any], agent_id: str | None) -> Answer:
        number_id = asked.path["number_id"]
        with _refusals():
            changed = await self._numbers.assign(asked.tenant_id, number_id, agent_id, self._now())
        if changed is None:
            raise _no_such_number()
        return Reply(claimed_shape(changed))

    async def _agent(self, tenant_id: str, agent_id: str) -> Agent:
        agent = await self._agents.agent(tenant_id, agent_id)
        if agent is None:
            raise _no_agent()
        return agent

    async def _found(self, asked: Asked[Any, Any]) -> ClaimedNumber | NumberEntry:
        number_id = asked.path["number_id"]
        for entry in self._office.of_settings(asked.tenant_id):
            if settings_number_id(entry) == number_id:
                return entry
        held = await self._numbers.get(asked.tenant_id, number_id)
        if held is None:
            raise _no_such_number()
        return held

    async def _stored(self, asked: Asked[Any, Any]) -> ClaimedNumber:
        found = await self._found(asked)
        if isinstance(found, NumberEntry):
            raise Problem(409, "read_only_settings", "the number is in the gateway's settings")
        return found

    def _settings_shape(self, entry: NumberEntry) -> NumberShape:
        return settings_number_shape(entry, self._office.agent_of(entry))


def _account(carrier: str | None, account_id: str | None) -> tuple[str | None, str | None]:
    """Return the carrier and the integration id that a request means; the settings' accounts share one id."""
    for vendor in (Vendor.TELNYX, Vendor.TWILIO):
        if account_id == settings_id(vendor):
            return (vendor.value, DEFAULT) if carrier in (None, vendor.value) else (carrier, account_id)
    return carrier, account_id


@contextmanager
def _refusals() -> Iterator[None]:
    """What may stand in the way of asking a carrier, as HTTP says it."""
    try:
        yield
    except NumberTaken:
        raise Problem(409, "number_claimed", "the number is claimed already") from None
    except NumberNotThere:
        raise Problem(422, "number_not_available", "none of your carrier accounts has the number") from None
    except NoSuchAccount:
        detail = "there is no such carrier account, or it cannot be used"
        raise Problem(422, "carrier_not_configured", detail) from None
    except AgentDeleted:
        raise _no_agent() from None
    except CommandFailed as failed:
        text = failed.detail if failed.code is None else f"{failed.code}: {failed.detail}"
        # Wrong credentials are the account's owner's to put right: asking again does not help.
        if failed.verdict in OUT_OF_REACH and failed.verdict is not Verdict.UNAUTHORISED:
            raise Problem(502, "carrier_unavailable", text) from failed
        raise Problem(422, "carrier_rejected", text) from failed


def _no_such_number() -> Problem:
    return Problem(404, "not_found", "there is no such number")


def _no_agent() -> Problem:
    return Problem(422, "agent_not_found", "there is no such agent")
