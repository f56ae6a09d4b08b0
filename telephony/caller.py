"""A person on the phone who follows a script: speaks, waits, listens, barges in, presses digits, hangs up.

Theory of operation. Once answered the caller says one frame every 20 ms, from an absolute origin: frame n
covers [n, n + 1) frames after the origin and leaves at its end. Before each frame the caller listens to what
the line played in the same 20 ms and so reacts to what is heard, never to messages. The script is a
generator that yields one frame at a time.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from media import g711
from media.audio import PCMU_8K, PTIME, AudioFormat, Encoding
from media.dtmf import tone

Hear = Callable[[float, float], bytes]
"""What the line played between two moments; b"" when nothing (`Line.hear`)."""


# The script


@dataclass(frozen=True, slots=True)
class Speak:
    """Say something."""

    audio: bytes
    """PCM16 at the rate of the call (8 kHz)."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Be silent for some seconds."""

    duration: float


class Edge(Enum):
    """Of the agent's audio, as heard."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class AwaitAgent:
    """Listen until the agent begins, or has ended, a reply: audio that began after the caller last spoke."""

    edge: Edge
    timeout: float = 30.0
    quiet: float = 0.6
    """For this long nothing must be heard before the reply counts as ended."""


@dataclass(frozen=True, slots=True)
class BargeIn:
    """Speak into the agent's audio as soon as this much of it was heard."""

    after: float
    """Seconds since the agent's present stretch of speech began."""
    audio: bytes
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys."""

    digits: str
    on: float = 0.1
    gap: float = 0.1
    in_band: bool = False
    """Let the tones be heard in the audio too; whether a carrier takes them out is not documented."""


@dataclass(frozen=True, slots=True)
class Echo:
    """Send frames that can be told apart, to measure how long each takes to come back."""

    duration: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Do some steps again and again; forever without a number."""

    steps: Sequence["Step"]
    times: int | None = None


Step = Speak | Wait | AwaitAgent | BargeIn | Press | Echo | HangUp | Repeat


# What the caller does


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key went down."""

    digit: str
    at: float


@dataclass(frozen=True, slots=True)
class HungUp:
    """The caller hung up."""

    at: float


CallerAction = bytes | Pressed | HungUp
"""Bytes are one frame of audio."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the call's timeline."""

    at: float
    what: str


# An agent is heard when this many samples of a frame are louder than -40 dBFS: comfort noise and codec
# noise are not, speech and tones are.
_LOUD = 32_768 // 100
_LOUD_SAMPLES = 8

# A reply begins after at least this much quiet; shorter gaps lie between words.
_ONSET_QUIET = 0.2
# The agent's stretch of speech is over after this much quiet; sentences of one reply are closer together.
_STRETCH_QUIET = 0.6


class Ear:
    """Tells when the agent is heard from the level of what the line played.

    Driven by `feed`, once per frame; never looks at messages.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self.onset_at: float | None = None
        """When the agent's latest reply was first heard."""
        self.stretch_at: float | None = None
        """When the present stretch of speech began; None while the agent is silent."""
        self.loud_at = float("-inf")
        self.first_at: float | None = None
        self._encoding = audio_format.encoding

    def feed(self, audio: bytes, since: float, until: float) -> str | None:
        """Listen to one frame; return what changed, if anything."""
        if audio and is_loud(audio, self._encoding):
            quiet, self.loud_at = since - self.loud_at, until
            if self.first_at is None:
                self.first_at = since
            if quiet >= _ONSET_QUIET:
                self.onset_at = since
            if self.stretch_at is None:
                self.stretch_at = since
                return "agent heard"
        elif self.stretch_at is not None and until - self.loud_at >= _STRETCH_QUIET:
            self.stretch_at = None
            return "agent silent"
        return None


def is_loud(audio: bytes, encoding: Encoding) -> bool:
    """Whether somebody can be heard in `audio`."""
    if encoding is Encoding.PCM16:
        samples = array("h", audio)
        return sum(abs(sample) >= _LOUD for sample in samples) >= _LOUD_SAMPLES
    return len(audio.translate(None, _quiet_codes(encoding))) >= _LOUD_SAMPLES


