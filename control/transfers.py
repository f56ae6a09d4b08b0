"""One transfer: what is said first, the dialling, and how it came out.

Theory of operation. A transfer is taken, what is being said and an announcement are heard, then the carrier dials.
The destination's leg (*leg B*) gets a name with the carrier's first word of it; only then can it be hung up, so a
cancel that comes earlier is remembered. The two being connected decides, even against a cancel under way: people who
talk are not cut off. Everything after COMPLETED, FAILED or CANCELLED is stale.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from control.requests import TransferCall


class TransferState(StrEnum):
    """Where a transfer is, in the words of the API."""

    SAYING = "saying"
    """What is being said, or the announcement, is heard first."""
    DIALLING = "dialling"
    RINGING = "ringing"
    ANSWERED = "answered"
    CANCELLING = "cancelling"
    """Leg B is to be hung up: it was told so, or will be once it has a name."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({TransferState.COMPLETED, TransferState.FAILED, TransferState.CANCELLED})


class TransferStep(Enum):
    """What moves a transfer."""

    SAID = auto()
    """Nothing is to be heard any more: the carrier is told to dial."""
    RANG = auto()
    ANSWERED = auto()
    CONNECTED = auto()
    CANCEL = auto()
    LEG_ENDED = auto()
    """Leg B is over, or never came to be."""
    TOO_LATE = auto()
    CALL_ENDED = auto()


_OUT = (TransferState.DIALLING, TransferState.RINGING, TransferState.ANSWERED)

TRANSITIONS: dict[tuple[TransferState, TransferStep], TransferState] = {
    (TransferState.SAYING, TransferStep.SAID): TransferState.DIALLING,
    (TransferState.SAYING, TransferStep.CANCEL): TransferState.CANCELLED,
    # An announcement that could not be said.
    (TransferState.SAYING, TransferStep.LEG_ENDED): TransferState.FAILED,
    (TransferState.SAYING, TransferStep.CALL_ENDED): TransferState.FAILED,
    (TransferState.DIALLING, TransferStep.RANG): TransferState.RINGING,
    (TransferState.DIALLING, TransferStep.ANSWERED): TransferState.ANSWERED,
    (TransferState.RINGING, TransferStep.ANSWERED): TransferState.ANSWERED,
    **{(state, TransferStep.CONNECTED): TransferState.COMPLETED for state in _OUT},
    **{(state, TransferStep.CANCEL): TransferState.CANCELLING for state in _OUT},
    **{(state, TransferStep.LEG_ENDED): TransferState.FAILED for state in _OUT},
    **{(state, TransferStep.TOO_LATE): TransferState.FAILED for state in _OUT},
    **{(state, TransferStep.CALL_ENDED): TransferState.FAILED for state in _OUT},
    (TransferState.CANCELLING, TransferStep.CONNECTED): TransferState.COMPLETED,
    (TransferState.CANCELLING, TransferStep.LEG_ENDED): TransferState.CANCELLED,
    (TransferState.CANCELLING, TransferStep.TOO_LATE): TransferState.CANCELLED,
    (TransferState.CANCELLING, TransferStep.CALL_ENDED): TransferState.CANCELLED,
}

STALE: frozenset[tuple[TransferState, TransferStep]] = frozenset(
    {
        # Nothing rings before it is dialled.
        (TransferState.SAYING, TransferStep.RANG),
        (TransferState.SAYING, TransferStep.ANSWERED),
        (TransferState.SAYING, TransferStep.CONNECTED),
        # An announcement of which nobody says that it was heard has been heard by then: SAID, not a failure.
        (TransferState.SAYING, TransferStep.TOO_LATE),
        (TransferState.DIALLING, TransferStep.SAID),
        (TransferState.RINGING, TransferStep.SAID),
        (TransferState.RINGING, TransferStep.RANG),
        (TransferState.ANSWERED, TransferStep.SAID),
        (TransferState.ANSWERED, TransferStep.RANG),
        (TransferState.ANSWERED, TransferStep.ANSWERED),
        (TransferState.CANCELLING, TransferStep.SAID),
        (TransferState.CANCELLING, TransferStep.RANG),
        (TransferState.CANCELLING, TransferStep.ANSWERED),
        (TransferState.CANCELLING, TransferStep.CANCEL),
        *((state, step) for state in OVER for step in TransferStep),
    }
)


@dataclass(slots=True)
class Moments:
    """When a transfer got where, in seconds on the call's clock; None: it did not."""

    asked: float
    dialled: float | None = None
    ringing: float | None = None
    answered: float | None = None
    over: float | None = None


class Transferring:
    """One transfer. Driven by its owner; says where it is and what it may do, and does nothing itself."""

    def __init__(self, asked: TransferCall, now: float) -> None:
        self.asked = asked
        self.state = TransferState.SAYING
        self.moments = Moments(now)
        self.leg_call_id: str | None = None
        """What commands for leg B are addressed to."""
        self.leg_ids: set[str] = set()
        """Every name that leg B goes by."""
        self.cause: str | None = None
        """Why it failed."""
        self._cancelled = False

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def dialled(self) -> bool:
        """Whether the carrier was ever told to dial."""
        return self.moments.dialled is not None

    def name_leg(self, call_id: str | None, leg_id: str | None) -> None:
        """Leg B has a name; the latest is what commands want (Telnyx changes them)."""
        if call_id is not None:
            self.leg_call_id = call_id
        self.leg_ids |= {name for name in (call_id, leg_id) if name is not None}

    def take_cancel(self, *, again: bool = False) -> str | None:
        """Return whom to hang up: leg B, once, as soon as it is to be and has a name.

        Args:
            again: it shows that it is alive, whatever it was told.
        """
        if again:
            self._cancelled = False
        unwanted = self.state in (TransferState.CANCELLING, TransferState.CANCELLED, TransferState.FAILED)
        if not unwanted or not self.dialled or self._cancelled or self.leg_call_id is None:
            return None
        self._cancelled = True
        return self.leg_call_id

    def leg_is_gone(self) -> None:
        """There is nobody left to hang up."""
        self._cancelled = True

    def step(self, step: TransferStep, now: float, cause: str | None = None) -> bool:
        """Move on; False where the step is stale."""
        after = TRANSITIONS.get((self.state, step))
        if after is None:
            return False
        self.state = after
        self._note(after, now)
        if after is TransferState.FAILED:
            self.cause = cause
        elif after is TransferState.CANCELLED:
            self.cause = "cancelled"
        return True

    def _note(self, state: TransferState, now: float) -> None:
        moments = self.moments
        match state:
            case TransferState.DIALLING:
                moments.dialled = now
            case TransferState.RINGING:
                moments.ringing = now
            case TransferState.ANSWERED:
                moments.answered = now
            case TransferState.COMPLETED | TransferState.FAILED | TransferState.CANCELLED:
                moments.over = now
            case TransferState.SAYING | TransferState.CANCELLING:
                pass
