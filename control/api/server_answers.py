"""What agents' servers answer, read: commands as users of the API write them, with a `type`."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from control.api.command_bodies import EndBody, GatherBody, InvalidDestination, SayBody, TransferBody
from control.requests import CallRequest
from control.server_answer import CallChanges, ServerAnswer


class AnswerUnreadable(ValueError):
    """The answer is none; the message says where and why, and repeats nothing of it."""


class EndAction(EndBody):
    """Hang up."""

    type: Literal["end"]


class TransferAction(TransferBody):
    """Connect the caller with somebody else."""

    type: Literal["transfer"]


class GatherAction(GatherBody):
    """Ask the caller for digits."""

    type: Literal["gather"]


class SayAction(SayBody):
    """Say something."""

    type: Literal["say"]


Action = Annotated[EndAction | TransferAction | GatherAction | SayAction, Field(discriminator="type")]
MOST_ACTIONS = 10


class _Commanding(BaseModel):
    """Any answer: what else it says is the business of who asked."""

    model_config = ConfigDict(extra="allow")

    actions: Annotated[list[Action], Field(max_length=MOST_ACTIONS)] = Field(default_factory=list)


_CHANGES = TypeAdapter(CallChanges)
_COMMANDING = TypeAdapter(_Commanding)


def read_started(body: bytes) -> ServerAnswer:
    """Return what the answer to `call.started` wants; an empty one wants nothing.

    Raises:
        AnswerUnreadable: it is no JSON object, or not one of this kind.
    """
    answer = _object(body)
    actions = read_actions(answer)
    changes = {name: value for name, value in answer.items() if name != "actions"}
    try:
        return ServerAnswer(changes=_CHANGES.validate_python(changes), actions=actions)
    except ValidationError as error:
        raise _unreadable(error) from None


def read_commands(body: bytes) -> ServerAnswer:
    """Return what an answer commands whose other words are of no interest, whatever they are.

    Raises:
        AnswerUnreadable: it has actions, and they are none.
    """
    try:
        answer = _object(body)
    except AnswerUnreadable:
        return ServerAnswer()
    return ServerAnswer(actions=read_actions(answer))


def read_actions(answer: Mapping[str, object]) -> tuple[CallRequest, ...]:
    """Return what an answer commands, in order.

    Raises:
        AnswerUnreadable: one of its actions is none; then none of them is to be done.
    """
    if "actions" not in answer:
        return ()
    try:
        commanding = _COMMANDING.validate_python({"actions": answer["actions"]})
        return tuple(action.request() for action in commanding.actions)
    except ValidationError as error:
        raise _unreadable(error) from None
    except InvalidDestination as error:
        raise AnswerUnreadable(str(error)) from None


def _object(body: bytes) -> dict[str, object]:
    if not body.strip():
        return {}
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise AnswerUnreadable("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise AnswerUnreadable("the answer is not an object")
    return answer


def _unreadable(error: ValidationError) -> AnswerUnreadable:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"/{part}" for part in first["loc"])
    what = (
        "unknown field" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    )
    return AnswerUnreadable(f"{place or '/'}: {what}"[:300])
