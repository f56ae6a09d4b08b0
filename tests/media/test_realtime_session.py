"""The client side of a realtime session, move by move; traps seen in public are named after what they did."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.realtime.dialects import BETA_NAMES, DIALECTS
from media.realtime.events import (
    AgentFault,
    AudioEnded,
    AudioReceived,
    ExpiringSoon,
    ItemAdded,
    Ready,
    ResponseDone,
    ResponseStarted,
    Role,
    Severity,
    SpeechStarted,
    ToolCall,
    Transcript,
    TranscriptFailed,
    TranscriptionUsage,
    Truncated,
    Unrecognised,
    Usage,
)
from media.realtime.items import ITEMS, ItemLedger
from media.realtime.session import (
    HistoryItem,
    ItemCut,
    RealtimeSession,
    SessionState,
    TurnDetection,
)
from tests.media.realtime_peer import (
    SERVER_EVENTS,
    begin,
    call,
    config,
    delta,
    finish,
    hear,
    kinds,
    ready,
    refuse,
    sent,
    speak,
    tell,
)

MANUAL = TurnDetection(create_response=False, interrupt_response=False)


def formats(heard: object, said: object) -> dict[str, object]:
    return {"id": "sess_1", "audio": {"input": {"format": heard}, "output": {"format": said}}}


# -- configuration and formats


def test_a_session_is_ready_in_the_format_the_server_confirmed() -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    (update,) = sent(session)
    assert update["type"] == "session.update"
    tell(session, "session.created", session={"id": "sess_1", "expires_at": 3600})
    pcmu = {"type": "audio/pcmu"}
    assert tell(session, "session.updated", session=formats(pcmu, pcmu)) == [
        Ready("sess_1", PCMU_8K, PCMU_8K, 3600.0)
    ]


def test_pcmu_carries_no_rate() -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    assert b'"format":{"type":"audio/pcmu"}' in session.outgoing()[0]


def test_wrong_format_silently_accepted_is_not_taken_for_mu_law() -> None:
    """Trap 16: the server keeps PCM16 although mu-law was asked for."""
    session = RealtimeSession(config())
    session.opened(0.0)
    pcm = {"type": "audio/pcm", "rate": 24000}
    (ready_event,) = tell(session, "session.updated", session=formats(pcm, pcm))
    assert isinstance(ready_event, Ready)
    assert session.input_format == session.output_format == PCM16_24K


def test_each_direction_has_the_format_confirmed_for_it() -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    tell(
        session,
        "session.updated",
        session=formats({"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": 16000}),
    )
    assert (session.input_format, session.output_format) == (PCMU_8K, PCM16_16K)


@pytest.mark.parametrize(
    "answer",
    [{}, {"audio": {}}, formats({"type": "audio/opus"}, {"type": "audio/opus"}), formats(None, None)],
)
def test_a_format_not_confirmed_is_asked_again_as_pcm_and_then_refused(answer: dict[str, object]) -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    session.outgoing()
    assert tell(session, "session.updated", session=answer) == []
    (retry,) = sent(session)
    assert json.dumps(retry).count('"audio/pcm"') == 2
    opus = formats({"type": "audio/opus"}, {"type": "audio/opus"})
    (fault,) = tell(session, "session.updated", session=opus)
    assert isinstance(fault, AgentFault)
    assert (fault.code, fault.severity) == ("format_refused", Severity.FATAL)
    assert session.state is SessionState.CLOSED


def test_silence_about_the_format_confirms_the_servers_own() -> None:
    session = RealtimeSession(config(), DIALECTS["speaches"])
    session.opened(0.0)
    assert sent(session)[0]["session"]["input_audio_format"] == "pcm16"
    (answer,) = tell(session, "session.updated", session={})
    assert isinstance(answer, Ready)
    assert answer.output_format == PCM16_24K


@pytest.mark.parametrize("names_event", [True, False])
def test_a_server_that_rejects_pcmu_by_an_error_is_asked_for_pcm(names_event: bool) -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    (update,) = sent(session)
    fault = refuse(
        session,
        "invalid_value",
        "Invalid value: 'audio/pcmu'. Supported values are: 'audio/pcm'.",
        str(update["event_id"]) if names_event else None,
    )
    assert fault.severity is Severity.RECOVERABLE
    (retry,) = sent(session)
    events = tell(session, "session.updated", session=retry["session"])
    assert events == [Ready("", PCM16_24K, PCM16_24K, None)]
    assert session.input_format == PCM16_24K


def test_a_rejected_configuration_is_fatal_since_the_defaults_would_be_noise() -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    (update,) = sent(session)
    fault = refuse(session, "invalid_value", "Unknown voice", str(update["event_id"]))
    assert (fault.code, fault.severity) == ("configuration_refused", Severity.FATAL)


def test_an_error_about_history_does_not_end_the_configuration() -> None:
    session = RealtimeSession(config())
    session.opened(0.0, history=[HistoryItem(Role.CALLER, "hi")])
    assert refuse(session, None, "bad item", "history_0").severity is Severity.RECOVERABLE
    assert session.state is SessionState.CONFIGURING


def test_a_format_changed_during_the_call_ends_the_session() -> None:
    session = ready()
    pcm = {"type": "audio/pcm", "rate": 24000}
    (fault,) = tell(session, "session.updated", session=formats(pcm, pcm))
    assert isinstance(fault, AgentFault)
    assert fault.code == "format_refused"


def test_configuring_times_out() -> None:
    session = RealtimeSession(config())
    session.opened(10.0)
    assert session.next_deadline() == 15.0
    assert session.poll(14.9) == []
    (fault,) = session.poll(15.0)
    assert isinstance(fault, AgentFault)
    assert (fault.code, fault.severity) == ("configure_timeout", Severity.FATAL)
    assert session.next_deadline() is None


def test_no_audio_comes_out_before_the_format_is_known() -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    assert hear(session, delta("resp_1", "item_1", b"\x55" * 160)) == b""


@pytest.mark.parametrize(
    ("name", "wanted", "asked"),
    [
        ("openai", PCMU_8K, PCMU_8K),
        ("openai", PCMA_8K, PCMA_8K),
        ("openai", PCM16_8K, PCM16_24K),
        ("xai", PCM16_8K, PCM16_8K),
        ("hf", PCMU_8K, PCM16_24K),
        ("speaches", PCMA_8K, PCM16_24K),
    ],
)
def test_each_server_is_asked_for_what_it_can_speak(
    name: str, wanted: AudioFormat, asked: AudioFormat
) -> None:
    session = RealtimeSession(config(audio=wanted), DIALECTS[name])
    assert session.input_format == session.output_format == asked


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_reads_back_what_it_asked_for(name: str) -> None:
    session = ready(config(), DIALECTS[name])
    assert session.state is SessionState.READY


def test_history_is_replayed_as_text_after_the_configuration_and_is_no_news() -> None:
    session = RealtimeSession(config())
    session.opened(
        0.0, history=[HistoryItem(Role.CALLER, "hello"), HistoryItem(Role.AGENT, "hi, how can I help")]
    )
    update, first, second = sent(session)
    assert update["type"] == "session.update"
    assert first["item"] == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hello"}],
        "id": "history_0",
    }
    assert second["item"]["content"][0]["type"] == "output_text"
    assert (
        tell(session, "conversation.item.added", item={"id": "history_0", "type": "message", "role": "user"})
        == []
    )


# -- expiry and closing


def test_a_session_expires_silently_after_an_hour_so_notice_is_given_at_55_minutes() -> None:
    """Trap 13."""
    session = ready()
    assert session.next_deadline() == 3300.0
    assert session.poll(3300.0) == [ExpiringSoon(300.0)]
    assert session.poll(3301.0) == []


def test_the_servers_own_expiry_counts_where_it_is_sooner() -> None:
    session = RealtimeSession(config())
    session.opened(100.0, wall=1_800_000_000.0)
    (update,) = sent(session)
    tell(session, "session.updated", session={**update["session"], "expires_at": 1_800_001_800})
    assert session.next_deadline() == 100.0 + 1800 - 300


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1001, "session_expired"),
        (4000, "beta_api_shape_disabled"),
        (None, "connection_lost"),
        (1006, "connection_lost"),
        (1000, "closed_by_server"),
        (4321, "closed_4321"),
    ],
)
def test_every_close_we_did_not_ask_for_has_a_name(code: int | None, name: str) -> None:
    session = ready()
    (fault,) = session.closed(code, "", 1.0)
    assert isinstance(fault, AgentFault)
    assert (fault.code, fault.severity) == (name, Severity.FATAL)
    assert session.closed(code, "", 1.0) == []


def test_our_own_close_is_no_fault() -> None:
    session = ready()
    session.close()
    assert session.closed(1000, "", 1.0) == []
    assert session.receive(b"garbage", 1.0) == []


def test_an_expired_session_is_one_fatal_fault_not_two() -> None:
    session = ready()
    fault = refuse(session, "session_expired", "Your session hit the maximum duration of 60 minutes.")
    assert fault.severity is Severity.FATAL
    assert session.closed(1001, "", 1.0) == []


# -- audio


def test_audio_passes_untouched_and_is_counted_per_item() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    first, second = (
        delta("resp_1", "item_1", b"a" * 160, "event_7"),
        delta("resp_1", "item_1", b"b" * 80, "ev_8"),
    )
    assert session.scan(first) is None
    assert session.receive(first, 0.0) == [AudioReceived("item_1", b"a" * 160)]
    assert session.scan(second) == ("item_1", b"b" * 80)


def test_half_a_sample_waits_for_its_other_half() -> None:
    session = ready(config(audio=PCM16_24K))
    begin(session, "resp_1", "item_1")
    audio = bytes(range(100))
    heard = b"".join(hear(session, delta("resp_1", "item_1", audio[at : at + 7])) for at in range(0, 100, 7))
    assert heard == audio


def test_an_item_ends_once_however_often_the_server_says_so() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=40)
    done = {"response_id": "resp_1", "item_id": "item_1"}
    assert tell(session, "response.output_audio.done", **done) == [AudioEnded("item_1")]
    assert tell(session, "response.output_audio.done", **done) == []
    events = tell(session, "response.done", response={"id": "resp_1", "status": "completed"})
    assert [type(event) for event in events] == [ResponseDone]


def test_append_is_one_message_of_base64() -> None:
    session = ready()
    message = json.loads(session.append(b"\x00\xff" * 80))
    assert message == {
        "type": "input_audio_buffer.append",
        "audio": b64encode(b"\x00\xff" * 80).decode(),
    }


def test_audio_without_response_ids_or_announcements_is_still_a_response() -> None:
    session = ready()
    events = tell(session, "response.audio.delta", item_id="item_1", delta="VVVV", response_id=None)
    assert events == [ResponseStarted(""), AudioReceived("item_1", b"UUU")]
    assert session.responding
    tell(session, "response.done", response={"id": "resp_9"})
    assert not session.responding


# -- responses, one at a time


def test_a_greeting_asked_for_early_leaves_when_the_session_is_ready() -> None:
    session = RealtimeSession(config())
    session.request_response(0.0, instructions="Greet the caller.")
    session.opened(0.0)
    (update,) = sent(session)
    tell(session, "session.updated", session=update["session"])
    (create,) = sent(session)
    assert create["response"] == {"instructions": "Greet the caller."}


def test_a_response_asked_for_during_another_is_owed_and_the_latest_wins() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    session.request_response(0.0, instructions="first")
    session.request_response(0.0, instructions="second")
    assert sent(session) == []
    finish(session, "resp_1")
    (create,) = sent(session)
    assert create["response"] == {"instructions": "second"}


def test_a_response_asked_for_while_one_is_on_its_way_is_owed() -> None:
    session = ready()
    session.request_response(0.0)
    session.request_response(0.0, instructions="again")
    assert kinds(session) == ["response.create"]
    begin(session, "resp_1", "item_1")
    assert kinds(session) == []
    finish(session, "resp_1")
    assert kinds(session) == ["response.create"]


def test_a_response_the_server_created_pays_a_plain_debt() -> None:
    """Trap 7: a duplicate response is the model talking to itself."""
    session = ready()
    begin(session, "resp_1", "item_1")
    session.request_response(0.0)
    begin(session, "resp_2", "item_2")
    finish(session, "resp_2")
    assert kinds(session) == []


def test_a_request_that_met_an_active_response_is_owed_again_once() -> None:
    """Trap 7: `conversation_already_has_active_response`."""
    session = ready()
    session.request_response(0.0, instructions="Say the total.")
    (create,) = sent(session)
    begin(session, "resp_auto", "item_1")
    fault = refuse(
        session,
        "conversation_already_has_active_response",
        "Conversation already has an active response in progress: resp_auto. Wait until the response is finished.",
        str(create["event_id"]),
    )
    assert fault.severity is Severity.BENIGN
    assert kinds(session) == []
    finish(session, "resp_auto")
    (again,) = sent(session)
    assert again["response"] == {"instructions": "Say the total."}
    begin(session, "resp_2", "item_2")
    finish(session, "resp_2")
    assert kinds(session) == []


def test_a_refusal_naming_a_response_we_never_saw_waits_for_that_one() -> None:
    session = ready()
    session.request_response(0.0)
    (create,) = sent(session)
    refuse(
        session,
        None,
        "Conversation already has an active response in progress: resp_x. Wait until ...",
        str(create["event_id"]),
    )
    assert kinds(session) == []
    finish(session, "resp_x")
    assert kinds(session) == ["response.create"]


def test_a_request_the_server_ignored_is_reported_and_does_not_block_the_next() -> None:
    session = ready()
    session.request_response(0.0)
    session.request_response(1.0, instructions="second")
    session.outgoing()
    assert session.next_deadline() == 10.0
    (fault,) = session.poll(10.0)
    assert isinstance(fault, AgentFault)
    assert fault.code == "response_not_started"
    assert kinds(session) == ["response.create"]


def test_a_request_refused_for_good_does_not_block_the_next() -> None:
    session = ready()
    session.request_response(0.0)
    session.request_response(0.0, instructions="second")
    (create,) = sent(session)
    refuse(session, "rate_limit_exceeded", "slow down", str(create["event_id"]))
    assert kinds(session) == ["response.create"]


def test_a_debt_is_not_kept_waiting_for_ever_by_a_response_that_never_ends() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    session.request_response(0.0)
    assert session.next_deadline() == 30.0
    session.poll(30.0)
    assert kinds(session) == ["response.create"]


# -- barge-in


def barge_in(session: RealtimeSession, *cuts: ItemCut, now: float = 1.0) -> list[dict[str, Any]]:
    tell(session, "input_audio_buffer.speech_started", now, audio_start_ms=100, item_id="item_caller")
    session.interrupt(cuts, now)
    return sent(session)


def test_a_barge_in_truncates_at_what_was_heard() -> None:
    """Trap 3: sent is not heard."""
    session = ready()
    begin(session, "resp_1", "item_1", ms=1000)
    (truncate,) = barge_in(session, ItemCut("item_1", 340))
    assert truncate == {
        "type": "conversation.item.truncate",
        "item_id": "item_1",
        "content_index": 0,
        "audio_end_ms": 340,
    }


def test_truncate_beyond_the_audio_is_clamped_to_what_was_received() -> None:
    """Trap 1: "Audio content of 13600ms is already shorter than 55960ms"."""
    session = ready()
    begin(session, "resp_1", "item_1", ms=200)
    (truncate,) = barge_in(session, ItemCut("item_1", 55_960))
    assert truncate["audio_end_ms"] == 200


def test_truncate_before_the_first_audio_deletes_instead() -> None:
    """Trap 2: `unsupported_content_type` for audio_end_ms 0."""
    session = ready()
    begin(session, "resp_1", "item_1")
    (delete,) = barge_in(session, ItemCut("item_1", 0))
    assert delete == {"type": "conversation.item.delete", "item_id": "item_1"}


def test_queued_items_that_never_started_are_deleted_never_truncated_at_0() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=200)
    speak(session, "resp_1", "item_2", 200)
    finish(session, "resp_1")
    out = barge_in(session, ItemCut("item_1", 120), ItemCut("item_2", 0))
    assert [message["type"] for message in out] == ["conversation.item.truncate", "conversation.item.delete"]


def test_a_barge_in_long_after_the_response_was_done_truncates_but_cancels_nothing() -> None:
    """Traps 4 and 6: the carrier still plays although no response is active."""
    session = ready(config(turns=MANUAL))
    begin(session, "resp_1", "item_1", ms=1000)
    finish(session, "resp_1")
    out = barge_in(session, ItemCut("item_1", 400))
    assert [message["type"] for message in out] == ["conversation.item.truncate"]


def test_an_item_heard_to_its_end_is_left_alone() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=200)
    finish(session, "resp_1")
    assert barge_in(session, ItemCut("item_1", 200)) == []


def test_an_item_heard_so_far_but_still_being_spoken_is_truncated_there() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=200)
    (truncate,) = barge_in(session, ItemCut("item_1", 200))
    assert truncate["audio_end_ms"] == 200


def test_cancel_is_sent_only_where_the_server_did_not_cancel_by_itself() -> None:
    """Trap 6: cancelling after the server did can kill the next reply."""
    automatic, manual = ready(), ready(config(turns=MANUAL))
    for session in (automatic, manual):
        begin(session, "resp_1", "item_1", ms=200)
    assert barge_in(automatic, ItemCut("item_1", 100))[0]["type"] == "conversation.item.truncate"
    assert barge_in(manual, ItemCut("item_1", 100))[0] == {"type": "response.cancel", "response_id": "resp_1"}


def test_an_interruption_without_speech_cancels_what_is_active() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=200)
    session.interrupt([], 1.0)
    assert kinds(session) == ["response.cancel"]


def test_the_server_that_confirms_no_automatic_interruption_gets_a_cancel() -> None:
    session = RealtimeSession(config())
    session.opened(0.0)
    (update,) = sent(session)
    said = json.loads(json.dumps(update["session"]))
    said["audio"]["input"]["turn_detection"]["interrupt_response"] = False
    tell(session, "session.updated", session=said)
    begin(session, "resp_1", "item_1", ms=200)
    assert barge_in(session)[0]["type"] == "response.cancel"


def test_late_deltas_of_a_cut_response_are_dropped_and_a_new_responses_audio_passes() -> None:
    """Trap 5: double speech."""
    session = ready()
    begin(session, "resp_1", "item_1", ms=200)
    barge_in(session, ItemCut("item_1", 100))
    assert session.scan(delta("resp_1", "item_1", b"x" * 160)) == ("item_1", b"")
    assert speak(session, "resp_1", "item_late", 100) == b""
    begin(session, "resp_2", "item_2")
    assert len(speak(session, "resp_2", "item_2", 100)) == 800
    assert hear(session, delta("resp_1", "item_1", b"x" * 160)) == b""
    finish(session, "resp_1", "cancelled", "turn_detected")
    assert hear(session, delta("resp_1", "item_1", b"x" * 160)) == b""
    assert len(speak(session, "resp_2", "item_2", 100)) == 800


def test_what_a_cut_response_spoke_on_in_flight_was_not_heard() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=200)
    session.interrupt([], 1.0)
    speak(session, "resp_1", "item_1", 60)
    speak(session, "resp_1", "item_2", 60)
    session.outgoing()
    finish(session, "resp_1", "cancelled", "client_cancelled")
    truncate, delete = sent(session)
    assert (truncate["item_id"], truncate["audio_end_ms"]) == ("item_1", 200)
    assert delete == {"type": "conversation.item.delete", "item_id": "item_2"}


def test_two_interrupts_in_a_row_say_everything_once() -> None:
    session = ready(config(turns=MANUAL))
    begin(session, "resp_1", "item_1", ms=200)
    first = barge_in(session, ItemCut("item_1", 100))
    assert [message["type"] for message in first] == ["response.cancel", "conversation.item.truncate"]
    assert barge_in(session, ItemCut("item_1", 120), now=1.2) == []


def test_a_response_asked_for_before_the_barge_in_is_cancelled_as_it_appears() -> None:
    session = ready()
    session.request_response(0.0, instructions="Greet.")
    session.outgoing()
    assert barge_in(session) == []
    begin(session, "resp_1", "item_1", ms=100)
    assert sent(session) == [{"type": "response.cancel", "response_id": "resp_1"}]
    assert speak(session, "resp_1", "item_1", 100) == b""


def test_a_response_to_the_interrupting_turn_is_not_cancelled() -> None:
    session = ready()
    session.request_response(0.0, instructions="Greet.")
    session.outgoing()
    barge_in(session)
    tell(session, "input_audio_buffer.committed", item_id="item_caller", previous_item_id=None)
    begin(session, "resp_auto", "item_1")
    assert sent(session) == []
    assert len(speak(session, "resp_auto", "item_1", 100)) == 800


def test_an_owed_response_does_not_talk_over_the_caller_who_barged_in() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=100)
    session.request_response(0.0, instructions="And another thing.")
    barge_in(session, ItemCut("item_1", 100))
    session.outgoing()
    finish(session, "resp_1", "cancelled", "turn_detected")
    assert kinds(session) == []


def test_a_cancelled_response_that_never_ends_does_not_block_the_next() -> None:
    session = ready(config(turns=MANUAL))
    begin(session, "resp_1", "item_1", ms=100)
    barge_in(session, ItemCut("item_1", 60), now=1.0)
    session.request_response(1.0)
    assert kinds(session) == []
    assert session.next_deadline() == 6.0
    events = session.poll(6.0)
    assert ResponseDone("resp_1", "cancelled", "timeout") in events
    assert kinds(session) == ["response.create"]
    assert speak(session, "resp_1", "item_1", 100) == b""


def test_a_server_without_cancel_and_truncate_gets_neither() -> None:
    session = ready(config(), DIALECTS["speaches"])
    tell(session, "response.created", response={"id": "resp_1"})
    speak(session, "resp_1", "item_1", 200)
    session.interrupt([ItemCut("item_1", 100)], 1.0)
    assert sent(session) == []
    assert speak(session, "resp_1", "item_1", 100) == b""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("response_cancel_not_active", "Cancellation failed: no active response found"),
        (None, "Cancellation failed: no active response found"),
        (None, "Audio content of 13600ms is already shorter than 55960ms"),
        ("unsupported_content_type", "Only model output audio messages can be truncated"),
        ("item_already_truncated", "Item already truncated"),
    ],
)
def test_known_races_are_benign_by_code_and_by_words(code: str | None, message: str) -> None:
    """Trap 6: adapters left their read loop on it."""
    session = ready()
    assert refuse(session, code, message).severity is Severity.BENIGN
    assert session.state is SessionState.READY


# -- tools


def test_a_tool_is_called_from_a_completed_item_only() -> None:
    """Trap 9: an interrupted call's arguments are half a JSON object."""
    session = ready()
    begin(session, "resp_1", "item_1")
    done = {"call_id": "call_1", "name": "weather", "arguments": '{"city":"Os', "item_id": "item_f"}
    assert tell(session, "response.function_call_arguments.done", response_id="resp_1", **done) == []
    assert call(session, "resp_1", "call_1", status="incomplete", arguments='{"city":"Os') == []
    assert call(session, "resp_1", "call_2", status=None) == []
    assert call(session, "resp_1", "call_3") == [ToolCall("call_3", "weather", {"city": "Oslo"})]


