"""What Telnyx's call control takes and refuses: the parameters of each command, and the bodies of its errors.

Source: the fields and limits of the SDK's parameter types; codes and titles of the API's error pages.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from telephony.numbers import is_e164

TITLES: Mapping[str, str] = {
    "10004": "Missing required parameter",
    "10005": "Resource not found",
    "10007": "Unexpected error",
    "10009": "Authentication failed",
    "10011": "Too many requests",
    "10015": "Bad Request",
    "10016": "Phone number must be in +E.164 format",
    "10032": "Invalid enumerated value",
    "10033": "Value outside of range",
    "90012": "Invalid voice",
    "90015": "Invalid Call Control ID",
    "90018": "Call has already ended",
    "90020": "Recording can't be started before audio",
    "90034": "Call not answered yet",
    "90045": "Media Streaming is used",
    "90102": "Call can't be answered",
}


class RequestRefused(Exception):
    """The API answers with an error and does nothing."""

    def __init__(self, status: int, code: str, detail: str, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer

    def body(self) -> bytes:
        return error_body(self.code, self.detail, self.pointer)


def error_body(code: str, detail: str, pointer: str | None = None) -> bytes:
    """Return the body of an error as the API writes it: the code is a string."""
    error: dict[str, object] = {
        "code": code,
        "title": TITLES.get(code, "Unexpected error"),
        "detail": detail,
        "meta": {"url": f"https://developers.telnyx.com/docs/overview/errors/{code}"},
    }
    if pointer is not None:
        error["source"] = {"pointer": pointer}
    return msgspec.json.encode({"errors": [error]})


class Parameters:
    """The JSON body of a request; a parameter of another type than asked for is refused."""

    def __init__(self, body: bytes) -> None:
        try:
            values = msgspec.json.decode(body) if body.strip() else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RequestRefused(400, "10015", "The request body is not valid JSON.") from None
        if not isinstance(values, dict):
            raise RequestRefused(400, "10015", "The request body is not a JSON object.")
        self._values: dict[str, object] = values

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) not in (None, "")

    def names(self, name: str) -> bool:
        """Whether the request says anything of it, be it null or empty."""
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise RequestRefused(422, "10015", f"{name} must be a string.", f"/{name}")
        return value

    def number(self, name: str, default: int) -> int:
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise RequestRefused(422, "10015", f"{name} must be an integer.", f"/{name}")
        return value

    def loops(self) -> int | None:
        """How often to play; None: until stopped."""
        return None if self._values.get("loop") == "infinity" else self.number("loop", 1)

    def seconds(self, name: str, default_millis: int) -> float:
        """A parameter in milliseconds."""
        return self.number(name, default_millis) / 1_000

    def flag(self, name: str) -> bool:
        return self._values.get(name) is True

    def first(self, name: str) -> str:
        """A string, or the first of a list of them (`to` of a dial)."""
        value = self._values.get(name)
        if isinstance(value, list) and value and isinstance(value[0], str):
            return value[0]
        return self.text(name)

    def pairs(self, name: str) -> dict[str, str]:
        """A list of names and values, as headers and custom parameters are given."""
        entries = self._values.get(name)
        if not isinstance(entries, list):
            return {}
        return {
            str(entry["name"]): str(entry["value"])
            for entry in entries
            if isinstance(entry, dict) and "name" in entry and "value" in entry
        }

    def retries(self, event: str) -> tuple[float, ...] | None:
        """The seconds before each repetition of a webhook, where `webhook_retries_policies` has any for it."""
        policies = self._values.get("webhook_retries_policies")
        policy = policies.get(event) if isinstance(policies, dict) else None
        pauses = policy.get("retries_ms") if isinstance(policy, dict) else None
        return tuple(float(pause) / 1_000 for pause in pauses) if isinstance(pauses, list) else None


class Needs(Enum):
    """The state a leg must be in."""

    ALIVE = "alive"
    INCOMING = "incoming"
    ANSWERED = "answered"
    AUDIO = "audio"
    """Answered; the code of its refusal is the recorder's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a command takes."""

    needs: Needs = Needs.ANSWERED
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    choices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)


_STREAM = {
    "stream_track": frozenset({"inbound_track", "outbound_track", "both_tracks"}),
    "stream_codec": frozenset({"PCMU", "PCMA", "G722", "OPUS", "AMR-WB", "L16", "default"}),
    "stream_bidirectional_mode": frozenset({"mp3", "rtp"}),
    "stream_bidirectional_codec": frozenset({"PCMU", "PCMA", "G722", "OPUS", "AMR-WB", "L16"}),
    "stream_bidirectional_target_legs": frozenset({"both", "self", "opposite"}),
}
_DETECTION = {
    "answering_machine_detection": frozenset(
        {
            "premium",
            "premium_ios_call_screening_detection",
            "detect",
            "detect_beep",
            "detect_words",
            "greeting_end",
            "disabled",
        }
    )
}
_DIGITS = {
    "minimum_digits": (1, 128),
    "maximum_digits": (1, 128),
    "timeout_millis": (1, 600_000),
    "inter_digit_timeout_millis": (1, 600_000),
    "initial_timeout_millis": (1, 600_000),
    "maximum_tries": (1, 128),
}
_TIMEOUTS = {"timeout_secs": (5, 600), "time_limit_secs": (30, 14_400)}

