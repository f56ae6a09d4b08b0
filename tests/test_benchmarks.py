"""The rig against the raw relay: nothing is lost, nothing is invented, and every fault has a counter."""

import shutil

import pytest

from benchmarks import trial
from benchmarks.server import RELAY
from benchmarks.trial import Load, Profile, Trial

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))),
        reason="the rig is a C program and there is no compiler",
    ),
]

CALLS = 3


def measured(profile: Profile, seconds: float) -> Trial:
    load = Load(
        profile=profile,
        format="pcmu",
        calls=CALLS,
        seconds=seconds,
        warmup=0.5,
        ramp=50,
        barge=1,
        seed=1,
        path="/media/twilio/bench",
    )
    return trial.run(RELAY, load, trial.choose_cores(), patience=0, quiet=True)


def test_every_frame_of_the_echo_profile_comes_back_once_and_to_its_own_call() -> None:
    figures = measured("echo", 2)

    assert figures.faults() == {}
    assert figures.report["connected"] == figures.report["configured"] == CALLS
    # 50 frames a second from an absolute origin: at most one frame more or less at the edges of the window.
    assert figures.report["sent"] == pytest.approx(CALLS * 50 * figures.report["seconds"], abs=CALLS)
    assert figures.report["latency_ms"]["count"] == figures.report["returned"] == figures.report["sent"]
    assert figures.cpu_ms_per_call_second > 0
    assert 0 < figures.rig_load < 1


def test_a_conversation_is_heard_answered_barged_in_and_cleared() -> None:
    figures = measured("conversation", 6)

    assert figures.faults() == {}
    assert figures.report["identified"] == CALLS
    assert figures.report["barges"] > 0
    assert figures.report["barge_in_silence_ms"]["count"] > 0
    # The relay marks the end of each answer: every mark is played or comes back with a clear.
    returned = figures.report["marks_echoed"] + figures.report["marks_cleared"]
    assert 0 <= figures.report["marks"] - returned <= CALLS
