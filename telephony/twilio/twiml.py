"""The documents by which Twilio is told what to do with a call (twilio.com/docs/voice/twiml), built with its SDK.

Theory of operation. A call runs one document; an update by REST or the answer to a request puts another in its
place, and the media stream of the old one ends. So every document here ends in something that decides: a fresh
stream, a URL that is asked, or a hang-up. Never in a pause: that is dead air after the stream, and cut short
more than half of somebody's transfers.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from twilio.twiml import TwiML
from twilio.twiml.voice_response import (
    Connect,
    Dial,
    Gather,
    VoiceResponse,
)

from telephony.commands import GatherDigits, MediaStream, RejectReason, Transfer, Voice

# The most that a REST request takes as `Twiml`; longer documents are to be fetched by URL.
LONGEST_INLINE = 4_000
# Of a `<Parameter>`, name and value together: Twilio wants fewer than 500.
_LONGEST_PARAMETER = 499

# Any other voice is a contract with a vendor's catalogue; these two Twilio keeps for every language it has.
_VOICES = {Voice.FEMALE: "woman", Voice.MALE: "man"}

_LEG_EVENTS = "initiated ringing answered completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The media stream that a document opens, and who is asked when it ends."""

    stream: MediaStream
    after: str
    """Asked once the stream is gone: answers with the next document."""
    status: str | None = None
    """Told when the stream starts, stops or fails."""


def connect(attachment: Attachment) -> str:
    """Open the media stream; when it ends, ask."""
    return str(_attached(VoiceResponse(), attachment))


def redirect(url: str) -> str:
    """Ask what to do."""
    response = VoiceResponse()
    response.redirect(url, method="POST")
    return str(response)


def hangup() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def reject(reason: RejectReason) -> str:
    """Refuse the call; as the first verb it keeps the call unanswered. Twilio knows two reasons."""
    response = VoiceResponse()
    response.reject(reason="busy" if reason is RejectReason.BUSY else "rejected")
    return str(response)


def say(text: str, attachment: Attachment, *, voice: Voice = Voice.FEMALE, language: str = "en-US") -> str:
    """Say something, then open the media stream."""
    response = VoiceResponse()
    _say(response, text, voice, language)
    return str(_attached(response, attachment))


def play(url: str, attachment: Attachment, *, loop: int | None = 1) -> str:
    """Play a file, then open the media stream; without `loop` it plays until another document comes."""
    response = VoiceResponse()
    response.play(url, loop=0 if loop is None else loop)
    return str(_attached(response, attachment))


def play_digits(digits: str, attachment: Attachment) -> str:
    """Press keys for the far end, then open the media stream."""
    response = VoiceResponse()
    response.play(digits=digits.replace("W", "ww"))  # a second is two of the pauses that Twilio documents
    return str(_attached(response, attachment))


def pause(seconds: int, attachment: Attachment) -> str:
    """Wait, then open the media stream."""
    response = VoiceResponse()
    response.pause(length=seconds)
    return str(_attached(response, attachment))


def gather(asked: GatherDigits, action: str) -> str:
    """Ask for digits; `action` is told of them, or that none came, and answers with the next document.

    Twilio has one timeout, from the end of the prompt to the first digit and again after each: the longer of
    the two keeps slow fingers from losing their digits. It cannot check digits; who asked must.
    """
    response = VoiceResponse()
    gathering = Gather(
        input="dtmf",
        num_digits=asked.max_digits,
        finish_on_key=asked.terminator,
        timeout=max(asked.timeout, asked.inter_digit_timeout),
        action=action,
        method="POST",
        action_on_empty_result=True,
    )
    _say(gathering, asked.prompt, asked.voice, asked.language)
    response.append(gathering)
    # Should Twilio ever pass over an empty result, the same URL still decides.
    response.redirect(action, method="POST")
    return str(response)


def transfer(wanted: Transfer, *, action: str, leg_status: str) -> str:
    """Dial the destination and join it to the caller.

    Args:
        action: asked when the dialling, or the conversation that came of it, is over.
        leg_status: told what becomes of the destination's leg.
    """
    response = VoiceResponse()
    dial = Dial(
        action=action,
        method="POST",
        timeout=wanted.ring_timeout,
        time_limit=wanted.time_limit,
        caller_id=wanted.caller_id,
        answer_on_bridge=True,
    )
    told = {
        "status_callback": leg_status,
        "status_callback_event": _LEG_EVENTS,
        "status_callback_method": "POST",
    }
    if wanted.destination.lower().startswith(("sip:", "sips:")):
        dial.sip(wanted.destination, **told)
    else:
        dial.number(wanted.destination, **told)
    response.append(dial)
    return str(response)


def _attached(response: VoiceResponse, attachment: Attachment) -> VoiceResponse:
    stream = attachment.stream
    _check_url(stream.url)
    connecting = Connect(action=attachment.after, method="POST")
    # Without the SDK's undocumented format attributes: Twilio carries PCMU at 8 kHz.
    streaming = connecting.stream(url=stream.url, status_callback=attachment.status)
    for name, value in stream.parameters.items():
        if len(name) + len(value) > _LONGEST_PARAMETER:
            raise ValueError(f"the stream parameter {name[:32]!r} is longer than Twilio takes")
        streaming.parameter(name=_legible(name), value=_legible(value))
    response.append(connecting)
    # The action is asked first; this is for the day on which it is not.
    response.redirect(attachment.after, method="POST")
    return response


def _check_url(url: str) -> None:
    """Twilio drops the query of a stream's URL (error 31920), and whatever secret stood in it."""
    parts = urlsplit(url)
    if parts.scheme != "wss" or parts.query or parts.fragment or not parts.hostname:
        raise ValueError("a Twilio stream goes to a wss URL without a query")


def _say(into: TwiML, text: str, voice: Voice, language: str) -> None:
    into.say(_legible(text), voice=_VOICES[voice], language=language)


def _legible(text: str) -> str:
    """Drop what no XML document may hold, escaped or not: the agent's words may contain anything."""
    return _ILLEGIBLE.sub("", text)


# XML 1.0 section 2.2, the production Char, inverted.
_ILLEGIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
