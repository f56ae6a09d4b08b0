"""A whole controlled call in one process: simulated carrier, gateway and agent, and the test as the call's machine.

The machine is a coroutine: it gives orders to the runner and awaits what the media reports. Everything else is real.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from control.media_orders import EndMedia, MediaOrder, Report
from control.policy import CallPolicy
from control.timeline import TimelineEvent
from gateway.call_runner import CallRunner, CallServices
from gateway.media_socket import MediaSocket
from gateway.replay import Replayed, replay
from gateway.speech import Speech, SpeechFailed, SpeechPort
from media.audio import PCMU_8K, AudioFormat
from telephony.caller import Caller, Step
from telephony.causes import EndedReason
from telephony.impairments import Impairments
from telephony.link import LinkListener
from telephony.outcome import CallOutcome, StreamRecord
from telephony.simulation import SimulatedCall
from tests.memory_link import Dialled, MemoryLink
from tests.tones import Samples, samples, stretches
from tests.whole_call import House

STREAM = "wss://control.test/media"
PROMPT_HZ = 1_300
"""What every fixed text sounds like."""

# Seconds a machine may take.
_PATIENCE = 120.0

Machine = Callable[["ControlledCall"], Awaitable[None]]


class ToneVoice:
    """A voice with one note: a second of it for every ten characters."""

    available = True

    async def say(self, text: str, voice: str | None, language: str | None) -> Speech:
        if text == "unspeakable":
            raise SpeechFailed("it is unspeakable")
        await asyncio.sleep(0.3)
        time = np.arange(round(24_000 * len(text) / 10)) / 24_000
        return Speech((8_000 * np.sin(2 * np.pi * PROMPT_HZ * time)).astype("<i2").tobytes(), 24_000)

    async def close(self) -> None:
        """Nothing is open."""


class ControlledCall:
    """One call. `run` places it and returns what the carrier has to tell; what else is known is in the attributes."""

    def __init__(self, folder: Path, agent: Any, *, carrier: str = "twilio", **options: Any) -> None:
        policy = CallPolicy(**{"greeting": "Greet the caller.", "controlled": True, **options})
        self.house = House(folder, agent, policy=policy, trace=True)
        self.carrier = carrier
        self.reports: list[Report] = []
        self.followed: list[TimelineEvent] = []
        self.answers: Callable[[Report], Sequence[MediaOrder]] = lambda report: ()
        """What is ordered at once, from within a report."""
        self._told = asyncio.Event()
        self._read = 0
        self._streams = 0
        services = self.house.calls._services
        self.runner = CallRunner(
            "call_1",
            carrier,
            policy=policy,
            provider=self.house.calls._defaults.provider,
            services=CallServices(
                ticker=services.ticker,
                connect=services.connect,
                recordings=services.recordings,
                records=services.records,
                traces=services.traces,
                speech=SpeechPort([ToneVoice()]),
            ),
            report=self._report,
            follow=self.followed.append,
        )
        self.house.network.serve(STREAM, self._accept)
        self.call: SimulatedCall | None = None

    # --- what the machine does

    def order(self, *orders: MediaOrder) -> None:
        for order in orders:
            self.runner.order(order)

    async def until(self, *kinds: type[Report]) -> Report:
        """Return the next report of these kinds that no `until` has returned or passed by."""
        while True:
            while self._read < len(self.reports):
                self._read += 1
                if isinstance(report := self.reports[self._read - 1], kinds):
                    return report
            self._told.clear()
            await self._told.wait()

    def told(self, *kinds: type[Report]) -> list[Report]:
        return [report for report in self.reports if isinstance(report, kinds)]

    def break_stream(self) -> None:
        """The carrier ends the stream, as it does for a verb of its own."""
        assert self.call is not None
        self.call.detach()

    def new_stream(self) -> None:
        assert self.call is not None
        self.call.attach(STREAM)

    def _report(self, report: Report) -> None:
        self.reports.append(report)
        self._told.set()
        self.order(*self.answers(report))

    # --- what the carrier does

    def _accept(self, link: MemoryLink, dialled: Dialled) -> LinkListener:
        return MediaSocket(
            self.carrier,
            link,
            claim=lambda started, link, backlog: self.runner.attach(link, backlog),
            abandoned=lambda reason: None,
            timeout=10.0,
        )

    def key_pressed(self, digit: str) -> None:
        """The carrier tells it on the stream; its webhooks are not here."""

    def stream_started(self, stream: StreamRecord) -> None:
        self._streams += 1

    def stream_ended(self, stream: StreamRecord) -> None:
        """The machine learns it from the media."""

    def stream_refused(self, url: str, reason: str) -> None:
        raise AssertionError(reason)

    # --- the whole

    async def run(
        self,
        steps: Sequence[Step],
        machine: Machine,
        *,
        caller: AudioFormat = PCMU_8K,
        delay: float = 0.040,
        prewarm: float = 0.0,
    ) -> CallOutcome:
        """Place the call; the agent is connected `prewarm` seconds before the stream is."""
        running = asyncio.create_task(self.runner.run())
        await asyncio.sleep(prewarm)
        self.call = SimulatedCall(
            self.carrier,
            self.house.network,
            STREAM,
            Caller(steps, caller),
            impairments=Impairments(inbound_delay=delay, outbound_delay=delay),
            ids=Random(7),
            exchange=self,
        )
        placed = asyncio.create_task(self.call.run())
        async with asyncio.timeout(_PATIENCE):  # a report that never comes must not become a test without end
            await machine(self)
        outcome = await placed
        await asyncio.sleep(1.0)
        if not self.runner.finished.is_set():
            self.order(EndMedia(EndedReason.CALLER_HANGUP))
        await running
        self.house.close()
        return outcome

    # --- what is left

    def replayed(self) -> Replayed:
        return replay(self.trace)

    @property
    def trace(self) -> Path:
        assert self.house.traces is not None
        return self.house.traces / "call_1.jsonl"

    def tracks(self) -> tuple[Samples, Samples]:
        """The recording: caller, agent."""
        assert self.runner.summary is not None
        assert self.runner.summary.recording is not None
        stereo = samples(Path(self.runner.summary.recording).read_bytes()[44:])
        return stereo[0::2], stereo[1::2]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event.as_dict() for event in self.followed if event.name == name]


def heard(outcome: CallOutcome, frequency: float) -> list[tuple[float, float]]:
    """When the caller heard a tone, in seconds of the call."""
    return stretches(samples(outcome.heard), frequency)