@lru_cache
def _quiet_codes(encoding: Encoding) -> bytes:
    levels = array("h", g711.decode(bytes(range(256)), encoding))
    return bytes(code for code, level in enumerate(levels) if abs(level) < _LOUD)


class Caller:
    """Follows a script, one frame every 20 ms.

    Driven by `answer` and then by time passing (`poll`). Hears through the line it is given.
    """

    def __init__(
        self, script: Sequence[Step], audio_format: AudioFormat = PCMU_8K, *, background: bytes = b""
    ) -> None:
        """
        Args:
            background: PCM16 heard, over and over, while the caller says nothing; silence without it.
        """
        self.format = audio_format
        self.frames = 0
        """How many frames were said; also where the next one lies after the origin."""
        self.digits = ""
        self.timeouts = 0
        """How often the agent was awaited in vain."""
        self.notes: list[Note] = []
        self.barge_ins: list[float] = []
        """When each barge-in's first frame began."""
        self.tags = EchoTags(audio_format)
        self.ear = Ear(audio_format)
        self._origin: float | None = None
        self._now = 0.0
        self._spoke_at = float("-inf")
        self._hung_up = False
        self._actions: list[CallerAction] = []
        self._silence = self.format.silence(self.format.frame_samples)
        self._background = deque(self._cut(background))
        self._lines = self._perform(script)
        self._hear: Hear = _nothing

    def answer(self, now: float, hear: Hear, heard_format: AudioFormat | None = None) -> None:
        """Begin the script; `hear` is what the line plays, in `heard_format` if not the caller's own."""
        self._origin = now
        self._hear = hear
        self.ear = Ear(heard_format or self.format)

    def next_deadline(self) -> float | None:
        """Return when the next frame leaves."""
        if self._origin is None or self._hung_up:
            return None
        return self._origin + (self.frames + 1) * PTIME

    def poll(self, now: float) -> list[CallerAction]:
        """Return what the caller does by `now`, in order."""
        while (due := self.next_deadline()) is not None and due <= now:
            since = due - PTIME
            self._now = since
            change = self.ear.feed(self._hear(since, due), since, due)
            if change is not None:
                self.notes.append(Note(due, change))
            frame = next(self._lines, None)
            if frame is not None:
                self.frames += 1
                self._actions.append(frame)
        done, self._actions = self._actions, []
        return done

    # The script, one frame at a time

    def _perform(self, script: Sequence[Step]) -> Iterator[bytes]:
        yield from self._follow(script)
        while not self._hung_up:
            yield self._quiet_frame()

    def _follow(self, script: Sequence[Step]) -> Iterator[bytes]:
        for step in script:
            if self._hung_up:
                return
            yield from self._take(step)

    def _take(self, step: Step) -> Iterator[bytes]:
        match step:
            case Speak(audio):
                yield from self._speak(audio, "caller speaks")
            case Wait(duration):
                yield from self._wait(duration)
            case AwaitAgent(edge, timeout, quiet):
                yield from self._listen(
                    timeout, lambda: self._reply_heard(edge, quiet), "agent " + edge.value
                )
            case BargeIn(after, audio, timeout):
                yield from self._listen(timeout, lambda: self._heard_for(after), "agent to barge into")
                self.barge_ins.append(self._now)
                yield from self._speak(audio, "caller barges in")
            case Press():
                yield from self._press(step)
            case Echo(duration):
                for _ in range(round(duration / PTIME)):
                    yield self.tags.frame()
            case HangUp():
                self._hung_up = True
                self._actions.append(HungUp(self._now + PTIME))
                self.notes.append(Note(self._now + PTIME, "caller hangs up"))
            case Repeat(steps, times):
                yield from self._repeat(steps, times)

    def _repeat(self, steps: Sequence[Step], times: int | None) -> Iterator[bytes]:
        done = 0
        while not self._hung_up and (times is None or done < times):
            before = self.frames
            yield from self._follow(steps)
            done += 1
            if times is None and self.frames == before and not self._hung_up:
                yield self._quiet_frame()  # steps that take no time would otherwise spin here for ever

    def _speak(self, audio: bytes, note: str) -> Iterator[bytes]:
        self._spoke_at = self._now
        self.notes.append(Note(self._now, note))
        yield from self._cut(audio)

    def _wait(self, duration: float) -> Iterator[bytes]:
        for _ in range(round(duration / PTIME)):
            yield self._quiet_frame()

    def _listen(self, timeout: float, heard: Callable[[], bool], what: str) -> Iterator[bytes]:
        until = self.frames + round(timeout / PTIME)
        while not heard():
            if self.frames >= until:
                self.timeouts += 1
                self.notes.append(Note(self._now, f"caller gives up waiting: {what}"))
                return
            yield self._quiet_frame()

    def _reply_heard(self, edge: Edge, quiet: float) -> bool:
        onset = self.ear.onset_at
        if onset is None or onset < self._spoke_at:
            return False
        return edge is Edge.START or self._now + PTIME - self.ear.loud_at >= quiet

    def _heard_for(self, duration: float) -> bool:
        since = self.ear.stretch_at
        return since is not None and self._now + PTIME - since >= duration - PTIME / 2

    def _press(self, press: Press) -> Iterator[bytes]:
        for digit in press.digits:
            self.digits += digit
            self._actions.append(Pressed(digit, self._now))
            self.notes.append(Note(self._now, "caller presses a key"))
            if press.in_band:
                yield from self._cut(tone(digit, press.on, self.format.rate))
            else:
                yield from self._wait(press.on)
            yield from self._wait(press.gap)

    # Frames

    def _quiet_frame(self) -> bytes:
        if not self._background:
            return self._silence
        self._background.rotate(-1)
        return self._background[-1]

    def _cut(self, pcm: bytes) -> Iterator[bytes]:
        """Cut audio into frames of the wire, the last one filled with silence."""
        encoding, size = self.format.encoding, self.format.frame_samples * 2
        for at in range(0, len(pcm), size):
            piece = pcm[at : at + size].ljust(size, b"\0")
            yield piece if encoding is Encoding.PCM16 else g711.encode(piece, encoding)


