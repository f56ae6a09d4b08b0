"""An agent: what it says, how it listens, what it can do and what its calls may cost, as users write it down.

A field that is left out (null) is taken from the default agent, which the gateway's settings describe; so the smallest
agent is an empty one. Texts may hold `{{variables}}` (`control.templates`). The descriptions here are the API's
documentation.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

import msgspec
from pydantic import Field, JsonValue, field_validator, model_validator

from control.configuration import (
    Destination,
    Greeting,
    Instructions,
    Language,
    Money,
    Name,
    Number,
    Part,
    Text,
    WebUrl,
    Word,
)
from control.json_schema import check_schema
from control.templates import wanted
from control.tool_definition import REVEAL, ToolDefinition

# Two screens of a prompt page's worth of values; what is searched and delivered with every event of a call.
LARGEST_METADATA = 16_000


class BargeInConfig(Part):
    """When caller speech cuts the agent off."""

    enabled: bool | None = Field(default=None, description="Whether it does at all.")
    min_speech_ms: int | None = Field(
        default=None,
        ge=0,
        le=5_000,
        description="Milliseconds of speech before it counts; 0 leaves it to the model.",
    )
    protect_greeting: bool | None = Field(
        default=None, description="Whether the greeting is heard to its end."
    )


class TurnDetectionConfig(Part):
    """How the model finds the caller's turns."""

    type: Literal["server_vad", "semantic_vad"] | None = Field(
        default=None, description="On phone lines `semantic_vad` is known to miss speech."
    )
    threshold: float | None = Field(default=None, ge=0, le=1, description="Loudness that is speech.")
    prefix_padding_ms: int | None = Field(
        default=None, ge=0, le=5_000, description="Milliseconds kept from before the speech."
    )
    silence_duration_ms: int | None = Field(
        default=None, ge=0, le=10_000, description="Milliseconds of silence that end a turn."
    )
    eagerness: Literal["low", "medium", "high", "auto"] | None = Field(
        default=None, description="How soon `semantic_vad` takes the turn."
    )


class DtmfConfig(Part):
    """What becomes of keys pressed outside a gather."""

    to_model: bool | None = Field(default=None, description="Whether they are told to the model, as text.")
    interrupts: bool | None = Field(
        default=None, description="Whether a group of them cuts the agent off as speech would."
    )


class VoicemailAction(StrEnum):
    """What to do where a machine answers."""

    HANGUP = "hangup"
    LEAVE_MESSAGE = "leave_message"
    CONTINUE = "continue"


class VoicemailConfig(Part):
    """What to do where a machine answers an outbound call (`machine_detection`)."""

    action: VoicemailAction = Field(
        default=VoicemailAction.HANGUP,
        description="`hangup`; `leave_message` says the message and hangs up; `continue` talks to it.",
    )
    message: Text | None = Field(default=None, description="Said word for word by the speech port.")

    @model_validator(mode="after")
    def _something_to_say(self) -> Self:
        if self.action is VoicemailAction.LEAVE_MESSAGE and self.message is None:
            raise ValueError("leave_message needs a message")
        return self


class TransferTarget(Part):
    """Somebody the model may connect the caller with."""

    name: Name = Field(description="By which the model chooses it, such as `billing`.")
    destination: Destination = Field(description="E.164, or a SIP URI where the carrier takes them.")
    description: str = Field(default="", max_length=500, description="When to choose it, for the model.")


