"""Usage and cost against the arithmetic of the vendor's price page."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.realtime.events import Usage
from media.realtime.usage import PRICES, Price, cost, price_of, read_transcription_usage, read_usage

FULL = {
    "total_tokens": 1300,
    "input_tokens": 1000,
    "output_tokens": 300,
    "input_token_details": {
        "text_tokens": 400,
        "audio_tokens": 600,
        "cached_tokens": 500,
        "cached_tokens_details": {"text_tokens": 200, "audio_tokens": 300},
    },
    "output_token_details": {"text_tokens": 100, "audio_tokens": 200},
}


def test_a_responses_usage_is_read_by_kind() -> None:
    assert read_usage(FULL) == Usage(400, 600, 200, 300, 100, 200)


def test_the_cost_counts_cached_tokens_once_at_their_own_price() -> None:
    dollars = cost(read_usage(FULL), PRICES["gpt-realtime-2.1"])
    by_hand = 200 * 4 + 200 * Decimal("0.40") + 300 * 32 + 300 * Decimal("0.40") + 100 * 24 + 200 * 64
    assert dollars == by_hand / 1_000_000


def test_cached_tokens_of_unknown_kind_are_text_first() -> None:
    usage = read_usage({"input_token_details": {"text_tokens": 10, "audio_tokens": 90, "cached_tokens": 30}})
    assert (usage.cached_text_in, usage.cached_audio_in) == (10, 20)


def test_tokens_of_unknown_kind_are_taken_for_the_dearer() -> None:
    assert read_usage({"input_tokens": 10, "output_tokens": 4}) == Usage(audio_in=10, audio_out=4)


def test_transcriptions_are_billed_by_tokens_or_by_time() -> None:
    tokens = {"type": "tokens", "input_tokens": 30, "output_tokens": 5, "total_tokens": 35}
    assert read_transcription_usage(tokens) == Usage(audio_in=30, text_out=5)
    timed = read_transcription_usage({"type": "duration", "seconds": 90})
    assert cost(timed, PRICES["gpt-realtime-whisper"]) == Decimal("0.0255")


def test_a_dated_snapshot_costs_what_its_model_costs() -> None:
    assert price_of("gpt-realtime-2.1-mini-2026-09-01") is PRICES["gpt-realtime-2.1-mini"]
    assert price_of("grok-voice-latest") is None


def test_usages_add_up() -> None:
    assert cost(read_usage(FULL) + read_usage(FULL), PRICES["gpt-realtime-1.5"]) == 2 * cost(
        read_usage(FULL), PRICES["gpt-realtime-1.5"]
    )


@pytest.mark.parametrize(
    "usage", [None, [], "x", {"input_token_details": None}, {"input_tokens": -5}, {"seconds": "1"}]
)
def test_nonsense_counts_as_nothing(usage: object) -> None:
    assert read_usage(usage) == Usage()


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
TOKENS = st.dictionaries(
    st.sampled_from(
        [*FULL, "text_tokens", "audio_tokens", "cached_tokens", "cached_tokens_details", "seconds"]
    ),
    st.recursive(
        JUNK,
        lambda inner: st.dictionaries(
            st.sampled_from(["text_tokens", "audio_tokens", "cached_tokens", "cached_tokens_details"]), inner
        ),
        max_leaves=6,
    ),
)


@given(TOKENS)
def test_no_usage_raises_or_costs_less_than_nothing(usage: dict[str, object]) -> None:
    found = read_usage(usage)
    assert found.cached_text_in <= found.text_in
    assert found.cached_audio_in <= found.audio_in
    assert cost(found, Price(text_in=Decimal(1), audio_in=Decimal(1), minute=Decimal(1))) >= 0