@pytest.mark.parametrize("arguments", ["{", "[1]", '"text"', "NaN", '{"a":'])
def test_a_complete_call_with_broken_arguments_is_answered_with_an_error(arguments: str) -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    (fault,) = call(session, "resp_1", "call_1", arguments=arguments)
    assert isinstance(fault, AgentFault)
    (output,) = sent(session)
    assert output["item"]["call_id"] == "call_1"
    finish(session, "resp_1")
    assert kinds(session) == ["response.create"]


def test_parallel_calls_get_exactly_one_response_after_all_outputs() -> None:
    """Trap 22."""
    session = ready()
    begin(session, "resp_1", "item_1")
    for name in ("call_1", "call_2", "call_3"):
        call(session, "resp_1", name)
    session.tool_result("call_2", "sunny", 0.0)
    finish(session, "resp_1")
    session.tool_result("call_1", "rain", 0.0)
    assert kinds(session) == ["conversation.item.create"] * 2
    session.tool_result("call_3", "snow", 0.0)
    assert kinds(session) == ["conversation.item.create", "response.create"]


def test_an_output_that_is_quick_waits_for_the_end_of_its_response() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    call(session, "resp_1", "call_1")
    session.tool_result("call_1", "sunny", 0.0)
    assert kinds(session) == ["conversation.item.create"]
    finish(session, "resp_1")
    assert kinds(session) == ["response.create"]


