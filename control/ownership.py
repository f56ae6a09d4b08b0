"""Whose the caller is: ours, on the way to somebody else, somebody else's, or nobody's any more.

What may be done to a leg hangs on this and not on the status of the call, which stays `in-progress` through a
transfer. Nothing of ours touches a RELEASED leg, save one explicit request.
"""

from enum import Enum, auto


class Ownership(Enum):
    """Who talks to the caller."""

    OWNED = auto()
    """The agent."""
    TRANSFERRING = auto()
    """Nobody yet: the destination is being dialled, the agent is held in case the caller comes back."""
    RELEASED = auto()
    """Somebody else, through the carrier."""
    ENDED = auto()


class Handover(Enum):
    """What moves the caller."""

    DIALLED = auto()
    """The carrier was told to connect the caller to somebody else."""
    FAILED = auto()
    """That came to nothing."""
    CONNECTED = auto()
    """The two hear each other."""
    CALL_ENDED = auto()


TRANSITIONS: dict[tuple[Ownership, Handover], Ownership] = {
    (Ownership.OWNED, Handover.DIALLED): Ownership.TRANSFERRING,
    (Ownership.TRANSFERRING, Handover.FAILED): Ownership.OWNED,
    (Ownership.TRANSFERRING, Handover.CONNECTED): Ownership.RELEASED,
    (Ownership.OWNED, Handover.CALL_ENDED): Ownership.ENDED,
    (Ownership.TRANSFERRING, Handover.CALL_ENDED): Ownership.ENDED,
    (Ownership.RELEASED, Handover.CALL_ENDED): Ownership.ENDED,
}

STALE: frozenset[tuple[Ownership, Handover]] = frozenset(
    {
        (Ownership.OWNED, Handover.FAILED),
        # A transfer that we have given up: its second leg was told to hang up.
        (Ownership.OWNED, Handover.CONNECTED),
        (Ownership.TRANSFERRING, Handover.DIALLED),
        (Ownership.RELEASED, Handover.DIALLED),
        # They have talked: what comes after that is the end of the call.
        (Ownership.RELEASED, Handover.FAILED),
        (Ownership.RELEASED, Handover.CONNECTED),
        *((Ownership.ENDED, handover) for handover in Handover),
    }
)


def after(ownership: Ownership, handover: Handover) -> Ownership | None:
    """Return who has the caller then; None where the handover is stale."""
    return TRANSITIONS.get((ownership, handover))
