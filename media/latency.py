"""Per-turn latency: stage marks of one answer, told as offsets from the end of the caller's speech.

Turn zero is the moment the caller fell silent (for the greeting: the stream's start). A model's voice detection
reports the end of speech only after its own silence window, so zero lies that window before the report.
"""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class TurnLatency:
    """One answer's stages; every `*_ms` is an offset from turn zero except `user_speech_ms`, a length.

    A stage that has not happened is None.
    """

    turn: int
    ts: float
    """Turn zero, seconds since the call was answered."""
    user_speech_ms: int
    llm_ttfb_ms: int | None = None
    """The model began a response."""
    tts_start_ms: int | None = None
    """Its first output of any kind."""
    tts_ttfb_ms: int | None = None
    """Its first audio arrived."""
    first_audio_sent_ms: int | None = None
    first_audio_heard_ms: int | None = None
    """At the carrier, one way after it was sent."""

    def as_dict(self) -> dict[str, int | float | None]:
        return asdict(self)


class LatencyTracker:
    """Collects one `TurnLatency` for every answer. Driven by the bridge; every stage counts once per turn."""

    def __init__(self, answered: float) -> None:
        self.turns: list[TurnLatency] = []
        self._answered = answered
        self._zero = answered
        self._open: TurnLatency | None = None
        self._speech_started: float | None = None

    def greeting(self, now: float) -> None:
        """The agent is to speak first: turn zero is now."""
        self._begin(now, 0.0)

    def caller_started(self, now: float) -> None:
        self._speech_started = now

    def caller_stopped(self, now: float, silence: float) -> None:
        """The caller fell silent `silence` seconds before `now`, when it was reported."""
        zero = now - silence
        started = self._speech_started if self._speech_started is not None else zero
        self._speech_started = None
        self._begin(zero, max(0.0, zero - started))

    def response_started(self, now: float) -> None:
        if (turn := self._open) and turn.llm_ttfb_ms is None:
            turn.llm_ttfb_ms = self._since(now)

    def output_started(self, now: float) -> None:
        if (turn := self._open) and turn.tts_start_ms is None:
            turn.tts_start_ms = self._since(now)

    def audio_received(self, now: float) -> None:
        self.output_started(now)
        if (turn := self._open) and turn.tts_ttfb_ms is None:
            turn.tts_ttfb_ms = self._since(now)

    def audio_sent(self, now: float, one_way: float) -> None:
        """The first audio of the answer left; the caller hears it `one_way` seconds later. Closes the turn."""
        turn = self._open
        if turn is None:
            return
        turn.first_audio_sent_ms = self._since(now)
        turn.first_audio_heard_ms = self._since(now + one_way)
        self._open = None

    def _begin(self, zero: float, speech: float) -> None:
        self._zero = zero
        self._open = TurnLatency(len(self.turns) + 1, round(zero - self._answered, 3), round(speech * 1000))
        self.turns.append(self._open)

    def _since(self, now: float) -> int:
        return round((now - self._zero) * 1000)
