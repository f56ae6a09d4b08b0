"""What the configurations that users write are made of: checked values, each refused with what it should have been."""

from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from control.templates import LONGEST_TEXT, check_text
from telephony import numbers


class Part(BaseModel):
    """A part of a configuration: nothing unknown in it, never changed, its values not repeated in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def web_url(url: str) -> str:
    """Return the URL if requests can be made to it; whether they may is decided when they are made.

    Raises:
        ValueError: no http or https URL, or one with a name, a password or a fragment in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials; a header may")
    if parts.fragment:
        raise ValueError("must not have a fragment")
    return url


def _destination(text: str) -> str:
    """Return a number in E.164 form, or a SIP URI."""
    if text.lower().startswith(("sip:", "sips:")):
        if len(text) > 255 or any(letter.isspace() for letter in text) or "@" not in text:
            raise ValueError("is not a SIP URI: sip:user@host")
        return text
    return numbers.parse(text)


WebUrl = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(web_url)]
Destination = Annotated[str, AfterValidator(_destination)]
"""E.164, or a SIP URI."""
Instructions = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_TEXT), AfterValidator(check_text)
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000), AfterValidator(check_text)]
"""What is said word for word; may hold variables."""
Greeting = Annotated[str, StringConstraints(max_length=4_000), AfterValidator(check_text)]
Number = Annotated[str, AfterValidator(numbers.parse)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Money = Annotated[
    Decimal,
    Field(ge=0, max_digits=12, decimal_places=6),
    PlainSerializer(float, return_type=float, when_used="json"),
]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
"""What realtime models take as a function's name."""
ToolId = Annotated[str, StringConstraints(pattern=r"^tool_[a-zA-Z0-9_]{1,64}$")]
