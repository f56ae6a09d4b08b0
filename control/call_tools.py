"""The tools the model calls: the gateway's own go the way of a user's request, the agent's are run elsewhere.

A built-in tool is answered once, when its outcome is known: refused, digits sent, digits gathered, the transfer
failed. Nothing is answered where the agent will not speak again: the call ends, or the caller is with somebody else.
"""

from control.brief import CallPorts, ToolRefused
from control.call_docket import Asker, Docket
from control.call_ending import CallEnding
from control.call_requests import CallRequests
from control.effects import RunTool
from control.inputs import ToolFinished, ToolStatus
from control.media_orders import ToolAsked, ToolResult
from control.ownership import Ownership


class CallTools:
    """Driven by the media's reports of tool calls, and by what came of those that ran."""

    def __init__(self, docket: Docket, ending: CallEnding, requests: CallRequests, ports: CallPorts) -> None:
        self._docket = docket
        self._ending = ending
        self._requests = requests
        self._ports = ports

    def asked(self, asked: ToolAsked, now: float) -> None:
        docket = self._docket
        if self._ending.decided or docket.ownership is Ownership.RELEASED:
            return  # nobody hears what would come of it
        docket.publish("tool.invoked", tool_call_id=asked.tool_call_id, name=asked.name)
        asker = Asker(tool_call_id=asked.tool_call_id)
        request = self._ports.built_in(asked.name, asked.arguments)
        match request:
            case None:
                docket.add(RunTool(asked.tool_call_id, asked.name, asked.arguments))
            case ToolRefused(detail=detail):
                docket.ask(asker)
                docket.tell_tool(asker, status="refused", reason=detail)
            case _:
                self._requests.ask(request, asker, now)

    def finished(self, finished: ToolFinished) -> None:
        if self._ending.closed:
            return
        late = finished.status is ToolStatus.TIMEOUT
        self._docket.publish(
            "tool.timeout" if late else "tool.completed",
            tool_call_id=finished.tool_call_id,
            status=finished.status.value,
        )
        if not self._ending.decided and self._docket.ownership is not Ownership.RELEASED:
            self._docket.order(ToolResult(finished.tool_call_id, finished.output))
