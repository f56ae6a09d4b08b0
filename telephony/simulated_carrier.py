"""Which carrier a simulated call is on: its identifiers, its streams, its ways of opening and closing them."""

from collections.abc import Mapping
from random import Random
from typing import Protocol
from uuid import UUID

from media.audio import AudioFormat
from telephony.line import GatewayMessage
from telephony.telnyx import simulator as telnyx
from telephony.twilio import simulator as twilio

CARRIERS = ("telnyx", "twilio", "signalwire")


class CarrierSide(Protocol):
    """One media socket as its carrier speaks it (`telephony/<carrier>/simulator.py`)."""

    stream_id: str
    extra_fields: int

    def connected(self, auth_token: str | None = None) -> bytes: ...
    def start(self) -> bytes: ...
    def media(self, chunk: int, timestamp_ms: int, payload: bytes) -> bytes: ...
    def digit(self, digit: str, occurred_at: str) -> bytes: ...
    def mark(self, name: str) -> bytes: ...
    def stop(self) -> bytes: ...
    def receive(self, message: bytes) -> GatewayMessage: ...


class SimulatedCarrier:
    """What the streams of one call have in common.

    Driven by the call that opens streams; owns no socket and no clock.
    """

    def __init__(
        self,
        carrier: str,
        *,
        inbound: AudioFormat,
        outbound: AudioFormat,
        parameters: Mapping[str, str],
        from_number: str,
        to_number: str,
        call_id: str | None = None,
        account_id: str | None = None,
        drop_tails: bool = False,
        ids: Random | None = None,
    ) -> None:
        if carrier not in CARRIERS:
            raise ValueError(f"no simulator for carrier {carrier!r}")
        self.name = carrier
        self.capacity = telnyx.CAPACITY if carrier == "telnyx" else twilio.CAPACITY
        # Telnyx closes without a status (RFC 6455 section 7.1.5: reported as 1005).
        self.close_code = 1005 if carrier == "telnyx" else 1000
        self._formats = inbound, outbound
        self._parameters = parameters
        self._numbers = from_number, to_number
        self._drop_tails = drop_tails
        self._ids = ids or Random()
        self.call_id = call_id or self._identifier("CA", "v3:")
        self._account_id = account_id or self._identifier("AC", "")

    def open_stream(self, parameters: Mapping[str, str] | None = None) -> CarrierSide:
        """Return the next stream of the call, with parameters of its own or those of the call."""
        handed_over = self._parameters if parameters is None else dict(parameters)
        inbound, outbound = self._formats
        from_number, to_number = self._numbers
        stream_id = self._identifier("MZ", "")
        if self.name == "telnyx":
            return telnyx.SimulatedStream(
                call_id=self.call_id,
                stream_id=stream_id,
                account_id=self._account_id,
                parameters=handed_over,
                from_number=from_number,
                to_number=to_number,
                inbound=inbound,
                outbound=outbound,
                drop_tails=self._drop_tails,
            )
        return twilio.SimulatedStream(
            call_id=self.call_id,
            stream_id=stream_id,
            account_id=self._account_id,
            parameters=handed_over,
            from_number=from_number,
            to_number=to_number,
            inbound=inbound,
            outbound=outbound,
        )

    def upgrade_headers(self, url: str, auth_token: str | None) -> dict[str, str]:
        """Return what the carrier sends with a stream's upgrade request."""
        if auth_token is None:
            return {}
        if self.name == "signalwire":
            # SignalWire's `authBearerToken`; that it is this header is presumed, not documented.
            return {"Authorization": f"Bearer {auth_token}"}
        if self.name == "telnyx":
            return telnyx.upgrade_headers(url, auth_token)
        return twilio.upgrade_headers(url, auth_token)

    def tails(self, side: CarrierSide) -> int:
        """Return how many messages on a stream were not whole frames, where the carrier minds."""
        return side.tails if isinstance(side, telnyx.SimulatedStream) else 0

    def _identifier(self, twilio_prefix: str, telnyx_prefix: str) -> str:
        unique = UUID(int=self._ids.getrandbits(128), version=4)
        if self.name == "twilio":
            return twilio_prefix + unique.hex
        return (telnyx_prefix if self.name == "telnyx" else "") + str(unique)
