"""What is known of one call, what it waits for, and what is to be done about it: what the parts of its machine share.

Theory of operation. A call's machine is cut into parts by what they are about (`call_ending`, `call_streams`, ...).
They meet here: facts go into the record, waits into the deadlines, and whatever is to be done into the list of
effects, in the order in which it is to happen. Nothing here decides anything.

What was begun and will be answered (a command, a text to be heard) keeps its continuation: what is done when the
answer comes, once. The carrier, the performer and the media may lose answers; then a deadline stands in.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from control import ownership, states
from control.brief import CallBrief, CallPorts
from control.call_record import CallRecord
from control.deadlines import SAID_SLACK, Deadlines, Due
from control.effects import CommandOutcome, Effect, Order, Perform, Publish, Reply
from control.media_orders import AwaitPlayout, CancelAwait, MediaOrder, SpeakText, ToolResult
from control.ownership import Handover, Ownership
from control.requests import Accepted, Answer, Refused
from control.states import Happening
from control.tool_log import ToolRun
from telephony.calls import LegToken, Origin
from telephony.causes import EndedReason
from telephony.commands import CallCommand, MediaStream

Then = Callable[[CommandOutcome, float], None]
"""What is done when the outcome of a command is known."""
Heard = Callable[[bool, float], None]
"""What is done when something was heard, or (False) was not."""

# How far a carrier's clock, which counts whole seconds (Twilio), may be from ours before we do not believe it.
_CLOCK_SLACK = timedelta(seconds=5)
# What a clock of whole seconds may be behind when its word arrives at once.
_CLOCK_TICK = timedelta(seconds=1.5)

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def event_name(kind: type) -> str:
    """`TransferLegRinging` is `transfer_leg_ringing` in a timeline."""
    return _HUMP.sub("_", kind.__name__).lower()


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for something: a user, by a ticket, or the model, by the call of a tool."""

    ticket: str | None = None
    tool_call_id: str | None = None

    @property
    def intent(self) -> EndedReason:
        """Why a call ends that ends because of this."""
        return EndedReason.API if self.tool_call_id is None else EndedReason.AGENT_HANGUP


