"""Why calls end: hangup causes with their Q.850 numbers, and what an end means in our words.

Theory of operation. A carrier says with one word, and perhaps a SIP code, why the network ended a leg: that
is the *hangup cause*. What it means to us (`Outcome`) depends on more: whether the leg was answered, which way
it went, and above all whether the end was our own doing, which no carrier knows. So the rules are:

0. An intent of ours that was stored before the end gives the `ended_reason`.
1. An answered call is `completed`, whatever ended it.
2. A call never answered is what its cause says (`_UNANSWERED`); causes that a cancel of ours may look like on
   the wire are read as that cancel if we have sent one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum


class Direction(StrEnum):
    """Who called whom: inbound is towards us."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class AnsweredBy(StrEnum):
    """Who or what answered, as far as the carrier's machine detection can tell."""

    HUMAN = "human"
    MACHINE = "machine"
    FAX = "fax"
    SILENCE = "silence"
    SCREENING = "screening"
    """A call screening assistant asks who is calling."""
    UNKNOWN = "unknown"


class HangupSource(Enum):
    """Which role of the *leg* ended it: on an inbound leg the callee is us, on an outbound one the caller is."""

    CALLER = "caller"
    CALLEE = "callee"
    UNKNOWN = "unknown"

    def is_far_end(self, direction: Direction) -> bool | None:
        """Return whether it was the person on the phone; None if nobody knows."""
        if self is HangupSource.UNKNOWN:
            return None
        return (self is HangupSource.CALLER) == (direction is Direction.INBOUND)


class HangupCause(StrEnum):
    """Why the network ended a leg."""

    NORMAL_CLEARING = "normal_clearing"
    ORIGINATOR_CANCEL = "originator_cancel"
    USER_BUSY = "user_busy"
    NO_USER_RESPONSE = "no_user_response"
    NO_ANSWER = "no_answer"
    RING_TIMEOUT = "ring_timeout"
    CALL_REJECTED = "call_rejected"
    NOT_AUTHORISED = "not_authorised"
    """Our own account, not the called party, was refused."""
    UNALLOCATED_NUMBER = "unallocated_number"
    NUMBER_CHANGED = "number_changed"
    INVALID_NUMBER = "invalid_number"
    ROUTING_ERROR = "routing_error"
    NETWORK_OUT_OF_ORDER = "network_out_of_order"
    TEMPORARY_FAILURE = "temporary_failure"
    SERVICE_UNAVAILABLE = "service_unavailable"
    NOT_IMPLEMENTED = "not_implemented"
    INCOMPATIBLE_DESTINATION = "incompatible_destination"
    TIMER_EXPIRED = "timer_expired"
    INTERWORKING = "interworking"
    TIME_LIMIT = "time_limit"
    FAILED = "failed"
    """The carrier could not set the leg up, and its word says no more."""
    UNSPECIFIED = "unspecified"

    @property
    def q850(self) -> int:
        """The cause value of ITU-T Q.850 table 1."""
        return _Q850[self]


_Q850: Mapping[HangupCause, int] = {
    HangupCause.NORMAL_CLEARING: 16,
    HangupCause.ORIGINATOR_CANCEL: 16,  # RFC 3398 section 7.2.3: what a CANCEL becomes
    HangupCause.USER_BUSY: 17,
    HangupCause.NO_USER_RESPONSE: 18,
    HangupCause.NO_ANSWER: 19,
    HangupCause.RING_TIMEOUT: 102,
    HangupCause.CALL_REJECTED: 21,
    HangupCause.NOT_AUTHORISED: 21,
    HangupCause.UNALLOCATED_NUMBER: 1,
    HangupCause.NUMBER_CHANGED: 22,
    HangupCause.INVALID_NUMBER: 28,
    HangupCause.ROUTING_ERROR: 25,
    HangupCause.NETWORK_OUT_OF_ORDER: 38,
    HangupCause.TEMPORARY_FAILURE: 41,
    HangupCause.SERVICE_UNAVAILABLE: 63,
    HangupCause.NOT_IMPLEMENTED: 79,
    HangupCause.INCOMPATIBLE_DESTINATION: 88,
    HangupCause.TIMER_EXPIRED: 102,
    HangupCause.INTERWORKING: 127,
    HangupCause.TIME_LIMIT: 31,  # none of Q.850's: "normal, unspecified"
    HangupCause.FAILED: 41,
    HangupCause.UNSPECIFIED: 31,
}

