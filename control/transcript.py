"""A call's transcript, in the order of the conversation although its texts arrive late and out of order.

An item takes its place when the session announces it (`added`); its text may follow whenever the transcription is
done, and a failed one leaves its place empty without holding up the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from media.realtime.configuration import HistoryItem
from media.realtime.events import Role


@dataclass(slots=True)
class Utterance:
    """One item of the conversation."""

    item_id: str
    role: Role
    at: float
    """Seconds since the call was answered, when the item was announced."""
    text: str = ""
    final: bool = False
    interrupted: bool = False
    heard_ms: int | None = None
    """Of an agent's utterance that was cut short: what the caller heard of it."""
    spoken: bool = True
    """Whether anybody said it; the model is told things that nobody says."""

    def as_dict(self) -> dict[str, str | float | bool | int | None]:
        return {
            "role": self.role.value,
            "content": self.text,
            "timestamp": round(self.at, 3),
            "interrupted": self.interrupted,
            "heard_ms": self.heard_ms,
        }


class Transcript:
    """Keyed by item; told of announcements, texts and cuts in any order."""

    def __init__(self) -> None:
        self._order: list[str] = []
        self._items: dict[str, Utterance] = {}

    def added(self, item_id: str, previous: str | None, role: Role, at: float) -> None:
        if item_id in self._items:
            self._items[item_id].role = role
            return
        self._items[item_id] = Utterance(item_id, role, at)
        if previous is not None and previous in self._items:
            self._order.insert(self._order.index(previous) + 1, item_id)
        else:
            self._order.append(item_id)

    def text(self, item_id: str, role: Role, text: str, *, final: bool, at: float) -> None:
        if item_id not in self._items:
            self.added(item_id, None, role, at)
        utterance = self._items[item_id]
        if utterance.final and not final:
            return
        utterance.text, utterance.final = text, final

    def note(self, item_id: str, role: Role, text: str, at: float) -> None:
        """Keep what the model was told and nobody said: a later session must know it too."""
        self.text(item_id, role, text, final=True, at=at)
        self._items[item_id].spoken = False

    def cut(self, item_id: str, heard_ms: int) -> None:
        utterance = self._items.get(item_id)
        if utterance is not None:
            utterance.interrupted = True
            utterance.heard_ms = heard_ms

    @property
    def utterances(self) -> Sequence[Utterance]:
        """What was said: those with something in them, in conversation order."""
        return [item for item in self._known() if item.spoken]

    def _known(self) -> list[Utterance]:
        return [item for key in self._order if (item := self._items[key]).text or item.interrupted]

    def history(self) -> list[HistoryItem]:
        """Return what a new session must know of this conversation; what nobody heard is not in it."""
        return [
            HistoryItem(item.role, item.text)
            for item in self._known()
            if item.text and not (item.interrupted and not item.heard_ms)
        ]
