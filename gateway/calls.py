"""The media of this process's calls: their tasks, and the sockets that name no call of ours, matched to calls.

A *bare* call begins with its socket: a carrier of which nothing is known but its media. Calls that a machine controls
begin before their sockets (`gateway.media_room`); here they are counted and seen to their end like any other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Protocol

import structlog

from control.policy import CallPolicy
from gateway.call_runner import AgentProvider, CallRunner, CallServices
from gateway.media_socket import MediaSocket
from media.audio import AudioFormat
from telephony.carrier import WIRES
from telephony.events import Started
from telephony.link import Link, LinkListener

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDefaults:
    """How a call is run that no request has configured otherwise."""

    policy: CallPolicy
    provider: AgentProvider
    fallbacks: tuple[AgentProvider, ...] = ()
    """Who is asked for an agent when that provider fails."""
    max_calls: int = 1000
    start_timeout: float | None = None
    """Seconds for the carrier's `start`; None takes the carrier's own."""
    telnyx_outbound: AudioFormat | None = None
    """What Telnyx was told to expect from us; None answers in the caller's encoding."""


class BareCallLog(Protocol):
    """Keeps the records of bare calls (`control.service.bare_calls`)."""

    def began(self, call: CallRunner, started: Started) -> None:
        """The call's socket has named it."""
        ...

    def ended(self, call: CallRunner) -> None:
        """Its files are written; told of every bare call whose beginning was told."""
        ...


class OverCapacity(Exception):
    """No room for another call."""


@dataclass(slots=True)
class CallCounts:
    """Totals since the process began."""

    accepted: int = 0
    ended: int = 0
    refused: int = 0
    abandoned: int = 0
    """Media sockets that never said `start`."""
    failed: int = 0
    """Calls whose task failed: a fault of ours, logged with its trace."""
    barge_ins: int = 0
    frames_received: int = 0
    frames_lost: int = 0
    ended_reasons: dict[str, int] = field(default_factory=dict)


class Nobody:
    """Listens to a socket that was turned away, until it is gone."""

    def message_received(self, message: bytes) -> None:
        """Nothing comes after a close."""

    def pressure(self, paused: bool) -> None:
        """Nothing is sent."""

    def link_lost(self, code: int | None, reason: str) -> None:
        """As was asked for."""


