"""Addresses, headers and formats of the servers that speak this wire."""

import pytest

from media.audio import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.realtime.dialects import DIALECTS, OPENAI, connection, read_format


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://api.openai.com/v1/realtime", "wss://api.openai.com/v1/realtime?model=gpt%2F2%3D"),
        ("ws://127.0.0.1:8770/v1/realtime?model=own", "ws://127.0.0.1:8770/v1/realtime?model=own"),
        ("wss://h/r?call_id=rtc_1", "wss://h/r?call_id=rtc_1"),
        ("wss://h/r?key=a%20b&model=#part", "wss://h/r?key=a%20b&model="),
        ("ws://h/r?duplex=1", "ws://h/r?duplex=1&model=gpt%2F2%3D"),
    ],
)
def test_the_model_is_added_unless_the_address_names_one(url: str, address: str) -> None:
    assert connection(url, "", "gpt/2=") == (address, {})


def test_keys_travel_as_the_dialect_wants_them_and_never_with_a_beta_header() -> None:
    assert connection("wss://h/r", "secret", "m")[1] == {"Authorization": "Bearer secret"}
    assert connection("wss://h/r", "secret", "m", DIALECTS["azure"])[1] == {"api-key": "secret"}


@pytest.mark.parametrize(
    ("spelt", "audio"),
    [
        ({"type": "audio/pcmu"}, PCMU_8K),
        ({"type": "audio/pcmu", "rate": 8000}, PCMU_8K),
        ({"type": "audio/PCMA"}, PCMA_8K),
        ("g711_ulaw", PCMU_8K),
        ({"type": "audio/g711_alaw"}, PCMA_8K),
        ("pcm16", PCM16_24K),
        ({"type": "audio/pcm"}, PCM16_24K),
        ({"type": "audio/pcm", "rate": 16000}, PCM16_16K),
        ("pcm16_8000hz", PCM16_8K),
        ({"type": "audio/pcmu", "rate": 16000}, None),
        ({"type": "audio/pcm", "rate": 44100}, None),
        ({"type": "audio/pcm", "rate": "24000"}, None),
        ({"type": ["audio/pcm"]}, None),
        ({"type": "audio/opus"}, None),
        (None, None),
        (7, None),
    ],
)
def test_a_format_is_read_however_it_is_written(spelt: object, audio: AudioFormat | None) -> None:
    assert read_format(spelt, OPENAI) == audio
