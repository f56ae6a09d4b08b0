"""Chaos: whole calls in which everything may go wrong at once, and what must hold of every one of them.

A plan is drawn by hypothesis: caller, carrier, network, agent script, policy, and interventions in mid-call (ends of
ours, garbage and lies on either socket, broken and unread links). Whatever it is, the call ends, says so once, and
leaves nothing behind: no task, no session, no socket, no entry, no deadline, no sample unaccounted for.
"""

import asyncio
import json
import os
import tempfile
import wave
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from control import carrier_leg
from control.policy import BargeIn, CallPolicy, Deadlines, DigitPolicy
from gateway.agent.script import parse_script
from gateway.calls import OverCapacity
from gateway.replay import replay
from media.audio import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.dtmf import tone
from media.playout import Cut, HeardAudio, PlayoutClock
from telephony.caller import AwaitAgent, Edge, HangUp, Press, Speak, Step, Wait
from telephony.caller import BargeIn as SpeakInto
from telephony.impairments import Direction, Drop, Impairments, Stall
from telephony.link import LinkListener, LinkRefused
from telephony.outcome import CallOutcome
from tests.conftest import RunAsync
from tests.memory_link import Acceptor, Dialled, MemoryLink
from tests.whole_call import AGENT, MEDIA, House

# Examples of the committed run: under 20 s. OFFHOOK_CHAOS=5000 for a night of it.
EXAMPLES = int(os.environ.get("OFFHOOK_CHAOS", "40"))
# Virtual seconds: the longest plan, and a carrier that hangs up by itself.
LIMIT = 45.0
# Any call of a plan has ended by then: the caller's limit, the watchdog after it, a goodbye.
PATIENCE = 240.0
# A call may lose its agent's session again and again; it must not try for ever, let alone without a pause.
CONNECTIONS = 40
# What the script's agent says when it refuses a truncation by plan: all other refusals are our fault.
PLANNED_REFUSAL = "refused by plan"


class AuditedPlayout(PlayoutClock):
    """The real clock, with a second set of books: every sample given is heard once or discarded once."""

    audited: "list[AuditedPlayout]" = []  # noqa: RUF012 - one list for all, emptied before each example

    def __init__(self, fmt: AudioFormat, *, lead: float, offset: float) -> None:
        super().__init__(fmt, lead=lead, offset=offset)
        self.given = self.known_heard = self.discarded = 0
        self.audited.append(self)

    def write(self, item: str | None, audio: bytes) -> None:
        before = self.written
        super().write(item, audio)
        self.given += self.written - before

    def end_item(self, item: str) -> None:
        before = self.written
        super().end_item(item)
        self.given += self.written - before

    def poll(self, now: float) -> Any:
        before = self.written
        due = super().poll(now)
        self.given += self.written - before  # silence that keeps a stream alive
        assert self.acked <= self.heard(now) <= self.sent <= self.written
        return due

    def clear(self, now: float) -> Cut:
        cut = super().clear(now)
        self.discarded += cut.discarded
        for item in cut.items:
            assert 0 <= item.heard <= item.written
        assert self.written == self.sent
        return cut

    def detach(self, now: float) -> None:
        before = self.written
        super().detach(now)
        assert self.written <= before
        self.discarded += before - self.written  # filling silence is not played again

    def take_heard(self) -> Any:
        heard: Any = super().take_heard()
        self.known_heard += sum(len(each.audio) for each in heard if isinstance(each, HeardAudio)) // (
            self.format.sample_bytes
        )
        return heard

    def settled(self) -> bool:
        return self.known_heard + self.discarded == self.given


# --- what may go wrong


