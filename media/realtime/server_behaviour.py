"""What a server-side session asks of whoever speaks through it, and what it is told to say.

The session (`media.realtime.server`) knows the wire: ids, order, validation, pacing, cancellation. A
behaviour knows the conversation: which words the caller "said" and which reply comes next. A behaviour
may answer `None` and give the answer later (`AgentServerSession.transcribed`, `.replied`), so a slow
pipeline fits the same face as a script.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from media import g711
from media.audio import PCM16_24K, AudioFormat, Encoding
from media.resample import resample_whole


class Sound:
    """PCM16 audio, rendered once for each format it is asked for.

    Shared by every session of a script: a hundred calls encode a greeting once.
    """

    def __init__(self, pcm: bytes, rate: int = PCM16_24K.rate) -> None:
        self.pcm = pcm
        self.rate = rate
        self._rendered: dict[AudioFormat, bytes] = {}

    @property
    def duration(self) -> float:
        return len(self.pcm) / 2 / self.rate

    def encoded(self, audio_format: AudioFormat) -> bytes:
        """Return this sound as `audio_format` writes it."""
        rendered = self._rendered.get(audio_format)
        if rendered is None:
            rendered = self._rendered[audio_format] = self._render(audio_format)
        return rendered

    def _render(self, audio_format: AudioFormat) -> bytes:
        pcm = self.pcm
        if self.rate != audio_format.rate:
            pcm = resample_whole(pcm, self.rate, audio_format.rate)
        return pcm if audio_format.encoding is Encoding.PCM16 else g711.encode(pcm, audio_format.encoding)


@dataclass(frozen=True, slots=True)
class Speech:
    """One output message: words and their sound."""

    text: str
    sound: Sound


@dataclass(frozen=True, slots=True)
class FunctionCall:
    name: str
    arguments: str
    """A JSON object, as text: a script may also hold a broken one."""


# --- faults: what a real service does on its bad days -----------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SendError:
    """An `error` event out of the blue."""

    at: float
    code: str | None
    message: str
    kind: str = "server_error"
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseSocket:
    at: float
    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Neither read nor send for `duration` seconds; None: for good."""

    at: float
    duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRaw:
    """Any bytes in place of an event."""

    at: float
    message: bytes


Fault = SendError | CloseSocket | Stall | SendRaw
"""`at` counts in seconds from `response.created` (a reply's fault) or from the start of the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateDeltas:
    """Audio that still comes after the response was cut: a generator that is slow to stop."""

    count: int
    spacing: float = 0.05
    after_done: bool = False
    """Send `response.done` first, and the late audio after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncateRefusal:
    """Refuse every truncation of the reply's items with this error."""

    code: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One response: its items in order, and how fast they come."""

    items: tuple[Speech | FunctionCall, ...]
    delay: float = 0.0
    """Seconds from `response.created` to the first item."""
    pace: float | None = None
    """Generation speed in seconds of audio per second; None: a burst, all at once."""
    delta: float = 0.2
    """Seconds of audio in one delta."""
    faults: tuple[Fault, ...] = ()
    late: LateDeltas | None = None
    truncate_refusal: TruncateRefusal | None = None
    failure: str | None = None
    """End with status `failed` and this error code, after whatever items there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """What the caller is said to have said."""

    text: str
    delay: float = 0.3
    """Seconds after the commit; the real one often comes after the reply began."""
    failure: str | None = None
    """Report `transcription.failed` with this code instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFaults:
    """Faults that are not part of one reply."""

    refused_formats: frozenset[str] = frozenset()
    """Wire names (`audio/pcmu`) that a session.update is refused for."""
    forced_format: AudioFormat | None = None
    """What `session.updated` says, and the audio is, whatever was asked for."""
    silent_update: bool = False
    """Apply a session.update but never say so."""
    update_delay: float = 0.0
    expires_in: float = 3600.0
    """Seconds; the real service closes at 60 minutes."""
    timed: tuple[Fault, ...] = ()


# --- what the behaviour is asked -------------------------------------------------------------------


class Origin(StrEnum):
    """Who asked for a response."""

    CLIENT = "client"
    SPEECH = "speech"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class ToolOutput:
    call_id: str
    name: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerTurn:
    """Caller audio that was committed to the conversation."""

    item_id: str
    duration: float
    audio: bytes
    """Empty unless the behaviour keeps audio."""
    audio_format: AudioFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRequest:
    response_id: str
    origin: Origin
    instructions: str | None
    """Of this response alone."""
    session_instructions: str
    caller_spoke: bool
    """Whether the conversation holds anything of the caller's yet."""
    out_of_band: bool
    """`conversation: "none"`: a question aside, not part of the call."""
    tool_outputs: tuple[ToolOutput, ...]
    """Given since the last response."""
    last_text: str | None
    """The newest caller text that was typed in, not spoken (digits pressed, an injected note)."""
    history: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    """The items so far, as the wire shows them."""


class Behaviour(Protocol):
    """One conversation's other half; one object per session."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str:
        """What this is, for people: said in `session.created`."""
        ...

    @property
    def echo(self) -> bool:
        """Whether each appended frame comes straight back; then nothing else is asked of the behaviour."""
        ...

    @property
    def keeps_audio(self) -> bool:
        """Whether `CallerTurn.audio` is wanted."""
        ...

    @property
    def faults(self) -> SessionFaults: ...

    def heard(self, turn: CallerTurn) -> Transcription | None:
        """Say what the caller said; None: it follows by `AgentServerSession.transcribed`."""
        ...

    def reply(self, request: ResponseRequest) -> Reply | None:
        """Say what comes next; None: it follows by `AgentServerSession.replied`."""
        ...

    def cancelled(self, response_id: str) -> None:
        """A response was cut; a late reply to it would be dropped."""
        ...