class Docket:
    """Written by the parts of one call's machine; emptied by its owner (`take_effects`)."""

    def __init__(self, brief: CallBrief, ports: CallPorts, now: float) -> None:
        self.brief = brief
        self.record: CallRecord = brief.record
        self.capabilities = brief.capabilities
        self.ownership = Ownership.OWNED
        self.deadlines = Deadlines()
        self.answered_since: float | None = None
        """When the call was answered, on the machine's clock."""
        self.released_since: float | None = None
        """When the caller was connected to somebody else."""
        self._ports = ports
        self._origin = now
        self._effects: list[Effect] = []
        self._outstanding: dict[str, Then] = {}
        self._awaited: dict[str, Heard] = {}
        self._spoken: dict[str, Heard] = {}
        self._open: set[str] = set()
        self._tools: set[str] = set()
        self.tool_ended: Callable[[str, Mapping[str, object]], None] = lambda _id, _result: None
        """Told, once, what came of a tool of the gateway's own that the model called."""
        self._streams = 0

    # What is known

    @property
    def answered(self) -> bool:
        return self.record.answered_at is not None

    def change(self, **facts: Any) -> None:  # noqa: ANN401  # the record's own fields
        self.record = replace(self.record, **facts)

    def happened(self, happening: Happening) -> bool:
        """Move the status; False where the happening is stale."""
        after = states.after(self.record.status, happening)
        if after is None:
            return False
        self.change(status=after)
        return True

    def moved(self, handover: Handover) -> bool:
        """Move the caller; False where the handover is stale."""
        after = ownership.after(self.ownership, handover)
        if after is None:
            return False
        self.ownership = after
        return True

    def name_leg(self, origin: Origin) -> None:
        """Take over what the carrier calls the leg: the latest name is what commands want, and a leg has one id."""
        record = self.record
        self.change(
            carrier_call_id=origin.carrier_call_id or record.carrier_call_id,
            leg_id=record.leg_id or origin.leg_id,
            session_id=record.session_id or origin.session_id,
        )

    def wall(self, now: float) -> datetime:
        return self._ports.begun_at + timedelta(seconds=now - self._origin)

    def when(self, occurred_at: datetime | None, now: float) -> datetime:
        """Return when something happened: as the carrier says, if that can be."""
        record, latest = self.record, self.wall(now)
        earliest = record.answered_at or record.started_at
        if occurred_at is not None and not occurred_at.microsecond and latest - occurred_at < _CLOCK_TICK:
            occurred_at = None  # it counts whole seconds: ours is the better one
        if occurred_at is None or not earliest - _CLOCK_SLACK <= occurred_at <= latest + _CLOCK_SLACK:
            return max(earliest, latest)
        return min(max(earliest, occurred_at), max(earliest, latest))

    # What is to be done

    def take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def add(self, effect: Effect) -> None:
        self._effects.append(effect)

    def order(self, *orders: MediaOrder) -> None:
        self._effects.extend(Order(order) for order in orders)

    def publish(self, name: str, /, **data: object) -> None:
        self._effects.append(Publish(name, data))

    def publish_secret(self, name: str, data: dict[str, object], *secret: str) -> None:
        """Publish with fields that are for the event's own webhook alone."""
        self._effects.append(Publish(name, data, secret))

    def publish_run(self, name: str, run: ToolRun, /, **data: object) -> None:
        """Publish the end of a tool's run, which is written down with it."""
        self._effects.append(Publish(name, data, tool_run=run))

    def publish_begun(self, name: str, run: ToolRun, /, **data: object) -> None:
        """Publish the beginning of a tool's run, which is on record from then on."""
        self._effects.append(Publish(name, data, tool_begun=run))

    def perform(self, command: CallCommand, then: Then | None = None) -> None:
        """Have the carrier do something; the timeline says so first."""
        self.publish(f"command.{event_name(type(command))}", command_id=command.command_id)
        self._effects.append(Perform(command))
        if then is not None:
            self._outstanding[command.command_id] = then

    def performed(self, outcome: CommandOutcome, now: float) -> None:
        """Go on where an outcome was waited for; one that comes twice changes nothing."""
        then = self._outstanding.pop(outcome.command_id, None)
        if then is not None:
            then(outcome, now)

    def new_id(self, prefix: str) -> str:
        return self._ports.new_id(prefix)

    def command_id(self) -> str:
        return self._ports.new_id("cmd")

    def token(self, *, transfer_id: str | None = None, operation: str | None = None) -> LegToken:
        return LegToken(self.record.call_id, transfer_id, operation)

    def next_stream(self) -> MediaStream:
        self._streams += 1
        return self._ports.mint_stream(self._streams)

    # Who is answered

    def ask(self, asker: Asker) -> None:
        """Somebody waits for an answer from here on."""
        if asker.ticket is not None:
            self._open.add(asker.ticket)
        if asker.tool_call_id is not None:
            self._tools.add(asker.tool_call_id)

    def answer(self, asker: Asker, answer: Answer) -> None:
        """Answer who asked, once; the model is told of refusals alone: what comes of the rest, it is told then."""
        self.answer_user(asker, answer)
        if isinstance(answer, Refused):
            self.tell_tool(asker, status="refused", reason=answer.detail)

    def answer_user(self, asker: Asker, answer: Answer) -> None:
        if asker.ticket is not None and asker.ticket in self._open:
            self._open.discard(asker.ticket)
            self._effects.append(Reply(asker.ticket, answer))

    def accept(self, asker: Asker, **facts: object) -> None:
        self.answer_user(asker, Accepted(facts=facts))

    def tell_tool(self, asker: Asker, **result: object) -> None:
        """Tell the model what came of its tool, if it asked, once; it may speak at once, so it must not be held."""
        if self.end_tool(asker, **result) and self.ownership is not Ownership.ENDED:
            self.order(ToolResult(asker.tool_call_id or "", msgspec.json.encode(result).decode()))

    def end_tool(self, asker: Asker, **result: object) -> bool:
        """Note what came of a tool, if the model asked, where it has nothing to say to it; whether it was open."""
        tool_call_id = asker.tool_call_id
        if tool_call_id is None or tool_call_id not in self._tools:
            return False
        self._tools.discard(tool_call_id)
        self.tool_ended(tool_call_id, result)
        return True

    def refuse_open(self, answer: Refused) -> None:
        """Nothing comes of what is still open."""
        for ticket in sorted(self._open):
            self._effects.append(Reply(ticket, answer))
        self._open.clear()

    # What is to be heard first

    def await_playout(self, heard: Heard, now: float) -> str:
        """Go on once what is being said was heard; return the ticket to cancel that with."""
        ticket = self.new_id("say")
        self._awaited[ticket] = heard
        self.order(AwaitPlayout(ticket))
        self.deadlines.set(Due.SAID, now + self.brief.goodbye + SAID_SLACK)
        return ticket

    def cancel_await(self, ticket: str) -> None:
        if self._awaited.pop(ticket, None) is not None:
            self.order(CancelAwait(ticket))
        if not self._awaited:
            self.deadlines.clear(Due.SAID)

    def played_out(self, ticket: str, in_time: bool, now: float) -> None:
        heard = self._awaited.pop(ticket, None)
        if not self._awaited:
            self.deadlines.clear(Due.SAID)
        if heard is not None:
            heard(in_time, now)

    def said_too_late(self, now: float) -> None:
        """The media has not reported what it keeps a limit of itself."""
        for ticket in list(self._awaited):
            self.played_out(ticket, False, now)

    def speak(self, text: str, heard: Heard, *, language: str | None = None) -> str:
        """Say a fixed text that nobody talks down; return its ticket."""
        ticket = self.new_id("say")
        self._spoken[ticket] = heard
        self.order(SpeakText(ticket, text, language=language, interruptible=False))
        return ticket

    def prompt_played(self, ticket: str, ok: bool, now: float) -> None:
        heard = self._spoken.pop(ticket, None)
        if heard is not None:
            heard(ok, now)

    def forget_speech(self) -> None:
        """Nobody waits for anything to be heard any more."""
        self._awaited.clear()
        self._spoken.clear()
        self.deadlines.clear(Due.SAID)
