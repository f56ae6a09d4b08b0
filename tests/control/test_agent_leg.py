"""The agent's leg: formats on the way, what waits for a session, what the model is told was heard."""

import json
from base64 import b64decode

import pytest

from control.agent_leg import AgentLeg
from control.outputs import Outputs
from media.audio import PCM16_24K, PCMU_8K, AudioFormat
from media.playout import PlayoutClock
from media.realtime.configuration import SessionConfig, TurnDetection
from media.realtime.session import RealtimeSession

FRAME = PCMU_8K.silence(160)


def leg_of(audio: AudioFormat, *, uplink_frames: int = 1) -> tuple[AgentLeg, Outputs]:
    config = SessionConfig(
        model="m",
        voice="v",
        instructions="",
        input_format=audio,
        output_format=audio,
        turn_detection=TurnDetection(),
    )
    outputs = Outputs()
    return AgentLeg(RealtimeSession(config), outputs, uplink_frames=uplink_frames), outputs


def appended(outputs: Outputs) -> bytes:
    return b"".join(b64decode(json.loads(message)["audio"]) for message in outputs.agent)


@pytest.mark.parametrize(("audio", "expected"), [(PCMU_8K, 1_600), (PCM16_24K, 9_600)])
def test_caller_audio_goes_up_in_the_sessions_format(audio: AudioFormat, expected: int) -> None:
    leg, outputs = leg_of(audio)
    leg.join(PCMU_8K, PCMU_8K)
    for _ in range(10):
        leg.caller_audio([FRAME])
    assert len(appended(outputs)) == expected


def test_what_waits_for_the_session_is_the_newest_half_second() -> None:
    leg, outputs = leg_of(PCMU_8K)
    for number in range(40):
        leg.caller_audio([bytes([number]) * 160])
    leg.join(PCMU_8K, PCMU_8K)
    audio = appended(outputs)
    assert (audio[0], audio[-1]) == (15, 39)
    assert leg.frames_dropped == 15


def test_the_tail_of_an_item_is_played_when_its_session_is_gone() -> None:
    leg, _ = leg_of(PCM16_24K)
    leg.join(PCMU_8K, PCMU_8K)
    playout = PlayoutClock(PCMU_8K)
    leg.agent_audio("item", bytes(4_800 + 1_234), playout)
    leg.finish(playout)
    assert playout.written % 160 == 0
    assert playout.written >= 6_034 // 6
