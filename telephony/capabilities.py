"""What each carrier can do to a live call, and at what price: the table behind `GET /v1/carriers`.

A stream is *broken* where a command replaces what the carrier is doing (Twilio runs one document at a time, sheet
B1.4): the media socket closes and another one opens, and what the caller says in between is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Means(StrEnum):
    """How something is done to a live call on a carrier."""

    NATIVE = "native"
    """By the carrier; the stream is not touched."""
    STREAM_BREAK = "stream-break"
    """By the carrier, and the stream is re-attached afterwards."""
    GATEWAY = "gateway"
    """By us, in the stream itself."""
    NONE = "none"
    """Not without dropping the call: answered 501."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """One carrier's column of the table."""

    carrier: str
    controllable: bool = True
    """Whether calls can be dialled, answered and commanded at all; else only media streams are taken in."""
    answers_by_document: bool
    """Whether requests are answered with what to do (Twilio), rather than commanded afterwards (Telnyx)."""
    transfer: Means
    carrier_gather: Means
    stream_gather: Means = Means.GATEWAY
    send_digits: Means
    hold: Means = Means.GATEWAY
    play: Means = Means.GATEWAY
    say: Means = Means.GATEWAY
    record: Means = Means.GATEWAY
    machine_detection: bool = True
    sip_destinations: bool
    sip_refer: bool
    restarts_stream: bool
    """Whether a lost stream can be opened anew by a command (Telnyx); else the running document must ask us."""
    idempotent_dial: bool
    """Whether the same dial can be sent again without a second call coming of it (`command_id`)."""


CAPABILITIES: Mapping[str, Capabilities] = {
    "telnyx": Capabilities(
        carrier="telnyx",
        answers_by_document=False,
        transfer=Means.NATIVE,
        carrier_gather=Means.NATIVE,
        send_digits=Means.NATIVE,
        sip_destinations=True,
        sip_refer=True,
        restarts_stream=True,
        idempotent_dial=True,
    ),
    "twilio": Capabilities(
        carrier="twilio",
        answers_by_document=True,
        transfer=Means.STREAM_BREAK,
        carrier_gather=Means.STREAM_BREAK,
        send_digits=Means.STREAM_BREAK,
        sip_destinations=True,
        sip_refer=False,
        restarts_stream=False,
        idempotent_dial=False,
    ),
    "signalwire": Capabilities(
        carrier="signalwire",
        controllable=False,
        answers_by_document=True,
        transfer=Means.NONE,
        carrier_gather=Means.NONE,
        send_digits=Means.NONE,
        machine_detection=False,
        sip_destinations=False,
        sip_refer=False,
        restarts_stream=False,
        idempotent_dial=False,
    ),
}
"""By carrier. SignalWire's media streams are taken in; its REST side is not spoken yet."""
