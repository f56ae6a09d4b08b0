"""A call's record: what it was, how it went, and why it ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from control.bridge import Bridge
from control.timeline import Value
from media.level import Level
from media.realtime.events import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What the shell knows of a call and the bridge does not."""

    call_id: str
    carrier: str
    started_at: str
    """RFC 3339, UTC; wall-clock times are told from here on by the call's own clock."""
    recording: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSummary:
    """What the media of a call came to: the part of its record that the bridge knows."""

    turn_count: int
    barge_in_count: int
    tools_called: tuple[str, ...]
    transcript: tuple[Mapping[str, object], ...]
    latency_turns: tuple[Mapping[str, object], ...]
    usages: tuple[Usage, ...]
    """What each provider's model has consumed, in the order of the policy's `providers`."""
    ws_unavailable: bool
    recording: str | None
    """Where the recording is, if there is one."""

    @property
    def usage(self) -> Mapping[str, int | float]:
        """What all models together have consumed."""
        return _together(self.usages)


# Utterances that may still change when the next comes: transcriptions are late, and cuts are told of the one before. Of
# a call of hours no more than these is looked at after each turn; of answers, the last alone is not over.
_LATEST = 16
_LATEST_TURNS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaProgress:
    """What the media of a live call has come to so far; of what grows, the latest."""

    turn_count: int
    barge_in_count: int
    tools_called: tuple[str, ...]
    first_utterance: int
    """The place of the first of these in the call's transcript, from 0."""
    transcript: tuple[Mapping[str, object], ...]
    first_turn: int
    """Likewise."""
    latency_turns: tuple[Mapping[str, object], ...]
    usages: tuple[Usage, ...]
    ws_unavailable: bool

    @property
    def usage(self) -> Mapping[str, int | float]:
        return _together(self.usages)


def media_progress(bridge: Bridge) -> MediaProgress:
    said, answered = bridge.transcript.utterances, bridge.latency.turns
    return MediaProgress(
        turn_count=len(bridge.turns.turns),
        barge_in_count=bridge.turns.barge_ins,
        tools_called=tuple(bridge.tools.names),
        first_utterance=max(0, len(said) - _LATEST),
        transcript=tuple(utterance.as_dict() for utterance in said[-_LATEST:]),
        first_turn=max(0, len(answered) - _LATEST_TURNS),
        latency_turns=tuple(turn.as_dict() for turn in answered[-_LATEST_TURNS:]),
        usages=tuple(bridge.usages),
        ws_unavailable=bridge.ws_unavailable,
    )


def _together(usages: Iterable[Usage]) -> Mapping[str, int | float]:
    total = sum(usages, Usage())
    return {name: getattr(total, name) for name in total.__slots__}


def media_summary(bridge: Bridge, recording: str | None) -> MediaSummary:
    return MediaSummary(
        turn_count=len(bridge.turns.turns),
        barge_in_count=bridge.turns.barge_ins,
        tools_called=tuple(bridge.tools.names),
        transcript=tuple(utterance.as_dict() for utterance in bridge.transcript.utterances),
        latency_turns=tuple(turn.as_dict() for turn in bridge.latency.turns),
        usages=tuple(bridge.usages),
        ws_unavailable=bridge.ws_unavailable,
        recording=recording,
    )


def call_record(facts: CallFacts, bridge: Bridge) -> dict[str, object]:
    """Return the record of an ended call, with the field names of the REST API."""
    summary = media_summary(bridge, facts.recording)
    started, answered, ended = bridge.started, bridge.answered_at, bridge.ended_at
    duration = ended - answered if ended is not None and answered is not None else 0.0
    return {
        "call_id": facts.call_id,
        "carrier": facts.carrier,
        "carrier_call_id": started.carrier_call_id if started else None,
        "from_number": started.from_number if started else None,
        "to_number": started.to_number if started else None,
        "status": "completed" if answered is not None else "failed",
        "ended_reason": bridge.ended_reason,
        "started_at": facts.started_at,
        "duration_seconds": round(duration, 3),
        "turn_count": summary.turn_count,
        "barge_in_count": summary.barge_in_count,
        "tool_call_count": len(summary.tools_called),
        "tools_called": list(summary.tools_called),
        "ws_unavailable": summary.ws_unavailable,
        "has_recording": facts.recording is not None,
        "recording": facts.recording,
        "transcript": list(summary.transcript),
        "latency_data": {"turns": list(summary.latency_turns)},
        "usage": summary.usage,
        "media": _media(bridge),
        "timeline": [event.as_dict() for event in bridge.timeline.events],
    }


def _media(bridge: Bridge) -> dict[str, Value]:
    """The counts that answer whether the audio was sound."""
    playout, frames = bridge.carrier.playout, bridge.carrier.frames
    return {
        "stream_generations": bridge.carrier.generation,
        "inbound": str(bridge.carrier.inbound),
        "outbound": str(playout.format),
        "round_trip_ms": round(playout.round_trip * 1000, 1),
        "frames_received": frames.received,
        "frames_reordered": frames.reordered,
        "frames_lost": frames.lost,
        "written_samples": playout.written,
        "sent_samples": playout.sent,
        "marks_overdue": playout.marks_overdue,
        **_levels("caller", bridge.carrier.caller_level.take()),
        **_levels("agent", bridge.carrier.agent_level.take()),
        "uplink_frames_dropped": bridge.uplink_dropped,
    }


def _levels(side: str, level: Level) -> dict[str, Value]:
    """How loud a track of the recording is: silence on one of them is a call in which somebody was not heard."""
    return {
        f"{side}_rms_dbfs": round(level.rms_dbfs, 1),
        f"{side}_peak_dbfs": round(level.peak_dbfs, 1),
        f"{side}_clipped_samples": level.clipped,
    }