# RFC 3398 section 8.2.6.1, table of SIP status codes; it leaves 487, 488 and 606 open, and is older than
# 607 (RFC 8197). 487 without another word is a leg that rang in vain.
_SIP: Mapping[int, HangupCause] = {
    400: HangupCause.TEMPORARY_FAILURE,
    401: HangupCause.NOT_AUTHORISED,
    402: HangupCause.NOT_AUTHORISED,
    403: HangupCause.CALL_REJECTED,
    404: HangupCause.UNALLOCATED_NUMBER,
    405: HangupCause.SERVICE_UNAVAILABLE,
    406: HangupCause.NOT_IMPLEMENTED,
    407: HangupCause.NOT_AUTHORISED,
    408: HangupCause.RING_TIMEOUT,
    410: HangupCause.NUMBER_CHANGED,
    413: HangupCause.INTERWORKING,
    414: HangupCause.INTERWORKING,
    415: HangupCause.NOT_IMPLEMENTED,
    416: HangupCause.INTERWORKING,
    420: HangupCause.INTERWORKING,
    421: HangupCause.INTERWORKING,
    423: HangupCause.INTERWORKING,
    480: HangupCause.NO_USER_RESPONSE,
    481: HangupCause.TEMPORARY_FAILURE,
    482: HangupCause.ROUTING_ERROR,
    483: HangupCause.ROUTING_ERROR,
    484: HangupCause.INVALID_NUMBER,
    485: HangupCause.UNALLOCATED_NUMBER,
    486: HangupCause.USER_BUSY,
    487: HangupCause.NO_ANSWER,
    488: HangupCause.INCOMPATIBLE_DESTINATION,
    500: HangupCause.TEMPORARY_FAILURE,
    501: HangupCause.NOT_IMPLEMENTED,
    502: HangupCause.NETWORK_OUT_OF_ORDER,
    503: HangupCause.TEMPORARY_FAILURE,
    504: HangupCause.TIMER_EXPIRED,
    505: HangupCause.INTERWORKING,
    513: HangupCause.INTERWORKING,
    600: HangupCause.USER_BUSY,
    603: HangupCause.CALL_REJECTED,
    604: HangupCause.UNALLOCATED_NUMBER,
    606: HangupCause.INCOMPATIBLE_DESTINATION,
    607: HangupCause.CALL_REJECTED,
}

# Telnyx `hangup_cause`, as documented. Others have been seen (FreeSWITCH's names): they are unspecified, and
# the SIP code decides.
_TELNYX: Mapping[str, HangupCause] = {
    "normal_clearing": HangupCause.NORMAL_CLEARING,
    "originator_cancel": HangupCause.ORIGINATOR_CANCEL,
    "timeout": HangupCause.RING_TIMEOUT,
    "no_answer": HangupCause.NO_ANSWER,
    "user_busy": HangupCause.USER_BUSY,
    "call_rejected": HangupCause.CALL_REJECTED,
    "not_found": HangupCause.UNALLOCATED_NUMBER,
    "time_limit": HangupCause.TIME_LIMIT,
}

# Twilio `CallStatus` and `DialCallStatus`, of those that are final.
_TWILIO: Mapping[str, HangupCause] = {
    "completed": HangupCause.NORMAL_CLEARING,
    "answered": HangupCause.NORMAL_CLEARING,
    "busy": HangupCause.USER_BUSY,
    "no-answer": HangupCause.NO_ANSWER,
    "canceled": HangupCause.ORIGINATOR_CANCEL,
    "failed": HangupCause.FAILED,
}


def telnyx_cause(word: str) -> HangupCause:
    """Return what Telnyx's `hangup_cause` says."""
    return _TELNYX.get(word, HangupCause.UNSPECIFIED)


def twilio_cause(status: str, sip_code: int | None = None) -> HangupCause:
    """Return what a final status of Twilio's says; "busy" is also its word for a declined call."""
    cause = _TWILIO.get(status, HangupCause.UNSPECIFIED)
    return HangupCause.CALL_REJECTED if (cause, sip_code) == (HangupCause.USER_BUSY, 603) else cause


