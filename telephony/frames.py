"""What the JSON media frames of all carriers share: how their fields are read, and the limits they keep to."""

from dataclasses import dataclass

import msgspec
from pybase64 import b64decode

from media.audio import AudioFormat, Encoding
from telephony.errors import UnsupportedFormat
from telephony.events import MarkReached, MediaReceived, Unrecognised

Number = int | float | str
"""Carriers write their numbers as strings, their simulators and successors as numbers: both are read."""

# 8 s of G.711 in one frame; carriers send 20 ms, Exotel-like ones 100 ms. Bounds what one message may allocate.
MAX_PAYLOAD = 65_536
# A payload of that size in base64, and room for `start` with its parameters.
MAX_MESSAGE = 131_072
# Numbers longer than this are no counters, and converting thousands of digits is quadratic.
MAX_DIGITS = 18

_KEYS = frozenset("0123456789*#ABCD")
_INBOUND_TRACKS = frozenset({None, "inbound", "inbound_track"})

# What a wire says of a media frame without a chunk number; the stream counts such frames itself.
UNNUMBERED = -1

FRAME_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)
"""All that decoding text from outside can raise (msgspec: invalid UTF-8 and deep nesting have their own)."""


def fault_reason(fault: Exception) -> str:
    """Return one short line that says what was wrong, without the frame itself."""
    return "nested too deeply" if isinstance(fault, RecursionError) else str(fault)[:200]


def whole(number: Number | None, field: str) -> int:
    """Return a counter, whether it came as a string or as a number."""
    if isinstance(number, str):
        if number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS:
            return int(number)
    elif number is not None and 0 <= number < 10**MAX_DIGITS and number == int(number):
        return int(number)
    raise ValueError(f"{field} is not a number")


class _Media(msgspec.Struct):
    payload: str
    chunk: Number | None = None
    track: str | None = None


class _Mark(msgspec.Struct):
    name: str


_media = msgspec.json.Decoder(_Media)
_mark = msgspec.json.Decoder(_Mark)


def media_received(body: msgspec.Raw) -> MediaReceived | Unrecognised:
    """Return what a `media` body says; audio of any track but the caller's is none of ours."""
    media = _media.decode(body)
    if not is_inbound(media.track):
        return Unrecognised(f"media of {media.track}")
    chunk = UNNUMBERED if media.chunk is None else whole(media.chunk, "chunk")
    return MediaReceived(chunk, _audio(media.payload))


def mark_reached(body: msgspec.Raw) -> MarkReached:
    """Return what a `mark` body says."""
    return MarkReached(_mark.decode(body).name)


def _audio(text: str) -> bytes:
    if len(text) > MAX_PAYLOAD * 4 // 3 + 4:
        raise ValueError(f"a payload of {len(text)} characters")
    try:
        return b64decode(text, None, True)
    except ValueError as fault:
        raise ValueError("the payload is not base64") from fault


def key_pressed(digit: Number) -> str:
    """Return the key of a dtmf frame."""
    key = str(digit).upper()
    if key not in _KEYS:
        raise ValueError("the digit is not a key of a telephone")
    return key


def is_inbound(track: str | None) -> bool:
    """Return whether a track is the caller's (Twilio spells it both ways; one-track streams may leave it out)."""
    return track in _INBOUND_TRACKS


def parameters(given: object) -> dict[str, str]:
    """Return custom parameters, which carriers show as an object and ask for as a list of name and value."""
    match given:
        case None:
            return {}
        case dict():
            pairs = list(given.items())
        case list():
            pairs = [(entry["name"], entry.get("value")) for entry in map(_parameter, given)]
        case _:
            raise ValueError("custom parameters are neither an object nor a list")
    return {str(name): _text(value) for name, value in pairs}


def _parameter(entry: object) -> dict[str, object]:
    if not isinstance(entry, dict) or "name" not in entry:
        raise ValueError("a custom parameter has no name")
    return entry


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def audio_format(
    carrier: str, encodings: dict[str, Encoding], encoding: str, rate: Number, channels: Number
) -> AudioFormat:
    """Return the format a `start` frame announces.

    Raises:
        UnsupportedFormat: not one of `encodings` (upper case) at 8 kHz in one channel.
    """
    known = encodings.get(encoding.upper())
    # G722 is announced as 8000 though it carries 16 kHz (RFC 3551 section 4.5.2): the name decides, then the rate.
    if known is None or whole(rate, "sample rate") != 8_000 or whole(channels, "channels") != 1:
        raise UnsupportedFormat(carrier, f"cannot decode {encoding[:32]}/{rate} in {channels} channel(s)")
    return AudioFormat(known, 8_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """What is sent on one stream: bytes before and after base64 audio, and before and after a JSON string."""

    media: tuple[bytes, bytes]
    mark: tuple[bytes, bytes]
    clear: bytes
