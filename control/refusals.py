"""Why a request is refused, in the statuses and codes of the API, where more than one part of a call says so."""

from control.effects import CommandRefused
from control.requests import Refused
from telephony.client_errors import Verdict

# Of these, nothing is known of what the carrier thinks of the request: it did not get to it.
OUT_OF_REACH = frozenset({Verdict.UNAVAILABLE, Verdict.UNKNOWN, Verdict.RATE_LIMITED, Verdict.UNAUTHORISED})


def not_supported(carrier: str, what: str) -> Refused:
    """The carrier cannot do it without dropping the call."""
    return Refused(status=501, code="not_supported_by_carrier", detail=f"{carrier} cannot {what}")


def carrier_refused(refused: CommandRefused, what: str = "") -> Refused:
    """The carrier said no, or could not be asked."""
    text = refused.detail if refused.code is None else f"{refused.code}: {refused.detail}"
    detail = f"{what}: {text}" if what else text
    if refused.verdict in OUT_OF_REACH:
        return Refused(status=502, code="carrier_unavailable", detail=detail)
    return Refused(status=422, code="carrier_rejected", detail=detail)
