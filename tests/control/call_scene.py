"""One call's machine on a stage: tests play the carrier, the media and the users, and look at what it wants done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from control.brief import BuiltInRequest, CallBrief, CallPorts, ToolFiller, ToolRefused
from control.call import Call
from control.call_documents import Document, Wait
from control.call_record import CallRecord
from control.effects import (
    Close,
    CommandDone,
    CommandRefused,
    Effect,
    Instruction,
    Order,
    Perform,
    Publish,
    Reply,
)
from control.inputs import Asked, CallInput
from control.media_orders import AgentUp, MediaEnded, MediaOrder, StreamUp
from control.requests import Answer, CallRequest
from telephony.calls import (
    Answered,
    HungUp,
    Initiated,
    LegToken,
    Origin,
    TwimlPurpose,
    TwimlRequested,
)
from telephony.capabilities import CAPABILITIES, Capabilities
from telephony.causes import Direction, HangupCause, HangupSource
from telephony.client_errors import Performed, Verdict
from telephony.commands import CallCommand, MediaStream

BEGUN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
CALLER, US, OTHER = "+13125550100", "+13125550111", "+13125550122"

Command = TypeVar("Command", bound=CallCommand)
Ordered = TypeVar("Ordered", bound=MediaOrder)


class Scene:
    """Plays to one call; `log` is every effect so far."""

    def __init__(
        self,
        carrier: str = "telnyx",
        direction: Direction = Direction.INBOUND,
        *,
        capabilities: Capabilities | None = None,
        built_in: BuiltInRequest | ToolRefused | None = None,
        recorded: bool = False,
        filler: ToolFiller | None = None,
        **brief: Any,
    ) -> None:
        inbound = direction is Direction.INBOUND
        record = CallRecord(
            call_id="call_1",
            direction=direction,
            carrier=carrier,
            carrier_call_id="leg-a" if inbound else None,
            leg_id="a" if inbound else None,
            from_number=CALLER if inbound else US,
            to_number=US if inbound else CALLER,
            started_at=BEGUN,
            recording_enabled=recorded,
        )
        self.carrier = carrier
        self.now = 0.0
        self.log: list[Effect] = []
        self._ids = count(1)
        self._settled: set[str] = set()
        ports = CallPorts(
            mint_stream=lambda number: MediaStream(url=f"wss://gw.example.com/media/{carrier}/{number}"),
            new_id=lambda prefix: f"{prefix}_{next(self._ids)}",
            built_in=lambda name, arguments: built_in,
            tool_id=lambda name: f"tool_{name}",
            filler=lambda name: filler,
            begun_at=BEGUN,
        )
        self.call = Call(
            CallBrief(record=record, capabilities=capabilities or CAPABILITIES[carrier], **brief), ports, 0.0
        )
        self.play(self.call.begin(0.0))

    # What happens

    def play(self, effects: list[Effect]) -> list[Effect]:
        self.log += effects
        return effects

    def tell(self, happened: CallInput) -> list[Effect]:
        return self.play(self.call.handle(happened, self.now))

    def wait(self, seconds: float) -> list[Effect]:
        """Let time pass, as a loop would: to each deadline in turn."""
        until, came = self.now + seconds, list[Effect]()
        while (due := self.call.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            came += self.play(self.call.poll(self.now))
        self.now = until
        return came

    def origin(self, leg: str = "a", *, token: LegToken | None = None, **more: Any) -> Origin:
        facts: dict[str, Any] = {
            "event_id": f"evt-{next(self._ids)}",
            "occurred_at": BEGUN + timedelta(seconds=self.now),
            "carrier_call_id": f"leg-{leg}",
            "leg_id": leg,
            "token": token or LegToken("call_1"),
        }
        return Origin(carrier=self.carrier, **{**facts, **more})

    def leg_b(self, transfer_id: str = "t1", leg: str = "b", **more: Any) -> Origin:
        return self.origin(leg, token=LegToken("call_1", transfer_id), **more)

    def initiated(self) -> list[Effect]:
        record = self.call.record
        return self.tell(
            Initiated(
                origin=self.origin(),
                direction=record.direction,
                from_number=record.from_number or "",
                to_number=record.to_number or "",
            )
        )

    def answered(self) -> list[Effect]:
        return self.tell(Answered(origin=self.origin()))

    def hung_up(
        self,
        cause: HangupCause = HangupCause.NORMAL_CLEARING,
        source: HangupSource = HangupSource.UNKNOWN,
        **more: Any,
    ) -> list[Effect]:
        return self.tell(HungUp(origin=self.origin(), cause=cause, source=source, **more))

    def stream(self, generation: int = 1) -> list[Effect]:
        return self.tell(StreamUp(generation, f"stream-{generation}"))

    def media_ended(self) -> list[Effect]:
        return self.tell(MediaEnded())

    def ask(self, request: CallRequest, ticket: str | None = None) -> str:
        ticket = ticket or f"ticket-{next(self._ids)}"
        self.tell(Asked(ticket, request))
        return ticket

    def done(
        self, command: CallCommand, *, already: bool = False, call_id: str | None = None
    ) -> list[Effect]:
        performed = Performed(carrier_call_id=call_id, leg_id="a" if call_id else None, already=already)
        self._settled.add(command.command_id)
        return self.tell(CommandDone(command.command_id, performed))

    def refused(
        self,
        command: CallCommand,
        verdict: Verdict = Verdict.REJECTED,
        detail: str = "no",
        code: str | None = None,
    ) -> list[Effect]:
        self._settled.add(command.command_id)
        return self.tell(CommandRefused(command.command_id, verdict, detail, code))

    def all_done(self) -> None:
        """The carrier takes whatever it was asked."""
        while open_ := [each for each in self.commands() if each.command_id not in self._settled]:
            self.done(open_[0])

    def document(self, purpose: TwimlPurpose, *, alive: bool = True) -> Instruction | Wait:
        asked = TwimlRequested(origin=self.origin(), purpose=purpose, alive=alive)
        answer = self.call.document(asked, self.now)
        self.play(answer.effects)
        return answer.instruction if isinstance(answer, Document) else answer

    # Scenes that begin later

    def talk(self) -> "Scene":
        """To the point where caller and agent talk to each other, and forget how that came about."""
        self.initiated()
        self.tell(AgentUp(joined=False))
        if self.call.record.direction is Direction.OUTBOUND:
            self.done(self.commands()[0], call_id="leg-a")
        elif self.carrier == "twilio":
            self.document(TwimlPurpose.VOICE)
        self.all_done()
        self.answered()
        self.stream()
        self.tell(AgentUp(joined=True))
        self.log.clear()
        return self

    # What it wants

    def commands(self) -> list[CallCommand]:
        return [effect.command for effect in self.log if isinstance(effect, Perform)]

    def command(self, kind: type[Command]) -> Command:
        """The last command of its kind."""
        return [each for each in self.commands() if isinstance(each, kind)][-1]

    def orders(self) -> list[MediaOrder]:
        return [effect.order for effect in self.log if isinstance(effect, Order)]

    def order(self, kind: type[Ordered]) -> Ordered:
        return [each for each in self.orders() if isinstance(each, kind)][-1]

    def wants(self, kind: type[CallCommand] | type[MediaOrder]) -> bool:
        """Whether it has asked the carrier or the media for such a thing."""
        return any(isinstance(each, kind) for each in (*self.commands(), *self.orders()))

    def events(self) -> list[str]:
        """The names of what was published, without what only the timeline shows of carrier and commands."""
        names = [effect.name for effect in self.log if isinstance(effect, Publish)]
        return [name for name in names if not name.startswith(("carrier.", "command."))]

    def published(self, name: str) -> Publish:
        """The one event of that name."""
        (event,) = [each for each in self.log if isinstance(each, Publish) and each.name == name]
        return event

    def answer(self, ticket: str) -> Answer | None:
        answers = [each.answer for each in self.log if isinstance(each, Reply) and each.ticket == ticket]
        assert len(answers) <= 1, "answered twice"
        return answers[0] if answers else None

    def is_closed(self) -> bool:
        return any(isinstance(effect, Close) for effect in self.log)

    @property
    def outcome(self) -> tuple[str, str | None, str | None]:
        """Status, disposition and reason of the record."""
        record = self.call.record
        return record.status.value, record.disposition, record.ended_reason


def capabilities(carrier: str, **changes: Any) -> Capabilities:
    return replace(CAPABILITIES[carrier], **changes)
