"""What a call's machine is told before it begins: what the call is, what it may do, and how it makes names.

Written by the service from the agent's configuration, the dial request and the carrier's capabilities. Times are
seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from control.call_record import CallRecord
from control.requests import EndCall, Gather, SendDigits, TransferCall
from telephony.capabilities import Capabilities
from telephony.causes import Direction
from telephony.commands import LONGEST_CALL, RING_TIMEOUT, MachineDetection, MediaStream, RejectReason

# What an answer may wait for the agent at most: Twilio gives up on its question after 15 s (sheet B2.2).
LONGEST_ANSWER_WAIT = 10.0


class VoicemailAction(StrEnum):
    """What to do where a machine answers."""

    HANGUP = "hangup"
    LEAVE_MESSAGE = "leave_message"
    CONTINUE = "continue"
    """The agent talks to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBrief:
    """One call, before it begins."""

    record: CallRecord
    """To start from. An inbound call has its carrier's names already."""
    capabilities: Capabilities
    speech: bool = False
    """Whether fixed text has a voice of its own."""
    refusal: RejectReason | None = None
    """An inbound call that is not to be answered, and why."""
    answer_wait: float = 2.0
    """How long an inbound call rings for the agent to get ready."""
    asks_server: bool = False
    """Whether the agent's server is asked what the call is to be; it has as long as the agent."""
    ring_timeout: int = RING_TIMEOUT
    max_duration: float = LONGEST_CALL
    """From the answer; the time after a transfer does not count."""
    transfer_time_limit: int = LONGEST_CALL
    """How long the caller may talk to whom he was transferred to: the carrier's to keep."""
    goodbye: float = 10.0
    """At most this long for what is being said to be heard."""
    silence: float | None = None
    """The silence timeout that the media keeps."""
    silence_prompts: tuple[str, ...] = ()
    """Said into the silence, one after the other, before the call ends."""
    recording_consent: str | None = None
    """Said before the caller is recorded; None: nobody is asked."""
    machine_detection: MachineDetection = MachineDetection.OFF
    voicemail: VoicemailAction = VoicemailAction.HANGUP
    voicemail_message: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Custom SIP headers of an outbound call."""
    caller_name: str | None = None

    def __post_init__(self) -> None:
        record = self.record
        if record.direction is Direction.OUTBOUND and not (record.to_number and record.from_number):
            raise ValueError("an outbound call needs both numbers")
        if not 0 <= self.answer_wait <= LONGEST_ANSWER_WAIT:
            raise ValueError(f"answer_wait is 0 to {LONGEST_ANSWER_WAIT:.0f} seconds")
        if self.voicemail is VoicemailAction.LEAVE_MESSAGE and not self.voicemail_message:
            raise ValueError("a message is to be left and there is none")


BuiltInRequest = EndCall | TransferCall | SendDigits | Gather


@dataclass(frozen=True, slots=True)
class ToolRefused:
    """A call of a built-in tool that cannot be done as it was written; the model is told why."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFiller:
    """What the caller hears while a tool runs: a phrase, or audio in a loop."""

    after: float
    """Seconds of the tool's run until it begins."""
    phrase: str | None = None
    audio: bytes | None = field(default=None, repr=False)
    """PCM16 at `rate`, mono; None, too, where it could not be had."""
    rate: int = 8_000


@dataclass(frozen=True, slots=True)
class CallPorts:
    """What the machine cannot make by itself."""

    mint_stream: Callable[[int], MediaStream]
    """A stream with a fresh token of its own, by its number in the call (from 1)."""
    new_id: Callable[[str], str]
    """A fresh name with this prefix: letters, digits, `_` and `-`."""
    built_in: Callable[[str, str], BuiltInRequest | ToolRefused | None]
    """What the model's call of a tool (its name, its arguments as JSON) asks of the call; None: the tool is none of
    the gateway's own."""
    tool_id: Callable[[str], str | None]
    """The id of the agent's tool of that name; None: it has none."""
    filler: Callable[[str], ToolFiller | None]
    """What the caller hears while a tool of that name runs."""
    begun_at: datetime
    """The wall clock (aware) at the time at which the machine is made."""