def test_a_tool_still_running_when_the_caller_barges_in_starts_no_turn() -> None:
    """Trap 8: the output is handed over, the next turn uses it."""
    session = ready()
    begin(session, "resp_1", "item_1", ms=100)
    call(session, "resp_1", "call_1")
    finish(session, "resp_1")
    barge_in(session, ItemCut("item_1", 60))
    session.tool_result("call_1", "sunny", 2.0)
    assert kinds(session) == ["conversation.item.create"]


def test_a_call_of_a_cut_response_is_answered_but_starts_no_turn() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=100)
    barge_in(session, ItemCut("item_1", 60))
    assert call(session, "resp_1", "call_1") == [ToolCall("call_1", "weather", {"city": "Oslo"})]
    finish(session, "resp_1", "cancelled", "turn_detected")
    session.tool_result("call_1", "sunny", 2.0)
    assert kinds(session) == ["conversation.item.create"]


def test_a_result_of_an_unknown_or_answered_call_is_not_sent() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    call(session, "resp_1", "call_1")
    session.tool_result("call_1", "sunny", 0.0)
    session.outgoing()
    session.tool_result("call_1", "sunny", 0.0)
    session.tool_result("call_other", "sunny", 0.0)
    assert sent(session) == []


def test_an_output_that_is_no_clean_text_is_sent_all_the_same() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    call(session, "resp_1", "call_1")
    session.tool_result("call_1", "bad \ud800 text", 0.0)
    (output,) = sent(session)
    assert output["item"]["output"] == "bad ? text"


