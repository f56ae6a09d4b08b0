"""The media side of a simulated carrier's legs: one `SimulatedCall` for each, on lines of the same network."""

from media.audio import AudioFormat
from telephony.caller import Caller
from telephony.link import Connector
from telephony.simulation import Exchange, SimulatedCall


class PartyLines:
    """Makes calls whose streams an `Exchange` decides on: the media side of a simulated carrier's legs."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def __call__(
        self,
        carrier: str,
        caller: Caller,
        exchange: Exchange,
        *,
        call_id: str,
        account_id: str | None,
        from_number: str,
        to_number: str,
        outbound: AudioFormat | None,
        limit: float,
    ) -> SimulatedCall:
        return SimulatedCall(
            carrier,
            self._connector,
            "",
            caller,
            exchange=exchange,
            call_id=call_id,
            account_id=account_id,
            from_number=from_number,
            to_number=to_number,
            outbound=outbound,
            limit=limit,
        )
