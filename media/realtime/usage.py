"""Tokens a response or transcription consumed, and what they cost.

The whole conversation is sent again for each response, so most input is cached: the cached tokens are a
part of the input tokens and have their own price.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from media.realtime.events import Usage

MILLION = Decimal(1_000_000)
# A dated snapshot is priced as its model: gpt-realtime-2.1-2026-09-01.
SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")
# More than any session can consume; a count beyond it is a server's mistake, not a bill.
MOST_TOKENS = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens, and per minute where a model bills time."""

    text_in: Decimal = Decimal(0)
    audio_in: Decimal = Decimal(0)
    cached_text_in: Decimal = Decimal(0)
    cached_audio_in: Decimal = Decimal(0)
    text_out: Decimal = Decimal(0)
    audio_out: Decimal = Decimal(0)
    minute: Decimal = Decimal(0)


def _price(
    audio_in: str, cached: str, audio_out: str, text_in: str, cached_text: str, text_out: str
) -> Price:
    return Price(
        audio_in=Decimal(audio_in),
        cached_audio_in=Decimal(cached),
        audio_out=Decimal(audio_out),
        text_in=Decimal(text_in),
        cached_text_in=Decimal(cached_text),
        text_out=Decimal(text_out),
    )


# OpenAI's model pages, November 2026. Columns: audio in, cached, audio out; text in, cached, text out.
PRICES: Mapping[str, Price] = {
    "gpt-realtime-2.1": _price("32", "0.40", "64", "4", "0.40", "24"),
    "gpt-realtime-2": _price("32", "0.40", "64", "4", "0.40", "24"),
    "gpt-realtime-2.1-mini": _price("10", "0.30", "20", "0.60", "0.06", "2.40"),
    "gpt-realtime-1.5": _price("32", "0.40", "64", "4", "0.40", "16"),
    "gpt-realtime-whisper": Price(minute=Decimal("0.017")),
}


def price_of(model: str) -> Price | None:
    """Return the price of a model or of its dated snapshot; None where we know none."""
    return PRICES.get(SNAPSHOT.sub("", model))


def cost(usage: Usage, price: Price) -> Decimal:
    """Return what `usage` costs in US dollars."""
    tokens = (
        (usage.text_in - usage.cached_text_in) * price.text_in
        + usage.cached_text_in * price.cached_text_in
        + (usage.audio_in - usage.cached_audio_in) * price.audio_in
        + usage.cached_audio_in * price.cached_audio_in
        + usage.text_out * price.text_out
        + usage.audio_out * price.audio_out
    )
    return tokens / MILLION + Decimal(str(usage.seconds)) / 60 * price.minute


def read_usage(usage: object) -> Usage:
    """Read the `usage` of a response or of a transcription; whatever is missing counts as nothing.

    Tokens whose kind the server does not tell are taken as audio, the dearer kind.
    """
    if not isinstance(usage, Mapping):
        return Usage()
    inputs, outputs = _part(usage, "input_token_details"), _part(usage, "output_token_details")
    cached = _part(inputs, "cached_tokens_details")
    text_in, text_out = _count(inputs, "text_tokens"), _count(outputs, "text_tokens")
    image_in = _count(inputs, "image_tokens")
    audio_in = _count(inputs, "audio_tokens") or max(0, _count(usage, "input_tokens") - text_in - image_in)
    audio_out = _count(outputs, "audio_tokens") or max(0, _count(usage, "output_tokens") - text_out)
    cached_text = min(text_in, _count(cached, "text_tokens") if cached else _count(inputs, "cached_tokens"))
    cached_audio = min(
        audio_in,
        _count(cached, "audio_tokens") if cached else _count(inputs, "cached_tokens") - cached_text,
    )
    return Usage(text_in, audio_in, cached_text, cached_audio, text_out, audio_out, _seconds(usage))


def read_transcription_usage(usage: object) -> Usage:
    """Read the `usage` of a transcription: audio in unless told otherwise, text out."""
    found = read_usage(usage)
    return Usage(
        text_in=found.text_in,
        audio_in=found.audio_in,
        text_out=found.text_out + found.audio_out,
        seconds=found.seconds,
    )


def _part(mapping: Mapping[object, object], key: str) -> Mapping[object, object]:
    value = mapping.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(mapping: Mapping[object, object], key: str) -> int:
    value = mapping.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= MOST_TOKENS else 0


def _seconds(usage: Mapping[object, object]) -> float:
    value = usage.get("seconds")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= MOST_TOKENS else 0.0
