"""What one call and its agent's own server have to say to each other: the beginning, what was said, and commands.

Theory of operation. Nobody who speaks on the call waits for the server. It is asked once when the call begins, and
what it answers is applied whenever that comes, within its time. What was said is told in order, one message at a time;
a server that is slower than people talk misses the oldest. Commands are asked of the call as a user would ask them,
one after the other; those that came while it rang wait for somebody to talk to. What fails is in the timeline.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control.agent_run import EffectiveAgent
from control.call_record import CallRecord
from control.requests import Answer, CallRequest, EndCall, Gather, Refused, Say, TransferCall
from control.server_answer import CallChanges, ServerAnswer, ServerFault
from control.service.ports import AgentServers, World

# Utterances that wait for a server that is slow: minutes of talk.
_WAITING = 100

_TYPES: Mapping[type, str] = {EndCall: "end", TransferCall: "transfer", Gather: "gather", Say: "say"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSide:
    """What the server's words come to, at the call."""

    ask: Callable[[CallRequest], Awaitable[Answer]]
    change: Callable[[CallChanges], None]
    """
    Raises:
        ValueError: the changes do not fit the agent.
    """
    heard: Callable[[], None]
    """Nobody need wait for the server any more."""
    note: Callable[[str, Mapping[str, object]], None]
    """For the timeline."""
    agent: Callable[[], EffectiveAgent]
    record: Callable[[], CallRecord]


class ServerTalk:
    """Driven by its call. Its tasks end with `stop`, or by themselves when everything was told."""

    def __init__(self, servers: AgentServers, call: CallSide, world: World, *, name: str) -> None:
        self._servers = servers
        self._call = call
        self._world = world
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._talking = asyncio.Event()
        self._said: deque[tuple[int, str, str]] = deque(maxlen=_WAITING)
        self._number = 0
        self._teller: asyncio.Task[None] | None = None
        self._failing = False
        self._over = False

    def begin(self) -> None:
        """The call begins: ask what it is to be."""
        self._spawn(self._begin())

    def talking(self) -> None:
        """Caller and agent are joined: there is somebody to command."""
        self._talking.set()

    def said(self, role: str, text: str) -> None:
        """Something was said."""
        self._number += 1
        self._said.append((self._number, role, text))
        if self._teller is None:
            self._teller = self._spawn(self._tell())

    def command(self, event: str, actions: Sequence[CallRequest]) -> None:
        """Have the call do what the answer to `event` wants done."""
        if actions:
            self._spawn(self._command(event, actions))

    def failed(self, event: str, detail: str) -> None:
        """An answer was none."""
        self._call.note("server.failed", {"about": event, "detail": detail})

    def end(self) -> None:
        """The call is over: it is told what was said last, and commands nothing any more."""
        self._over = True
        for task in self._tasks - {self._teller}:
            task.cancel()

    def stop(self) -> None:
        """Nobody is told anything any more."""
        for task in self._tasks:
            task.cancel()

    async def _begin(self) -> None:
        call = self._call
        answer = await self._servers.call_started(call.agent(), call.record())
        if isinstance(answer, ServerFault):
            self.failed("call.started", answer.detail)
        else:
            self._apply(answer)
        call.heard()

    def _apply(self, answer: ServerAnswer) -> None:
        try:
            if changed := answer.changes.named():
                self._call.change(answer.changes)
                self._call.note("server.answered", {"about": "call.started", "changed": changed})
        except ValueError as error:
            self.failed("call.started", str(error))
            return
        self.command("call.started", answer.actions)

    async def _tell(self) -> None:
        try:
            await self._tell_all()
        finally:
            self._teller = None  # at once: what is said from now on has nobody who would see it

    async def _tell_all(self) -> None:
        while self._said:
            number, role, text = self._said.popleft()
            answer = await self._servers.transcript_updated(
                self._call.agent(), self._call.record(), number, role, text
            )
            if self._over and isinstance(answer, ServerFault):
                return  # nobody waits for a server that is down after the end
            if not self._over:
                self._told(answer)

    def _told(self, answer: ServerAnswer | ServerFault) -> None:
        """The first of several failures is enough to know."""
        if isinstance(answer, ServerFault):
            if not self._failing:
                self.failed("transcript.updated", answer.detail)
            self._failing = True
            return
        self._failing = False
        self.command("transcript.updated", answer.actions)

    async def _command(self, event: str, actions: Sequence[CallRequest]) -> None:
        for action in actions:
            if not isinstance(action, EndCall):
                await self._talking.wait()
            facts: dict[str, object] = {"about": event, "type": _TYPES[type(action)]}
            answer = await self._call.ask(action)
            if isinstance(answer, Refused):
                self._call.note(
                    "server.action_refused", {**facts, "code": answer.code, "detail": answer.detail}
                )
            else:
                self._call.note("server.action", facts)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._world.spawn(work, f"{self._name} server")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
