"""What can go wrong between us and a carrier, by whose fault it is.

    TelephonyError
    └── CarrierProtocolError       the carrier broke its own protocol
        └── UnsupportedFormat      it speaks the protocol, in audio we cannot decode

Our own mistakes are `ValueError`s and never share a class with these.
"""


class TelephonyError(Exception):
    """Anything a carrier does to us."""


class CarrierProtocolError(TelephonyError):
    """A frame broke the carrier's protocol; one such frame never ends a healthy call."""

    def __init__(self, carrier: str, reason: str) -> None:
        super().__init__(f"{carrier}: {reason}")
        self.carrier = carrier
        self.reason = reason


class UnsupportedFormat(CarrierProtocolError):
    """The stream's audio cannot be decoded: noise if we tried, so the call ends and says why."""
