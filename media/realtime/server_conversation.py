"""The conversation a server-side session keeps: items in order, what of each was generated, and its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from media.realtime.server_behaviour import TruncateRefusal
from media.realtime.server_wire import Rejected, field, invalid_value, optional

# Tokens per second of audio (OpenAI pricing: the caller's 1 per 100 ms, the agent's 1 per 50 ms).
CALLER_TOKENS = 10
AGENT_TOKENS = 20
# The common rule of thumb for English text.
CHARACTERS_PER_TOKEN = 4

# A call of an hour has a few hundred items; a client that floods them loses the oldest.
MAX_ITEMS = 5_000

_CONTENT = {
    "user": ("input_text", "input_audio", "input_image"),
    "system": ("input_text",),
    "assistant": ("output_text",),
}


@dataclass(slots=True)
class Item:
    """One item as the wire shows it, and what the wire does not show of it."""

    shown: dict[str, object]
    audio: float = 0.0
    """Seconds of audio that were generated or committed, less what a truncation took away."""
    spoken: bool = False
    """Whether audio of the agent's was generated for it."""
    truncate_refusal: TruncateRefusal | None = None

    @property
    def item_id(self) -> str:
        return str(self.shown["id"])

    @property
    def by_caller(self) -> bool:
        return self.shown.get("role") == "user"


def text_tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


class Conversation:
    """Driven by the session; never speaks to the wire itself: what it refuses it raises as `Rejected`."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._cached_audio = 0
        self._cached_text = 0

    def __len__(self) -> int:
        return len(self._items)

    def shown(self) -> tuple[Mapping[str, object], ...]:
        return tuple(item.shown for item in self._items.values())

    @property
    def last_id(self) -> str | None:
        return next(reversed(self._items), None)

    @property
    def caller_spoke(self) -> bool:
        return any(item.by_caller for item in self._items.values())

    def append(self, item: Item) -> str | None:
        """Add an item at the end and return the id before it."""
        previous = self.last_id
        self._items[item.item_id] = item
        if len(self._items) > MAX_ITEMS:
            del self._items[next(iter(self._items))]
        return previous

    def insert(self, item: Item, after: str | None) -> str | None:
        """Add an item where the client wants it ("root": in front) and return the id before it."""
        if item.item_id in self._items:
            raise Rejected(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id '{item.item_id[:80]}' already exists.",
                "item.id",
            )
        if after is None:
            return self.append(item)
        if after != "root" and after not in self._items:
            raise Rejected(
                "item_create_invalid_previous_item_id",
                f"Error adding item: the previous item with id '{after[:80]}' does not exist.",
                "previous_item_id",
            )
        ordered = list(self._items.values())
        place = 0 if after == "root" else 1 + list(self._items).index(after)
        ordered.insert(place, item)
        self._items = {each.item_id: each for each in ordered[-MAX_ITEMS:]}
        return None if after == "root" else after

    def find(self, item_id: str, doing: str) -> Item:
        item = self._items.get(item_id)
        if item is None:
            raise Rejected(
                f"item_{doing}_invalid_item_id",
                f"Error with {doing} item: the item with id '{item_id[:80]}' does not exist.",
                "item_id",
            )
        return item

    def set_transcript(self, item_id: str, text: str) -> None:
        """File what was said in caller audio, if its item still stands."""
        item = self._items.get(item_id)
        if item is not None:
            item.shown["content"] = [{"type": "input_audio", "transcript": text}]

    def delete(self, item_id: str) -> None:
        self.find(item_id, "delete")
        del self._items[item_id]

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut an item to what was heard, or refuse it in the service's own words."""
        item = self.find(item_id, "truncate")
        if item.truncate_refusal is not None:
            raise Rejected(item.truncate_refusal.code, item.truncate_refusal.message)
        if not item.spoken:
            # livekit/agents issue 6157: also what a truncation before the first delta meets.
            raise Rejected(
                "unsupported_content_type", "Only model output audio messages can be truncated.", "item_id"
            )
        if content_index != 0:
            raise invalid_value("content_index", content_index, ("0",))
        if audio_end_ms < 0:
            raise Rejected(
                "integer_below_min_value",
                "Invalid 'audio_end_ms': integer below minimum value. Expected a value >= 0.",
                "audio_end_ms",
            )
        generated_ms = int(item.audio * 1000 + 1e-6)
        if audio_end_ms > generated_ms:
            # The text is the service's own, and its code is null (twilio sample issue 22).
            raise Rejected(
                None, f"Audio content of {generated_ms}ms is already shorter than {audio_end_ms}ms"
            )
        item.audio = audio_end_ms / 1000
        _forget_transcript(item)

    def input_usage(self, instructions: str, *, without: Sequence[Item] = ()) -> dict[str, object]:
        """Return what one response reads: the whole conversation, of which the part seen before is cached."""
        own = {item.item_id for item in without}
        audio, text = 0, text_tokens(instructions)
        for item in self._items.values():
            if item.item_id in own:
                continue
            audio += round(item.audio * (CALLER_TOKENS if item.by_caller else AGENT_TOKENS))
            text += _item_text_tokens(item)
        cached_audio, cached_text = min(self._cached_audio, audio), min(self._cached_text, text)
        self._cached_audio, self._cached_text = audio, text
        return {
            "text_tokens": text,
            "audio_tokens": audio,
            "image_tokens": 0,
            "cached_tokens": cached_audio + cached_text,
            "cached_tokens_details": {
                "text_tokens": cached_text,
                "audio_tokens": cached_audio,
                "image_tokens": 0,
            },
        }