# -- transcripts


def test_transcripts_late_and_out_of_order_are_filed_under_their_items() -> None:
    """Trap 12: and a failed one does not block the next."""
    session = ready()
    assert tell(session, "input_audio_buffer.committed", item_id="a", previous_item_id=None) == [
        ItemAdded("a", None, Role.CALLER)
    ]
    tell(session, "input_audio_buffer.committed", item_id="b", previous_item_id="a")
    name = "conversation.item.input_audio_transcription"
    assert tell(session, f"{name}.delta", item_id="b", delta="sec") == [
        Transcript("b", Role.CALLER, "sec", False)
    ]
    assert tell(session, f"{name}.delta", item_id="b", delta="ond") == [
        Transcript("b", Role.CALLER, "second", False)
    ]
    failed = tell(
        session, f"{name}.failed", item_id="a", error={"code": "audio", "message": "unintelligible"}
    )
    assert failed == [TranscriptFailed("a", "audio", "unintelligible")]
    usage = {"type": "duration", "seconds": 2.5}
    assert tell(session, f"{name}.completed", item_id="b", transcript="Second.", usage=usage) == [
        Transcript("b", Role.CALLER, "Second.", True),
        TranscriptionUsage("b", Usage(seconds=2.5)),
    ]
    assert tell(session, f"{name}.delta", item_id="b", delta="late") == []
    assert tell(session, f"{name}.completed", item_id="a", transcript="First.") == [
        Transcript("a", Role.CALLER, "First.", True)
    ]


