"""A gather in a call: who gathers, what the agent hears of it, and how the caller comes back to it.

Theory of operation. `auto` is the carrier where it does not break the stream (Telnyx); on Twilio the caller's own
stream, where fixed text has a voice, else the carrier. The agent is held meanwhile. When the carrier breaks the
stream, the document that follows the gather opens the next one, and the agent is told of the outcome once it is up.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from control.call_docket import Asker, Docket
from control.call_ending import NOT_IN_PROGRESS, CallEnding
from control.call_streams import CallStreams
from control.deadlines import Due
from control.effects import CommandDone, CommandOutcome, CommandRefused
from control.gathering import Gathered, Gathering, GatherResult
from control.media_orders import CollectDigits, HoldAgent, ReleaseAgent, StopCollecting, Unheard
from control.refusals import carrier_refused, not_supported
from control.requests import Gather, GatherMode, Refused
from telephony.calls import GatherEnded
from telephony.capabilities import Means
from telephony.client_errors import Verdict
from telephony.commands import GatherDigits, StopGather

_HOLD = "gather"

NO_VOICE = Refused(
    status=501, code="no_verbatim_voice", detail="There is no speech port to say a fixed text with"
)
IN_PROGRESS = Refused(
    status=409,
    code="gather_in_progress",
    detail="A gather operation is already in progress for this call",
)
NONE_RUNS = Refused(status=409, code="no_gather_in_progress", detail="No gather is in progress for this call")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherView:
    """The latest gather, as the API shows it."""

    gather_id: str
    state: str
    mode: GatherMode
    started_at: datetime
    ended_at: datetime | None = None
    status: GatherResult | None = None
    input: str | None = field(default=None, repr=False)
    """None unless completed; never the digits of a sensitive gather."""
    detail: str = ""


class CallGather:
    """One call's gathers, one at a time. Driven by requests, keys, prompts, the carrier's word, and time."""

    def __init__(self, docket: Docket, ending: CallEnding, streams: CallStreams) -> None:
        self._docket = docket
        self._ending = ending
        self._streams = streams
        self._gathering: Gathering | None = None
        self._asker = Asker()
        self._commanded = False
        self.view: GatherView | None = None
        ending.before.append(self.call_ended)

    @property
    def runs(self) -> bool:
        return self._gathering is not None

    # Asked for

    def start(self, asked: Gather, asker: Asker, now: float) -> None:
        docket = self._docket
        by_carrier = self._by_carrier(asked)
        if by_carrier and docket.capabilities.carrier_gather is Means.NONE:
            docket.answer(asker, not_supported(docket.capabilities.carrier, "gather digits itself"))
        elif not by_carrier and not docket.brief.speech:
            docket.answer(asker, NO_VOICE)
        else:
            self._begin(asked, asker, by_carrier, now)

    def _by_carrier(self, asked: Gather) -> bool:
        if asked.mode is not GatherMode.AUTO:
            return asked.mode is GatherMode.CARRIER
        means = self._docket.capabilities.carrier_gather
        return means is Means.NATIVE or (means is not Means.NONE and not self._docket.brief.speech)

    def _begin(self, asked: Gather, asker: Asker, by_carrier: bool, now: float) -> None:
        docket = self._docket
        gathering = self._gathering = Gathering(asked, by_carrier=by_carrier, now=now)
        self._asker, self._commanded = asker, False
        mode = GatherMode.CARRIER if by_carrier else GatherMode.STREAM
        self.view = GatherView(
            gather_id=asked.gather_id,
            state=gathering.state.name.lower(),
            mode=mode,
            started_at=docket.wall(now),
        )
        docket.publish("gather.started", gather_id=asked.gather_id, mode=mode.value)
        docket.deadlines.set(Due.GATHER, gathering.deadline)
        if by_carrier:
            self._streams.when_touchable(lambda later: self._command(gathering, later), now)
            return
        docket.order(HoldAgent(_HOLD), CollectDigits(secret=asked.sensitive))
        docket.speak(
            asked.prompt, lambda ok, later: self._prompted(gathering, ok, later), language=asked.language
        )
        docket.accept(asker, gather_id=asked.gather_id, mode=mode.value)

    def _command(self, gathering: Gathering, now: float) -> None:
        docket, asked = self._docket, gathering.asked
        call_id = docket.record.carrier_call_id
        if gathering is not self._gathering or call_id is None:
            return
        self._commanded = True
        docket.order(HoldAgent(_HOLD))
        self._streams.expect_break(Unheard.CUT)
        docket.order(CollectDigits(secret=asked.sensitive))
        command = GatherDigits(
            command_id=docket.command_id(),
            carrier_call_id=call_id,
            token=docket.token(operation=asked.gather_id),
            prompt=asked.prompt,
            voice=asked.voice,
            language=asked.language,
            max_digits=asked.max_digits,
            terminator=asked.terminator,
            timeout=asked.timeout,
            inter_digit_timeout=asked.inter_digit_timeout,
            valid_digits=asked.valid_digits,
        )
        docket.perform(command, lambda result, later: self._told(gathering, result, later))

    def _told(self, gathering: Gathering, result: CommandOutcome, now: float) -> None:
        """The carrier gathers, or will not: then there has been no gather."""
        asker, docket = self._asker, self._docket
        match result:
            case CommandDone():
                docket.accept(asker, gather_id=gathering.asked.gather_id, mode=GatherMode.CARRIER.value)
            case CommandRefused(verdict=Verdict.ALREADY_ENDED):
                docket.answer(asker, NOT_IN_PROGRESS)
                self._ending.gone(now)
            case CommandRefused() if gathering is self._gathering:
                self._gathering, self.view = None, None
                docket.deadlines.clear(Due.GATHER)
                docket.publish("gather.refused", gather_id=gathering.asked.gather_id, detail=result.detail)
                self._streams.unbroken()
                docket.order(StopCollecting(), ReleaseAgent(_HOLD))
                docket.answer(asker, carrier_refused(result))
            case CommandRefused():
                pass

    def cancel(self, asker: Asker, now: float) -> None:
        gathering = self._gathering
        if gathering is None:
            self._docket.answer(asker, NONE_RUNS)
            return
        self._docket.accept(asker)
        gathering.cancel(now)
        if not gathering.over:
            self._stop_carrier(now)
            if self._docket.capabilities.answers_by_document or not self._commanded:
                gathering.stopped()
        self._moved(now)

    def _stop_carrier(self, now: float) -> None:
        docket = self._docket
        call_id, gathering = docket.record.carrier_call_id, self._gathering
        if call_id is None or gathering is None or not self._commanded:
            return
        by_document = docket.capabilities.answers_by_document
        command = StopGather(
            command_id=docket.command_id(),
            carrier_call_id=call_id,
            token=docket.token(operation=gathering.asked.gather_id),
            reattach=self._streams.next(now) if by_document else None,
        )
        docket.perform(command)

    # What happens to it

    def _prompted(self, gathering: Gathering, ok: bool, now: float) -> None:
        if gathering is not self._gathering:
            return
        if ok:
            gathering.prompt_heard(now)
        else:
            gathering.prompt_failed("the prompt could not be said")
        self._moved(now)

    def digit(self, digit: str, now: float) -> None:
        if self._gathering is not None:
            self._gathering.digit(digit, now)
            self._moved(now)

    def carrier_ended(self, event: GatherEnded, now: float) -> None:
        """The carrier names the gather; where it has lost the name, there is only the one."""
        gathering = self._gathering
        operation = event.origin.token.operation if event.origin.token else None
        if gathering is None or operation not in (None, gathering.asked.gather_id):
            return
        gathering.carrier_ended(event.status, event.digits)
        self._moved(now)

    def overdue(self, now: float) -> None:
        gathering = self._gathering
        if gathering is None:
            return
        gathering.poll(now)
        if gathering.over and gathering.by_carrier:
            self._stop_carrier(now)
        self._moved(now)

    def call_ended(self, now: float) -> None:
        if self._gathering is not None:
            self._gathering.call_ended()
            self._moved(now)

    def _moved(self, now: float) -> None:
        gathering = self._gathering
        if gathering is None:
            return
        if gathering.result is None:
            self._docket.deadlines.set(Due.GATHER, gathering.deadline)
            self._look(gathering)
        else:
            self._finish(gathering, gathering.result, now)

    # What comes of it

    def _finish(self, gathering: Gathering, result: Gathered, now: float) -> None:
        docket, asked = self._docket, gathering.asked
        self._gathering = None
        docket.deadlines.clear(Due.GATHER)
        self._look(gathering, ended_at=docket.wall(now))
        docket.accept(self._asker, gather_id=asked.gather_id)  # its request may be open still
        data: dict[str, object] = {
            "gather_id": asked.gather_id,
            "status": result.status.value,
            "input": result.digits,
        }
        docket.publish_secret("call.gather.completed", data, *(("input",) if asked.sensitive else ()))
        if not self._ending.is_live:
            return
        docket.order(StopCollecting())
        if self._commanded:
            means = docket.capabilities.carrier_gather
            self._streams.resume(means, lambda later: self._release(asked, result), now)
        else:
            self._release(asked, result)

    def _release(self, asked: Gather, result: Gathered) -> None:
        """The agent has the caller back and goes on."""
        told = None if self._asker.tool_call_id else _told_agent(asked, result)
        self._docket.order(ReleaseAgent(_HOLD, tell=told, respond=told is not None))
        shown = {} if asked.sensitive else {"digits": result.digits}
        self._docket.tell_tool(self._asker, status=result.status.value, **shown)

    def _look(self, gathering: Gathering, ended_at: datetime | None = None) -> None:
        view, result = self.view, gathering.result
        if view is None:
            return
        self.view = replace(
            view,
            state=gathering.state.name.lower(),
            ended_at=ended_at,
            status=result.status if result else None,
            input=None if result is None or gathering.asked.sensitive else result.digits,
            detail=result.detail if result else "",
        )


def _told_agent(asked: Gather, result: Gathered) -> str:
    match result.status:
        case GatherResult.COMPLETED if asked.sensitive:
            return "The caller has entered the digits that were asked for. They are confidential and not shown to you."
        case GatherResult.COMPLETED:
            return f"The caller was asked: {asked.prompt!r} and entered the digits {result.digits}."
        case GatherResult.TIMEOUT:
            return f"The caller was asked: {asked.prompt!r} and entered nothing."
        case GatherResult.CANCELLED | GatherResult.HANGUP:
            return f"The caller was being asked: {asked.prompt!r}; that was called off, no digits were taken."
