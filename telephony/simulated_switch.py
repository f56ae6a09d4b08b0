"""A simulated carrier's switch: the legs of its calls, what the called parties do, and who ended what, and why.

Theory of operation. A leg is placed (by the application) or arrives (from a caller), may ring, is answered, and ends
exactly once. What a called party does is a `FarEnd`; what is to happen by itself (alerting, the answer, the verdict
of a machine detection, a hang-up, a limit) lies on an agenda in the order of time. Whatever changes a leg leaves an
event; the carrier's REST side drains them with `poll` and says them in its carrier's words.
"""

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from telephony.caller import Step

# What a phone that nobody answers does to a caller who set no limit of their own.
RING_TIMEOUT = 60.0


class Direction(Enum):
    """Of the call, as the application sees it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class LegState(Enum):
    """Where a leg stands; it only ever moves down this list."""

    PLACED = "placed"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


class Cause(Enum):
    """Why a leg ended."""

    NORMAL = "normal"
    CANCEL = "cancel"
    """Whoever called gave up before the answer."""
    TIMEOUT = "timeout"
    BUSY = "busy"
    REJECTED = "rejected"
    NOT_FOUND = "not found"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    TIME_LIMIT = "time limit"


# RFC 3261 section 21; 200 is the answer to the BYE of a call that was up.
SIP_STATUS: Mapping[Cause, int] = {
    Cause.NORMAL: 200,
    Cause.CANCEL: 487,
    Cause.TIMEOUT: 487,
    Cause.BUSY: 486,
    Cause.REJECTED: 603,
    Cause.NOT_FOUND: 404,
    Cause.UNAVAILABLE: 480,
    Cause.FAILED: 503,
    Cause.TIME_LIMIT: 200,
}


class Side(Enum):
    """Who did it."""

    APPLICATION = "application"
    PARTY = "party"
    """The person, or machine, on the leg."""
    CARRIER = "carrier"


class Reaction(Enum):
    """What a called party does about the ringing."""

    ANSWERS = "answers"
    BUSY = "busy"
    REJECTS = "rejects"
    RINGS_OUT = "rings out"
    NOT_FOUND = "not found"
    FAILS = "fails"


_REFUSALS = {
    Reaction.BUSY: Cause.BUSY,
    Reaction.REJECTS: Cause.REJECTED,
    Reaction.NOT_FOUND: Cause.NOT_FOUND,
    Reaction.FAILS: Cause.FAILED,
}


class Kind(Enum):
    """What a machine detection will say has answered."""

    HUMAN = "human"
    MACHINE = "machine"
    FAX = "fax"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEnd:
    """What a called party does. Times are seconds: to the ringing, from the ringing, and from the answer."""

    reaction: Reaction = Reaction.ANSWERS
    rings_after: float = 0.0
    after: float = 0.0
    """How long it rings before the reaction."""
    kind: Kind = Kind.HUMAN
    detected_after: float = 0.0
    beep_after: float | None = None
    """A voicemail's beep; a machine without one just ends its greeting, a second after the verdict."""
    hangs_up_after: float | None = None
    script: Sequence[Step] = ()
    """What is said, pressed and waited for on the line, once answered."""

    def __post_init__(self) -> None:
        times = (self.rings_after, self.after, self.detected_after, self.beep_after, self.hangs_up_after)
        if any(time is not None and time < 0 for time in times):
            raise ValueError("what a far end does lies in the future")

    @property
    def greeting_ends_after(self) -> float:
        return self.detected_after + 1.0 if self.beep_after is None else self.beep_after


class Directory:
    """Who answers under which number; numbers that are called again and again may answer differently each time."""

    def __init__(self, default: FarEnd) -> None:
        self.default = default
        self._lines: dict[str, deque[FarEnd]] = {}

    def script(self, number: str, *far_ends: FarEnd) -> None:
        """Have the next calls to `number` meet these, one after the other; the last one stays."""
        if not far_ends:
            raise ValueError("a number is scripted with at least one far end")
        self._lines[number] = deque(far_ends)

    def take(self, number: str) -> FarEnd:
        line = self._lines.get(number)
        if line is None:
            return self.default
        return line.popleft() if len(line) > 1 else line[0]


