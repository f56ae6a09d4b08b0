"""Telephone numbers as ITU-T E.164 writes them: parsed, validated, and redacted for the logs."""

import re
from typing import NewType

E164 = NewType("E164", str)
"""`+`, a country code that does not begin with 0, at most 15 digits in all."""

# E.164 (11/2010) section 6: at most 15 digits. It sets no least length; the shortest numbers that can be
# dialled with their country code have 7 digits (Niue, Saint Helena), and anything less is a short code.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# ITU-T E.123: what people put between digits to read them more easily.
_SEPARATORS = re.compile(r"[ \u00a0().\-]")
# What carriers send where the caller withheld the number; nothing private in them.
_WITHHELD = frozenset({"anonymous", "restricted", "unavailable", "unknown", "private", "withheld"})
_MASK = "***"


class InvalidNumber(ValueError):
    """The text is not a number in international form; it is not repeated here, so that logs stay clean."""


def parse(text: str) -> E164:
    """Return the number in canonical form, however its digits are grouped.

    Raises:
        InvalidNumber: not `+` and 7 to 15 digits. A national form is refused: guessing its country dials strangers.
    """
    number = _SEPARATORS.sub("", text.strip())
    if not _E164.fullmatch(number):
        raise InvalidNumber("a phone number must be in E.164 form: '+', country code, 7 to 15 digits in all")
    return E164(number)


def is_e164(text: str) -> bool:
    """Return whether `text` is already canonical."""
    return _E164.fullmatch(text) is not None


def redact(text: str) -> str:
    """Return what a log may show of a caller's address: the last two digits of a number, nothing of a name."""
    if text.strip().lower() in _WITHHELD:
        return text.strip().lower()
    try:
        return f"+{_MASK}{parse(text)[-2:]}"
    except InvalidNumber:
        scheme, colon, _ = text.partition(":")
        known = colon and scheme.lower() in {"sip", "sips", "tel", "client"}
        return f"{scheme.lower()}:{_MASK}" if known else _MASK
