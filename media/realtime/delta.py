"""The hot path of agent audio: an item's deltas differ in their event id and their audio only.

The first delta of an item is read as JSON. From it a `DeltaTemplate` is learned: the bytes before the event
id and those between it and the audio. What follows those bytes exactly is a delta of the same item, whatever
the server's key order and white space; everything else is left to the JSON reader. Each learned template is
*proved* by reading it back with another event id, so nothing is assumed about the server's way of writing.
"""

import binascii

import msgspec
import pybase64

from media.realtime.openai import END, ServerEvent

BACKSLASH = ord("\\")
# What takes the event id's place in the proof.
OTHER_ID = "event_other"


class DeltaTemplate:
    """Recognises the audio deltas of one item of one response. Holds no audio."""

    __slots__ = ("_between", "_head", "item_id", "response_id")

    def __init__(self, response_id: str, item_id: str, head: bytes, between: bytes) -> None:
        self.response_id = response_id
        self.item_id = item_id
        self._head = head
        self._between = between
        """From the quote that ends the event id to the one that opens the audio; empty without an event id."""

    def audio(self, message: bytes) -> bytes | None:
        """Return the audio of a message of this template; None for any other message."""
        if not (message.startswith(self._head) and message.endswith(END)):
            return None
        start = len(self._head)
        if self._between:
            quote = message.find(b'"', start)
            # An escaped quote would not end the event id.
            if message[quote - 1] == BACKSLASH or not message.startswith(self._between, quote):
                return None
            start = quote + len(self._between)
        try:
            # Validation refuses a quote, so the audio is what the message ends with and nothing else.
            return pybase64.b64decode(message[start:-2], None, True)
        except binascii.Error:
            return None


def learn(event: ServerEvent, response_id: str, item_id: str) -> DeltaTemplate | None:
    """Learn from an item's first delta; None where its writing leaves no template (the JSON reader serves)."""
    message = event.raw
    opening = message.rfind(b'"', 0, -len(END))
    if not message.endswith(END) or opening < 0:
        return None
    prefix = message[: opening + 1]
    if not _reads_as(prefix + END, {**event.fields, "delta": ""}):
        return None
    event_id = event.fields.get("event_id")
    if event_id is None:
        return DeltaTemplate(response_id, item_id, prefix, b"")
    if not isinstance(event_id, str):
        return None
    written = msgspec.json.encode(event_id)
    if prefix.count(written) != 1:
        return None
    at = prefix.index(written)
    head, between = prefix[: at + 1], prefix[at + len(written) - 1 :]
    other = {**event.fields, "event_id": OTHER_ID, "delta": ""}
    if not _reads_as(head + OTHER_ID.encode() + between + END, other):
        return None
    return DeltaTemplate(response_id, item_id, head, between)


def _reads_as(message: bytes, fields: object) -> bool:
    try:
        return bool(msgspec.json.decode(message) == fields)
    except (msgspec.DecodeError, RecursionError):
        return False
