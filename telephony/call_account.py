"""The account of a simulated call: what is counted, timed and noted of it, and the outcome that comes of it."""

from collections import Counter
from collections.abc import Callable

from media import g711
from media.audio import AudioFormat, Encoding
from telephony.caller import Caller, Note
from telephony.impairments import Disorder
from telephony.line import Line
from telephony.outcome import BargedIn, CallOutcome, EchoLatency, EndedBy
from telephony.simulated_carrier import SimulatedCarrier
from telephony.simulated_stream import SimulatedStream

# Enough to see what is wrong with a gateway; a flood is counted, not kept.
_KEPT_DETAILS = 50


class CallAccount:
    """Driven by the call as it goes on; decides nothing about it. Its moments are seconds of the loop's clock."""

    def __init__(
        self,
        caller: Caller,
        line: Line,
        outbound: AudioFormat,
        *,
        history: bool,
        on_note: Callable[[Note], None] | None,
        on_echo: Callable[[float], None] | None,
    ) -> None:
        """
        Args:
            outbound: what `line` carries.
            history: whether `line` keeps what was heard.
            on_note: told each line of the timeline as it is written.
            on_echo: told how long each echoed frame took, in seconds; the outcome then has no latencies.
        """
        self.sent = 0
        """Frames given to the wire."""
        self.unsent = 0
        """Frames that no stream took."""
        self.messages = 0
        """Of the gateway, of any kind."""
        self.media = 0
        self.lateness = 0.0
        """The latest a mark was returned, in seconds after it was due."""
        self.tails = 0
        self.streams: list[SimulatedStream] = []
        self.began_at = 0.0
        self.accepted_at: float | None = None
        self.started_at: float | None = None
        self._caller = caller
        self._line = line
        self._outbound = outbound
        self._history = history
        self._complaints: Counter[str] = Counter()
        self._details: list[str] = []
        self._notes: list[Note] = []
        self._notes_told = 0
        self._tag_sent: dict[int, float] = {}
        self._latencies: list[float] = []
        self._on_note = on_note
        self._on_echo = on_echo or self._latencies.append

    def complain(self, code: str, detail: str) -> None:
        """Count what the carrier finds wrong with the gateway."""
        self._complaints[code] += 1
        if len(self._details) < _KEPT_DETAILS:
            self._details.append(f"{code}: {detail}")

    def tag_left(self, number: int, at: float) -> None:
        """A frame whose way back is timed has really left."""
        self._tag_sent[number] = at

    def came_back(self, audio: bytes, arrived_at: float) -> None:
        """Time the frames that came back in this audio of the gateway."""
        if not self._tag_sent:
            return
        for number in self._caller.tags.find(audio):
            sent_at = self._tag_sent.pop(number, None)
            if sent_at is not None:
                self._on_echo(arrived_at - sent_at)

    def note(self, at: float, what: str) -> None:
        """Write a line of the timeline; `at` on the loop's clock, in seconds."""
        note = Note(at, what)
        self._notes.append(note)
        if self._on_note is not None:
            self._on_note(note)

    def tell_notes(self) -> None:
        """Tell what the caller has noted since last time."""
        if self._on_note is None:
            return
        notes = self._caller.notes
        for note in sorted(notes[self._notes_told :], key=lambda note: note.at):
            self._on_note(note)
        self._notes_told = len(notes)

    def outcome(
        self, now: float, carrier: SimulatedCarrier, disorder: Disorder, *, ended_by: EndedBy, refusal: str
    ) -> CallOutcome:
        """What came of the call, at its end."""
        line, caller = self._line, self._caller
        last = self.streams[-1] if self.streams else None
        complaints = Counter(self._complaints)
        if line.discarded:
            complaints["31931"] += 1
        return CallOutcome(
            carrier=carrier.name,
            call_id=carrier.call_id,
            ended_by=ended_by,
            refusal=refusal,
            began_at=self.began_at,
            accepted_at=self.accepted_at,
            started_at=self.started_at,
            agent_heard_at=caller.ear.first_at,
            ended_at=now,
            close_code=last.close_code if last else None,
            close_reason=last.reason if last else "",
            streams=tuple(stream.record() for stream in self.streams),
            frames_said=caller.frames,
            frames_sent=self.sent,
            frames_lost=disorder.lost,
            frames_reordered=disorder.reordered,
            frames_unsent=self.unsent,
            messages_received=self.messages,
            media_received=self.media,
            received=line.received,
            played=line.played(now),
            dropped=line.dropped,
            discarded=line.discarded,
            underruns=line.underruns,
            gaps=tuple(line.gaps),
            tails=self.tails,
            marks_received=line.marks_received,
            marks_played=line.marks_played,
            marks_flushed=line.marks_flushed,
            marks=tuple(line.marks),
            mark_lateness=self.lateness,
            clears=tuple(line.clears),
            breaks=tuple(line.breaks),
            playouts=tuple(line.playouts()),
            barge_ins=self._barge_ins(),
            digits=caller.digits,
            timeouts=caller.timeouts,
            latency=EchoLatency.of(caller.tags.sent, self._latencies),
            latencies=tuple(self._latencies),
            complaints=complaints,
            complaint_details=tuple(self._details),
            timeline=tuple(sorted([*self._notes, *caller.notes], key=lambda note: note.at)),
            heard=self._heard(now),
            heard_rate=self._outbound.rate,
        )

    def _barge_ins(self) -> tuple[BargedIn, ...]:
        found = []
        for at in self._caller.barge_ins:
            clear = next((clear for clear in self._line.clears if clear.at >= at), None)
            silent_at = None
            if clear is not None and self._history:
                silent_at = max(
                    (h.at + self._outbound.duration(h.audio) for h in self._line.heard(clear.at)),
                    default=None,
                )
            found.append(BargedIn(at=at, clear_at=None if clear is None else clear.at, silent_at=silent_at))
        return tuple(found)

    def _heard(self, now: float) -> bytes:
        if self.started_at is None or not self._history:
            return b""
        audio = self._line.recording(self.started_at, now)
        encoding = self._outbound.encoding
        return audio if encoding is Encoding.PCM16 else g711.decode(audio, encoding)
