"""The carrier's leg: what was heard lies in the recording beside what the caller said then."""

import numpy as np

from control.carrier_leg import CarrierLeg
from control.outputs import Outputs, Unrecorded
from media import g711
from media.audio import PCMU_8K, Encoding
from media.dtmf import tone
from telephony.carrier import WIRES
from telephony.stream import CarrierStream

START = b'{"event":"start","streamSid":"MZ1","start":{"streamSid":"MZ1","callSid":"CA1"}}'
SPEECH = g711.encode(tone("5", 1.0), Encoding.PCMU)


def started() -> tuple[CarrierLeg, Outputs]:
    outputs = Outputs()
    leg = CarrierLeg(outputs, lead=0.2, heard_offset=0.0, record=True)
    stream = CarrierStream(WIRES["twilio"])
    leg.attach(stream)
    stream.receive(START, 0.0)
    leg.start(0.0)
    return leg, outputs


def play(leg: CarrierLeg, seconds: float, *, speak_at: float) -> None:
    """Frames come and go every 20 ms; marks come back as soon as they are due."""
    spoken = False
    for number in range(round(seconds * 50)):
        now = number * 0.02
        leg.take((PCMU_8K.silence(160),), now)
        if not spoken and now >= speak_at:
            spoken = True
            leg.playout.write("item", SPEECH)
            leg.playout.end_item("item")
        leg.send_due(now)


def recorded(outputs: Outputs) -> bytes:
    """The file's audio, what was left out of it being silence."""
    return b"".join(
        bytes(4 * each.samples) if isinstance(each, Unrecorded) else each for each in outputs.recording
    )


def agent_track(outputs: Outputs) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.frombuffer(recorded(outputs), "<i2")[1::2]


def test_what_the_caller_heard_is_recorded_where_it_was_heard() -> None:
    leg, outputs = started()
    play(leg, 3.0, speak_at=1.0)
    leg.finish(3.0)
    loud = np.flatnonzero(np.abs(agent_track(outputs)) > 500)
    assert abs(int(loud[0]) - 8_000) <= 320
    assert abs(int(loud[-1]) - 16_000) <= 320


def test_marks_that_never_come_back_move_nothing_in_the_recording() -> None:
    leg, outputs = started()
    play(leg, 20.0, speak_at=1.0)
    leg.finish(20.0)
    loud = np.flatnonzero(np.abs(agent_track(outputs)) > 500)
    assert abs(int(loud[0]) - 8_000) <= 320
    assert abs(int(loud[-1]) - 16_000) <= 320
    assert abs(agent_track(outputs).size - 160_000) <= 160


def test_what_was_cut_is_not_in_the_recording_and_is_told() -> None:
    leg, outputs = started()
    play(leg, 1.4, speak_at=1.0)
    cut = leg.cut(1.4)
    leg.finish(1.5)
    assert abs(cut.items[0].heard - 3_200) <= 160
    loud = np.flatnonzero(np.abs(agent_track(outputs)) > 500)
    assert abs(int(loud[-1]) - int(loud[0]) - 3_200) <= 160


def test_both_tracks_are_equally_long() -> None:
    leg, outputs = started()
    play(leg, 1.1, speak_at=1.0)
    leg.finish(1.1)
    assert len(recorded(outputs)) % 4 == 0
    assert abs(agent_track(outputs).size - 8_800) <= 1_600