@dataclass(slots=True, kw_only=True, eq=False)
class Leg:
    """One party's connection to the switch. The switch alone writes to it."""

    leg_id: str
    direction: Direction
    from_number: str
    to_number: str
    far_end: FarEnd
    placed_at: float
    ring_timeout: float = RING_TIMEOUT
    time_limit: float | None = None
    detection: bool = False
    """Whether the application asked who answered."""
    state: LegState = LegState.PLACED
    rang_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    cause: Cause | None = None
    ended_by: Side | None = None
    peer: "Leg | None" = None
    """The leg it is bridged with."""
    parks: bool = False
    """Whether it outlives its peer."""

    @property
    def alive(self) -> bool:
        return self.state is not LegState.ENDED

    @property
    def answered(self) -> bool:
        """Whether it is up now."""
        return self.state is LegState.ANSWERED

    def duration(self, now: float) -> float:
        """Seconds since the answer, until the end."""
        if self.answered_at is None:
            return 0.0
        return (now if self.ended_at is None else self.ended_at) - self.answered_at


@dataclass(frozen=True, slots=True)
class Rang:
    """The far phone rings."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class Answered:
    leg: Leg


@dataclass(frozen=True, slots=True)
class Detected:
    """Machine detection has a verdict."""

    leg: Leg
    kind: Kind


@dataclass(frozen=True, slots=True)
class GreetingEnded:
    """A machine has said its greeting."""

    leg: Leg
    beep: bool


@dataclass(frozen=True, slots=True)
class Bridged:
    """Two legs hear each other."""

    leg: Leg
    peer: Leg


@dataclass(frozen=True, slots=True)
class Unbridged:
    """A leg outlived its peer."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class Ended:
    leg: Leg


SwitchEvent = Rang | Answered | Detected | GreetingEnded | Bridged | Unbridged | Ended


class _Due(Enum):
    RING = "ring"
    REACT = "react"
    RING_TIMEOUT = "ring timeout"
    DETECT = "detect"
    GREETING = "greeting"
    PARTY_HANGS_UP = "party hangs up"
    TIME_LIMIT = "time limit"


@dataclass(order=True, slots=True)
class _Appointment:
    at: float
    number: int
    leg: Leg = field(compare=False)
    due: _Due = field(compare=False)


class Switch:
    """Every leg of one simulated carrier.

    Driven by the application's commands, by the parties on the legs and by time passing (`poll`). Never sleeps and
    never raises for a command that comes too late: it returns False.
    """

    def __init__(self) -> None:
        self._agenda: list[_Appointment] = []
        self._numbers = count()
        self._events: deque[SwitchEvent] = deque()

    # What comes in

    def arrive(self, leg: Leg, *, patience: float | None = None) -> None:
        """A caller rings the application; gives up after `patience`."""
        self._rings(leg, leg.placed_at)
        if patience is not None:
            self._at(leg.placed_at + patience, leg, _Due.PARTY_HANGS_UP)

    def dial(self, leg: Leg) -> None:
        """The application calls a far end."""
        self._at(leg.placed_at + leg.far_end.rings_after, leg, _Due.RING)
        self._at(leg.placed_at + leg.ring_timeout, leg, _Due.RING_TIMEOUT)

    def answer(self, leg: Leg, now: float) -> bool:
        if leg.state not in (LegState.PLACED, LegState.RINGING):
            return False
        leg.state, leg.answered_at = LegState.ANSWERED, now
        self._events.append(Answered(leg))
        far_end = leg.far_end
        if leg.direction is Direction.OUTBOUND and leg.detection:
            self._at(now + far_end.detected_after, leg, _Due.DETECT)
            if far_end.kind is Kind.MACHINE:
                self._at(now + far_end.greeting_ends_after, leg, _Due.GREETING)
        if far_end.hangs_up_after is not None:
            self._at(now + far_end.hangs_up_after, leg, _Due.PARTY_HANGS_UP)
        if leg.time_limit is not None:
            self._at(now + leg.time_limit, leg, _Due.TIME_LIMIT)
        return True

    def hang_up(self, leg: Leg, by: Side, now: float) -> bool:
        """End a leg: a cancel while it rings, a hang-up afterwards."""
        if leg.answered_at is not None:
            return self.end(leg, Cause.NORMAL, by, now)
        cancels = (leg.direction is Direction.OUTBOUND) == (by is not Side.PARTY)
        return self.end(leg, Cause.CANCEL if cancels else Cause.REJECTED, by, now)

    def end(self, leg: Leg, cause: Cause, by: Side, now: float) -> bool:
        """End a leg for any reason, and what it is bridged with."""
        if not leg.alive:
            return False
        leg.state, leg.ended_at, leg.cause, leg.ended_by = LegState.ENDED, now, cause, by
        self._events.append(Ended(leg))
        peer, leg.peer = leg.peer, None
        if peer is not None:
            peer.peer = None
            if peer.parks:
                self._events.append(Unbridged(peer))
            else:
                self.end(peer, Cause.NORMAL, Side.CARRIER, now)
        return True

    def bridge(self, leg: Leg, peer: Leg) -> bool:
        """Let two answered legs hear each other."""
        if not (leg.answered and peer.answered):
            return False
        for other in (leg, peer):
            if other.peer is not None:
                other.peer.peer = None
        leg.peer, peer.peer = peer, leg
        self._events.append(Bridged(leg, peer))
        return True

    # Time

    def next_deadline(self) -> float | None:
        """Return when `poll` next has something to say; 0 when it has already."""
        if self._events:
            return 0.0
        return self._agenda[0].at if self._agenda else None

    def poll(self, now: float) -> list[SwitchEvent]:
        """Return what happened by `now`, in order."""
        while self._agenda and self._agenda[0].at <= now:
            appointment = heapq.heappop(self._agenda)
            if appointment.leg.alive:
                self._keep(appointment)
        events = list(self._events)
        self._events.clear()
        return events

    def _keep(self, appointment: _Appointment) -> None:
        leg, now, ringing = appointment.leg, appointment.at, appointment.leg.answered_at is None
        match appointment.due:
            case _Due.RING if ringing:
                self._rings(leg, now)
                if leg.far_end.reaction is not Reaction.RINGS_OUT:
                    self._at(now + leg.far_end.after, leg, _Due.REACT)
            case _Due.REACT if ringing:
                self._react(leg, now)
            case _Due.RING_TIMEOUT if ringing:
                self.end(leg, Cause.TIMEOUT, Side.CARRIER, now)
            case _Due.DETECT:
                self._events.append(Detected(leg, leg.far_end.kind))
            case _Due.GREETING:
                self._events.append(GreetingEnded(leg, leg.far_end.beep_after is not None))
            case _Due.PARTY_HANGS_UP:
                self.hang_up(leg, Side.PARTY, now)
            case _Due.TIME_LIMIT:
                self.end(leg, Cause.TIME_LIMIT, Side.CARRIER, now)
            case _:
                pass  # answered in the meantime

    def _react(self, leg: Leg, now: float) -> None:
        cause = _REFUSALS.get(leg.far_end.reaction)
        if cause is None:
            self.answer(leg, now)
        else:
            self.end(leg, cause, Side.PARTY, now)

    def _rings(self, leg: Leg, now: float) -> None:
        leg.state, leg.rang_at = LegState.RINGING, now
        self._events.append(Rang(leg))

    def _at(self, at: float, leg: Leg, due: _Due) -> None:
        heapq.heappush(self._agenda, _Appointment(at, next(self._numbers), leg, due))


