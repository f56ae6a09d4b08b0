"""What comes of asking a carrier: done, done already, or not done and why, in one table for each carrier's codes.

Theory of operation. A client makes one request for one command and says how it ended: a `Performed`, or a
`CommandFailed` with a verdict. What to do about it is the owner's business, and the verdict names it:

    ALREADY_ENDED   the call is over: success, for whoever wanted it to end or to be quiet
    NOT_ANSWERED    too early: again after the answer
    RATE_LIMITED    again, not before `retry_after`
    UNAUTHORISED    nobody's commands work: somebody must be told
    REJECTED        the carrier will not, for the reason it gives: never again
    UNAVAILABLE     nothing was done: again
    UNKNOWN         it may have been done: the same command again where the carrier knows it again (its `command_id`),
                    else never
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from telephony.calls import LegToken
from telephony.commands import (
    CallCommand,
    CancelTransfer,
    Dial,
    Hangup,
    StopGather,
    StopPlay,
    StopStream,
    Transfer,
)
from telephony.errors import TelephonyError

# Where a carrier asks for less and does not say how long: Twilio's and Telnyx's limits are per second.
BACK_OFF = 1.0
# Longer than any carrier asks for; a larger figure is a date, not a pause.
_LONGEST_BACK_OFF = 3_600.0


class Verdict(Enum):
    """Why a command was not performed, by what can be done about it."""

    ALREADY_ENDED = "already ended"
    NOT_ANSWERED = "not answered"
    RATE_LIMITED = "rate limited"
    UNAUTHORISED = "unauthorised"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """The carrier has accepted a command: what comes of it, its webhooks tell."""

    carrier_call_id: str | None = None
    """Of the call that was dialled."""
    leg_id: str | None = None
    session_id: str | None = None
    already: bool = False
    """There was nothing to do any more: the call is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCall:
    """A call that the carrier says is up."""

    carrier_call_id: str
    leg_id: str | None = None
    session_id: str | None = None
    token: LegToken | None = None
    """Where the carrier repeats it in its lists (Telnyx)."""
    from_number: str | None = None
    to_number: str | None = None
    started_at: str | None = None
    """As the carrier writes it."""


class CommandFailed(TelephonyError):
    """A carrier did not perform a command, as far as we know."""

    def __init__(
        self,
        carrier: str,
        command: str,
        verdict: Verdict,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{carrier}: {command}: {code or status or verdict.value}: {detail}")
        self.carrier = carrier
        self.command = command
        self.verdict = verdict
        self.detail = detail
        """The carrier's own text."""
        self.status = status
        self.code = code
        """The carrier's own code."""
        self.retry_after = retry_after
        """Seconds, of a rate limit."""


class CarrierCannot(TelephonyError):
    """The carrier has no such command, or does it by document."""

    def __init__(self, carrier: str, command: str, instead: str = "") -> None:
        super().__init__(f"{carrier} cannot {command}{': ' + instead if instead else ''}")
        self.carrier = carrier
        self.command = command


TELNYX: Mapping[str, Verdict] = {
    "10009": Verdict.UNAUTHORISED,
    "10010": Verdict.UNAUTHORISED,
    "10011": Verdict.RATE_LIMITED,
    # Unknown to this account: as good as gone, and logged with its code (a session id would be answered so, too).
    "90015": Verdict.ALREADY_ENDED,
    "90018": Verdict.ALREADY_ENDED,
    "90020": Verdict.NOT_ANSWERED,
    "90034": Verdict.NOT_ANSWERED,
}
"""By the code of Telnyx's first error; a code not listed is judged by the status."""

TWILIO: Mapping[str, Verdict] = {
    "20003": Verdict.UNAUTHORISED,
    "20005": Verdict.UNAUTHORISED,  # the account is not active
    "20404": Verdict.ALREADY_ENDED,
    "20429": Verdict.RATE_LIMITED,
    # "Call is not in-progress": not yet or no more; Twilio says the same of both. A call of ours that has
    # not been answered is known to us, so this is read as the end.
    "21220": Verdict.ALREADY_ENDED,
}
"""By Twilio's own code; a code not listed is judged by the status."""

# Commands that want no more than what the end of the call brings anyway.
_ENDS = (Hangup, CancelTransfer, StopStream, StopGather, StopPlay)
# Commands that make a telephone ring somewhere.
_DIALS = (Dial, Transfer)


def is_satisfied_by_the_end(command: CallCommand) -> bool:
    """Whether a call that is over already is all that `command` wanted."""
    return isinstance(command, _ENDS)


def dials(command: CallCommand) -> bool:
    """Whether performing `command` twice would make two calls."""
    return isinstance(command, _DIALS)


def verdict_of(codes: Mapping[str, Verdict], status: int, code: str | None, *, dials: bool) -> Verdict:
    """Return what an error answer means.

    Args:
        codes: the carrier's table.
        dials: whether the command makes a call: then a failing server may have made it.
    """
    if code is not None and code in codes:
        return codes[code]
    if status in (401, 403):
        return Verdict.UNAUTHORISED
    if status == 429:
        return Verdict.RATE_LIMITED
    if status == 408 or status >= 500:
        return Verdict.UNKNOWN if dials else Verdict.UNAVAILABLE
    return Verdict.REJECTED


def back_off(headers: Mapping[str, str]) -> float:
    """Return how long a rate limit asks us to wait, in seconds."""
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0), ("x-ratelimit-reset", 1.0)):
        try:
            pause = float(lowered[name]) * scale
        except (KeyError, ValueError):
            continue
        if 0 <= pause <= _LONGEST_BACK_OFF:
            return pause
    return BACK_OFF