# Of a number of four bytes.
_INVERTED = 0xFFFF_FFFF


def _nothing(since: float, until: float) -> bytes:
    return b""


class EchoTags:
    """Frames that can be told apart after any re-framing, as long as their bytes are left alone.

    Each begins with a signature and its number (twice, the second time inverted); the rest is silence.
    """

    _SIGNATURE = b"\x11\x91\x23\xa3\x35\xb5\x47\xc7"
    _SIZE = len(_SIGNATURE) + 8

    def __init__(self, audio_format: AudioFormat) -> None:
        self.sent = 0
        self._fill = audio_format.silence(audio_format.frame_samples)[self._SIZE :]
        self._rest = b""

    def frame(self) -> bytes:
        number = self.sent
        self.sent += 1
        return self._SIGNATURE + number.to_bytes(4) + (number ^ _INVERTED).to_bytes(4) + self._fill

    def find(self, audio: bytes) -> list[int]:
        """Return the numbers of the tags that are complete with `audio`, the next piece of what came back."""
        if not self.sent:
            return []
        audio = self._rest + audio
        numbers, at = [], 0
        while (found := audio.find(self._SIGNATURE, at)) >= 0 and found + self._SIZE <= len(audio):
            number = self._number(audio[found + len(self._SIGNATURE) : found + self._SIZE])
            if number is not None:
                numbers.append(number)
            at = found + len(self._SIGNATURE)
        keep = found if found >= 0 else max(at, len(audio) - len(self._SIGNATURE) + 1)
        self._rest = audio[keep:]
        return numbers

    def number(self, frame: bytes) -> int | None:
        """Return the number of a frame that is a tag."""
        if not self.sent or not frame.startswith(self._SIGNATURE):
            return None
        return self._number(frame[len(self._SIGNATURE) : self._SIZE])

    def _number(self, field: bytes) -> int | None:
        number = int.from_bytes(field[:4])
        return number if int.from_bytes(field[4:]) == number ^ _INVERTED else None