def _content(item: Item) -> list[dict[str, object]]:
    content = item.shown.get("content")
    return content if isinstance(content, list) else []


def _item_text_tokens(item: Item) -> int:
    texts = [part.get("text") for part in _content(item)]
    texts += [item.shown.get(name) for name in ("name", "arguments", "output")]
    return sum(text_tokens(text) for text in texts if isinstance(text, str))


def _forget_transcript(item: Item) -> None:
    """Drop the words with the sound: nobody knows which of them were heard (the service does the same)."""
    for part in _content(item):
        if "transcript" in part:
            part["transcript"] = ""


def client_item(given: Mapping[str, object], new_id: str) -> Item:
    """Check an item the client wants to insert."""
    kind = field(given, "type", str, "item.type")
    item_id = optional(given, "id", str, "item.id") or new_id
    shown: dict[str, object] = {"id": item_id, "object": "realtime.item", "type": kind, "status": "completed"}
    match kind:
        case "message":
            shown |= _client_message(given)
        case "function_call":
            for name in ("name", "arguments"):
                shown[name] = field(given, name, str, f"item.{name}")
            shown["call_id"] = optional(given, "call_id", str, "item.call_id") or f"call_{new_id}"
        case "function_call_output":
            for name in ("call_id", "output"):
                shown[name] = field(given, name, str, f"item.{name}")
        case _:
            raise invalid_value("item.type", kind, ("message", "function_call", "function_call_output"))
    return Item(shown)


def _client_message(given: Mapping[str, object]) -> dict[str, object]:
    role = field(given, "role", str, "item.role")
    if role not in _CONTENT:
        raise invalid_value("item.role", role, tuple(_CONTENT))
    content: list[dict[str, object]] = []
    for index, part in enumerate(field(given, "content", list, "item.content")):
        path = f"item.content[{index}]"
        if not isinstance(part, dict):
            raise Rejected("invalid_type", f"Invalid type for '{path}': expected an object.", path)
        kind = field(part, "type", str, f"{path}.type")
        if kind not in _CONTENT[role]:
            # The assistant's audio cannot be inserted: a replayed history is text.
            raise invalid_value(f"{path}.type", kind, _CONTENT[role])
        content.append({"type": kind, **_client_content(part, kind, path)})
    return {"role": role, "content": content}


def _client_content(part: Mapping[str, object], kind: str, path: str) -> dict[str, object]:
    match kind:
        case "input_audio":  # stored without its sound, as conversation.item.added shows it
            return {"transcript": optional(part, "transcript", str, f"{path}.transcript")}
        case "input_image":
            return {"image_url": field(part, "image_url", str, f"{path}.image_url")}
        case _:
            return {"text": field(part, "text", str, f"{path}.text")}
