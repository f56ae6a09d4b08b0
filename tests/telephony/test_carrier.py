import json

import pytest

from media.audio import Encoding
from telephony.carrier import WIRES, CarrierWire
from telephony.events import MediaReceived, Started
from telephony.media_layout import learn


def test_the_table_lists_the_carriers_by_their_own_names() -> None:
    assert {name: wire.name for name, wire in WIRES.items()} == {
        "twilio": "twilio",
        "telnyx": "telnyx",
        "signalwire": "signalwire",
    }


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_every_wire_keeps_the_face(wire: CarrierWire) -> None:
    assert wire.start_timeout > 0
    assert Encoding.PCMU in wire.inbound_encodings & wire.outbound_encodings
    assert isinstance(wire.parse(wire.plain_media("id"), "id"), MediaReceived)
    assert learn(wire.plain_media("id"), wire.sequence_key) is not None
    assert json.loads(wire.templates("id").clear)["event"] == "clear"


def test_only_telnyx_chooses_its_codec_and_connects_while_it_rings() -> None:
    assert {n for n, wire in WIRES.items() if Encoding.PCMA in wire.outbound_encodings} == {"telnyx"}
    assert {n for n, wire in WIRES.items() if wire.connects_before_answer} == {"telnyx"}
    assert {n for n, wire in WIRES.items() if wire.needs_silence_until_first_audio} == {"telnyx"}


def test_signalwire_ids_are_uuids_in_twilios_frames() -> None:
    stream_id = "5d8ad9b4-6e27-4b0e-9f9d-2a4d3d9b0c11"
    frame = {
        "event": "start",
        "streamSid": stream_id,
        "start": {"callSid": "0f1e2d3c-0000-4000-8000-000000000001"},
    }
    started = WIRES["signalwire"].parse(json.dumps(frame).encode())
    assert isinstance(started, Started)
    assert started.stream_id == stream_id