class Gathered(Enum):
    """Why a collection of digits ended."""

    FULL = "full"
    TERMINATED = "terminated"
    TIMEOUT = "timeout"


class DigitCollector:
    """Digits a carrier collects from the keys a caller presses.

    Driven by keys (`press`) and by time passing (`poll`); either returns why it ended, once it has. Waits for the
    first key for `first_timeout` from `start` on, for each further one for `digit_timeout`, for all for `timeout`.
    """

    def __init__(
        self,
        *,
        maximum: int,
        terminator: str = "#",
        valid: str = "0123456789*#",
        first_timeout: float,
        digit_timeout: float,
        timeout: float | None = None,
    ) -> None:
        self.digits = ""
        self.invalid = False
        """Whether a key was pressed that is not among the valid ones."""
        self.ended: Gathered | None = None
        self.terminator = ""
        """The key that ended it, if one did."""
        self._maximum = maximum
        self._terminators = terminator
        self._valid = valid
        self._first_timeout = first_timeout
        self._digit_timeout = digit_timeout
        self._timeout = timeout
        self._patience: float | None = None
        self._limit: float | None = None

    def start(self, now: float) -> None:
        """The prompt is over: the clocks run from here."""
        if self._patience is None:
            self._patience = now + self._first_timeout
            self._limit = None if self._timeout is None else now + self._timeout

    def press(self, digit: str, now: float) -> Gathered | None:
        if self.ended is not None:
            return self.ended
        self.start(now)
        if digit in self._terminators:
            self.terminator, self.ended = digit, Gathered.TERMINATED
            return self.ended
        self._patience = now + self._digit_timeout
        if digit not in self._valid:
            self.invalid = True
            return None
        self.digits += digit
        if len(self.digits) >= self._maximum:
            self.ended = Gathered.FULL
        return self.ended

    def next_deadline(self) -> float | None:
        if self.ended is not None or self._patience is None:
            return None
        return self._patience if self._limit is None else min(self._patience, self._limit)

    def poll(self, now: float) -> Gathered | None:
        deadline = self.next_deadline()
        if deadline is not None and deadline <= now:
            self.ended = Gathered.TIMEOUT
        return self.ended
