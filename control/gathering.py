"""One gather: a prompt, then digits, by the carrier or from the caller's own stream.

Theory of operation. Where the carrier gathers, it reports once, at the end, and this machine only bounds the wait.
Where we gather, the machine is told when the prompt was heard and of each key: the first-digit timeout runs from the
end of the prompt, the inter-digit timeout from the last key, and the gather is full with the terminator or the
last digit allowed. Keys pressed into the prompt count. Some digits, then silence, is `completed`; none is `timeout`.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from math import inf

from control.requests import Gather
from telephony.calls import GatherStatus


class GatherState(Enum):
    """Where a gather is."""

    PROMPTING = auto()
    WAITING = auto()
    """For the first digit."""
    TYPING = auto()
    AT_CARRIER = auto()
    STOPPING = auto()
    """The carrier was told to stop and has not said that it did."""
    OVER = auto()


class GatherStep(Enum):
    """What moves a gather."""

    PROMPT_HEARD = auto()
    PROMPT_FAILED = auto()
    DIGIT = auto()
    FULL = auto()
    """The terminator, or the last digit allowed."""
    CARRIER_ENDED = auto()
    CANCEL = auto()
    TOO_LATE = auto()
    CALL_ENDED = auto()


_BY_US = (GatherState.PROMPTING, GatherState.WAITING, GatherState.TYPING)
_BY_CARRIER = (GatherState.AT_CARRIER, GatherState.STOPPING)

TRANSITIONS: dict[tuple[GatherState, GatherStep], GatherState] = {
    (GatherState.PROMPTING, GatherStep.PROMPT_HEARD): GatherState.WAITING,
    (GatherState.PROMPTING, GatherStep.PROMPT_FAILED): GatherState.OVER,
    **{(state, GatherStep.DIGIT): GatherState.TYPING for state in _BY_US},
    **{(state, GatherStep.FULL): GatherState.OVER for state in _BY_US},
    **{(state, GatherStep.CANCEL): GatherState.OVER for state in _BY_US},
    (GatherState.AT_CARRIER, GatherStep.CANCEL): GatherState.STOPPING,
    **{(state, GatherStep.CARRIER_ENDED): GatherState.OVER for state in _BY_CARRIER},
    # A prompt of which nobody says that it was heard has been heard by then.
    (GatherState.PROMPTING, GatherStep.TOO_LATE): GatherState.WAITING,
    (GatherState.WAITING, GatherStep.TOO_LATE): GatherState.OVER,
    (GatherState.TYPING, GatherStep.TOO_LATE): GatherState.OVER,
    **{(state, GatherStep.TOO_LATE): GatherState.OVER for state in _BY_CARRIER},
    **{(state, GatherStep.CALL_ENDED): GatherState.OVER for state in (*_BY_US, *_BY_CARRIER)},
}

STALE: frozenset[tuple[GatherState, GatherStep]] = frozenset(
    {
        # The first key ended the prompt.
        *((state, GatherStep.PROMPT_HEARD) for state in (GatherState.WAITING, GatherState.TYPING)),
        *((state, GatherStep.PROMPT_FAILED) for state in (GatherState.WAITING, GatherState.TYPING)),
        # The carrier's news of a gather that was ours all along is of an earlier one.
        *((state, GatherStep.CARRIER_ENDED) for state in _BY_US),
        # The carrier counts the keys that its own stream may report as well.
        *(
            (state, step)
            for state in _BY_CARRIER
            for step in (
                GatherStep.PROMPT_HEARD,
                GatherStep.PROMPT_FAILED,
                GatherStep.DIGIT,
                GatherStep.FULL,
            )
        ),
        (GatherState.STOPPING, GatherStep.CANCEL),
        *((GatherState.OVER, step) for step in GatherStep),
    }
)


class GatherResult(StrEnum):
    """How a gather ended, in the words of the API."""

    COMPLETED = "completed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    HANGUP = "hangup"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What came of a gather."""

    status: GatherResult
    digits: str | None = field(repr=False)
    """None unless completed."""
    detail: str = ""


# How slowly a voice reads: characters a second, well below the 12 to 15 of English speech.
_READS = 8.0
# For rendering the prompt, the way to the caller, and what a carrier says first (a Telnyx trial account's notice).
_PROMPT_SLACK = 10.0
# What a carrier may take to report, beyond the longest that its gather can last.
_CARRIER_SLACK = 10.0
# For a carrier that was told to stop.
_STOP_WAIT = 3.0