class Calls:
    """Owns the task of every live call. Driven by accepted sockets; never decides when a call ends."""

    def __init__(
        self,
        defaults: CallDefaults,
        services: CallServices,
        *,
        bare: BareCallLog | None = None,
        overloaded: Callable[[], str | None] = lambda: None,
    ) -> None:
        """
        Args:
            overloaded: says why no call should be taken although there is room.
        """
        self.counts = CallCounts()
        self.draining = False
        self._bare = bare
        self._overloaded = overloaded
        self.last_record: dict[str, object] | None = None
        self._defaults = defaults
        self._services = services
        self._live: dict[str, CallRunner] = {}
        self._by_carrier_call: dict[tuple[str, str], CallRunner] = {}
        self._claimed: dict[str, tuple[str, str]] = {}
        self._tasks: dict[asyncio.Task[None], CallRunner] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._live)

    def live(self) -> list[CallRunner]:
        return list(self._live.values())

    def accept_stream(self, carrier: str, link: Link) -> LinkListener:
        """Take in an upgraded media socket; its call begins, and its agent is connected, before it says `start`.

        Raises:
            OverCapacity: at the limit, or draining: the socket is to be closed.
        """
        if not self.unready():
            call = self._begin(carrier)
        elif self._misses_stream(carrier):
            call = None  # it may be the one that comes back
        else:
            self.counts.refused += 1
            raise OverCapacity
        timeout = self._defaults.start_timeout or WIRES[carrier].start_timeout
        return MediaSocket(
            carrier,
            link,
            claim=lambda started, link, backlog: self._claim(carrier, call, started, link, backlog),
            abandoned=lambda reason: self._abandon(carrier, call, reason),
            timeout=timeout,
        )

    def _begin(self, carrier: str) -> CallRunner:
        defaults = self._defaults
        call = CallRunner(
            f"call_{token_hex(12)}",
            carrier,
            policy=defaults.policy,
            provider=defaults.provider,
            fallbacks=defaults.fallbacks,
            services=self._services,
            outbound=defaults.telnyx_outbound if carrier == "telnyx" else None,
        )
        self.start(call)
        return call

    def start(self, call: CallRunner) -> None:
        """Run a call, and see it to its end."""
        self._live[call.call_id] = call
        self._idle.clear()
        task = asyncio.get_running_loop().create_task(call.run(), name=call.call_id)
        self._tasks[task] = call
        task.add_done_callback(self._ended)

    def find(self, call_id: str) -> CallRunner | None:
        """Return a call whose media has not ended."""
        return self._live.get(call_id)

    def free(self) -> int:
        """How many more calls there is room for."""
        return max(0, self._defaults.max_calls - len(self._live))

    def _misses_stream(self, carrier: str) -> bool:
        """Whether a live call of this carrier has lost its stream and waits for the next."""
        return any(
            call.carrier == carrier and call.generation and call.bridge.carrier.stream is None
            for call in self._live.values()
        )

    def _claim(
        self, carrier: str, call: CallRunner | None, started: Started, link: Link, backlog: list[bytes]
    ) -> LinkListener:
        """The socket named its call: the one begun for it, or a live one whose stream comes back."""
        key = (carrier, started.carrier_call_id)
        known = self._by_carrier_call.get(key)
        if known is not None and not known.finished.is_set():
            if call is not None:
                call.discard()
            return known.attach(link, backlog)
        if call is None:
            self.counts.refused += 1
            link.close(1013, "no room for another call")
            return Nobody()
        if call.finished.is_set():
            # It ended before its stream began: its agent cannot be reached, or a drain ran out of patience.
            link.close(1011, "the call has ended")
            return Nobody()
        self._by_carrier_call[key] = call
        self._claimed[call.call_id] = key
        self.counts.accepted += 1
        if self._bare is not None:
            self._bare.began(call, started)
        return call.attach(link, backlog)

    def _abandon(self, carrier: str, call: CallRunner | None, reason: str) -> None:
        self.counts.abandoned += 1
        log.info("media socket abandoned", carrier=carrier, reason=reason)
        if call is not None:
            call.discard()

    def _ended(self, task: asyncio.Task[None]) -> None:
        call = self._tasks.pop(task)
        self._live.pop(call.call_id, None)
        key = self._claimed.pop(call.call_id, None)
        # Its carrier may have come back, as another call, while the record was written.
        if key is not None and self._by_carrier_call.get(key) is call:
            del self._by_carrier_call[key]
        if call.record is not None:
            self.last_record = call.record
            self._count(call)
        if key is not None and self._bare is not None:
            self._bare.ended(call)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.counts.failed += 1
            log.error("call failed", call_id=call.call_id, exc_info=fault)
        if not self._live:
            self._idle.set()

    def _count(self, call: CallRunner) -> None:
        counts, bridge = self.counts, call.bridge
        reason = bridge.ended_reason or "error"
        counts.ended += 1
        counts.ended_reasons[reason] = counts.ended_reasons.get(reason, 0) + 1
        counts.barge_ins += bridge.turns.barge_ins
        counts.frames_received += bridge.carrier.frames.received
        counts.frames_lost += bridge.carrier.frames.lost

    def frames(self) -> tuple[int, int]:
        """Caller frames received and lost, live calls included."""
        live = [call.bridge.carrier.frames for call in self._live.values()]
        return (
            self.counts.frames_received + sum(frames.received for frames in live),
            self.counts.frames_lost + sum(frames.lost for frames in live),
        )

    def unready(self) -> list[str]:
        """Why no call can be taken now."""
        reasons = []
        if self.draining:
            reasons.append("draining")
        if not self.free():
            reasons.append(f"at capacity ({self._defaults.max_calls} calls)")
        if (overloaded := self._overloaded()) is not None:
            reasons.append(overloaded)
        return reasons

    def hurry(self) -> None:
        """End whatever bare call a drain is still waiting for, without its goodbye."""
        for call in self._bare_calls():
            call.end("error", after_playout=False)

    def _bare_calls(self) -> list[CallRunner]:
        """Those that no machine ends."""
        return [call for call in self.live() if not call.bridge.policy.controlled]

    async def drain(self, patience: float) -> None:
        """Take no more calls; let those that live end by themselves, then end what is left, and wait for that."""
        self.draining = True
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            log.warning("drain is over", calls=len(self._live))
            for call in self._bare_calls():
                call.end("error")
        await self._idle.wait()

    async def idle(self) -> None:
        """Wait until no call is live."""
        await self._idle.wait()
