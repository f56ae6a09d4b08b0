"""How long each phase of a call may last, as data: a name for each wait, when it is over, what comes then.

Theory of operation. Whatever a call waits for (a carrier, the media, a person), it waits with a deadline: peers
stall, die and lie, and no call may be stranded for it. `Deadlines` holds what is being waited for now; `RULES` says
of each wait from when it runs, how long, and what follows. Times are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Due(Enum):
    """What a call may be waiting for."""

    RING = auto()
    ANSWER = auto()
    STREAM = auto()
    MACHINE = auto()
    MESSAGE = auto()
    SAID = auto()
    SILENCE = auto()
    GATHER = auto()
    TRANSFER = auto()
    FILLER = auto()
    MAX_DURATION = auto()
    DRAIN = auto()
    HANGUP = auto()
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """One wait."""

    starts: str
    lasts: float | str
    """Seconds, or where they come from."""
    then: str


# The carrier has its own ring timeout; ours only catches a call of which no news comes any more.
RING_SLACK = 10.0
# Twilio lets a media socket take 10 s to say `start` (sheet F, trap 40); the answer itself comes on top.
STREAM_WAIT = 10.0
# Twilio's detection takes at most 30 s (`MachineDetectionTimeout`) before it asks for the document.
DETECTED_STREAM_WAIT = 40.0
# Telnyx decides within about 4 s. A person who hears nothing for longer hangs up: then the agent speaks anyway.
MACHINE_WAIT = 6.0
# The longest announcement that a voicemail box may play before its tone; then the message is left anyway.
MESSAGE_WAIT = 30.0
# What the media may take beyond the limit that it keeps itself, before we go on without its report.
SAID_SLACK = 2.0
# A carrier that says nothing after it took a hang-up.
HANGUP_WAIT = 5.0
# For a hang-up to be taken at all, repetitions included.
HANGUP_LIMIT = 30.0
# For files to be written; the call's last event waits for it, since it tells what is in them.
CLOSE_WAIT = 5.0

RULES: Mapping[Due, Rule] = {
    Due.RING: Rule("the dial", f"the ring timeout and {RING_SLACK:.0f}", "hang up: `no-answer`"),
    Due.ANSWER: Rule("an inbound call", "`answer_wait`", "answer without waiting for the agent"),
    Due.STREAM: Rule(
        "the answer, or whatever opens a stream",
        f"{STREAM_WAIT:.0f}, or {DETECTED_STREAM_WAIT:.0f} where the carrier detects machines first",
        "the stream counts as lost",
    ),
    Due.MACHINE: Rule("the answer, if the agent is to wait", MACHINE_WAIT, "the agent speaks"),
    Due.MESSAGE: Rule("a machine was detected", MESSAGE_WAIT, "the message is left"),
    Due.SAID: Rule(
        "something is to be heard first",
        f"the goodbye limit and {SAID_SLACK:.0f}",
        "what waited for it is done",
    ),
    Due.SILENCE: Rule(
        "a prompt into the silence", "three times the silence timeout", "the next prompt, or the end"
    ),
    Due.GATHER: Rule(
        "a gather, and each key", "the gather's own limits", "`timeout`, or what was typed so far"
    ),
    Due.TRANSFER: Rule("each phase of a transfer", "its ring timeout and some", "the caller is had back"),
    Due.FILLER: Rule("a tool that has a filler", "its `after_seconds`", "the filler is heard"),
    Due.MAX_DURATION: Rule("the answer", "`max_duration`", "hang up: `max-duration`"),
    Due.DRAIN: Rule("the process is to stop", "as it was told", "hang up, once what is being said was heard"),
    Due.HANGUP: Rule(
        "our hang-up",
        f"{HANGUP_WAIT:.0f} once the carrier took it, {HANGUP_LIMIT:.0f} in all",
        "the call is over, whatever the carrier says later",
    ),
    Due.CLOSE: Rule("the end", CLOSE_WAIT, "`call.ended` without waiting for the files"),
}


class Deadlines:
    """What one call is waiting for. Driven by its owner, who asks for the `next` and takes what has `expired`."""

    def __init__(self) -> None:
        self._at: dict[Due, float] = {}

    def __contains__(self, due: Due) -> bool:
        return due in self._at

    def set(self, due: Due, at: float) -> None:
        """Wait until `at`, instead of what this wait was set to before."""
        self._at[due] = at

    def clear(self, *dues: Due) -> None:
        """Wait no longer."""
        for due in dues:
            self._at.pop(due, None)

    def clear_all(self) -> None:
        self._at.clear()

    def at(self, due: Due) -> float | None:
        return self._at.get(due)

    def next(self) -> float | None:
        """When the first one is over."""
        return min(self._at.values(), default=None)

    def take_expired(self, now: float) -> Due | None:
        """Return the wait that was over first, and forget it; None if there is none by `now`."""
        due = min(self._at, key=self._at.__getitem__, default=None)
        if due is None or self._at[due] > now:
            return None
        del self._at[due]
        return due
