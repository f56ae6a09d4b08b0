"""Agents and their tools in requests and answers: made of `AgentConfig`, so that a field is described once.

In an answer, a field that an agent leaves out is null; in a request, null leaves it out. So what was answered may be
changed and sent back.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, TypeVar

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from control.agent_book import Tool, Version
from control.agent_differences import Difference
from control.agent_run import EffectiveAgent
from control.agents import Agent, AgentConfig
from control.api.endpoint import Body
from control.api.shapes import Moment, Shape
from control.configuration import Name, ToolName
from control.tool_definition import REVEAL, ToolDefinition

M = TypeVar("M", bound=BaseModel)


def _optional(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a model with all their bounds, each of which may be left out or null."""
    return {
        name: (Optional[_bounded(field)], Field(default=None, description=field.description))  # noqa: UP045  # a value
        for name, field in model.model_fields.items()
    }


def _may_be_left_out(kind: Any, description: str | None) -> Any:  # noqa: ANN401  # a type; what pydantic takes
    """A field that is never null: its schema must not have null for its default either."""
    return kind, Field(default_factory=lambda: None, description=description)


def _bounded(field: FieldInfo) -> Any:  # noqa: ANN401  # a type
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _made(name: str, base: type[M], doc: str, fields: Mapping[str, Any]) -> type[M]:
    return create_model(name, __base__=base, __doc__=doc, __module__=__name__, **fields)


_NOTE = (
    str | None,
    Field(default=None, max_length=500, description="Why, for the list of versions; no part of the agent."),
)
_NAME = AgentConfig.model_fields["name"].description
_TOOL_NAME = ToolDefinition.model_fields["name"].description

# Requests

NewAgentBody = _made(
    "NewAgentBody",
    Body,
    "A new agent. What is left out, or null, is as in the default agent.",
    {**_optional(AgentConfig), "name": (Name, Field(description=_NAME)), "note": _NOTE},
)

AgentChanges = _made(
    "AgentChanges",
    Body,
    "What is to be different: each field that is given takes the place of the whole of it, null leaves it out.",
    {**_optional(AgentConfig), "name": _may_be_left_out(Name, _NAME), "note": _NOTE},
)

NewToolBody = _made(
    "NewToolBody",
    Body,
    "A new tool.",
    {
        **{name: field for name, field in _optional(ToolDefinition).items() if name != "tool_id"},
        "name": (ToolName, Field(description=_TOOL_NAME)),
    },
)

ToolChanges = _made(
    "ToolChanges",
    Body,
    "What is to be different: each field that is given takes the place of the whole of it, null leaves it out.",
    {
        **{name: field for name, field in _optional(ToolDefinition).items() if name != "tool_id"},
        "name": _may_be_left_out(ToolName, _TOOL_NAME),
    },
)


def given(body: Body) -> dict[str, Any]:
    """Return what a request says; None for what it leaves out by null. Secrets are in it."""
    fields = body.model_dump(exclude_unset=True, context={REVEAL: True})
    return {name: value for name, value in fields.items() if name != "note"}


def note_of(body: Body) -> str | None:
    note: str | None = getattr(body, "note", None)
    return note