class Gathering:
    """Driven by its owner with what the media and the carrier say, and by time (`poll`)."""

    def __init__(self, asked: Gather, *, by_carrier: bool, now: float) -> None:
        self.asked = asked
        self.by_carrier = by_carrier
        self.state = GatherState.AT_CARRIER if by_carrier else GatherState.PROMPTING
        self.result: Gathered | None = None
        self._digits = ""
        prompt = _PROMPT_SLACK + len(asked.prompt) / _READS
        typing = asked.timeout + asked.max_digits * asked.inter_digit_timeout
        self.deadline = now + prompt + (typing + _CARRIER_SLACK if by_carrier else 0.0)
        """When `poll` has something to say; `inf` once it is over."""

    @property
    def over(self) -> bool:
        return self.state is GatherState.OVER

    def prompt_heard(self, now: float) -> None:
        if self._step(GatherStep.PROMPT_HEARD):
            self.deadline = now + self.asked.timeout

    def prompt_failed(self, detail: str) -> None:
        """The caller was asked nothing: there is nothing to wait for."""
        if self._step(GatherStep.PROMPT_FAILED):
            self._finish(GatherResult.CANCELLED, detail=detail)

    def digit(self, digit: str, now: float) -> None:
        """Take a key; one that is not asked for changes nothing."""
        asked = self.asked
        if digit == asked.terminator:
            if self._step(GatherStep.FULL):
                self._finish_typed()
            return
        if asked.valid_digits is not None and digit not in asked.valid_digits:
            return
        full = len(self._digits) + 1 >= asked.max_digits
        if not self._step(GatherStep.FULL if full else GatherStep.DIGIT):
            return
        self._digits += digit
        self.deadline = now + asked.inter_digit_timeout
        if full:
            self._finish_typed()

    def carrier_ended(self, status: GatherStatus, digits: str) -> None:
        """The carrier has stopped gathering. It counts as stopped by us only if it says so: the keys may have come
        before our word did."""
        if not self._step(GatherStep.CARRIER_ENDED):
            return
        if status is GatherStatus.HANGUP:
            self._finish(GatherResult.HANGUP)
        elif status is GatherStatus.CANCELLED:
            self._finish(GatherResult.CANCELLED)
        else:
            # Twilio checks no digits.
            allowed = self.asked.valid_digits
            self._digits = digits if allowed is None else "".join(key for key in digits if key in allowed)
            self._finish_typed(usable=status is not GatherStatus.INVALID)

    def cancel(self, now: float) -> None:
        if not self._step(GatherStep.CANCEL):
            return
        if self.over:
            self._finish(GatherResult.CANCELLED)
        else:
            self.deadline = now + _STOP_WAIT

    def stopped(self) -> None:
        """The carrier that was told to stop says nothing of its own when it does (Twilio)."""
        if self.state is GatherState.STOPPING and self._step(GatherStep.CARRIER_ENDED):
            self._finish(GatherResult.CANCELLED)

    def call_ended(self) -> None:
        if self._step(GatherStep.CALL_ENDED):
            self._finish(GatherResult.HANGUP)

    def poll(self, now: float) -> None:
        """Go on where something was waited for too long."""
        while self.deadline <= now:
            was = self.state
            if not self._step(GatherStep.TOO_LATE):
                self.deadline = inf
            elif was is GatherState.STOPPING:
                self._finish(GatherResult.CANCELLED)
            elif self.over:
                self._finish_typed()
            else:
                self.deadline += self.asked.timeout

    def _step(self, step: GatherStep) -> bool:
        after = TRANSITIONS.get((self.state, step))
        if after is None:
            return False
        self.state = after
        return True

    def _finish_typed(self, *, usable: bool = True) -> None:
        if self._digits and usable:
            self._finish(GatherResult.COMPLETED, self._digits)
        else:
            self._finish(GatherResult.TIMEOUT)

    def _finish(self, status: GatherResult, digits: str | None = None, detail: str = "") -> None:
        self.deadline = inf
        self.result = Gathered(status, digits, detail)
        self._digits = ""
