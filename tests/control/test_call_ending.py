"""Every row of the carriers' status mapping (sheet E), from the webhook's own words to the call's record."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from control.media_orders import AgentUp, MediaEnded
from telephony.calls import CallEvent, LegToken, TwimlPurpose
from telephony.causes import Direction
from telephony.commands import Answer, Dial, MachineDetection, RejectReason
from telephony.events import Unrecognised
from telephony.telnyx import webhooks as telnyx
from telephony.twilio import webhooks as twilio
from tests.control.call_scene import CALLER, US, Scene

IN, OUT = Direction.INBOUND, Direction.OUTBOUND
Row = tuple[str, str | None, str | None]


def events_of(said: Sequence[CallEvent | Unrecognised]) -> list[CallEvent]:
    return [event for event in said if not isinstance(event, Unrecognised)]


class Telnyx:
    """Says what Telnyx says, in its own webhooks."""

    def __init__(self, direction: Direction, **brief: Any) -> None:
        self.scene = Scene("telnyx", direction, **brief)
        self._said = 0
        if direction is OUT:
            self.scene.done(self.scene.command(Dial), call_id="leg-a")

    def say(self, name: str, **payload: object) -> None:
        self._said += 1
        envelope = {
            "data": {
                "event_type": name,
                "id": f"evt-{self._said}",
                "payload": {
                    "call_control_id": "leg-a",
                    "call_leg_id": "a",
                    "call_session_id": "s",
                    "client_state": telnyx.client_state(LegToken("call_1")),
                    **payload,
                },
            }
        }
        for event in events_of(telnyx.parse(json.dumps(envelope).encode())):
            self.scene.tell(event)

    def answer(self) -> None:
        if self.scene.call.record.direction is IN:
            self.scene.tell(AgentUp(joined=False))
            self.scene.done(self.scene.command(Answer))
        self.say("call.answered")

    def hang_up(self, cause: str, sip_code: str = "unspecified", source: str = "unknown") -> Row:
        self.say("call.hangup", hangup_cause=cause, sip_hangup_cause=sip_code, hangup_source=source)
        self.scene.tell(MediaEnded())
        return self.scene.outcome


class Twilio:
    """Says what Twilio says, in its own forms."""

    def __init__(self, direction: Direction, **brief: Any) -> None:
        self.scene = Scene("twilio", direction, **brief)
        self._sequence = 0
        if direction is OUT:
            self.scene.done(self.scene.command(Dial), call_id="leg-a")

    def say(self, endpoint: twilio.Endpoint, **fields: object) -> None:
        direction = "inbound" if self.scene.call.record.direction is IN else "outbound-api"
        form = {
            "CallSid": "a",
            "AccountSid": "AC1",
            "From": CALLER,
            "To": US,
            "Direction": direction,
            "SequenceNumber": str(self._sequence),
            **fields,
        }
        self._sequence += 1
        body = urlencode(form).encode()
        for event in events_of(twilio.parse(endpoint, body, token=LegToken("call_1"))):
            self.scene.tell(event)

    def answer(self) -> None:
        if self.scene.call.record.direction is IN:
            self.scene.tell(AgentUp(joined=False))
            self.scene.document(TwimlPurpose.VOICE)
        self.say(twilio.Endpoint.STATUS, CallStatus="in-progress")

    def end(self, status: str, **fields: object) -> Row:
        self.say(twilio.Endpoint.STATUS, CallStatus=status, **fields)
        self.scene.tell(MediaEnded())
        return self.scene.outcome


# E1


@pytest.mark.parametrize(
    ("direction", "source", "reason"),
    [
        (IN, "caller", "caller-hangup"),
        (IN, "callee", "api"),
        (OUT, "callee", "caller-hangup"),
        (OUT, "caller", "api"),
        (IN, "unknown", "caller-hangup"),
    ],
)
def test_telnyx_answered_and_cleared(direction: Direction, source: str, reason: str) -> None:
    carrier = Telnyx(direction)
    carrier.answer()
    assert carrier.hang_up("normal_clearing", "200", source) == ("completed", "answered", reason)


@pytest.mark.parametrize(
    ("direction", "cause", "sip_code", "row"),
    [
        (OUT, "normal_clearing", "200", ("no-answer", "no-answer", "timeout")),
        (IN, "normal_clearing", "200", ("canceled", "no-answer", "caller-hangup")),
        (IN, "originator_cancel", "487", ("canceled", "no-answer", "caller-hangup")),
        (OUT, "originator_cancel", "487", ("canceled", "no-answer", "api")),
        (OUT, "timeout", "480", ("no-answer", "no-answer", "timeout")),
        (OUT, "no_answer", "487", ("no-answer", "no-answer", "timeout")),
        (OUT, "user_busy", "486", ("busy", "busy", None)),
        (OUT, "user_busy", "600", ("busy", "busy", None)),
        (OUT, "call_rejected", "603", ("rejected", "rejected", None)),
        (OUT, "call_rejected", "403", ("rejected", "rejected", None)),
        (OUT, "not_found", "404", ("failed", "failed", "error")),
        (OUT, "unspecified", "486", ("busy", "busy", "error")),
        (OUT, "unspecified", "603", ("rejected", "rejected", "error")),
        (OUT, "unspecified", "607", ("rejected", "rejected", "error")),
        (OUT, "unspecified", "408", ("no-answer", "no-answer", "error")),
        (OUT, "something_new", "503", ("failed", "failed", "error")),
        (OUT, "unspecified", "unspecified", ("failed", "failed", "error")),
    ],
)
def test_telnyx_never_answered(direction: Direction, cause: str, sip_code: str, row: Row) -> None:
    assert Telnyx(direction).hang_up(cause, sip_code) == row


@pytest.mark.parametrize(
    ("cause", "reason"),
    [("time_limit", "max-duration"), ("unspecified", "error"), ("something_new", "error")],
)
def test_telnyx_answered_and_ended_otherwise(cause: str, reason: str) -> None:
    carrier = Telnyx(OUT)
    carrier.answer()
    assert carrier.hang_up(cause) == ("completed", "answered", reason)


def test_telnyx_time_limit_tells_of_an_answer_of_which_the_news_was_lost() -> None:
    assert Telnyx(OUT).hang_up("time_limit") == ("completed", "answered", "max-duration")


@pytest.mark.parametrize("reason", RejectReason, ids=str)
def test_telnyx_own_reject(reason: RejectReason) -> None:
    carrier = Telnyx(IN, refusal=reason)
    assert carrier.hang_up("user_busy", "486") == ("rejected", "rejected", "api")


@pytest.mark.parametrize(
    ("name", "result", "disposition"),
    [
        ("call.machine.detection.ended", "machine", "voicemail"),
        ("call.machine.premium.detection.ended", "machine", "voicemail"),
        ("call.machine.premium.detection.ended", "human_residence", "answered"),
        ("call.machine.premium.detection.ended", "not_sure", "answered"),
        ("call.machine.premium.detection.ended", "silence", "answered"),
        ("call.machine.premium.detection.ended", "fax_detected", "failed"),
    ],
)
def test_telnyx_machine_detection(name: str, result: str, disposition: str) -> None:
    carrier = Telnyx(OUT, machine_detection=MachineDetection.ASYNC)
    carrier.answer()
    carrier.say(name, result=result)
    assert carrier.hang_up("normal_clearing")[:2] == ("completed", disposition)


# E2


@pytest.mark.parametrize(
    ("direction", "status", "sip_code", "row"),
    [
        (OUT, "busy", "486", ("busy", "busy", None)),
        (OUT, "busy", "603", ("rejected", "rejected", None)),
        (OUT, "no-answer", "487", ("no-answer", "no-answer", "timeout")),
        (OUT, "canceled", "487", ("canceled", "no-answer", "api")),
        (IN, "canceled", "487", ("canceled", "no-answer", "caller-hangup")),
        (OUT, "failed", "403", ("rejected", "rejected", "error")),
        (OUT, "failed", "607", ("rejected", "rejected", "error")),
        (OUT, "failed", "404", ("failed", "failed", "error")),
        (OUT, "failed", "484", ("failed", "failed", "error")),
        (OUT, "failed", "503", ("failed", "failed", "error")),
    ],
)
def test_twilio_never_answered(direction: Direction, status: str, sip_code: str, row: Row) -> None:
    assert Twilio(direction).end(status, SipResponseCode=sip_code) == row


@pytest.mark.parametrize("direction", [IN, OUT], ids=str)
def test_twilio_answered_and_completed(direction: Direction) -> None:
    carrier = Twilio(direction)
    carrier.answer()
    assert carrier.end("completed", CallDuration=30) == ("completed", "answered", "caller-hangup")


@pytest.mark.parametrize("direction", [IN, OUT], ids=str)
def test_twilio_completed_tells_of_an_answer_of_which_the_news_was_lost(direction: Direction) -> None:
    carrier = Twilio(direction)
    assert carrier.end("completed", CallDuration=30) == ("completed", "answered", "caller-hangup")
    assert "call.answered" in carrier.scene.events()


def test_twilio_ended_by_its_own_limit() -> None:
    carrier = Twilio(OUT, max_duration=60, transfer_time_limit=60)
    carrier.answer()
    limit = carrier.scene.command(Dial).max_duration
    carrier.scene.tell(AgentUp(joined=True))
    assert carrier.end("completed", CallDuration=limit) == ("completed", "answered", "max-duration")


def test_twilio_ended_just_after_its_stream_broke() -> None:
    carrier = Twilio(OUT)
    carrier.answer()
    carrier.say(twilio.Endpoint.STREAM, StreamEvent="stream-error", StreamSid="MZ1", StreamError="31903")
    assert carrier.end("completed", CallDuration=3) == ("completed", "answered", "error")


@pytest.mark.parametrize(
    ("word", "disposition"),
    [
        ("machine_start", "voicemail"),
        ("machine_end_beep", "voicemail"),
        ("machine_end_silence", "voicemail"),
        ("machine_end_other", "voicemail"),
        ("fax", "failed"),
        ("human", "answered"),
        ("unknown", "answered"),
    ],
)
def test_twilio_machine_detection(word: str, disposition: str) -> None:
    carrier = Twilio(OUT, machine_detection=MachineDetection.ASYNC)
    carrier.answer()
    carrier.say(twilio.Endpoint.AMD, AnsweredBy=word)
    assert carrier.end("completed")[:2] == ("completed", disposition)


def test_twilio_own_reject() -> None:
    carrier = Twilio(IN, refusal=RejectReason.REJECTED)
    assert carrier.end("busy") == ("rejected", "rejected", "api")
