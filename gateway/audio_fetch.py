"""Audio from a user's URL, for the caller's ear: fetched under the egress policy, decoded, and bounded in length."""

import asyncio
from io import BytesIO

from pydub import AudioSegment
from pydub.exceptions import CouldntDecodeError

from control.api.ports import AudioUnavailable, FetchedAudio
from control.egress import EgressFailed, Fetch, OutgoingRequest

# Music on hold is a few megabytes; decoded, this is an hour of telephone audio at most.
_MAX_BYTES = 16 * 1024 * 1024
_LONGEST = 3_600.0
_RATE = 24_000
_REDIRECTS = 3
_WAV = b"RIFF"


class AudioFetch:
    """Driven by the API, once per request that names audio."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def __call__(self, url: str) -> FetchedAudio:
        """
        Raises:
            AudioUnavailable: the URL may not be fetched, or is no audio.
        """
        if not url.startswith(("http://", "https://")):
            raise AudioUnavailable("recordings of other calls cannot be played yet; give a url")
        try:
            answer = await self._fetch(OutgoingRequest(url=url, max_bytes=_MAX_BYTES, redirects=_REDIRECTS))
        except EgressFailed as failed:
            raise AudioUnavailable(f"the audio cannot be fetched: {failed.detail}") from failed
        if not answer.ok:
            raise AudioUnavailable(f"the audio's server answered HTTP {answer.status}")
        if answer.truncated:
            raise AudioUnavailable(f"the audio is longer than {_MAX_BYTES // 1024 // 1024} MB")
        # Decoding takes a while, and may start ffmpeg: not on the loop that calls run on.
        return await asyncio.get_running_loop().run_in_executor(None, decoded, answer.body)


def decoded(body: bytes) -> FetchedAudio:
    """Return a file's audio, mono.

    Raises:
        AudioUnavailable: it is none that can be read here.
    """
    try:
        # Told so, WAV is read without ffmpeg.
        sound = AudioSegment.from_file(BytesIO(body), format="wav" if body.startswith(_WAV) else None)
    except FileNotFoundError as error:
        raise AudioUnavailable("without ffmpeg only WAV can be read here") from error
    except (CouldntDecodeError, IndexError, OSError, EOFError, ValueError) as error:
        raise AudioUnavailable("the file is no audio that can be read") from error
    if sound.duration_seconds > _LONGEST:
        raise AudioUnavailable(f"the audio is longer than {_LONGEST:.0f} s")
    mono = sound.set_channels(1).set_sample_width(2)
    if mono.frame_rate > _RATE:
        mono = mono.set_frame_rate(_RATE)
    if not mono.raw_data:
        raise AudioUnavailable("the file holds no sound")
    return FetchedAudio(bytes(mono.raw_data), mono.frame_rate)
