"""Turns one audio format into another as the audio of a call arrives: law, rate or both.

The cheapest way that exists is taken: the same format passes untouched, law to law is one table look-up,
and only a change of rate costs a filter (`media.resample`) and its 0.7-2.3 ms of delay.
"""

from media import g711
from media.audio import AudioFormat, Encoding
from media.resample import Resampler


class Transcoder:
    """Converts one direction of one call.

    Driven by audio alone, cut anywhere: half a 16-bit sample waits for its other half. It never withholds
    more than `delay` seconds, and `flush` returns those.
    """

    __slots__ = ("_half", "_resampler", "_source", "_target", "_wide", "delay", "passthrough")

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.passthrough = source == target
        self._source, self._target = source.encoding, target.encoding
        self._wide = source.encoding is Encoding.PCM16
        self._resampler = None if source.rate == target.rate else Resampler(source.rate, target.rate)
        self.delay = 0.0 if self._resampler is None else self._resampler.delay
        self._half = b""

    def lead_in(self) -> None:
        """Before a run's first audio: have it follow as much silence as is withheld.

        It is heard no later for it. But whole frames give whole frames: else the first would lack its end, and where
        only whole frames are passed on, each would wait for the next.
        """
        if self._resampler is not None:
            self._resampler.lead_in()

    def feed(self, audio: bytes) -> bytes:
        if self.passthrough:
            return audio
        if self._resampler is not None:
            pcm = self._resampler.feed(g711.decode(audio, self._source))
            return g711.encode(pcm, self._target)
        if self._wide:
            audio = self._whole_samples(audio)
        return g711.transcode(audio, self._source, self._target)

    def flush(self) -> bytes:
        """Return what is still withheld; what is fed next is a new run of audio."""
        self._half = b""
        return b"" if self._resampler is None else g711.encode(self._resampler.flush(), self._target)

    def reset(self) -> None:
        """Forget what is withheld: it will never be heard."""
        self._half = b""
        if self._resampler is not None:
            self._resampler.reset()

    def _whole_samples(self, audio: bytes) -> bytes:
        if self._half or len(audio) & 1:
            audio = self._half + audio
            whole = len(audio) & ~1
            audio, self._half = audio[:whole], audio[whole:]
        return audio
