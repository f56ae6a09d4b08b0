"""How a leg of the simulated Telnyx reads a stream's options; what it does is in test_telnyx_rest_simulator."""

from telephony.telnyx.rest_requests import Parameters
from telephony.telnyx.simulated_leg import StreamOptions, wall_clock


def test_without_the_mode_a_stream_is_not_rtp() -> None:
    options = StreamOptions.of(Parameters(b'{"stream_url": "wss://a/b"}'))
    assert options is not None
    assert (options.rtp, options.codec, options.outbound_codec, options.auth_token) == (
        False,
        "default",
        "PCMU",
        None,
    )
    assert StreamOptions.of(Parameters(b"{}")) is None


def test_times_are_written_as_telnyx_does() -> None:
    assert len(wall_clock()) == len("2026-01-01T00:00:00.000000Z")