def test_cumulative_interim_text_replaces_what_was_said_before() -> None:
    session = ready(config(), DIALECTS["xai"])
    name = "conversation.item.input_audio_transcription.updated"
    tell(session, name, item_id="a", transcript="what is")
    assert tell(session, name, item_id="a", transcript="what is the time") == [
        Transcript("a", Role.CALLER, "what is the time", False)
    ]
    assert tell(session, "ping") == []


def test_agent_text_grows_and_is_settled_by_done() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=20)
    ids = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
    tell(session, "response.audio_transcript.delta", **ids, delta="Hel")
    assert tell(session, "response.output_audio_transcript.delta", **ids, delta="lo") == [
        Transcript("item_1", Role.AGENT, "Hello", False)
    ]
    assert tell(session, "response.output_audio_transcript.done", **ids, transcript="Hello.") == [
        Transcript("item_1", Role.AGENT, "Hello.", True)
    ]
    assert tell(session, "response.output_audio_transcript.done", **ids) == [
        Transcript("item_1", Role.AGENT, "Hello.", True)
    ]


def test_words_nobody_will_hear_are_not_told() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=100)
    barge_in(session, ItemCut("item_1", 60))
    ids = {"response_id": "resp_1", "item_id": "item_2", "content_index": 0}
    assert tell(session, "response.output_audio_transcript.delta", **ids, delta="unheard") == []