class Long(bytes):
    """Bytes that a failing plan shows the beginning of."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {self[:60]!r}>"


seconds = st.floats(0.0, 1.0, allow_nan=False).map(lambda share: round(share, 3))


def upto(most: float) -> st.SearchStrategy[float]:
    return seconds.map(lambda share: round(share * most, 3))


def tones(frequency: int) -> st.SearchStrategy[dict[str, Any]]:
    lengths = st.sampled_from([0, 7, 120, 600, 1500, 6000, 6000])
    return lengths.map(lambda ms: {"tone": {"frequencies": [frequency], "ms": ms}})


def sometimes(strategy: st.SearchStrategy[Any], share: int = 4) -> st.SearchStrategy[Any]:
    """Draw None mostly, and what `strategy` draws once in `share`."""
    return st.integers(1, share).flatmap(lambda drawn: strategy if drawn == share else st.none())


def without_none(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


AGENT_FAULTS = st.one_of(
    st.fixed_dictionaries(
        {
            "close": st.fixed_dictionaries(
                {"code": st.sampled_from([1000, 1001, 1008, 1011, 3000, 4000]), "reason": st.just("by plan")}
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "error": st.fixed_dictionaries(
                {
                    "code": st.sampled_from(
                        [
                            "server_error",
                            "rate_limit_exceeded",
                            "invalid_api_key",
                            "session_expired",
                            "conversation_already_has_active_response",
                            "odd",
                        ]
                    ),
                    "message": st.just("by plan"),
                }
            )
        }
    ),
    st.fixed_dictionaries(
        {"stall": st.fixed_dictionaries({"ms": st.sampled_from([100, 1500, 4000, 12_000])})}
    ),
    st.fixed_dictionaries(
        {
            "malformed": st.sampled_from(
                ["{", "null", "[]", '{"type": 1}', '{"type":"response.output_audio.delta"}']
            )
        }
    ),
).flatmap(lambda fault: st.sampled_from([0, 10, 300, 1000, 3000]).map(lambda ms: {"at_ms": ms, **fault}))


def told(reply: dict[str, Any]) -> dict[str, Any]:
    """After a tool's output the script says something: one that calls again and again would do so without end."""
    if any("call" in item for item in reply["items"]):
        reply["then"] = {"say": "Done.", "delay_ms": 100}
    return reply


REPLIES = st.fixed_dictionaries(
    {
        "items": st.lists(
            st.one_of(
                st.fixed_dictionaries({"say": st.just("words"), "audio": tones(1900)}),
                st.fixed_dictionaries({"say": st.just("words"), "audio": tones(1900)}),
                st.fixed_dictionaries({"call": st.just({"name": "look_up", "arguments": {}})}),
            ),
            min_size=1,
            max_size=3,
        ),
        "delay_ms": st.sampled_from([0, 20, 300, 2500]),
        "pace": st.sampled_from(["burst", "realtime", 2, 0.5]),
        "delta_ms": st.sampled_from([20, 33, 200]),
        "late_deltas": sometimes(
            st.fixed_dictionaries(
                {
                    "count": st.integers(1, 5),
                    "spacing_ms": st.sampled_from([0, 40, 200]),
                    "after_done": st.booleans(),
                }
            )
        ),
        "refuse_truncate": sometimes(st.just({"message": PLANNED_REFUSAL}), 8),
        "fails": sometimes(st.just("server_error"), 8),
        "faults": sometimes(st.lists(AGENT_FAULTS, min_size=1, max_size=2), 4),
    }
).map(lambda reply: told(without_none(reply)))

