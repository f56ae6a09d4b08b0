"""What an agent's own server is told of a call, and what it may say to it: another configuration, and commands.

Pure. The envelopes are signed and sent by `gateway.agent_servers`; what comes back is held to the models here and in
`control.api.server_answers`. A server that is late, down or wrong changes nothing: the stored configuration is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from pydantic import Field, JsonValue, StringConstraints, field_validator

from control.agents import LARGEST_METADATA
from control.call_record import CallRecord
from control.configuration import Part
from control.json_schema import check_schema
from control.requests import CallRequest
from control.templates import LONGEST_TEXT
from control.tool_definition import ToolDefinition

# Seconds for an answer, all in all (docs/agents.md, server_url). Tools have a time of their own.
TIMEOUT = 5.0
# Of an answer: an agent with its tools and their schemas.
MOST_BYTES = 256 * 1024


class CallChanges(Part):
    """What is to be different in one call; what is left out, or null, is as stored. Texts are taken as they are."""

    instructions: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)] | None = None
    greeting: Annotated[str, StringConstraints(max_length=4_000)] | None = None
    tools: tuple[ToolDefinition, ...] | None = Field(default=None, max_length=64)
    metadata: dict[str, JsonValue] | None = Field(default=None, max_length=50)
    extraction_schema: dict[str, Any] | None = None

    @field_validator("extraction_schema")
    @classmethod
    def _schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            check_schema(schema)
        return schema

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if metadata is not None and len(msgspec.json.encode(metadata)) > LARGEST_METADATA:
            raise ValueError(f"is larger than {LARGEST_METADATA} bytes")
        return metadata

    def named(self) -> list[str]:
        """The names of what is to be different."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What came back."""

    changes: CallChanges = CallChanges()  # frozen, so it may be shared  # noqa: RUF009
    actions: tuple[CallRequest, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ServerFault:
    """Nothing that can be used came back; `detail` is for whoever runs the server, and holds nothing that was said."""

    detail: str


def call_started(record: CallRecord) -> Mapping[str, object]:
    """Return what the server is told of a call that begins."""
    return {
        "event": "call.started",
        "call_id": record.call_id,
        "agent_id": record.agent_id,
        "agent_version": record.agent_version,
        "direction": record.direction.value,
        "carrier": record.carrier,
        "from_number": record.from_number,
        "to_number": record.to_number,
        "metadata": record.metadata,
    }


def transcript_updated(record: CallRecord, number: int, role: str, text: str) -> Mapping[str, object]:
    """Return what the server is told of something that was said; `number` counts these from 1."""
    return {
        "event": "transcript.updated",
        "call_id": record.call_id,
        "agent_id": record.agent_id,
        "number": number,
        "role": role,
        "text": text,
    }
