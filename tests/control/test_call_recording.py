"""Whether a call is recorded: nobody is before they were told, where their agent has something to tell."""

from typing import Any

import pytest

from control.media_orders import AgentUp, HoldAgent, PromptPlayed, Record, ReleaseAgent, SpeakText, StreamDown
from control.requests import Accepted, ControlRecording, RecordingAction, Refused
from telephony.calls import MachineDetected
from telephony.causes import AnsweredBy, Direction
from telephony.commands import MachineDetection, RejectReason
from tests.control.call_scene import Scene

START, STOP, PAUSE, RESUME = RecordingAction
PROMPT = "This call is recorded."


def asking(*, recorded: bool = True, speech: bool = True, **more: Any) -> Scene:
    """A call of an agent with a consent prompt, before anybody has answered."""
    return Scene(recorded=recorded, speech=speech, recording_consent=PROMPT, **more)


def connected(scene: Scene) -> Scene:
    """Caller and agent are there."""
    log = list(scene.log)
    scene.talk()
    scene.log[:0] = log
    return scene


def talking(**more: Any) -> Scene:
    """To the point where the caller is being asked, or is not."""
    scene = asking(**more)
    scene.initiated()
    scene.tell(AgentUp(joined=False))
    scene.all_done()
    scene.answered()
    scene.stream()
    scene.tell(AgentUp(joined=True))
    return scene


def heard(scene: Scene, *, ok: bool = True) -> None:
    scene.tell(PromptPlayed(scene.order(SpeakText).ticket, ok))


def consent(scene: Scene) -> bool | None:
    return scene.call.record.recording_consent


def recorded(scene: Scene) -> list[RecordingAction]:
    return [order.action for order in scene.orders() if isinstance(order, Record)]


def control(scene: Scene, action: RecordingAction) -> str:
    answer = scene.answer(scene.ask(ControlRecording(action=action)))
    assert isinstance(answer, Accepted)
    return str(answer.facts["recording"])


def test_the_prompt_is_said_before_the_agent_speaks_and_before_anything_is_recorded() -> None:
    scene = talking()
    assert [type(order) for order in scene.orders()] == [HoldAgent, SpeakText]
    said = scene.order(SpeakText)
    assert (said.text, said.interruptible) == (PROMPT, False)
    assert consent(scene) is False
    scene.log.clear()
    scene.tell(PromptPlayed(said.ticket, ok=True))
    assert scene.orders() == [Record(START), ReleaseAgent("consent")]
    assert consent(scene) is True
    assert scene.published("recording.consent").data == {"given": True, "detail": ""}
    assert scene.published("recording").data == {"state": "on"}


def test_nobody_is_asked_before_the_call_is_answered_and_the_stream_is_up() -> None:
    scene = asking()
    scene.initiated()
    scene.tell(AgentUp(joined=False))
    scene.all_done()
    scene.answered()
    assert not scene.wants(SpeakText)
    scene.stream()
    assert scene.wants(SpeakText)
    scene.stream(2)
    assert len([order for order in scene.orders() if isinstance(order, SpeakText)]) == 1


def test_who_did_not_hear_it_to_its_end_is_not_recorded() -> None:
    scene = talking()
    heard(scene, ok=False)
    assert recorded(scene) == []
    assert scene.order(ReleaseAgent) == ReleaseAgent("consent")
    assert scene.call.record.recording_consent is False
    assert scene.call.record.recording_enabled
    assert scene.published("recording.consent").data["given"] is False


def test_who_hangs_up_has_not_consented() -> None:
    scene = talking()
    scene.hung_up()
    heard(scene)
    assert recorded(scene) == []
    assert not scene.call.record.recording_consent


def test_without_a_voice_nobody_is_asked_and_nothing_is_recorded() -> None:
    scene = talking(speech=False)
    assert scene.orders() == []
    assert scene.published("recording.consent").data["given"] is False
    refused = scene.answer(scene.ask(ControlRecording(action=START)))
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (501, "no_verbatim_voice")
    assert recorded(scene) == []


def test_without_a_prompt_nobody_is_asked() -> None:
    scene = Scene(recorded=True, speech=True).talk()
    assert scene.call.record.recording_consent is None
    assert control(scene, PAUSE) == "paused"


def test_a_refused_call_asks_nobody() -> None:
    assert not asking(refusal=RejectReason.BUSY).wants(HoldAgent)


def test_a_recording_that_is_started_later_asks_first_and_once() -> None:
    scene = talking(recorded=False)
    assert not scene.wants(SpeakText)
    assert control(scene, START) == "asking"
    assert control(scene, START) == "asking"
    assert recorded(scene) == []
    heard(scene)
    assert control(scene, STOP) == "off"
    assert control(scene, START) == "on"
    assert recorded(scene) == [START, STOP, START]
    assert len([order for order in scene.orders() if isinstance(order, SpeakText)]) == 1


@pytest.mark.parametrize(
    ("meanwhile", "states", "orders"),
    [
        ((STOP,), ["off"], []),
        ((STOP, START), ["off", "asking"], [START]),
        ((PAUSE,), ["paused"], [START, PAUSE]),
        ((PAUSE, RESUME), ["paused", "asking"], [START]),
        ((PAUSE, STOP), ["paused", "off"], []),
        ((RESUME,), ["asking"], [START]),
    ],
)
def test_what_is_wanted_while_the_caller_is_asked_is_done_afterwards(
    meanwhile: tuple[RecordingAction, ...], states: list[str], orders: list[RecordingAction]
) -> None:
    scene = talking()
    assert [control(scene, action) for action in meanwhile] == states
    assert recorded(scene) == []
    heard(scene)
    assert recorded(scene) == orders
    assert scene.call.record.recording_consent is True


def test_a_machine_is_not_asked() -> None:
    scene = asking(direction=Direction.OUTBOUND, machine_detection=MachineDetection.SYNC)
    connected(scene)
    assert not scene.wants(SpeakText)
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.MACHINE, after=2.0))
    assert not scene.wants(SpeakText)


def test_a_person_is_asked_once_it_is_known_to_be_one() -> None:
    scene = asking(direction=Direction.OUTBOUND, machine_detection=MachineDetection.SYNC)
    connected(scene)
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.HUMAN, after=2.0))
    heard(scene)
    assert recorded(scene) == [START]


def test_nobody_is_asked_into_a_stream_that_is_away() -> None:
    scene = talking(recorded=False)
    scene.tell(StreamDown(1, stopped=False))
    control(scene, START)
    assert not scene.wants(SpeakText)
    scene.stream(2)
    assert scene.wants(SpeakText)
