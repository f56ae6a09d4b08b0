"""What is known of each item of the conversation: how much audio came, its text so far, whether it was cut.

Bounded in every direction, since all of it is filled by the server's messages.
"""

from media.realtime.events import Role

ITEMS = 512  # an hour of talk has about as many; the oldest are forgotten
PARTS = 16  # content parts of one item; OpenAI sends one or two
TEXT = 32_768  # characters of one part: more than an hour of one voice reading aloud


class Item:
    """One item. Driven by the session as messages about it arrive; decides nothing."""

    __slots__ = (
        "announced",
        "cut",
        "dropped",
        "ended",
        "item_id",
        "odd",
        "parts",
        "previous",
        "received",
        "response_id",
        "role",
        "settled",
        "slow",
    )

    def __init__(self, item_id: str) -> None:
        self.item_id = item_id
        self.role: Role | None = None
        self.response_id = ""
        self.previous: str | None = None
        self.announced = False
        """Whether its place in the conversation was told."""
        self.received = 0
        """Bytes of audio handed on to be played."""
        self.odd = b""
        """Half a sample of a delta that ended inside one."""
        self.dropped = False
        """Whether audio of it came after the cut of its response."""
        self.ended = False
        self.cut = False
        """Whether the server was told how much of it was heard."""
        self.slow = 0
        """Audio deltas that had to be read as JSON."""
        self.settled = False
        """Whether its final text was told."""
        self.parts: dict[int, str] = {}

    def take(self, audio: bytes, sample_bytes: int) -> bytes:
        """Count received audio and return its whole samples.

        A server may cut its base64 anywhere; half a sample passed on would turn all that follows into noise.
        """
        if self.odd or len(audio) % sample_bytes:
            audio = self.odd + audio
            whole = len(audio) - len(audio) % sample_bytes
            audio, self.odd = audio[:whole], audio[whole:]
        self.received += len(audio)
        return audio

    def add_text(self, index: int, delta: str) -> str:
        """Append to one part and return the item's whole text so far."""
        if index in self.parts or len(self.parts) < PARTS:
            self.parts[index] = (self.parts.get(index, "") + delta)[:TEXT]
        return self.text

    def set_text(self, index: int, text: str) -> str:
        """Replace one part and return the item's whole text."""
        if index in self.parts or len(self.parts) < PARTS:
            self.parts[index] = text[:TEXT]
        return self.text

    @property
    def text(self) -> str:
        return " ".join(words for _, words in sorted(self.parts.items()) if words)


class ItemLedger:
    """The items of a session by id; keeps the newest `ITEMS`."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}

    def __len__(self) -> int:
        return len(self._items)

    def get(self, item_id: str) -> Item | None:
        return self._items.get(item_id)

    def open(self, item_id: str) -> Item:
        """Return the item, new if it was unknown."""
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = Item(item_id)
            if len(self._items) > ITEMS:
                del self._items[next(iter(self._items))]
        return item

    def of_response(self, response_id: str) -> list[Item]:
        """Return the agent's items of one response (of those without one, where `response_id` is empty)."""
        return [
            item
            for item in self._items.values()
            if item.response_id == response_id and item.role is Role.AGENT
        ]
