import pytest

from telephony.errors import CarrierProtocolError, TelephonyError, UnsupportedFormat


def test_a_protocol_error_names_the_carrier_and_the_reason() -> None:
    fault = CarrierProtocolError("telnyx", "the payload is not base64")
    assert (fault.carrier, fault.reason) == ("telnyx", "the payload is not base64")
    assert str(fault) == "telnyx: the payload is not base64"


def test_an_unsupported_format_is_a_protocol_error_that_can_be_told_apart() -> None:
    with pytest.raises(CarrierProtocolError) as caught:
        raise UnsupportedFormat("telnyx", "cannot decode G722")
    assert isinstance(caught.value, UnsupportedFormat)


def test_the_carriers_faults_are_never_our_own() -> None:
    assert not issubclass(TelephonyError, ValueError)
