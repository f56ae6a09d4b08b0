"""What is wrong, or will surprise, in the carriers' accounts of the settings.

An account is usable whole or not at all: calls that can be answered but not verified, or verified but not answered,
fail one by one and late.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.finding import Finding
from gateway.media_auth import is_loopback
from gateway.settings import PREFIX, Settings

_TELNYX = ("telnyx_api_key", "telnyx_public_key", "telnyx_connection_id")
_TWILIO = ("twilio_account_sid", "twilio_auth_token")
_WHY = {
    "telnyx_api_key": "calls cannot be answered or dialled",
    "telnyx_public_key": "no webhook of Telnyx can be verified, so every one is refused",
    "telnyx_connection_id": "no call can be dialled",
    "twilio_account_sid": "calls cannot be dialled or controlled",
    "twilio_auth_token": "no webhook of Twilio can be verified, so every one is refused",
    "twilio_api_key_sid": "the secret is of no use without it",
    "twilio_api_key_secret": "the key is of no use without it",
}
# Twilio's documentation of its SIDs: two letters for the kind, 32 hexadecimal digits.
_SIDS = {"twilio_account_sid": "AC", "twilio_api_key_sid": "SK"}


def account_findings(settings: Settings) -> list[Finding]:
    """What the carriers' accounts lack."""
    return [
        *_halves(settings, _TELNYX),
        *_twilio(settings),
        *_sids(settings),
        *_unreachable(settings),
        *_addresses(settings),
    ]


def _halves(settings: Settings, names: tuple[str, ...]) -> Iterator[Finding]:
    """What is missing of something that is there in part."""
    given = [name for name in names if getattr(settings, name) is not None]
    if not given:
        return
    for name in names:
        if name not in given:
            yield Finding(
                "error",
                _variable(name),
                f"is not set, but {_variable(given[0])} is: {_WHY[name]}",
                f"set it too, or unset {' and '.join(_variable(each) for each in given)}",
            )


def _twilio(settings: Settings) -> Iterator[Finding]:
    token_only = settings.twilio_auth_token is not None and settings.twilio_account_sid is None
    if token_only and settings.twilio_api_key_sid is None:
        yield Finding(
            "note",
            _variable("twilio_account_sid"),
            "is not set: Twilio's signatures are checked, but its calls cannot be dialled or controlled",
            "set it to the account's SID, if they shall be",
        )
    elif settings.twilio_api_key_sid is not None or settings.twilio_api_key_secret is not None:
        yield from _halves(settings, ("twilio_api_key_sid", "twilio_api_key_secret"))
        yield from _missing(settings, _TWILIO)
    else:
        yield from _halves(settings, _TWILIO)
    if settings.twilio_auth_token is None and settings.public_url is not None:
        yield Finding(
            "note",
            _variable("twilio_auth_token"),
            "is not set: Twilio's signature on media sockets is not checked, stream tokens alone are",
            "set it to the account's primary auth token, if Twilio calls",
        )


def _missing(settings: Settings, names: tuple[str, ...]) -> Iterator[Finding]:
    for name in names:
        if getattr(settings, name) is None:
            yield Finding(
                "error",
                _variable(name),
                f"is not set, and an API key does not stand in for it: {_WHY[name]}",
                "set it too",
            )


def _sids(settings: Settings) -> Iterator[Finding]:
    for name, kind in _SIDS.items():
        value = getattr(settings, name)
        if value is not None and not re.fullmatch(f"{kind}[0-9a-fA-F]{{32}}", value):
            yield Finding(
                "error",
                _variable(name),
                f"is not {kind} and 32 hexadecimal digits",
                "copy it from Twilio's console",
            )


def _unreachable(settings: Settings) -> Iterator[Finding]:
    """A public address is part of every account: webhooks, media and callbacks of dialled calls all need it."""
    if settings.public_url is not None:
        return
    if settings.twilio_auth_token is not None:
        yield Finding(
            "error",
            _variable("public_url"),
            "is not set: Twilio signs that URL, so every signed request of it will be refused",
            "set it to the https URL at which Twilio reaches this gateway",
        )
    elif settings.telnyx_api_key is not None:
        yield Finding(
            "error",
            _variable("public_url"),
            "is not set: Telnyx can be told no address for the audio of a call",
            "set it to the https URL at which Telnyx reaches this gateway",
        )


def _addresses(settings: Settings) -> Iterator[Finding]:
    for carrier, key in (("telnyx", settings.telnyx_api_key), ("twilio", settings.twilio_account_sid)):
        name = f"{carrier}_base_url"
        url: str | None = getattr(settings, name)
        if url is None:
            continue
        parts = urlsplit(url)
        if key is None:
            yield Finding(
                "warning", _variable(name), "does nothing: there is no account", "unset it, or add one"
            )
        elif parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield Finding(
                "error",
                _variable(name),
                f"is not https: the account's key travels to {parts.hostname} in the clear",
                "write https://",
            )


def _variable(name: str) -> str:
    return f"{PREFIX}{name}".upper()
