"""Records the golden calls anew, when the machines are meant to differ: `python -m tests.calls.record`."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control.policy import BargeIn, CallPolicy
from gateway.agent.script import parse_script
from media.audio import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.dtmf import tone
from telephony.caller import AwaitAgent, Edge, HangUp, Press, Speak, Step, Wait
from telephony.caller import BargeIn as SpeakInto
from telephony.impairments import Drop, Impairments
from tests.virtual_time import run_virtual
from tests.whole_call import House

FOLDER = Path(__file__).parent
SPEECH = tone("5", 0.8)
AGENT = parse_script(
    "greeting: {say: Hello., audio: {tone: {frequencies: [700], ms: 700}}}\n"
    "turns:\n"
    "  - {say: A story., audio: {tone: {frequencies: [900], ms: 4000}}, pace: 10}\n"
    "  - {say: Fine., audio: {tone: {frequencies: [1100], ms: 400}}}\n"
)

GREETED = CallPolicy(greeting="Greet the caller.")
NEARBY = Impairments.symmetric(0.040)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A call worth keeping, and what it is for."""

    name: str
    steps: Sequence[Step]
    carrier: str = "twilio"
    caller: AudioFormat = PCMU_8K
    agent: AudioFormat = PCMU_8K
    policy: CallPolicy = GREETED
    impairments: Impairments = NEARBY


CALLS = (
    Golden(
        name="twilio-barge-in",
        steps=(AwaitAgent(Edge.END), Speak(SPEECH), SpeakInto(0.8, SPEECH), AwaitAgent(Edge.END), HangUp()),
    ),
    Golden(
        name="telnyx-alaw-disorder-digits",
        steps=(AwaitAgent(Edge.END), Press("12#"), Wait(2.0), HangUp()),
        carrier="telnyx",
        caller=PCMA_8K,
        impairments=Impairments(inbound_delay=0.04, outbound_delay=0.04, reorder=0.1, loss=0.02, seed=9),
    ),
    Golden(
        name="twilio-replaced-stream-transcoded",
        steps=(AwaitAgent(Edge.END), Speak(SPEECH), Wait(3.0), HangUp()),
        agent=PCM16_24K,
        policy=CallPolicy(greeting="Greet the caller.", barge_in=BargeIn(min_speech=0.3)),
        impairments=Impairments(
            inbound_delay=0.04, outbound_delay=0.04, drops=(Drop(at=3.0, reconnect_after=0.5),)
        ),
    ),
)


def record(golden: Golden, folder: Path) -> Path:
    """Place the call; return its trace."""

    async def scenario() -> str:
        house = House(folder, AGENT, policy=golden.policy, audio=golden.agent, trace=True)
        try:
            await house.call(
                golden.steps, carrier=golden.carrier, caller=golden.caller, impairments=golden.impairments
            )
        finally:
            house.close()
        return str(house.record["call_id"])

    return folder / "traces" / f"{run_virtual(scenario())}.jsonl"


def main() -> None:
    for golden in CALLS:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(record(golden, Path(folder)), FOLDER / f"{golden.name}.jsonl")


if __name__ == "__main__":
    main()