DIAL = Rule(required=("connection_id", "to", "from"), choices={**_STREAM, **_DETECTION}, ranges=_TIMEOUTS)

ACTIONS: Mapping[str, Rule] = {
    "answer": Rule(needs=Needs.INCOMING, choices=_STREAM),
    "hangup": Rule(needs=Needs.ALIVE),
    "reject": Rule(
        needs=Needs.INCOMING,
        required=("cause",),
        choices={"cause": frozenset({"CALL_REJECTED", "USER_BUSY", "NOT_FOUND", "TEMPORARILY_UNAVAILABLE"})},
    ),
    "transfer": Rule(
        required=("to",),
        choices={**_DETECTION, "mute_dtmf": frozenset({"none", "both", "self", "opposite"})},
        ranges=_TIMEOUTS,
    ),
    "bridge": Rule(needs=Needs.ALIVE, one_of=("call_control_id", "queue", "video_room_id")),
    "gather": Rule(ranges=_DIGITS),
    "gather_using_speak": Rule(
        required=("payload", "voice"), choices={"payload_type": frozenset({"text", "ssml"})}, ranges=_DIGITS
    ),
    "gather_using_audio": Rule(one_of=("audio_url", "media_name"), ranges=_DIGITS),
    "gather_stop": Rule(),
    "send_dtmf": Rule(required=("digits",), ranges={"duration_millis": (100, 500)}),
    "speak": Rule(
        required=("payload", "voice"),
        choices={
            "payload_type": frozenset({"text", "ssml"}),
            "stop": frozenset({"current", "all"}),
            "target_legs": frozenset({"self", "opposite", "both"}),
        },
    ),
    "playback_start": Rule(one_of=("audio_url", "media_name", "playback_content")),
    "playback_stop": Rule(),
    "record_start": Rule(
        needs=Needs.AUDIO,
        required=("channels", "format"),
        choices={
            "channels": frozenset({"single", "dual"}),
            "format": frozenset({"wav", "mp3"}),
            "recording_track": frozenset({"both", "inbound", "outbound"}),
        },
        ranges={"max_length": (0, 14_400)},
    ),
    "record_stop": Rule(),
    "record_pause": Rule(),
    "record_resume": Rule(),
    "streaming_start": Rule(required=("stream_url",), choices=_STREAM),
    "streaming_stop": Rule(),
    "refer": Rule(required=("sip_address",)),
    "client_state_update": Rule(needs=Needs.ALIVE, required=("client_state",)),
}

_KEYS = re.compile(r"[0-9A-Da-d*#wW]+")
# `Provider.Model.Voice`, or one of the two basic ones.
_VOICE = re.compile(r"male|female|\w+(\.[\w-]+)+")
_LONGEST_TEXT = 3_000


def check(rule: Rule, parameters: Parameters) -> None:
    """Refuse what the API refuses before it looks at the call.

    Raises:
        RequestRefused: with the carrier's own code.
    """
    for name in rule.required:
        if name not in parameters:
            raise RequestRefused(422, "10004", f"The '{name}' parameter is required.", f"/{name}")
    if rule.one_of and not any(name in parameters for name in rule.one_of):
        names = ", ".join(rule.one_of)
        raise RequestRefused(422, "10004", f"One of {names} is required.", f"/{rule.one_of[0]}")
    for name, choices in rule.choices.items():
        if name in parameters and parameters.text(name) not in choices:
            raise RequestRefused(422, "10032", f"{name} must be one of {sorted(choices)}.", f"/{name}")
    for name, (least, most) in rule.ranges.items():
        if name in parameters and not least <= parameters.number(name, least) <= most:
            raise RequestRefused(422, "10033", f"{name} must be between {least} and {most}.", f"/{name}")
    _check_values(parameters)


def _check_values(parameters: Parameters) -> None:
    """Values with a form of their own, wherever they occur."""
    if "client_state" in parameters:
        _check_base64("client_state", parameters.text("client_state"))
    if "target_leg_client_state" in parameters:
        _check_base64("target_leg_client_state", parameters.text("target_leg_client_state"))
    for name in ("to", "from"):
        if name in parameters and not is_address(parameters.first(name)):
            raise RequestRefused(422, "10016", "The phone number must be in +E.164 format.", f"/{name}")
    if "voice" in parameters and not _VOICE.fullmatch(parameters.text("voice")):
        raise RequestRefused(422, "90012", "The voice is not a valid one.", "/voice")
    if "payload" in parameters and len(parameters.text("payload")) > _LONGEST_TEXT:
        raise RequestRefused(422, "10033", f"payload is longer than {_LONGEST_TEXT}.", "/payload")
    if "digits" in parameters and not _KEYS.fullmatch(parameters.text("digits")):
        raise RequestRefused(422, "10015", "digits must be of 0-9 A-D * # w W.", "/digits")


def is_address(text: str) -> bool:
    return is_e164(text) or text.lower().startswith(("sip:", "sips:"))


def _check_base64(name: str, text: str) -> None:
    try:
        b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestRefused(422, "10015", f"{name} must be a valid Base64 string.", f"/{name}") from None
