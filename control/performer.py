"""Asks a carrier until a command is done or cannot be: the retry rules of every verdict, in one place.

Theory of operation. A client makes one request and says how it ended (`telephony.client_errors`). What may be asked
again, is: after the pause the carrier wants, after the answer it waits for, or a little later each time; never what
may have placed a call already, unless the carrier knows the command again by its id. Whoever waits sees one outcome.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from control.effects import CommandDone, CommandOutcome, CommandRefused
from telephony.capabilities import Capabilities
from telephony.client_errors import CarrierCannot, CommandFailed, Performed, Verdict, dials
from telephony.commands import CallCommand, CancelTransfer, Dial, Hangup

# Seconds for which a command is worth repeating: afterwards the moment it was for has passed.
PATIENCE = 15.0
# Somebody waits for the answer to a dial.
DIAL_PATIENCE = 10.0
# A leg that is to end costs money until it does; a carrier that is down for longer is found by reconciliation.
HANGUP_PATIENCE = 300.0
# Telnyx ignores a `command_id` it has seen within 60 s (carriers.md A2.1); the margin is for the way there.
IDEMPOTENCY_WINDOW = 55.0
# Between attempts that may succeed by themselves: the first at once would meet the same trouble.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
# A leg whose answer we know, and the carrier not yet, is a matter of moments.
_ANSWER_LAG = 0.25

_REPEATABLE = frozenset({Verdict.RATE_LIMITED, Verdict.UNAVAILABLE, Verdict.NOT_ANSWERED})


class CarrierAccount(Protocol):
    """One account with a carrier: makes one request for one command."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def perform(self, command: CallCommand) -> Performed:
        """
        Raises:
            CommandFailed: with its verdict.
            CarrierCannot: the carrier has no such request.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """The clock by which attempts are made."""

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    answered: Callable[[float], Awaitable[bool]]
    """Wait for the call's answer, that many seconds at most; whether it is answered."""


async def perform(account: CarrierAccount, command: CallCommand, pace: Pace) -> CommandOutcome:
    """Have the command performed; return what came of it, once nothing more is to be tried."""
    retries = Retries(command, account.capabilities, pace.now())
    while True:
        try:
            return CommandDone(command.command_id, await account.perform(command))
        except CarrierCannot as cannot:
            return CommandRefused(command.command_id, Verdict.REJECTED, str(cannot))
        except CommandFailed as failure:
            pause = retries.pause_after(failure, pace.now())
            if pause is None:
                return CommandRefused(command.command_id, failure.verdict, failure.detail, failure.code)
            verdict = failure.verdict
        if verdict is Verdict.NOT_ANSWERED and await pace.answered(pause):
            pause = _ANSWER_LAG
        elif verdict is Verdict.NOT_ANSWERED:
            continue
        await pace.sleep(pause)


class Retries:
    """How often, and when, one command is asked for again. Driven by each failure; pure."""

    def __init__(self, command: CallCommand, capabilities: Capabilities, now: float) -> None:
        self._dials = dials(command)
        self._known_again = capabilities.idempotent_dial
        self._began = now
        self._deadline = now + _patience(command)
        self._pause = FIRST_PAUSE

    def pause_after(self, failure: CommandFailed, now: float) -> float | None:
        """Return the seconds before the next attempt; None to give up."""
        if not self._may_repeat(failure.verdict, now):
            return None
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        if failure.retry_after is not None:
            pause = max(failure.retry_after, 0.0)
        return pause if now + pause < self._deadline else None

    def _may_repeat(self, verdict: Verdict, now: float) -> bool:
        if verdict is Verdict.UNKNOWN:
            within_window = now + self._pause - self._began < IDEMPOTENCY_WINDOW
            return not self._dials or (self._known_again and within_window)
        return verdict in _REPEATABLE


def _patience(command: CallCommand) -> float:
    match command:
        case Hangup() | CancelTransfer():
            return HANGUP_PATIENCE
        case Dial():
            return DIAL_PATIENCE
        case _:
            return PATIENCE