def changed(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as changes have it."""
    after = {**before, **changes}
    return {name: value for name, value in after.items() if value is not None}


# Answers

_IDENTITY: dict[str, Any] = {
    "agent_id": (str, ...),
    "version": (int, ...),
    "source": (
        Literal["stored", "settings"],
        Field(description="`settings`: written in the gateway's settings, read only."),
    ),
    "created_at": (Moment, ...),
    "updated_at": (Moment, Field(description="When this version was made.")),
}

AgentShape = _made(
    "AgentShape",
    Shape,
    "An agent. What is null is as in the default agent; values of headers are masked.",
    {**_IDENTITY, **_optional(AgentConfig)},
)


class AgentList(Shape):
    """A page of agents: the stored ones, newest first, then those of the settings."""

    data: list[AgentShape]  # type: ignore[valid-type]  # a model, though made by a function
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


_SECRET = Field(description="Proves requests to the agent's servers (Standard Webhooks). Shown this once.")

NewAgentShape = _made(
    "NewAgentShape",
    Shape,
    "An agent that was made, and its secret.",
    {**_IDENTITY, **_optional(AgentConfig), "secret": (str, _SECRET)},
)

EffectiveAgentShape = _made(
    "EffectiveAgentShape",
    Shape,
    "An agent as a call would get it: nothing left out, every text filled in.",
    {
        "agent_id": (str, ...),
        "version": (int, ...),
        **_optional(AgentConfig),
        "tools_offered": (list[str], Field(description="Every tool that the model is told of.")),
    },
)


class AgentSecretShape(Shape):
    """The secret that signs from now on."""

    agent_id: str
    secret: str = _SECRET
    previous_until: Moment | None = Field(
        description="Until when the secrets before it sign, too; null: not any more."
    )


class VersionSummary(Shape):
    """A version, as lists have it."""

    version: int
    name: str = Field(description="Of the agent, then.")
    note: str | None
    created_at: Moment


class VersionList(Shape):
    """A page of versions, newest first."""

    data: list[VersionSummary]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


class DifferenceShape(Shape):
    """One field that is not the same."""

    pointer: str = Field(description="Where, as a JSON Pointer (RFC 6901); a tool's place is its id.")
    change: Literal["added", "removed", "changed"]
    a: Any = Field(description="Secrets are masked.")
    b: Any


class Comparison(Shape):
    """How two versions differ."""

    agent_id: str
    a: int
    b: int
    differences: list[DifferenceShape]


ToolShape = _made(
    "ToolShape",
    Shape,
    "A tool of an agent; values of headers are masked.",
    {
        "agent_id": (str, ...),
        "agent_name": (str, ...),
        "source": (Literal["stored", "settings"], ...),
        "created_at": (Moment, Field(description="When the agent first had it.")),
        "built_in": (bool, Field(description="Whether it is the gateway's own.")),
        **_optional(ToolDefinition),
        "tool_id": (str, Field(description="Stays the same while the tool is changed or renamed.")),
        "name": (ToolName, Field(description=_TOOL_NAME)),
    },
)


class ToolList(Shape):
    """A page of tools: those of stored agents, newest first, then those of the settings."""

    data: list[ToolShape]  # type: ignore[valid-type]  # a model, though made by a function
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


def _identity(agent: Agent) -> dict[str, Any]:
    return {
        "agent_id": agent.agent_id,
        "version": agent.version,
        "source": agent.source.value,
        "created_at": agent.created_at,
        "updated_at": agent.updated_at,
    }


def agent_shape(agent: Agent) -> Shape:
    # Valid as it stands; what checking it again would cost, lists of agents would pay.
    return AgentShape.model_construct(**_identity(agent), **agent.config.said())


def new_agent_shape(agent: Agent, secret: str) -> Shape:
    return NewAgentShape.model_construct(**_identity(agent), **agent.config.said(), secret=secret)


def effective_shape(agent: Agent, effective: EffectiveAgent) -> Shape:
    return EffectiveAgentShape.model_construct(
        agent_id=agent.agent_id,
        version=agent.version,
        **{**dict(effective.config), "rate_per_minute": effective.rate_per_minute},
        tools_offered=[tool.name for tool in effective.session.tools],
    )


def version_summary(version: Version) -> VersionSummary:
    agent = version.agent
    return VersionSummary(
        version=agent.version, name=agent.config.name, note=version.note, created_at=agent.updated_at
    )


def comparison(agent_id: str, a: int, b: int, found: list[Difference]) -> Comparison:
    return Comparison(
        agent_id=agent_id,
        a=a,
        b=b,
        differences=[
            DifferenceShape(pointer=each.pointer, change=each.change, a=each.a, b=each.b) for each in found
        ],
    )


def tool_shape(tool: Tool) -> Shape:
    return ToolShape.model_construct(
        agent_id=tool.agent.agent_id,
        agent_name=tool.agent.config.name,
        source=tool.agent.source.value,
        created_at=tool.created_at,
        built_in=tool.definition.built_in,
        **dict(tool.definition),
    )
