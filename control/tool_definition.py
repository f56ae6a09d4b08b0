"""A tool as a user defines it: what the model is told of it, and the HTTP request that is made when it is called."""

import re
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, SerializationInfo, field_serializer, field_validator, model_validator

from control.configuration import Part, Text, ToolId, ToolName, WebUrl
from control.json_schema import check_schema

BUILT_IN = ("end_call", "transfer_call", "send_dtmf", "gather_digits")
"""Names of the tools that the gateway has itself; what they are is in `control.tools.built_in`."""

# How a dump is told to write secrets out, for the store; everywhere else they are masked.
REVEAL = "reveal_secrets"
MASK = str(SecretStr("a secret"))
"""What is shown of any secret."""

# Less than RFC 9110 allows (section 5.6.2), and all that anybody uses.
_HEADER = re.compile(r"[0-9A-Za-z_-]{1,100}")
# Those of the connection and the body are ours (as in `gateway.egress`, which would refuse them in mid-call).
_OUR_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade"}
    | {"te", "trailer", "expect", "proxy-authorization", "proxy-connection"}
)
_MOST_HEADERS = 20
_OF_BUILT_IN = frozenset({"tool_id", "name", "description"})


class Filler(Part):
    """What the caller hears while a tool runs: silence on a telephone is a fault."""

    phrase: Text | None = Field(
        default=None, description="Said word for word by the speech port. May hold {{variables}}."
    )
    audio_url: WebUrl | None = Field(
        default=None, description="Audio that is played instead, in a loop: its first minute."
    )
    after_seconds: float = Field(
        default=1.0, ge=0, le=10, description="Seconds the tool may run before the filler begins."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.phrase is None) == (self.audio_url is None):
            raise ValueError("a filler is a phrase or an audio_url, one of them")
        return self


class ToolDefinition(Part):
    """A tool that the model may call, run by an HTTP request of ours; or one of ours, switched on by its name."""

    tool_id: ToolId | None = Field(
        default=None,
        description="Ours; stays the same while the tool is changed or renamed. Written only to say which tool is "
        "meant: left out, it is the one of this name.",
    )
    name: ToolName = Field(
        description="By which the model calls it; unique in the agent. `end_call`, `transfer_call`, `send_dtmf` and "
        "`gather_digits` are the gateway's own: such an entry switches one on and has at most a `description` besides."
    )
    description: str = Field(
        default="",
        max_length=2_000,
        description="What it does and when to call it, for the model.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=lambda: {"type": "object", "properties": {}},
        description="JSON Schema (2020-12) of an object: its arguments. At most 16 kB and 500 places; `$ref` to "
        "`#/$defs/` only; `pattern` and `uniqueItems` are shown to the model and not enforced.",
    )
    url: WebUrl | None = Field(
        default=None,
        description="Where it is run. Without one, the agent's `server_url` is asked (`tool.call`).",
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="POST",
        description="GET and DELETE carry the arguments in the query, the others as a JSON body. GET, PUT and DELETE "
        "are tried again after a failure, POST and PATCH never.",
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict,
        max_length=_MOST_HEADERS,
        description="Sent along; their values are secret and never shown again.",
    )
    timeout_seconds: float = Field(
        default=10.0, ge=0.5, le=60, description="Seconds for the whole of it, repetitions included."
    )
    filler: Filler | None = Field(default=None, description="What the caller hears while it runs.")

    @field_validator("parameters")
    @classmethod
    def _schema(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        check_schema(parameters)
        return parameters

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name):
                raise ValueError("a header's name is letters, digits, - and _")
            if name.lower() in _OUR_HEADERS:
                raise ValueError(f"the header {name} is the gateway's own")
            text = value.get_secret_value()
            if len(text) > 4_000 or not text.isprintable() or not text.isascii():
                raise ValueError(f"the header {name} has a value that cannot be sent")
        return headers

    @field_serializer("headers")
    def _masked(self, headers: dict[str, SecretStr], info: SerializationInfo) -> dict[str, str]:
        reveal = isinstance(info.context, dict) and info.context.get(REVEAL) is True
        return {name: value.get_secret_value() if reveal else str(value) for name, value in headers.items()}

    @model_validator(mode="after")
    def _nothing_to_run(self) -> Self:
        more = {
            name for name in self.model_fields_set - _OF_BUILT_IN if getattr(self, name) != _default(name)
        }
        if self.built_in and more:
            raise ValueError(f"{self.name} is a built-in tool and has no {' or '.join(sorted(more))}")
        return self

    @property
    def built_in(self) -> bool:
        return self.name in BUILT_IN

    @property
    def repeatable(self) -> bool:
        """Whether asking twice does no more than asking once (RFC 9110 section 9.2.2); `server_url` is posted to."""
        return self.url is not None and self.method in ("GET", "PUT", "DELETE")


def _default(field: str) -> object:
    """What a field is that is left out."""
    return ToolDefinition.model_fields[field].get_default(call_default_factory=True)
