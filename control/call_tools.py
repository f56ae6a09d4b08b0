"""The tools the model calls: the gateway's own go the way of a user's request, the agent's are run elsewhere.

A built-in tool is answered once, when its outcome is known: refused, digits sent, digits gathered, the transfer
failed. Nothing is answered where the agent will not speak again: the call ends, or the caller is with somebody else.
While one of the agent's runs, its filler keeps the caller company: a phrase, said once nobody says anything else, or
audio in a loop; one filler at a time. Every run is written down with the event of its end; one that the call's end
overtakes, as abandoned.
"""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from control.brief import CallPorts, ToolFiller, ToolRefused
from control.call_docket import Asker, Docket
from control.call_ending import CallEnding
from control.call_requests import CallRequests
from control.deadlines import Due
from control.effects import RunTool
from control.inputs import ToolFinished, ToolStatus
from control.media_orders import DropText, PlayFiller, SpeakText, StopFiller, ToolAsked, ToolResult
from control.ownership import Ownership
from control.tool_log import ToolOutcome, ToolRun

_OUTCOMES: Mapping[ToolStatus, ToolOutcome] = {
    ToolStatus.COMPLETED: ToolOutcome.SUCCESS,
    ToolStatus.FAILED: ToolOutcome.ERROR,
    ToolStatus.TIMEOUT: ToolOutcome.TIMEOUT,
}
# What a built-in tool's own status says of it. A caller who enters nothing is an answer, not a fault of the tool.
_WENT_WRONG = frozenset({"refused", "failed", "cancelled", "hangup"})


class CallTools:
    """Driven by the media's reports of tool calls, and by what came of those that ran."""

    def __init__(self, docket: Docket, ending: CallEnding, requests: CallRequests, ports: CallPorts) -> None:
        self._docket = docket
        self._ending = ending
        self._requests = requests
        self._ports = ports
        self._running: dict[str, ToolRun] = {}
        self._fillers: dict[str, tuple[float, ToolFiller]] = {}
        """When they are due, by the run."""
        self._heard: tuple[str, DropText | StopFiller] | None = None
        """Whose filler is heard, and how it is stopped."""
        docket.tool_ended = self._built_in_ended
        ending.last.append(self._abandon)

    @property
    def running(self) -> bool:
        """Whether the model waits for a tool."""
        return bool(self._running)

    def asked(self, asked: ToolAsked, now: float) -> None:
        docket = self._docket
        if self._ending.decided or docket.ownership is Ownership.RELEASED:
            return  # nobody hears what would come of it
        run = ToolRun(
            tool_call_id=asked.tool_call_id,
            name=asked.name,
            tool_id=self._ports.tool_id(asked.name),
            began=now,
            arguments=asked.arguments,
        )
        docket.publish_begun("tool.invoked", run, tool_call_id=run.tool_call_id, name=run.name)
        self._running[run.tool_call_id] = run
        asker = Asker(tool_call_id=asked.tool_call_id)
        request = self._ports.built_in(asked.name, asked.arguments)
        match request:
            case None:
                docket.add(RunTool(asked.tool_call_id, asked.name, asked.arguments))
                self._plan_filler(asked, now)
            case ToolRefused(detail=detail):
                docket.ask(asker)
                docket.tell_tool(asker, status="refused", reason=detail)
            case _:
                self._requests.ask(request, asker, now)

    def finished(self, finished: ToolFinished) -> None:
        """One of the agent's own has run; one that has been told of already is not told of again."""
        run = self._running.pop(finished.tool_call_id, None)
        if run is None:
            return
        self._stop_filler(finished.tool_call_id)
        late = finished.status is ToolStatus.TIMEOUT
        run = replace(
            run,
            outcome=_OUTCOMES[finished.status],
            result=finished.output,
            status_code=finished.http_status,
            error=None
            if finished.status is ToolStatus.COMPLETED
            else finished.detail or finished.status.value,
            attempts=finished.attempts,
        )
        self._tell("tool.timeout" if late else "tool.completed", run, finished.status.value)
        if not self._ending.decided and self._docket.ownership is not Ownership.RELEASED:
            self._docket.order(ToolResult(finished.tool_call_id, finished.output))

    # Fillers

    def _plan_filler(self, asked: ToolAsked, now: float) -> None:
        filler = self._ports.filler(asked.name)
        if filler is not None:
            self._fillers[asked.tool_call_id] = (now + filler.after, filler)
            self._rearm()

    def fill(self, now: float) -> None:
        """A tool has run for so long that its filler is to be heard, if nothing else is."""
        due = [(name, filler) for name, (at, filler) in self._fillers.items() if at <= now]
        for tool_call_id, filler in due:
            del self._fillers[tool_call_id]
            if self._heard is None and self._may_fill:
                self._begin_filler(tool_call_id, filler)
        self._rearm()

    @property
    def _may_fill(self) -> bool:
        owned = self._docket.ownership is Ownership.OWNED
        return owned and self._ending.is_live and not self._requests.busy

    def _begin_filler(self, tool_call_id: str, filler: ToolFiller) -> None:
        docket = self._docket
        ticket = docket.new_id("fill")
        if filler.phrase is not None and docket.brief.speech:
            docket.order(SpeakText(ticket, filler.phrase, patient=True))
            self._heard = (tool_call_id, DropText(ticket))
        elif filler.audio:
            docket.order(PlayFiller(ticket, filler.audio, filler.rate))
            self._heard = (tool_call_id, StopFiller())
        told = "tool.filler" if self._heard is not None else "tool.filler_missing"
        docket.publish(told, tool_call_id=tool_call_id)

    def _stop_filler(self, tool_call_id: str) -> None:
        self._fillers.pop(tool_call_id, None)
        if self._heard is not None and self._heard[0] == tool_call_id:
            self._docket.order(self._heard[1])
            self._heard = None
        self._rearm()

    def _rearm(self) -> None:
        if self._fillers and self._ending.is_live:
            self._docket.deadlines.set(Due.FILLER, min(at for at, _ in self._fillers.values()))
        else:
            self._docket.deadlines.clear(Due.FILLER)

    # What came of them

    def _built_in_ended(self, tool_call_id: str, result: Mapping[str, object]) -> None:
        run = self._running.pop(tool_call_id, None)
        if run is None:
            return
        status = str(result.get("status", "completed"))
        wrong = status in _WENT_WRONG
        why = result.get("reason") or result.get("cause") or status
        run = replace(
            run,
            outcome=ToolOutcome.ERROR if wrong else ToolOutcome.SUCCESS,
            result=msgspec.json.encode(result).decode(),
            error=str(why) if wrong else None,
        )
        self._tell("tool.completed", run, status)

    def _abandon(self) -> None:
        """The call is over: nobody waits for what is still running."""
        for run in self._running.values():
            self._tell("tool.abandoned", run, ToolOutcome.ABANDONED.value)
        self._running.clear()

    def _tell(self, event: str, run: ToolRun, status: str) -> None:
        self._docket.publish_run(event, run, tool_call_id=run.tool_call_id, name=run.name, status=status)