@pytest.mark.parametrize("name", ["conversation.item.added", "conversation.item.created"])
def test_items_are_announced_once_by_servers_of_either_generation(name: str) -> None:
    session = ready()
    item = {"id": "item_1", "type": "message", "role": "assistant"}
    assert tell(session, name, item=item, previous_item_id="item_0") == [
        ItemAdded("item_1", "item_0", Role.AGENT)
    ]
    assert tell(session, "conversation.item.added", item=item, previous_item_id="item_0") == []
    call_item = {"id": "item_2", "type": "function_call"}
    assert tell(session, name, item=call_item) == [ItemAdded("item_2", None, Role.TOOL)]


def test_an_item_announced_without_its_place_is_placed_later() -> None:
    session = ready()
    item = {"id": "item_1", "type": "message", "role": "user"}
    assert tell(session, "conversation.item.created", item=item) == [ItemAdded("item_1", None, Role.CALLER)]
    assert tell(session, "input_audio_buffer.committed", item_id="item_1", previous_item_id="item_0") == [
        ItemAdded("item_1", "item_0", Role.CALLER)
    ]


# -- other messages


def test_missing_numbers_and_nulls_read_as_nothing() -> None:
    session = ready()
    assert tell(session, "input_audio_buffer.speech_started", audio_start_ms=None) == [SpeechStarted("", 0)]
    assert tell(session, "response.done", response=None) == [ResponseDone("", "completed", None, Usage())]
    assert tell(session, "conversation.item.truncated", item_id="i", audio_end_ms="7") == [Truncated("i", 0)]
    assert tell(session, "error", error=None)[0] == AgentFault("unknown_error", "", Severity.RECOVERABLE)