SESSIONS = st.fixed_dictionaries(
    {
        "refuse_formats": sometimes(
            st.lists(st.sampled_from(["audio/pcmu", "audio/pcma", "audio/pcm"]), min_size=1, max_size=2), 6
        ),
        "force_format": sometimes(st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma"]), 6),
        "session_updated": sometimes(st.just(False), 12),
        "session_updated_delay_ms": sometimes(st.sampled_from([1, 400, 6000]), 6),
        "expires_s": sometimes(st.sampled_from([4, 20, 302, 310]), 6),
        "faults": sometimes(st.lists(AGENT_FAULTS, min_size=1, max_size=1), 6),
    }
).map(without_none)

SCRIPTS = st.fixed_dictionaries(
    {
        "greeting": sometimes(REPLIES, 2),
        "turns": st.lists(REPLIES, min_size=1, max_size=3),
        "after": st.sampled_from(["last", "loop", "silent"]),
        "session": sometimes(SESSIONS, 2),
    }
).map(without_none)

SOUNDS = st.sampled_from([0.06, 0.4, 1.2, 1.2]).map(lambda length: Long(tone("5", length)))

STEPS: st.SearchStrategy[list[Step]] = st.builds(
    lambda steps, end: [*steps, *end],
    st.lists(
        st.one_of(
            SOUNDS.map(Speak),
            st.builds(lambda after, audio: SpeakInto(after, audio, timeout=6.0), upto(2.5), SOUNDS),
            upto(4.0).map(Wait),
            st.sampled_from(Edge).map(lambda edge: AwaitAgent(edge, timeout=6.0)),
            st.builds(lambda after, audio: SpeakInto(after, audio, timeout=6.0), upto(2.5), SOUNDS),
            st.sampled_from(["1#", "47", "*0#"]).map(Press),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([[HangUp()], [Wait(2.0), HangUp()], []]),
)

IMPAIRMENTS = st.builds(
    Impairments,
    inbound_delay=st.sampled_from([0.0, 0.04, 0.15, 0.4]),
    outbound_delay=st.sampled_from([0.0, 0.04, 0.15, 0.4]),
    inbound_jitter=st.sampled_from([0.0, 0.02, 0.1]),
    outbound_jitter=st.sampled_from([0.0, 0.02, 0.1]),
    loss=st.sampled_from([0.0, 0.0, 0.02, 0.3]),
    reorder=st.sampled_from([0.0, 0.0, 0.1, 0.5]),
    displacement=st.integers(1, 5),
    stalls=st.lists(
        st.builds(
            Stall,
            direction=st.sampled_from(Direction),
            at=upto(10.0),
            duration=st.sampled_from([0.1, 1.0, 3.0, 40.0]),
        ),
        max_size=1,
    ).map(tuple),
    drops=st.lists(
        st.builds(
            Drop,
            at=upto(12.0),
            reconnect_after=st.sampled_from([None, 0.0, 0.05, 0.7, 1.9, 2.1, 5.0]),
            graceful=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    seed=st.integers(0, 1000),
)

POLICIES = st.builds(
    CallPolicy,
    greeting=st.sampled_from([None, "Greet the caller."]),
    barge_in=st.builds(
        BargeIn,
        enabled=st.sampled_from([True, True, True, False]),
        min_speech=st.sampled_from([0.0, 0.0, 0.2, 0.5]),
        protect_greeting=st.booleans(),
    ),
    digits=st.builds(DigitPolicy, to_model=st.booleans(), interrupts=st.booleans()),
    deadlines=st.builds(
        Deadlines,
        close_grace=st.sampled_from([0.5, 2.0]),
        media_watchdog=st.sampled_from([3.0, 10.0]),
        silence=st.sampled_from([None, 1.0, 5.0]),
        max_duration=st.sampled_from([3.0, 12.0, 60.0, 60.0]),
        goodbye=st.sampled_from([1.0, 10.0]),
    ),
    lead=st.sampled_from([0.02, 0.06, 0.2, 0.5]),
    heard_offset=st.sampled_from([0.0, 0.0, 0.12]),
    uplink_frames=st.sampled_from([1, 1, 2, 5]),
    record=st.sampled_from([True, True, True, False]),
)


def _media(stream_id: str, chunk: object, payload: str) -> bytes:
    """A frame both carriers' parsers look at; whether they like it is theirs to say."""
    return json.dumps(
        {
            "event": "media",
            "streamSid": stream_id,
            "stream_id": stream_id,
            "sequenceNumber": "9",
            "media": {"track": "inbound", "chunk": chunk, "timestamp": "9", "payload": payload},
        }
    ).encode()


ODD_PAYLOADS = st.sampled_from(["", "/", "AAA=", "/w==", "A" * 212, "A" * 2400, "A" * 200_000, "not base64"])
ODD_CHUNKS = st.sampled_from([0, -1, "7", "70000", 10**30, 1.5, None, "x"])
CARRIER_LIES = [
    b'{"event":"stop"}',
    b'{"event":"start"}',
    b'{"event":"mark","mark":{"name":"0.1600"}}',
    b'{"event":"mark","mark":{"name":"1.3200"}}',
    b'{"event":"mark","mark":{"name":"0.0.probe"}}',
    b'{"event":"dtmf","dtmf":{"digit":"#"}}',
    b'{"event":"dtmf","dtmf":{"digit":7}}',
    b'{"event":"error","payload":{"code":100002,"title":"x","detail":"y"}}',
    b'{"event":"connected"}',
    b'{"event":"weather"}',
    b"[" * 100_000,
    b"",
    b"\xff\xfe{",
]
CARRIER_GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(CARRIER_LIES),
    st.builds(_media, st.sampled_from(["", "MZ1"]), ODD_CHUNKS, ODD_PAYLOADS),
).map(Long)


def _server_event(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, "event_id": "event_odd", **fields}).encode()


# Truths out of place: they do not invent items, so what they lead us to say is still about the server's own.
AGENT_LIES = [
    _server_event("input_audio_buffer.speech_started", item_id="item_odd", audio_start_ms=1),
    _server_event("input_audio_buffer.speech_stopped", item_id="item_odd", audio_end_ms=2),
    _server_event("response.done", response={"id": "resp_odd", "status": "failed"}),
    _server_event("session.updated", session={}),
    _server_event("session.created", session={"expires_at": 1e300}),
    _server_event("rate_limits.updated"),
    _server_event("weather.changed"),
    _server_event("response.output_audio.done", item_id="item_never", response_id="resp_never"),
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"type":"response.output_audio.delta","delta":"' + b"A" * 300_000,
]
AGENT_GARBAGE = st.one_of(st.binary(max_size=200), st.sampled_from(AGENT_LIES)).map(Long)
# Audio of items the real server knows nothing about: interleaved, odd, endless.
AGENT_INVENTIONS = st.builds(
    lambda item, response, audio: _server_event(
        "response.output_audio.delta",
        item_id=item,
        response_id=response,
        output_index=0,
        content_index=0,
        delta=audio,
    ),
    st.sampled_from(["item_a", "item_b"]),
    st.sampled_from(["resp_a", "resp_b"]),
    st.sampled_from(["AA==", "AAAA", "A" * 212, "A" * 4000, "A" * 100_000]),
).map(Long)


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something done to a call in progress, `at` seconds after it was placed."""

    at: float
    what: str
    message: bytes = b""
    times: int = 1


def interventions() -> st.SearchStrategy[list[Intervention]]:
    at = upto(15.0)
    each = st.one_of(
        st.builds(Intervention, at, st.sampled_from(["end", "end now", "drain"])),
        st.builds(
            Intervention,
            at,
            st.just("to gateway as carrier"),
            CARRIER_GARBAGE,
            st.sampled_from([1, 1, 3, 60]),
        ),
        st.builds(
            Intervention, at, st.just("to gateway as agent"), AGENT_GARBAGE, st.sampled_from([1, 1, 3, 60])
        ),
        st.builds(Intervention, at, st.just("invent"), AGENT_INVENTIONS, st.sampled_from([1, 5])),
        st.builds(
            Intervention,
            at,
            st.sampled_from(
                ["agent drops", "carrier does not read", "carrier reads", "agent refuses", "agent is back"]
            ),
        ),
    )
    return st.lists(each, max_size=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One call and all that goes wrong in it."""

    carrier: str
    caller: AudioFormat
    audio: AudioFormat
    start_delay: float
    agent_delay: float
    steps: list[Step]
    impairments: Impairments
    script: dict[str, Any]
    policy: CallPolicy
    interventions: list[Intervention]

    @property
    def invents(self) -> bool:
        return any(each.what == "invent" for each in self.interventions)

    @property
    def forges_audio(self) -> bool:
        return any(b'"media"' in each.message for each in self.interventions)


CARRIERS = st.sampled_from(
    [("twilio", PCMU_8K), ("telnyx", PCMU_8K), ("telnyx", PCMA_8K), ("signalwire", PCMU_8K)]
)

PLANS = st.builds(
    lambda carrier, **rest: Plan(carrier=carrier[0], caller=carrier[1], **rest),
    CARRIERS,
    audio=st.sampled_from([PCMU_8K, PCMU_8K, PCMA_8K, PCM16_24K]),
    start_delay=st.sampled_from([0.0, 0.0, 0.5, 4.0]),
    agent_delay=st.sampled_from([0.0, 0.0, 0.05, 0.5]),
    steps=STEPS,
    impairments=IMPAIRMENTS,
    script=SCRIPTS,
    policy=POLICIES,
    interventions=interventions(),
)


class Havoc:
    """Carries out a plan's interventions on a house."""

    def __init__(self, house: House, plan: Plan) -> None:
        self._house = house
        self._unread = ExitStack()
        self._acceptor = house.network._served[AGENT]
        self._loop = asyncio.get_running_loop()
        self._draining: list[asyncio.Task[None]] = []
        for each in plan.interventions:
            self._loop.call_later(each.at, self._do, each)

    def _do(self, intervention: Intervention) -> None:
        match intervention.what:
            case "end":
                self._each_call(lambda call: call.end("api"))
            case "end now":
                self._each_call(lambda call: call.end("api", after_playout=False))
            case "drain":
                self._draining.append(self._loop.create_task(self._house.calls.drain(1.0)))
            case "to gateway as carrier":
                for link in self._media_links():
                    for _ in range(intervention.times):
                        link.send(intervention.message)
            case "to gateway as agent" | "invent":
                for link in self._house.agent_links:
                    for _ in range(intervention.times):
                        link.send(intervention.message)
            case "agent drops":
                for link in self._house.agent_links:
                    link.drop()
            case "agent refuses":
                if AGENT in self._house.network._served:
                    self._house.network.refuse(AGENT)
            case "agent is back":
                self._house.network.serve(AGENT, self._acceptor)
            case "carrier does not read":
                for link in self._media_links():
                    self._unread.enter_context(link.not_reading())
            case "carrier reads":
                self._unread.close()
            case unknown:
                raise AssertionError(unknown)

    def _each_call(self, act: Callable[[Any], None]) -> None:
        for call in self._house.calls.live():
            act(call)

    def _media_links(self) -> list[MemoryLink]:
        served = set(map(id, self._house.agent_links))
        return [client for client, server in self._house.network.links if id(server) not in served]

    async def over(self) -> None:
        self._unread.close()
        for task in self._draining:
            await task


def _no_more_than(house: House, sessions: int) -> Acceptor:
    """Accept agent sessions as the house does, but not without end."""
    accept = house._accept_agent

    def counted(link: MemoryLink, dialled: Dialled) -> LinkListener:
        assert house.agent.accepted < sessions, "the agent is reconnected without end"
        return accept(link, dialled)

    return counted


def _or_busy(house: House) -> Acceptor:
    """Accept media sockets as the house does; a gateway that takes none answers 503."""

    def accepted(link: MemoryLink, dialled: Dialled) -> LinkListener:
        try:
            return house._accept_media(link, dialled)
        except OverCapacity:
            raise LinkRefused(503) from None

    return accepted


async def run(plan: Plan, folder: Path) -> tuple[House, CallOutcome]:
    script = parse_script(json.dumps(plan.script))
    house = House(
        folder, script, policy=plan.policy, audio=plan.audio, trace=True, agent_delay=plan.agent_delay
    )
    house.network.serve(MEDIA, _or_busy(house))
    house.network.serve(AGENT, _no_more_than(house, CONNECTIONS))
    havoc = Havoc(house, plan)
    try:
        async with asyncio.timeout(PATIENCE):
            outcome = await house.call(
                plan.steps,
                carrier=plan.carrier,
                caller=plan.caller,
                impairments=plan.impairments,
                start_delay=plan.start_delay,
                limit=LIMIT,
            )
            await havoc.over()
            await asyncio.sleep(20.0)  # planned stalls of the agent, and every link's closing time
            await house.calls.idle()
            await asyncio.sleep(1.0)
        assert_nothing_is_left(house)
    finally:
        house.close()
    return house, outcome


def assert_nothing_is_left(house: House) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others == set()
    calls = house.calls
    assert len(calls) == 0
    assert (calls._by_carrier_call, calls._claimed, calls._tasks) == ({}, {}, {})
    assert calls._services.ticker._slot_of == {}
    assert house.agent.live == 0
    assert [link for ends in house.network.links for link in ends if link.connected] == []
    assert calls.counts.failed == 0


def assert_told_the_truth(house: House, plan: Plan) -> None:
    counts = house.calls.counts
    records = [json.loads(path.read_text()) for path in (house.folder / "calls").glob("*.json")]
    assert len(records) == counts.ended
    assert counts.accepted <= counts.ended
    assert counts.ended + counts.abandoned + counts.refused >= 1
    for record in records:
        ends = [entry for entry in record["timeline"] if entry["event"] == "call.ended"]
        assert len(ends) == 1
        assert record["timeline"][-1] == ends[0]
        assert record["ended_reason"] == ends[0]["ended_reason"]
        for turn in record["transcript"]:
            assert turn["heard_ms"] is None or turn["heard_ms"] >= 0
        if not plan.invents:
            errors = [entry for entry in record["timeline"] if entry["event"] == "agent.error"]
            refusals = [
                entry
                for entry in errors
                if entry["code"] != "malformed"
                and any(word in entry["message"] for word in ("runcat", "shorter", "not exist", "not found"))
            ]
            assert [entry for entry in refusals if PLANNED_REFUSAL not in entry["message"]] == []
        if record["recording"] is not None:
            assert_recording_is_sane(record, plan)
    for each in AuditedPlayout.audited:
        assert each.settled(), (each.given, each.known_heard, each.discarded)


def assert_recording_is_sane(record: dict[str, Any], plan: Plan) -> None:
    with wave.open(record["recording"]) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        length = file.getnframes() / 8000
        assert len(file.readframes(file.getnframes())) == file.getnframes() * 4
    if not plan.forges_audio:
        # Media time (what a stall held back included, either way), the agent's last words beyond it, nothing else.
        held = sum(stall.duration for stall in plan.impairments.stalls)
        assert length <= record["duration_seconds"] + held + 2.0


def assert_traces_replay(house: House) -> None:
    assert house.traces is not None
    for trace in house.traces.glob("*.jsonl"):  # none where every socket was refused
        replayed = replay(trace)
        assert replayed.differences == []


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    # A failing plan is told as it was drawn: shrinking whole calls takes minutes and says little more.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)
@given(plan=PLANS)
def test_every_call_ends_and_leaves_nothing_behind(
    virtual: RunAsync, monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    monkeypatch.setattr(carrier_leg, "PlayoutClock", AuditedPlayout)
    AuditedPlayout.audited.clear()
    with tempfile.TemporaryDirectory() as folder:
        house, outcome = virtual(run(plan, Path(folder)))
        event(f"ended by {outcome.ended_by.value}")
        event(f"reasons {sorted(house.calls.counts.ended_reasons)}")
        assert_told_the_truth(house, plan)
        assert_traces_replay(house)
