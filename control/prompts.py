"""Fixed texts and files said to the caller by us, beside what the model says.

    asked --ready--> ready --written--> playing --heard, cut--> (told)
      |                                   ^
      +--failed--> (told)                 +-- in the order in which they were asked for

Each is an item of its own in playout, so that it is accounted for as the model's items are; the model's session never
heard of it, and is told.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from control.background import encoded
from media.playout import ItemHeard, PlayoutClock

# Prompts that wait; whoever asks for more does not wait for what becomes of them.
_WAITING = 32


@dataclass(slots=True, eq=False)
class Prompt:
    """One of them."""

    ticket: str
    item: str
    text: str | None
    """None: a file; it is in no transcript."""
    interruptible: bool
    audio: bytes | None = None
    """PCM16, mono, once it is there."""
    rate: int = 8_000
    patient: bool = False
    """Whether it waits until nothing else is being said."""
    stopped: bool = False
    """Whether it was told to stop while it played."""


@dataclass(frozen=True, slots=True)
class PromptCut:
    """A prompt that was not heard to its end."""

    prompt: Prompt
    heard: int
    """Samples, of `length`."""
    length: int


class Prompts:
    """Driven by the bridge: what is asked for, its audio, what playout says. Never synthesises, never decides."""

    def __init__(self) -> None:
        self._waiting: deque[Prompt] = deque()
        self._playing: list[Prompt] = []
        self._asked = 0

    @property
    def active(self) -> bool:
        """Whether any is waited for or heard."""
        return bool(self._waiting or self._playing)

    @property
    def waiting(self) -> bool:
        """Whether any is still to be heard that playout does not know of yet."""
        return bool(self._waiting)

    @property
    def playing(self) -> bool:
        """Whether playout has one."""
        return bool(self._playing)

    @property
    def locked(self) -> bool:
        """Whether one of them must not be interrupted."""
        return any(not each.interruptible for each in (*self._waiting, *self._playing))

    @property
    def due(self) -> bool:
        """Whether `write_due` has something to hand over."""
        return bool(self._waiting) and self._waiting[0].audio is not None

    @property
    def patient(self) -> bool:
        """Whether the one whose turn it is waits until nothing else is being said."""
        return bool(self._waiting) and self._waiting[0].patient

    def ask(
        self, ticket: str, text: str | None, *, interruptible: bool = True, patient: bool = False
    ) -> Prompt | None:
        """A prompt is to be said after those asked for before; None if too many wait."""
        if len(self._waiting) >= _WAITING:
            return None
        self._asked += 1
        prompt = Prompt(ticket, f"prompt_{self._asked}", text, interruptible, patient=patient)
        self._waiting.append(prompt)
        return prompt

    def awaited(self, ticket: str) -> Prompt | None:
        """The prompt of that ticket, if its audio has not come."""
        return next((each for each in self._waiting if each.ticket == ticket and each.audio is None), None)

    def not_begun(self, ticket: str) -> Prompt | None:
        """The prompt of that ticket, if it waits yet."""
        return next((each for each in self._waiting if each.ticket == ticket), None)

    def fail(self, prompt: Prompt) -> None:
        self._waiting.remove(prompt)

    def write_due(self, playout: PlayoutClock) -> list[Prompt]:
        """Hand those whose turn has come to playout; return them."""
        begun: list[Prompt] = []
        while self._waiting and (audio := self._waiting[0].audio) is not None:
            if begun and self._waiting[0].patient:
                break
            prompt = self._waiting.popleft()
            playout.write(prompt.item, encoded(audio, prompt.rate, playout.format))
            prompt.audio = None  # playout has it now
            playout.end_item(prompt.item)
            begun.append(prompt)
        self._playing += begun
        return begun

    def heard(self, playout: PlayoutClock) -> list[Prompt]:
        """Return those heard to their end since last asked."""
        if not self._playing:
            return []
        done = [each for each in self._playing if not playout.holds(each.item)]
        self._playing = [each for each in self._playing if each not in done]
        return done

    def stop_file(self, playout: PlayoutClock) -> list[Prompt]:
        """Stop every file; return those that nobody will hear. The one being heard ends with what the carrier has."""
        for each in self._playing:
            if each.text is None:
                each.stopped = True
                playout.skip(each.item)
        unheard = [each for each in self._waiting if each.text is None]
        self._waiting = deque(each for each in self._waiting if each.text is not None)
        return unheard

    def cut(self, items: Collection[ItemHeard]) -> list[PromptCut]:
        """Playout was cleared and these items cut: return the prompts among them, and those that waited.

        One that must not be interrupted and has not begun goes on waiting.
        """
        known = {item.item: item for item in items}
        cuts = [
            PromptCut(each, known[each.item].heard, known[each.item].written)
            for each in self._playing
            if each.item in known
        ]
        cuts += [PromptCut(each, 0, 0) for each in self._waiting if each.interruptible]
        self._playing = [each for each in self._playing if each.item not in known]
        self._waiting = deque(each for each in self._waiting if not each.interruptible)
        return cuts

    def end(self) -> list[Prompt]:
        """The call is over: return those nobody heard."""
        unheard = [*self._playing, *self._waiting]
        self._playing, self._waiting = [], deque()
        return unheard