class AgentConfig(Part):
    """An agent's configuration. What is left out, or null, is as in the default agent of the settings."""

    name: Name = Field(default="ad-hoc", description="What people call it.")
    from_number: Number | None = Field(
        default=None, description="E.164; what its outbound calls are made from unless told otherwise."
    )
    provider: Word | None = Field(
        default=None,
        description="Which realtime provider it runs on: the id of a provider account, `int_...`, a name of "
        "`[providers]`, or `default` for the one that the settings describe.",
    )
    model: Word | None = Field(default=None, description="The model's name, as the provider has it.")
    voice: Word | None = Field(default=None, description="The voice; fixed once it has spoken.")
    language: Language | None = Field(
        default=None,
        description="BCP 47, such as `en` or `de-AT`: a hint for transcription, and the language of fixed texts.",
    )
    instructions: Instructions | None = Field(
        default=None, description="What the model is told before the call. May hold {{variables}}."
    )
    greeting: Greeting | None = Field(
        default=None,
        description="What the model is asked to say first; empty lets the caller speak first. May hold {{variables}}.",
    )
    tools: tuple[ToolDefinition, ...] = Field(
        default=(),
        max_length=64,
        description="What the model may do besides talking: your own tools, and the gateway's by name.",
    )
    turn_detection: TurnDetectionConfig = Field(
        default_factory=TurnDetectionConfig, description="How the model finds the caller's turns."
    )
    recording: bool | None = Field(default=None, description="Whether its calls are recorded, in stereo.")
    recording_consent_prompt: Text | None = Field(
        default=None,
        description="Said word for word before anything is recorded; who does not hear it to its end is not recorded. "
        "It wants a speech port. May hold {{variables}}.",
    )
    max_duration_seconds: float | None = Field(
        default=None,
        ge=10,
        le=14_400,
        description="Seconds a call may last; carriers end it after four hours.",
    )
    silence_timeout_seconds: float | None = Field(
        default=None,
        ge=2,
        le=3_600,
        description="Seconds in which nobody speaks before the next prompt is said, or else the call ends.",
    )
    silence_prompts: tuple[Text, ...] = Field(
        default=(),
        max_length=10,
        description="Said one after the other, each after a silence. May hold {{variables}}.",
    )
    barge_in: BargeInConfig = Field(
        default_factory=BargeInConfig, description="When caller speech cuts the agent off."
    )
    voicemail: VoicemailConfig = Field(
        default_factory=VoicemailConfig, description="What to do where a machine answers."
    )
    dtmf: DtmfConfig = Field(
        default_factory=DtmfConfig, description="What becomes of keys pressed outside a gather."
    )
    end_call_enabled: bool = Field(
        default=False, description="Whether the model may hang up (the tool `end_call`)."
    )
    transfer_targets: tuple[TransferTarget, ...] = Field(
        default=(),
        max_length=20,
        description="Whom the model may connect the caller with (the tool `transfer_call`); none: nobody.",
    )
    server_url: WebUrl | None = Field(
        default=None,
        description="Your server: asked what each call is to be, runs the tools that have no `url`, is told what is "
        "said, and may command the call; signed.",
    )
    webhook_url: WebUrl | None = Field(
        default=None, description="Told the events of this agent's calls, beside the tenant's endpoints."
    )
    extraction_schema: dict[str, Any] | None = Field(
        default=None,
        description="JSON Schema (2020-12) of an object that is extracted from the transcript after the call, by the "
        "model of `OFFHOOK_EXTRACTION_URL`.",
    )
    fallback_providers: tuple[Word, ...] = Field(
        default=(),
        max_length=5,
        description="Who is tried in this order when its own provider cannot be had, or is lost in mid-call: names of "
        "`[providers]`, `default`, or provider accounts (`int_...`).",
    )
    rate_per_minute: Money | None = Field(
        default=None, description="What a minute of its calls costs with the carrier."
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict,
        max_length=50,
        description="Yours: given back with each call and event, up to 16 kB.",
    )

    @field_validator("tools", "transfer_targets")
    @classmethod
    def _named_once(cls, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [entry.name for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is there more than once")
        return entries

    @field_validator("extraction_schema")
    @classmethod
    def _schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            check_schema(schema)
        return schema

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if len(msgspec.json.encode(metadata)) > LARGEST_METADATA:
            raise ValueError(f"is larger than {LARGEST_METADATA} bytes")
        return metadata

    @model_validator(mode="after")
    def _somewhere_to_ask(self) -> Self:
        for tool in self.tools:
            if tool.url is None and not tool.built_in and self.server_url is None:
                raise ValueError(f"the tool {tool.name} has no url, and the agent no server_url")
            if tool.name == "transfer_call" and not self.transfer_targets:
                raise ValueError("transfer_call needs transfer_targets")
        return self

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every text that may hold variables, with its JSON pointer."""
        for name in ("instructions", "greeting", "recording_consent_prompt"):
            text = getattr(self, name)
            if text is not None:
                yield f"/{name}", text
        for index, prompt in enumerate(self.silence_prompts):
            yield f"/silence_prompts/{index}", prompt
        if self.voicemail.message is not None:
            yield "/voicemail/message", self.voicemail.message
        for index, tool in enumerate(self.tools):
            if tool.filler is not None and tool.filler.phrase is not None:
                yield f"/tools/{index}/filler/phrase", tool.filler.phrase

    def provider_names(self) -> Iterator[tuple[str, str]]:
        """Every provider that it names, its own first, with the JSON pointer."""
        if self.provider is not None:
            yield "/provider", self.provider
        for index, name in enumerate(self.fallback_providers):
            yield f"/fallback_providers/{index}", name

    def urls(self) -> Iterator[tuple[str, str]]:
        """Every URL that requests are made to, with its JSON pointer."""
        for name in ("server_url", "webhook_url"):
            url = getattr(self, name)
            if url is not None:
                yield f"/{name}", url
        for index, tool in enumerate(self.tools):
            if tool.url is not None:
                yield f"/tools/{index}/url", tool.url
            if tool.filler is not None and tool.filler.audio_url is not None:
                yield f"/tools/{index}/filler/audio_url", tool.filler.audio_url

    def wanted(self) -> frozenset[str]:
        """The variables that its texts cannot do without."""
        return frozenset().union(*(wanted(text) for _, text in self.texts()))

    def said(self) -> dict[str, Any]:
        """Every field by its name; None for what is left out, or null: it is as in the default agent."""
        return {
            name: getattr(self, name) if name in self.model_fields_set else None
            for name in type(self).model_fields
        }

    def with_secrets(self) -> dict[str, Any]:
        """The whole of it as JSON, secrets in the clear: for a store that encrypts them, and for nobody else."""
        return self.model_dump(mode="json", exclude_unset=True, context={REVEAL: True})


class Source(StrEnum):
    """Where an agent is written down."""

    STORED = "stored"
    """By the API."""
    SETTINGS = "settings"
    """In the gateway's settings: read only, and there before anything is stored."""
    AD_HOC = "ad-hoc"
    """In the request that dials, for that call alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One version of one agent."""

    agent_id: str
    version: int
    config: AgentConfig
    source: Source
    tenant_id: str = "default"
    signing: tuple[str, ...] = field(default=(), repr=False)
    """What proves requests to its servers, `whsec_...`; none: the gateway's own secret does."""
    created_at: datetime
    updated_at: datetime


def settings_agent(key: str, config: AgentConfig, now: datetime) -> Agent:
    """An agent of the settings file; its id and its tools' are made of their names, so that they stay the same."""
    agent_id = f"agent_{key}"
    named = tuple(
        tool.model_copy(update={"tool_id": f"tool_{_digest(f'{agent_id}/{tool.name}')}"})
        for tool in config.tools
    )
    return Agent(
        agent_id=agent_id,
        version=1,
        config=config.model_copy(update={"tools": named}) if named else config,
        source=Source.SETTINGS,
        created_at=now,
        updated_at=now,
    )


def ad_hoc_agent(config: AgentConfig, now: datetime, *, tenant_id: str = "default") -> Agent:
    """An agent of one request; the same configuration has the same id, so that its calls can be told together."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)  # secrets masked: an id is public
    return Agent(
        agent_id=f"agent_adhoc_{_digest(text)}",
        version=1,
        config=config,
        source=Source.AD_HOC,
        tenant_id=tenant_id,
        created_at=now,
        updated_at=now,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
