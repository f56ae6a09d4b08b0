"""Who holds the floor, and what each turn came to.

Driven by what is known of speech on both sides: the model's voice detection for the caller, playout for the
agent. The table is the whole of it; a pair that is not in it changes nothing (a late or repeated event)::

    NOBODY ----caller starts----> CALLER ----caller stops----> WAITING
      |                              |                            |
      agent starts            agent starts                  agent starts
      v                              v                            v
    AGENT ----caller starts----> CONTESTED                      AGENT

From CONTESTED either the agent is cut (a barge-in: the caller has the floor), or the caller stops again (a cough:
the agent keeps it), or the agent finishes.
"""

from dataclasses import dataclass
from enum import Enum, auto

from media.realtime.events import Role


class Floor(Enum):
    """Who may be heard right now."""

    NOBODY = auto()
    CALLER = auto()
    WAITING = auto()
    """The caller finished; the agent's answer is on its way."""
    AGENT = auto()
    CONTESTED = auto()
    """Both speak."""


class Speech(Enum):
    """What moves the floor."""

    CALLER_STARTED = auto()
    CALLER_STOPPED = auto()
    AGENT_STARTED = auto()
    """The first audio of an utterance left for the caller."""
    AGENT_FINISHED = auto()
    """All of it was heard."""
    AGENT_CUT = auto()
    """The rest of it was dropped."""


TRANSITIONS: dict[tuple[Floor, Speech], Floor] = {
    (Floor.NOBODY, Speech.CALLER_STARTED): Floor.CALLER,
    (Floor.NOBODY, Speech.AGENT_STARTED): Floor.AGENT,
    (Floor.CALLER, Speech.CALLER_STOPPED): Floor.WAITING,
    (Floor.CALLER, Speech.AGENT_STARTED): Floor.CONTESTED,
    (Floor.WAITING, Speech.CALLER_STARTED): Floor.CALLER,
    (Floor.WAITING, Speech.AGENT_STARTED): Floor.AGENT,
    (Floor.AGENT, Speech.CALLER_STARTED): Floor.CONTESTED,
    (Floor.AGENT, Speech.AGENT_FINISHED): Floor.NOBODY,
    (Floor.AGENT, Speech.AGENT_CUT): Floor.NOBODY,
    (Floor.CONTESTED, Speech.CALLER_STOPPED): Floor.AGENT,
    (Floor.CONTESTED, Speech.AGENT_FINISHED): Floor.CALLER,
    (Floor.CONTESTED, Speech.AGENT_CUT): Floor.CALLER,
}

# Delivered late or twice; the floor stays where it is.
STALE: frozenset[tuple[Floor, Speech]] = frozenset(
    (floor, speech) for floor in Floor for speech in Speech if (floor, speech) not in TRANSITIONS
)


@dataclass(slots=True)
class Turn:
    """One holder of the floor, from the first sound to the last (seconds on the call's clock)."""

    number: int
    role: Role
    started: float
    ended: float | None = None
    interrupted: bool = False


class TurnTracker:
    """Keeps the floor and the list of turns. Told what happened; never decides that a barge-in is one."""

    __slots__ = ("_open", "barge_ins", "floor", "turns")

    def __init__(self) -> None:
        self.floor = Floor.NOBODY
        self.turns: list[Turn] = []
        self.barge_ins = 0
        self._open: dict[Role, Turn] = {}

    def handle(self, speech: Speech, now: float) -> bool:
        """Move the floor; False if the event was stale and nothing moved."""
        floor = TRANSITIONS.get((self.floor, speech))
        if floor is None:
            return False
        match speech:
            case Speech.CALLER_STARTED:
                self._begin(Role.CALLER, now)
            case Speech.CALLER_STOPPED:
                self._end(Role.CALLER, now)
            case Speech.AGENT_STARTED:
                self._begin(Role.AGENT, now)
            case Speech.AGENT_FINISHED:
                self._end(Role.AGENT, now)
            case Speech.AGENT_CUT:
                self._end(Role.AGENT, now, interrupted=True)
        self.floor = floor
        return True

    @property
    def quiet(self) -> bool:
        """Whether this is a turn boundary: nobody speaks and no answer is owed."""
        return self.floor is Floor.NOBODY

    def _begin(self, role: Role, now: float) -> None:
        turn = Turn(len(self.turns) + 1, role, now)
        self.turns.append(turn)
        self._open[role] = turn

    def _end(self, role: Role, now: float, *, interrupted: bool = False) -> None:
        turn = self._open.pop(role, None)
        if turn is None:
            return
        turn.ended = now
        turn.interrupted = interrupted
        if interrupted and Role.CALLER in self._open:
            self.barge_ins += 1
