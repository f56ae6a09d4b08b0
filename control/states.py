"""The status of a call as a table: which happening takes it where, and which come too late to matter.

Webhooks arrive in any order, twice, and late. The table is monotone: RINGING, then perhaps IN_PROGRESS, then one
final status for good; so any order of the same webhooks ends in the same status.
"""

from enum import Enum, auto

from telephony.causes import CallStatus


class Happening(Enum):
    """What moves the status of a call."""

    RANG = auto()
    """The far end rings, or the call came in."""
    ANSWERED = auto()
    """By the carrier's word, or because its media stream started."""
    COMPLETED = auto()
    FAILED = auto()
    BUSY = auto()
    NO_ANSWER = auto()
    CANCELED = auto()
    REJECTED = auto()


ENDS = {
    CallStatus.COMPLETED: Happening.COMPLETED,
    CallStatus.FAILED: Happening.FAILED,
    CallStatus.BUSY: Happening.BUSY,
    CallStatus.NO_ANSWER: Happening.NO_ANSWER,
    CallStatus.CANCELED: Happening.CANCELED,
    CallStatus.REJECTED: Happening.REJECTED,
}
"""By the status that an end has (`causes.outcome`)."""

TRANSITIONS: dict[tuple[CallStatus, Happening], CallStatus] = {
    (CallStatus.RINGING, Happening.RANG): CallStatus.RINGING,
    (CallStatus.RINGING, Happening.ANSWERED): CallStatus.IN_PROGRESS,
    # The news of the answer was lost, and the end tells of it.
    (CallStatus.RINGING, Happening.COMPLETED): CallStatus.COMPLETED,
    (CallStatus.RINGING, Happening.FAILED): CallStatus.FAILED,
    (CallStatus.RINGING, Happening.BUSY): CallStatus.BUSY,
    (CallStatus.RINGING, Happening.NO_ANSWER): CallStatus.NO_ANSWER,
    (CallStatus.RINGING, Happening.CANCELED): CallStatus.CANCELED,
    (CallStatus.RINGING, Happening.REJECTED): CallStatus.REJECTED,
    # An answered call is `completed`, whatever ended it (sheet E).
    (CallStatus.IN_PROGRESS, Happening.COMPLETED): CallStatus.COMPLETED,
}

STALE: frozenset[tuple[CallStatus, Happening]] = frozenset(
    {
        (CallStatus.IN_PROGRESS, Happening.RANG),
        (CallStatus.IN_PROGRESS, Happening.ANSWERED),
        (CallStatus.IN_PROGRESS, Happening.FAILED),
        (CallStatus.IN_PROGRESS, Happening.BUSY),
        (CallStatus.IN_PROGRESS, Happening.NO_ANSWER),
        (CallStatus.IN_PROGRESS, Happening.CANCELED),
        (CallStatus.IN_PROGRESS, Happening.REJECTED),
        # The first end decides, and a late answer resurrects nobody.
        *((status, happening) for status in ENDS for happening in Happening),
    }
)


def after(status: CallStatus, happening: Happening) -> CallStatus | None:
    """Return the status that follows; None where the happening is stale."""
    return TRANSITIONS.get((status, happening))
