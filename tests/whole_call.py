"""A whole house in one process: gateway, local agent and simulated carrier, joined by links in memory.

Every part is the real one; only the sockets are lists and only the loop's clock runs. What a scenario asks of the
caller, the network and the agent is given; what it gets back is the carrier's outcome and the gateway's record.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from control.policy import CallPolicy
from gateway.agent.echo import EchoBehaviour
from gateway.agent.scripted import Script
from gateway.agent.server import AgentServer, BehaviourFactory
from gateway.call_runner import AgentProvider, CallRunner, CallServices
from gateway.calls import CallDefaults, Calls
from gateway.recording import RecordingThread
from gateway.ticker import Ticker
from media.audio import PCMU_8K, AudioFormat
from media.realtime.configuration import SessionConfig, TurnDetection
from media.realtime.dialects import DIALECTS
from telephony.caller import Caller, Step
from telephony.impairments import Impairments
from telephony.link import LinkListener
from telephony.outcome import CallOutcome
from telephony.simulation import SimulatedCall
from tests.memory_link import Dialled, MemoryLink, MemoryNetwork

MEDIA = "wss://gateway.test/media/"
AGENT = "wss://agent.test/v1/realtime"


class _Tap:
    """Listens in on a link: keeps what is not audio."""

    def __init__(self, listener: LinkListener, messages: list[bytes]) -> None:
        self._listener = listener
        self._messages = messages
        self.pressure = listener.pressure
        self.link_lost = listener.link_lost

    def message_received(self, message: bytes) -> None:
        if b"input_audio_buffer.append" not in message:
            self._messages.append(message)
        self._listener.message_received(message)


class House:
    """Built inside a running loop; `call` places one call and waits for both its ends."""

    def __init__(
        self,
        folder: Path,
        agent: Script | BehaviourFactory = EchoBehaviour,
        *,
        policy: CallPolicy | None = None,
        audio: AudioFormat = PCMU_8K,
        session: dict[str, Any] | None = None,
        dialect: str = "openai",
        trace: bool = False,
        agent_delay: float = 0.0,
        max_calls: int = 1000,
    ) -> None:
        self.folder = folder
        self.network = MemoryNetwork()
        self.agent = AgentServer(agent)
        self.agent_links: list[MemoryLink] = []
        self.agent_messages: list[bytes] = []
        self.agent_delay = agent_delay
        policy = policy or CallPolicy()
        detection = TurnDetection(
            create_response=not policy.barge_in.ours, interrupt_response=not policy.barge_in.ours
        )
        config = SessionConfig(
            **{
                "model": "gpt-realtime-2.1",
                "voice": "marin",
                "instructions": "You answer the phone.",
                "input_format": audio,
                "output_format": audio,
                "turn_detection": detection,
                "transcription_model": "gpt-transcribe",
                **(session or {}),
            }
        )
        self.recordings = RecordingThread(folder / "recordings")
        self.traces = folder / "traces" if trace else None
        self.calls = Calls(
            CallDefaults(
                max_calls=max_calls,
                policy=policy,
                provider=AgentProvider(url=AGENT, api_key="key", config=config, dialect=DIALECTS[dialect]),
            ),
            CallServices(
                ticker=Ticker(asyncio.get_running_loop()),
                connect=self.network,
                recordings=self.recordings,
                records=folder / "calls",
                traces=self.traces,
            ),
        )
        self.network.serve(MEDIA, self._accept_media)
        self.network.serve(AGENT, self._accept_agent)

    def _accept_media(self, link: MemoryLink, dialled: Dialled) -> LinkListener:
        carrier = dialled.url.removeprefix(MEDIA).split("/")[0]
        return self.calls.accept_stream(carrier, link)

    def _accept_agent(self, link: MemoryLink, dialled: Dialled) -> LinkListener:
        link.delay = self.agent_delay
        self.agent_links.append(link)
        unread = ExitStack()

        def pause_reading(paused: bool) -> None:
            if paused:
                unread.enter_context(link.not_reading())
            else:
                unread.close()

        return _Tap(self.agent.attach(link, pause_reading=pause_reading), self.agent_messages)

    def to_agent(self, kind: str) -> list[dict[str, Any]]:
        """Return every event of one type that the model was sent, as it went over the wire."""
        events = [json.loads(message) for message in self.agent_messages if kind.encode() in message]
        return [event for event in events if event["type"] == kind]

    async def call(
        self,
        steps: Sequence[Step],
        *,
        carrier: str = "twilio",
        caller: AudioFormat = PCMU_8K,
        impairments: Impairments | None = None,
        **options: Any,  # handed on to SimulatedCall
    ) -> CallOutcome:
        """Place one call, wait for the carrier's end of it and then for the gateway's."""
        simulated = SimulatedCall(
            carrier,
            self.network,
            f"{MEDIA}{carrier}/test",
            Caller(steps, caller),
            impairments=impairments or Impairments(),
            ids=Random(7),
            **options,
        )
        outcome = await simulated.run()
        await self.calls.idle()
        return outcome

    @property
    def record(self) -> dict[str, Any]:
        """The record of the call that ended last."""
        record = self.calls.last_record
        assert record is not None, "no call has left a record"
        return dict(record)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.record["timeline"] if event["event"] == name]

    def runner(self) -> CallRunner:
        (call,) = self.calls.live()
        return call

    def close(self) -> None:
        self.recordings.close()