def test_unknown_messages_are_named_not_fatal() -> None:
    session = ready()
    assert tell(session, "response.telepathy.delta") == [Unrecognised("response.telepathy.delta")]


def test_garbage_is_recoverable_until_it_floods() -> None:
    session = ready()
    for index in range(49):
        (fault,) = session.receive(b"{", index * 0.1)
        assert isinstance(fault, AgentFault)
        assert (fault.code, fault.severity) == ("malformed", Severity.RECOVERABLE)
    (flood,) = session.receive(b"\xff\xfe", 5.0)
    assert isinstance(flood, AgentFault)
    assert (flood.code, flood.severity) == ("malformed_flood", Severity.FATAL)


def test_rare_garbage_is_never_a_flood() -> None:
    session = ready()
    for index in range(500):
        assert session.receive(b"[]", index * 1.0) != []
    assert session.state is SessionState.READY


def test_the_ledger_forgets_the_oldest_items() -> None:
    ledger = ItemLedger()
    for index in range(ITEMS * 2):
        ledger.open(f"item_{index}")
    assert len(ledger) == ITEMS
    assert ledger.get("item_0") is None
    assert ledger.get(f"item_{ITEMS * 2 - 1}") is not None


def test_an_endless_identifier_is_not_kept() -> None:
    session = ready()
    assert tell(session, "input_audio_buffer.committed", item_id="x" * 10_000) == []