def sip_cause(sip_code: int | None) -> HangupCause:
    """Return what a SIP status code alone says."""
    return HangupCause.UNSPECIFIED if sip_code is None else _SIP.get(sip_code, HangupCause.UNSPECIFIED)


def refined(cause: HangupCause, sip_code: int | None) -> HangupCause:
    """Return the cause more exactly, where the carrier's word says nothing and the SIP code does."""
    if cause is HangupCause.UNSPECIFIED:
        return sip_cause(sip_code)
    if (
        cause is HangupCause.FAILED
    ):  # Twilio has words of its own for busy and no answer, and did not use them
        by_code = sip_cause(sip_code)
        return cause if by_code in _TWILIO_HAS_WORDS_FOR else by_code
    return cause


_TWILIO_HAS_WORDS_FOR = frozenset(
    {
        HangupCause.USER_BUSY,
        HangupCause.NO_ANSWER,
        HangupCause.NO_USER_RESPONSE,
        HangupCause.RING_TIMEOUT,
        HangupCause.UNSPECIFIED,
    }
)


# What it meant to us


class CallStatus(StrEnum):
    """Where a call is, or how it ended."""

    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    FAILED = "failed"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"
    REJECTED = "rejected"


class Disposition(StrEnum):
    """What became of a call."""

    ANSWERED = "answered"
    NO_ANSWER = "no-answer"
    TRANSFERRED = "transferred"
    BUSY = "busy"
    FAILED = "failed"
    VOICEMAIL = "voicemail"
    REJECTED = "rejected"


class EndedReason(StrEnum):
    """Why a call ended, or, before it did, why we are ending it."""

    AGENT_HANGUP = "agent-hangup"
    CALLER_HANGUP = "caller-hangup"
    API = "api"
    TIMEOUT = "timeout"
    TRANSFER = "transfer"
    SILENCE_TIMEOUT = "silence-timeout"
    ERROR = "error"
    MAX_DURATION = "max-duration"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the end of a call meant."""

    status: CallStatus
    disposition: Disposition
    ended_reason: EndedReason | None
    """None for calls never answered where none fits, such as a remote busy or reject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """All that is known when the leg of a call is over."""

    cause: HangupCause
    direction: Direction
    answered: bool
    """Whether the leg was ever answered, in whatever order we learned of it."""
    sip_code: int | None = None
    source: HangupSource = HangupSource.UNKNOWN
    intent: EndedReason | None = None
    """Why we were ending the call, if we were and said so before it ended."""
    rejected: bool = False
    """Whether we refused it (`Reject`)."""
    transferred: bool = False
    """Whether the caller was connected to somebody else and released."""
    answered_by: AnsweredBy | None = None
    duration: float | None = None
    """Seconds since the answer."""
    time_limit: float | None = None
    """What the carrier was told to let the call last at most."""
    stream_failed: bool = False
    """Whether the carrier reported that its stream broke just before."""


_UNANSWERED: Mapping[HangupCause, Outcome] = {
    **dict.fromkeys(
        (HangupCause.RING_TIMEOUT, HangupCause.NO_ANSWER, HangupCause.NO_USER_RESPONSE),
        Outcome(CallStatus.NO_ANSWER, Disposition.NO_ANSWER, EndedReason.TIMEOUT),
    ),
    HangupCause.USER_BUSY: Outcome(CallStatus.BUSY, Disposition.BUSY, None),
    HangupCause.CALL_REJECTED: Outcome(CallStatus.REJECTED, Disposition.REJECTED, None),
}
"""By cause, whichever way the call went. Those not listed have failed."""

_FAILED = Outcome(CallStatus.FAILED, Disposition.FAILED, EndedReason.ERROR)

