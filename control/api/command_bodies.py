"""Commands as they are written down, by users of the API and by agents' servers alike, and what they ask of a call."""

from collections.abc import Callable
from secrets import token_hex

from pydantic import Field

from control.api.call_endpoints import destination, number
from control.api.endpoint import Body
from control.requests import After, EndCall, Gather, GatherMode, OnFailure, Say, TransferCall
from telephony.commands import Voice


class InvalidDestination(ValueError):
    """A number that nobody can be reached under."""


class EndBody(Body):
    """How to hang up."""

    after: After = Field(default=After.PLAYOUT, description="playout: what is being said is heard first.")
    released: bool = Field(default=False, description="Also a leg that was transferred.")

    def request(self) -> EndCall:
        return EndCall(after=self.after, released=self.released)


class TransferBody(Body):
    """Whom to connect the caller with."""

    destination: str = Field(
        max_length=256, description="E.164, or a SIP address where the carrier takes them."
    )
    caller_id: str | None = Field(default=None, max_length=64)
    ring_timeout_seconds: int = Field(default=30, ge=5, le=600)
    after: After = After.PLAYOUT
    announce: str | None = Field(
        default=None, min_length=1, max_length=2000, description="Said to the caller first, word for word."
    )
    on_failure: OnFailure = OnFailure.RETURN_TO_AGENT
    refer: bool = Field(default=False, description="By SIP REFER, where the carrier can: the call leaves it.")

    def request(self) -> TransferCall:
        """
        Raises:
            InvalidDestination: one of the numbers is none.
        """
        return TransferCall(
            transfer_id=f"xfer_{token_hex(12)}",
            destination=_checked(destination, "destination", self.destination),
            caller_id=None if self.caller_id is None else _checked(number, "caller_id", self.caller_id),
            ring_timeout=self.ring_timeout_seconds,
            after=self.after,
            announce=self.announce,
            on_failure=self.on_failure,
            refer=self.refer,
        )


class GatherBody(Body):
    """What to ask the caller to key in."""

    prompt: str = Field(min_length=1, max_length=2000)
    max_digits: int = Field(default=10, ge=1, le=20)
    terminator: str = Field(default="#", pattern=r"^[0-9*#]?$", description="Empty: none.")
    timeout_seconds: int = Field(
        default=15, ge=5, le=60, description="From the end of the prompt to the first digit."
    )
    inter_digit_timeout_seconds: int = Field(default=5, ge=1, le=60)
    voice: Voice = Voice.FEMALE
    language: str = Field(
        default="en-US", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="BCP 47."
    )
    valid_digits: str | None = Field(default=None, pattern=r"^[0-9*#]{1,12}$")
    sensitive: bool = Field(
        default=False, description="The digits appear in this gather's own webhook and nowhere else."
    )
    mode: GatherMode = GatherMode.AUTO

    def request(self) -> Gather:
        return Gather(
            gather_id=f"gather_{token_hex(12)}",
            prompt=self.prompt,
            max_digits=self.max_digits,
            terminator=self.terminator,
            timeout=self.timeout_seconds,
            inter_digit_timeout=self.inter_digit_timeout_seconds,
            voice=self.voice,
            language=self.language,
            valid_digits=self.valid_digits,
            sensitive=self.sensitive,
            mode=self.mode,
        )


class SayBody(Body):
    """What to say."""

    text: str = Field(min_length=1, max_length=2000)
    verbatim: bool = Field(
        default=False, description="Word for word, by the speech port; else in the agent's words."
    )
    interruptible: bool = True

    def request(self) -> Say:
        return Say(text=self.text, verbatim=self.verbatim, interruptible=self.interruptible)


def _checked(check: Callable[[str], str], name: str, text: str) -> str:
    try:
        return check(text)
    except ValueError:
        raise InvalidDestination(f"{name} must be a valid E.164 phone number") from None
