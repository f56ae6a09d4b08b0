"""The table of capabilities: it covers every carrier, and says of Twilio what its documents do to a stream."""

import pytest

from telephony.capabilities import CAPABILITIES, Means
from telephony.carrier import WIRES


def test_every_carrier_whose_streams_we_take_is_in_the_table() -> None:
    assert set(CAPABILITIES) == set(WIRES)
    assert all(name == row.carrier for name, row in CAPABILITIES.items())


@pytest.mark.parametrize("command", ["transfer", "carrier_gather", "send_digits"])
def test_whatever_replaces_twilios_document_breaks_its_stream(command: str) -> None:
    """Sheet B1.4: a REST update replaces the running document, and the stream ends."""
    assert getattr(CAPABILITIES["twilio"], command) is Means.STREAM_BREAK
    assert getattr(CAPABILITIES["telnyx"], command) is Means.NATIVE


def test_a_carrier_that_cannot_be_commanded_does_nothing_of_its_own() -> None:
    for row in CAPABILITIES.values():
        if not row.controllable:
            assert {row.transfer, row.carrier_gather, row.send_digits} == {Means.NONE}