_GIVEN_UP: Mapping[tuple[HangupCause, Direction], Outcome] = {
    (HangupCause.NORMAL_CLEARING, Direction.OUTBOUND): Outcome(
        CallStatus.NO_ANSWER, Disposition.NO_ANSWER, EndedReason.TIMEOUT
    ),
    (HangupCause.NORMAL_CLEARING, Direction.INBOUND): Outcome(
        CallStatus.CANCELED, Disposition.NO_ANSWER, EndedReason.CALLER_HANGUP
    ),
    (HangupCause.ORIGINATOR_CANCEL, Direction.OUTBOUND): Outcome(
        CallStatus.CANCELED, Disposition.NO_ANSWER, EndedReason.API
    ),
    (HangupCause.ORIGINATOR_CANCEL, Direction.INBOUND): Outcome(
        CallStatus.CANCELED, Disposition.NO_ANSWER, EndedReason.CALLER_HANGUP
    ),
}
"""Causes of unanswered calls that mean different things to the two who could have given up."""

_LIKE_OUR_CANCEL = frozenset(
    {
        HangupCause.NORMAL_CLEARING,
        HangupCause.ORIGINATOR_CANCEL,
        HangupCause.NO_ANSWER,
        HangupCause.NO_USER_RESPONSE,
        HangupCause.RING_TIMEOUT,
        HangupCause.UNSPECIFIED,
    }
)
"""How the end of a ringing leg that we cancelled may be reported; the others are the far end's own."""

_BY_MACHINE: Mapping[AnsweredBy, Disposition] = {
    AnsweredBy.MACHINE: Disposition.VOICEMAIL,
    # Policy: nobody can be talked to.
    AnsweredBy.FAX: Disposition.FAILED,
}
"""What an answered call became by who answered; an answer that is not listed is an answer."""

# Seconds by which a carrier's count of a call's length may fall short of the limit that ended it.
_LIMIT_SLACK = 1.0


def outcome(ending: Ending) -> Outcome:
    """Return what an end means; the first terminal event decides, later ones change nothing."""
    # A limit on the length of a call runs from its answer, even if the webhook that told of it was lost.
    if ending.answered or ending.cause is HangupCause.TIME_LIMIT:
        return Outcome(CallStatus.COMPLETED, _disposition(ending), _reason(ending))
    if ending.rejected:
        return Outcome(CallStatus.REJECTED, Disposition.REJECTED, ending.intent or EndedReason.API)
    cause = refined(ending.cause, ending.sip_code)
    if ending.intent is not None and cause in _LIKE_OUR_CANCEL:
        return _cancelled(ending.intent, ending.direction)
    said = _GIVEN_UP.get((cause, ending.direction)) or _UNANSWERED.get(cause, _FAILED)
    reason = ending.intent or (EndedReason.ERROR if cause is not ending.cause else said.ended_reason)
    return Outcome(said.status, said.disposition, reason)


def _cancelled(intent: EndedReason, direction: Direction) -> Outcome:
    if intent is EndedReason.ERROR:
        return _FAILED
    if direction is Direction.INBOUND:
        return Outcome(CallStatus.REJECTED, Disposition.REJECTED, intent)
    if intent is EndedReason.TIMEOUT:
        return Outcome(CallStatus.NO_ANSWER, Disposition.NO_ANSWER, intent)
    return Outcome(CallStatus.CANCELED, Disposition.NO_ANSWER, intent)


def _disposition(ending: Ending) -> Disposition:
    if ending.transferred:
        return Disposition.TRANSFERRED
    if ending.answered_by is None:
        return Disposition.ANSWERED
    return _BY_MACHINE.get(ending.answered_by, Disposition.ANSWERED)


def _reason(ending: Ending) -> EndedReason:
    if ending.intent is not None:
        return ending.intent
    if ending.transferred:
        return EndedReason.TRANSFER
    if ending.cause is HangupCause.TIME_LIMIT:
        return EndedReason.MAX_DURATION
    if ending.cause is not HangupCause.NORMAL_CLEARING:
        return EndedReason.ERROR
    return _who_hung_up(ending)


def _who_hung_up(ending: Ending) -> EndedReason:
    far_end = ending.source.is_far_end(ending.direction)
    if far_end is not None:
        return EndedReason.CALLER_HANGUP if far_end else EndedReason.API
    if _reached_limit(ending):
        return EndedReason.MAX_DURATION
    # The carrier does not say who it was; it was not us, or there were an intent.
    return EndedReason.ERROR if ending.stream_failed else EndedReason.CALLER_HANGUP


def _reached_limit(ending: Ending) -> bool:
    limit, duration = ending.time_limit, ending.duration
    return limit is not None and duration is not None and duration >= limit - _LIMIT_SLACK
