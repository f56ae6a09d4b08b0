"""Audio from a user's URL: fetched, decoded, bounded; what cannot be had is told in words that may be shown."""

import io
import wave
from collections.abc import Callable

import numpy as np
import pytest

from control.api.ports import AudioUnavailable, FetchedAudio
from control.egress import EgressRefused, OutgoingAnswer, OutgoingRequest
from gateway.audio_fetch import AudioFetch, decoded
from tests.conftest import RunAsync


def wav(samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]], rate: int, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((channels, 2, rate, 0, "NONE", ""))
        written.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


RAMP = np.arange(0, 8_000, dtype=np.int16)


def fetched(
    run: RunAsync, answer: Callable[[OutgoingRequest], OutgoingAnswer], url: str = "https://x.example/a"
) -> FetchedAudio:
    async def fetch(request: OutgoingRequest, /) -> OutgoingAnswer:
        return answer(request)

    async def scenario() -> FetchedAudio:
        return await AudioFetch(fetch)(url)

    return run(scenario())


def test_mono_at_a_telephones_rate_comes_as_it_is(virtual: RunAsync) -> None:
    found = fetched(virtual, lambda _: OutgoingAnswer(status=200, body=wav(RAMP, 8_000)))
    assert found == FetchedAudio(RAMP.astype("<i2").tobytes(), 8_000)


def test_stereo_becomes_mono_and_high_rates_are_brought_down() -> None:
    stereo = np.column_stack([RAMP, RAMP]).reshape(-1)
    assert decoded(wav(stereo, 16_000, channels=2)) == FetchedAudio(RAMP.astype("<i2").tobytes(), 16_000)
    assert decoded(wav(RAMP, 48_000)).rate == 24_000


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (OutgoingAnswer(status=404), "answered HTTP 404"),
        (OutgoingAnswer(status=200, body=b"RIFF", truncated=True), "longer than 16 MB"),
        (OutgoingAnswer(status=200, body=b"RIFF and no sound"), "no audio that can be read"),
        (OutgoingAnswer(status=200, body=wav(RAMP[:0], 8_000)), "holds no sound"),
    ],
)
def test_what_is_no_audio_is_told(answer: OutgoingAnswer, said: str, virtual: RunAsync) -> None:
    with pytest.raises(AudioUnavailable, match=said):
        fetched(virtual, lambda _: answer)


def test_an_address_that_is_not_allowed_is_told(virtual: RunAsync) -> None:
    def refuse(_: OutgoingRequest) -> OutgoingAnswer:
        raise EgressRefused("10.0.0.1 is a private address")

    with pytest.raises(AudioUnavailable, match="private address"):
        fetched(virtual, refuse)


def test_a_recording_of_another_call_is_no_url(virtual: RunAsync) -> None:
    with pytest.raises(AudioUnavailable, match="give a url"):
        fetched(virtual, lambda _: OutgoingAnswer(status=200), "recording:call_1")