def test_a_failed_response_says_why() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    details = {"type": "failed", "error": {"type": "server_error", "code": "server_error", "message": "oops"}}
    usage = {
        "total_tokens": 10,
        "input_tokens": 8,
        "output_tokens": 2,
        "input_token_details": {"text_tokens": 3, "audio_tokens": 5},
        "output_token_details": {"text_tokens": 1, "audio_tokens": 1},
    }
    response = {"id": "resp_1", "status": "failed", "status_details": details, "usage": usage}
    done, fault = tell(session, "response.done", response=response)
    assert done == ResponseDone(
        "resp_1", "failed", "server_error", Usage(text_in=3, audio_in=5, text_out=1, audio_out=1)
    )
    assert fault == AgentFault("server_error", "oops", Severity.RECOVERABLE)


def test_text_is_injected_under_its_role() -> None:
    session = ready()
    session.inject(Role.CALLER, "pressed 1 2 #", 0.0)
    session.inject(Role.SYSTEM, "continue", 0.0)
    roles = [message["item"]["role"] for message in sent(session)]
    assert roles == ["user", "system"]


# -- anything at all

IDS = st.sampled_from(["", "resp_1", "resp_2", "item_1", "item_2", "call_1"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | IDS | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "response_id", "item_id", "call_id", "id", "delta", "transcript", "content_index", "type", "status",
    "arguments", "name", "role", "expires_at", "audio_start_ms", "code", "message", "event_id", "usage",
    "error", "item", "response", "session", "status_details", "previous_item_id", "audio", "format",
]  # fmt: skip
FIELDS = st.recursive(
    SCALARS
    | st.just("VVVV")
    | st.sampled_from(["completed", "function_call", "message", "audio/pcmu", "{}"]),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=10,
)
EVENTS = st.builds(
    lambda name, fields: json.dumps({**fields, "type": name}).encode(),
    st.sampled_from([*SERVER_EVENTS, *BETA_NAMES]),
    st.dictionaries(st.sampled_from(KEYS), FIELDS, max_size=6),
)
MESSAGES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | EVENTS


@given(st.lists(MESSAGES, max_size=25), st.sampled_from(sorted(DIALECTS)))
def test_nothing_a_server_sends_raises(messages: list[bytes], name: str) -> None:
    configuring = RealtimeSession(config(), DIALECTS[name])
    configuring.opened(0.0, wall=1e9)
    for session in (configuring, ready(config(), DIALECTS[name])):
        for index, message in enumerate(messages):
            if session.scan(message) is None:
                session.receive(message, float(index))
            if index % 5 == 4:
                session.interrupt([ItemCut("item_1", 20), ItemCut("item_2", 0)], float(index))
                session.tool_result("call_1", "ok", float(index))
            for out in session.outgoing():
                json.loads(out)
            deadline = session.next_deadline()
            assert deadline is None or isinstance(deadline, float)


@pytest.mark.parametrize(
    "message", [b"", b"\x00", b"[" * 100_000, b'{"type":' * 50_000, b'{"type":1e999}', b"1" * 5000]
)
def test_hostile_json_is_malformed(message: bytes) -> None:
    (fault,) = ready().receive(message, 0.0)
    assert isinstance(fault, AgentFault)
    assert fault.code == "malformed"
