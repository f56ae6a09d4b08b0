"""The input audio buffer of a server-side session and the voice activity detection that listens to it.

One clock: the audio *written* to the session since it began. A burst moves that clock, silence that is not
sent does not (the service works so; see `input_audio_buffer.speech_started` in the OpenAI reference).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from media import g711
from media.audio import AudioFormat, Encoding
from media.realtime.server_config import EAGERNESS_SILENCE
from media.resample import Resampler
from media.vad import SpeechOff, SpeechOn, VoiceActivity

VAD_RATE = 8_000
# Voiced audio that makes speech of a noise: long enough for a click, short enough for "no".
ONSET = 0.080
# The service accepts less than 100 ms as an empty commit.
MIN_COMMIT_MS = 100
# Kept for a behaviour that listens; a turn longer than this loses its beginning.
MAX_KEPT = 60.0


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    audio_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    start_ms: int
    audio_ms: int


def aggressiveness(threshold: float) -> int:
    """Return the webrtcvad mode nearest to the service's activation threshold."""
    return min(3, int(threshold * 5))


class InputBuffer:
    """Driven by appended audio; says when speech begins and ends. Never decides what follows from it."""

    def __init__(
        self, audio_format: AudioFormat, detection: Mapping[str, object] | None, *, keep: bool
    ) -> None:
        self._keep = keep
        self._written = 0
        self._since = 0
        """Where the uncommitted audio begins, in samples written."""
        self._kept = bytearray()
        self._speech_ms: int | None = None
        self.configure(audio_format, detection)

    def configure(self, audio_format: AudioFormat, detection: Mapping[str, object] | None) -> None:
        """Take another format or other detection settings; the clock goes on."""
        written_ms = 0 if self._written == 0 else self.written_ms
        self.audio_format = audio_format
        self._written = self._since = written_ms * audio_format.rate // 1000
        self._kept.clear()
        self._torn = b""
        self._detection = detection
        self._restart_detection()

    def _restart_detection(self) -> None:
        self._speech_ms = None
        self._vad: VoiceActivity | None = None
        self._resampler: Resampler | None = None
        self._vad_base_ms = self.written_ms
        detection = self._detection
        if detection is None:
            return
        if detection["type"] == "server_vad":
            silence_ms = _int(detection["silence_duration_ms"])
            mode = aggressiveness(_float(detection["threshold"]))
            self._padding_ms = _int(detection["prefix_padding_ms"])
        else:
            silence_ms, mode, self._padding_ms = EAGERNESS_SILENCE[str(detection["eagerness"])], 2, 300
        self._hangover_ms = max(20, silence_ms)
        self._vad = VoiceActivity(VAD_RATE, mode, onset=ONSET, hangover=self._hangover_ms / 1000)
        if self.audio_format.rate != VAD_RATE:
            self._resampler = Resampler(self.audio_format.rate, VAD_RATE)

    @property
    def written_ms(self) -> int:
        return self._written * 1000 // self.audio_format.rate

    @property
    def pending_ms(self) -> int:
        """Uncommitted audio."""
        return (self._written - self._since) * 1000 // self.audio_format.rate

    @property
    def speaking(self) -> bool:
        return self._speech_ms is not None

    def feed(self, audio: bytes) -> list[SpeechBegan | SpeechEnded]:
        """Append audio and return what was heard in it."""
        if self._torn or len(audio) % self.audio_format.sample_bytes:
            audio = self._whole_samples(audio)
        self._written += self.audio_format.samples(audio)
        if self._keep:
            self._kept += audio
            self._trim()
        if self._vad is None:
            return []
        heard: list[SpeechBegan | SpeechEnded] = []
        for change in self._vad.feed(self._telephone_pcm(audio)):
            at_ms = self._vad_base_ms + change.at_sample * 1000 // VAD_RATE
            match change:
                case SpeechOn():
                    self._speech_ms = max(self._vad_base_ms, at_ms - self._padding_ms)
                    heard.append(SpeechBegan(self._speech_ms))
                case SpeechOff():
                    start_ms, self._speech_ms = self._speech_ms, None
                    if start_ms is not None:  # else the client committed in the middle of it
                        # The service counts the silence that ended the turn in.
                        end_ms = min(at_ms + self._hangover_ms, self.written_ms)
                        heard.append(SpeechEnded(start_ms, end_ms))
        return heard

    def _whole_samples(self, audio: bytes) -> bytes:
        """Keep half a sample back until its other half comes."""
        audio = self._torn + audio
        size = len(audio) - len(audio) % self.audio_format.sample_bytes
        self._torn = audio[size:]
        return audio[:size]

    def _telephone_pcm(self, audio: bytes) -> bytes:
        if self.audio_format.encoding is not Encoding.PCM16:
            return g711.decode(audio, self.audio_format.encoding)
        return audio if self._resampler is None else self._resampler.feed(audio)

    def _trim(self) -> None:
        """Drop what no commit can want: all but the padding while nobody speaks, and what is too old."""
        longest = MAX_KEPT
        if self._vad is not None and self._speech_ms is None:
            longest = 1.0 + self._padding_ms / 1000
        limit = int(longest * self.audio_format.rate) * self.audio_format.sample_bytes
        # In blocks: shifting the buffer for every frame would cost more than the frame.
        if len(self._kept) > 2 * limit:
            del self._kept[:-limit]

    def commit(self, start_ms: int | None = None, end_ms: int | None = None) -> tuple[float, bytes]:
        """Take the buffer, or the part of it from `start_ms` to `end_ms`: seconds, and audio if it is kept."""
        now_ms = self.written_ms
        begin = now_ms - self.pending_ms if start_ms is None else start_ms
        end = now_ms if end_ms is None else min(end_ms, now_ms)
        audio = bytes(self._slice(begin, end)) if self._keep else b""
        self._since = min(self._written, end * self.audio_format.rate // 1000)
        self._speech_ms = None
        return max(0, end - begin) / 1000, audio

    def _slice(self, begin_ms: int, end_ms: int) -> bytearray:
        size = self.audio_format.sample_bytes
        first = self._written - len(self._kept) // size

        def offset(at_ms: int) -> int:
            return max(0, at_ms * self.audio_format.rate // 1000 - first) * size

        return self._kept[offset(begin_ms) : offset(end_ms)]

    def clear(self) -> None:
        """Forget what is not committed, and any speech going on in it."""
        self._since = self._written
        self._kept.clear()
        self._restart_detection()


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _float(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
