"""Agents: listed, made, read, changed, copied, deleted, and shown as a call would get them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AfterValidator, Field

from control.agents import Agent
from control.api.agent_desk import AgentDesk, configuration, no_such_agent
from control.api.agent_shapes import (
    AgentChanges,
    AgentList,
    AgentSecretShape,
    AgentShape,
    EffectiveAgentShape,
    NewAgentBody,
    NewAgentShape,
    agent_shape,
    changed,
    effective_shape,
    given,
    new_agent_shape,
    note_of,
)
from control.api.call_endpoints import HeaderName, HeaderValue, Number, Variables
from control.api.configured_page import none_stored, page_of_both
from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.interchange import read_json
from control.api.page_queries import PageQuery
from control.api.ports import Effective
from control.api.problem import Fault, Problem
from control.configuration import Name
from control.stores.agents import AgentFilters, Removal
from control.stores.keyset import Page
from control.templates import TextsUnfilled

TAG = "Agents"
AGENT = "/v1/agents/{agent_id}"

_SORTED_BY = {
    "created_at": lambda agent: agent.created_at,
    "updated_at": lambda agent: agent.updated_at,
    "name": lambda agent: agent.config.name,
}


class AgentListQuery(PageQuery):
    """A page of a list of agents."""

    name: str | None = Field(default=None, max_length=100, description="The whole name.")
    search: str | None = Field(default=None, min_length=1, max_length=100, description="A part of the name.")
    source: Literal["stored", "settings"] | None = None

    def filters(self) -> AgentFilters:
        return AgentFilters(name=self.name, search=self.search)

    def holds(self, agent: Agent) -> bool:
        """Whether an agent of the settings is meant."""
        name = agent.config.name
        return (
            self.source != "stored"
            and self.name in (None, name)
            and (self.search is None or self.search.lower() in name.lower())
        )


class CloneBody(Body):
    """A copy of an agent."""

    name: Name | None = Field(default=None, description="Left out: the original's, and `(copy)`.")


class RotateBody(Body):
    """How the old secret goes."""

    keep_previous_seconds: int = Field(
        default=86_400,
        ge=0,
        le=604_800,
        description="For so long requests are signed with the old secret, too. Calls that have begun before keep "
        "signing with what they began with.",
    )


def _object(text: str) -> str:
    try:
        value = read_json(text.encode())
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return text


class ConfigQuery(Query):
    """For which call."""

    version: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Left out: the current one."
    )
    customer_number: Number | None = Field(default=None, description="The far end's; left out: withheld.")
    variables: Annotated[str, AfterValidator(_object)] = Field(
        default="{}", max_length=4_000, description="A JSON object; the POST takes longer ones."
    )


class ConfigBody(Body):
    """For which call."""

    version: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Left out: the current one."
    )
    customer_number: Number | None = Field(default=None, description="The far end's; left out: withheld.")
    variables: Variables = Field(default_factory=dict, max_length=100, description="As a dial gives them.")
    custom_headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, max_length=20, description="As a dial, or the caller's side, gives them."
    )


class AgentEndpoints:
    """Driven by the routes."""

    def __init__(self, desk: AgentDesk, effective: Effective) -> None:
        self._desk = desk
        self._book = desk.book
        self._effective = effective

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        missing = ("not_found", "secrets_unreadable")
        kept = (*missing, "agent_read_only")
        return [
            endpoint(
                "GET", "/v1/agents", self.list,
                summary="List agents", tag=TAG, query=AgentListQuery, body=NoBody, answers={200: AgentList},
                problems=("invalid_cursor", "invalid_sort", "secrets_unreadable"),
                description="Those that are stored, newest first unless sorted otherwise, then those of the settings.",
            ),
            endpoint(
                "POST", "/v1/agents", self.add,
                summary="Make an agent", tag=TAG, query=NoQuery, body=NewAgentBody, answers={201: NewAgentShape},
                description="Ids of tools are not taken over: it gets tools of its own.",
            ),
            endpoint(
                "GET", AGENT, self.get,
                summary="An agent", tag=TAG, query=NoQuery, body=NoBody, answers={200: AgentShape}, problems=missing,
            ),
            endpoint(
                "PATCH", AGENT, self.change,
                summary="Change an agent", tag=TAG, query=NoQuery, body=AgentChanges, answers={200: AgentShape},
                problems=kept,
                description="The next version, for calls that begin from now on; the same again is none. A masked "
                "header stays as it was.",
            ),
            endpoint(
                "DELETE", AGENT, self.delete,
                summary="Delete an agent", tag=TAG, query=NoQuery, body=NoBody, answers={204: None},
                problems=("not_found", "agent_read_only", "agent_has_live_calls"),
                description="Its numbers have no agent then; the records of its calls stay.",
            ),
            endpoint(
                "POST", f"{AGENT}/clone", self.clone,
                summary="Copy an agent", tag=TAG, query=NoQuery, body=CloneBody, answers={201: NewAgentShape},
                problems=missing,
                description="Of its current version, secrets of tools included; it signs with a secret of its own.",
            ),
            endpoint(
                "GET", f"{AGENT}/config", self.config,
                summary="An agent as a call would get it", tag=TAG, query=ConfigQuery, body=NoBody,
                answers={200: EffectiveAgentShape}, problems=(*missing, "variables_missing"),
            ),
            endpoint(
                "POST", f"{AGENT}/config", self.config_for,
                summary="An agent as this call would get it", tag=TAG, query=NoQuery, body=ConfigBody,
                answers={200: EffectiveAgentShape}, problems=(*missing, "variables_missing"),
            ),
            endpoint(
                "POST", f"{AGENT}/rotate-secret", self.rotate,
                summary="Sign with another secret", tag=TAG, query=NoQuery, body=RotateBody,
                answers={200: AgentSecretShape}, problems=kept,
            ),
        ]  # fmt: skip

    async def list(self, asked: Asked[AgentListQuery, NoBody]) -> Answer:
        query, tenant_id = asked.query, asked.tenant_id

        async def stored(page: Page) -> tuple[Sequence[Agent], str | None]:
            return await self._book.page(tenant_id, query.filters(), page)

        configured = [agent for agent in self._desk.configured(tenant_id) if query.holds(agent)]
        source = none_stored if query.source == "settings" else stored
        agents, cursor = await page_of_both(query.page(), source, configured, _SORTED_BY)
        return Reply(
            AgentList.model_construct(data=[agent_shape(each) for each in agents], next_cursor=cursor)
        )

    async def add(self, asked: Asked[NoQuery, Body]) -> Answer:
        config = configuration(changed({}, given(asked.body)))
        agent, made = await self._desk.add(asked.tenant_id, config, note_of(asked.body))
        return _made(agent, made.secret)

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Reply(agent_shape(await self._desk.agent(asked.tenant_id, asked.path["agent_id"])))

    async def change(self, asked: Asked[NoQuery, Body]) -> Answer:
        body = asked.body
        agent = await self._desk.change(asked.tenant_id, asked.path["agent_id"], given(body), note_of(body))
        return Reply(agent_shape(agent))

    async def delete(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        agent_id = asked.path["agent_id"]
        self._desk.check_changeable(asked.tenant_id, agent_id)
        match await self._book.delete(asked.tenant_id, agent_id):
            case Removal.DELETED:
                return web.Response(status=204)
            case Removal.LIVE:
                raise Problem(409, "agent_has_live_calls", "the agent is in a call")
            case Removal.MISSING:
                raise no_such_agent()

    async def clone(self, asked: Asked[NoQuery, CloneBody]) -> Answer:
        original = await self._desk.agent(asked.tenant_id, asked.path["agent_id"])
        name = asked.body.name or f"{original.config.name[:90]} (copy)"
        config = original.config.model_copy(update={"name": name})
        note = f"copied from {original.agent_id}, version {original.version}"
        agent, made = await self._desk.add(asked.tenant_id, config, note)
        return _made(agent, made.secret)

    async def config(self, asked: Asked[ConfigQuery, NoBody]) -> Answer:
        query = asked.query
        return await self._config(asked, query.version, query.customer_number, json.loads(query.variables))

    async def config_for(self, asked: Asked[NoQuery, ConfigBody]) -> Answer:
        body = asked.body
        return await self._config(
            asked, body.version, body.customer_number, body.variables, body.custom_headers
        )

    async def rotate(self, asked: Asked[NoQuery, RotateBody]) -> Answer:
        agent_id = asked.path["agent_id"]
        self._desk.check_changeable(asked.tenant_id, agent_id)
        keep = timedelta(seconds=asked.body.keep_previous_seconds)
        made = await self._book.rotate(asked.tenant_id, agent_id, keep)
        if made is None:
            raise no_such_agent()
        return Reply(AgentSecretShape(agent_id=agent_id, secret=made.secret, previous_until=made.until))

    async def _config(
        self,
        asked: Asked[Any, Any],
        version: int | None,
        customer: str | None,
        variables: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        agent_id = asked.path["agent_id"]
        if version is None:
            agent = await self._desk.agent(asked.tenant_id, agent_id)
        else:
            agent = (await self._desk.version(asked.tenant_id, agent_id, version)).agent
        try:
            effective = self._effective(
                agent, variables, customer=customer, headers=headers or {}, now=datetime.now(UTC)
            )
        except TextsUnfilled as unfilled:
            faults = [Fault(fault.pointer, fault.detail) for fault in unfilled.faults]
            raise Problem(422, "variables_missing", str(unfilled), errors=faults) from None
        return Reply(effective_shape(agent, effective))


def _made(agent: Agent, secret: str) -> Reply:
    return Reply(new_agent_shape(agent, secret), 201, {"Location": f"/v1/agents/{agent.agent_id}"})
