"""The messages of a server-side session: ids, encoding, and the refusal of what a client may not say.

Every event is one JSON text; `Outbox` numbers and queues them. Audio deltas are filled into a byte
template: they are the only message that comes fifty times a second.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
import pybase64

_T = TypeVar("_T")

APPEND_PREFIX = b'{"type":"input_audio_buffer.append","audio":"'
APPEND_SUFFIX = b'"}'

# The other order and spacing of the same message: what `json.dumps` and JavaScript clients write.
APPEND_SPACED = b'{"type": "input_audio_buffer.append", "audio": "'

_JSON_NAMES = {str: "a string", int: "an integer", dict: "an object", list: "an array", bool: "a boolean"}


class Rejected(Exception):
    """A client event the service refuses with an `error` event; the session goes on unless `fatal`."""

    def __init__(
        self, code: str | None, message: str, param: str | None = None, *, fatal: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.fatal = fatal
        """The close code that follows, if any."""


def field(event: Mapping[str, object], name: str, kind: type[_T], path: str | None = None) -> _T:
    """Return a required field of the JSON type given."""
    value = optional(event, name, kind, path)
    if value is None:
        where = path or name
        raise Rejected("missing_required_parameter", f"Missing required parameter: '{where}'.", where)
    return value


def optional(event: Mapping[str, object], name: str, kind: type[_T], path: str | None = None) -> _T | None:
    """Return a field of the JSON type given, None where it is absent or null."""
    value = event.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise wrong_type(path or name, kind, value)
    return value


def wrong_type(path: str, wanted: type, value: object) -> Rejected:
    got = "null" if value is None else _JSON_NAMES.get(type(value), "a number")
    return Rejected(
        "invalid_type",
        f"Invalid type for '{path}': expected {_JSON_NAMES[wanted]}, but got {got} instead.",
        path,
    )


def invalid_value(path: str, value: object, supported: tuple[str, ...]) -> Rejected:
    names = [f"'{name}'" for name in supported]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}"
    shown = str(value)[:80]
    return Rejected("invalid_value", f"Invalid value: '{shown}'. Supported values are: {listed}.", path)


class Outbox:
    """Numbers, encodes and queues what the session says; its owner drains it with `take`."""

    def __init__(self, session_id: str) -> None:
        # Part of every id, in a `%` template too: letters and digits only.
        self._tag = re.sub(r"\W", "", session_id.removeprefix("sess_"))
        self._event = 0
        self._made = 0
        self._queue: list[bytes] = []

    def new_id(self, kind: str) -> str:
        """Return a fresh id such as `resp_1_4`; unique within the session."""
        self._made += 1
        return f"{kind}_{self._tag}_{self._made}"

    def say(self, kind: str, **fields: object) -> None:
        self._event += 1
        event = {"type": kind, "event_id": f"event_{self._tag}_{self._event}", **fields}
        self._queue.append(msgspec.json.encode(event))

    def say_added(self, item: Mapping[str, object], previous: str | None) -> None:
        """Say that an item took its place, whole."""
        self.say("conversation.item.added", previous_item_id=previous, item=item)
        self.say("conversation.item.done", previous_item_id=previous, item=item)

    def raw(self, message: bytes) -> None:
        self._queue.append(message)

    def error(self, refusal: Rejected, event_id: str | None, kind: str = "invalid_request_error") -> None:
        self.say(
            "error",
            error={
                "type": kind,
                "code": refusal.code,
                "message": refusal.message,
                "param": refusal.param,
                "event_id": event_id,
            },
        )

    def delta_template(self, response_id: str, item_id: str, output_index: int) -> bytes:
        """Return a `%` template of an audio delta: event number, then base64 audio; keys in the service's order."""
        template = (
            f'{{"type":"response.output_audio.delta","event_id":"event_{self._tag}_%d",'
            f'"response_id":"{response_id}","item_id":"{item_id}",'
            f'"output_index":{output_index},"content_index":0,"delta":"%b"}}'
        )
        return template.encode()

    def delta(self, template: bytes, base64_audio: bytes) -> bytes:
        """Return one audio delta, not queued: the echo path sends it at once."""
        self._event += 1
        return template % (self._event, base64_audio)

    def say_audio(self, template: bytes, audio: bytes) -> None:
        self._queue.append(self.delta(template, pybase64.b64encode(audio)))

    def take(self) -> list[bytes]:
        queue, self._queue = self._queue, []
        return queue
