"""What becomes of a delivery after an attempt: delivered, tried again later, or given up."""

from dataclasses import dataclass
from datetime import timedelta

from control.egress import EgressFailed, OutgoingAnswer

# Seconds before the second, third ... attempt (docs/webhooks.md): a restart of the receiver is bridged in seconds, its
# bad day in hours. After the last, the delivery is given up.
RETRIES = (5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0)

# The share by which a pause may be longer, so that what failed together does not come back together.
JITTER = 0.1

# A receiver that asks for a longer pause gets it, up to this.
LONGEST_ASKED = 3600.0

# Longer than all retries of one delivery: not an incident any more.
DISABLE_AFTER = timedelta(hours=24)

_BUSY = frozenset({429, 503})
_GONE = 410


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver does not have it, as far as we know."""

    error: str
    retry_in: float | None
    """Seconds; None: it is given up."""
    gone: bool = False
    """Whether the receiver wants nothing more, ever."""


Verdict = Succeeded | Failed


def verdict(attempt: int, outcome: OutgoingAnswer | EgressFailed, chance: float) -> Verdict:
    """Judge an attempt.

    Args:
        attempt: its number, from 1.
        outcome: what came back, or why nothing did.
        chance: a random number in [0, 1).
    """
    if isinstance(outcome, EgressFailed):
        return Failed(str(outcome), _pause(attempt, chance))
    if outcome.ok:
        return Succeeded()
    if outcome.status == _GONE:
        return Failed(_status(outcome), None, gone=True)
    pause = _pause(attempt, chance)
    if pause is not None and outcome.status in _BUSY:
        pause = max(pause, min(LONGEST_ASKED, _retry_after(outcome)))
    return Failed(_status(outcome), pause)


def _pause(attempt: int, chance: float) -> float | None:
    return RETRIES[attempt - 1] * (1 + JITTER * chance) if attempt <= len(RETRIES) else None


def _status(answer: OutgoingAnswer) -> str:
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: redirects are not followed"
    return f"HTTP {answer.status}"


def _retry_after(answer: OutgoingAnswer) -> float:
    """The seconds a receiver asks for (RFC 9110, 10.2.3); 0 where it asks for none, or by a date."""
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0
