"""Which carrier a simulated call is on."""

import re
from random import Random

import pytest

from media.audio import PCMU_8K
from telephony.carrier import WIRES
from telephony.events import Connected, DigitReceived, MarkReached, Started, Stopped
from telephony.line import ClearRequested, MarkRequested
from telephony.simulated_carrier import CARRIERS, SimulatedCarrier
from telephony.stream import CarrierStream

AUDIO = bytes(range(160))
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def a_carrier(name: str, call_id: str | None = None) -> SimulatedCarrier:
    return SimulatedCarrier(
        name,
        inbound=PCMU_8K,
        outbound=PCMU_8K,
        parameters={},
        from_number="+1",
        to_number="+2",
        call_id=call_id,
        ids=Random(4),
    )


@pytest.mark.parametrize(
    ("name", "call_id", "stream_id"),
    [
        ("twilio", r"CA[0-9a-f]{32}", r"MZ[0-9a-f]{32}"),
        ("signalwire", UUID4, UUID4),
        ("telnyx", "v3:" + UUID4, UUID4),
    ],
)
def test_identifiers_look_like_the_carriers_own(name: str, call_id: str, stream_id: str) -> None:
    carrier = a_carrier(name)
    first, second = carrier.open_stream(), carrier.open_stream()
    assert re.fullmatch(call_id, carrier.call_id)
    assert re.fullmatch(stream_id, first.stream_id)
    assert first.stream_id != second.stream_id


@pytest.mark.parametrize("name", CARRIERS)
def test_the_same_seed_makes_the_same_call(name: str) -> None:
    assert a_carrier(name).open_stream().start() == a_carrier(name).open_stream().start()
    assert a_carrier(name, "mine").call_id == "mine"


def test_each_carrier_shows_its_credentials_in_its_own_way() -> None:
    url = "wss://example.com/media/abc"
    shown = {name: list(a_carrier(name).upgrade_headers(url, "12345")) for name in CARRIERS}
    assert shown == {
        "telnyx": ["x-telnyx-streaming-auth-token"],
        "twilio": ["x-twilio-signature"],
        "signalwire": ["Authorization"],
    }
    assert all(a_carrier(name).upgrade_headers(url, None) == {} for name in CARRIERS)


def test_an_unknown_carrier_is_refused() -> None:
    with pytest.raises(ValueError, match="no simulator"):
        a_carrier("pigeon")


@pytest.mark.parametrize("name", CARRIERS)
def test_the_gateways_stream_and_the_carriers_understand_each_other(name: str) -> None:
    side, stream = a_carrier(name).open_stream(), CarrierStream(WIRES[name])
    frames = [
        side.connected(),
        side.start(),
        side.digit("5", "2026-01-01T00:00:00Z"),
        side.mark("m"),
        side.stop(),
    ]
    events = [event for frame in frames for event in stream.receive(frame, 0.0)]
    assert [type(event) for event in events] == [Connected, Started, DigitReceived, MarkReached, Stopped]
    assert side.receive(stream.media(AUDIO)) == AUDIO
    assert side.receive(stream.mark("m")) == MarkRequested("m")
    assert side.receive(stream.clear()) == ClearRequested()
    assert side.extra_fields == 0
