"""What a call cost, by arithmetic written out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.call_record import CallRecord
from control.costs import ModelPrice, Tariff, priced, recorded_cost
from media.realtime.events import Usage
from media.realtime.usage import Price
from telephony.causes import Direction

BEGUN = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MODEL = "gpt-realtime-2.1"
USAGE = Usage(text_in=1_000, audio_in=6_000, cached_audio_in=4_000, text_out=500, audio_out=2_000)
USED = ((MODEL, USAGE),)


def record(**changes: object) -> CallRecord:
    talked = CallRecord(
        call_id="call_1",
        direction=Direction.INBOUND,
        carrier="telnyx",
        started_at=BEGUN,
        answered_at=BEGUN,
        ended_at=BEGUN + timedelta(seconds=90),
        rate_per_minute=Decimal("0.0125"),
    )
    return replace(talked, **changes)  # type: ignore[arg-type]  # any of its fields


def test_the_model_is_billed_by_the_kind_of_its_tokens() -> None:
    # OpenAI's prices per million: 2,000 new audio at 32, 4,000 cached at 0.40, 1,000 text at 4; out 2,000 audio at
    # 64 and 500 text at 24: 0.064 + 0.0016 + 0.004 + 0.128 + 0.012.
    assert priced(record(), USED, Tariff()).llm_cost == Decimal("0.209600")


def test_a_dated_snapshot_costs_what_its_model_does() -> None:
    assert priced(record(), [(f"{MODEL}-2026-09-01", USAGE)], Tariff()).llm_cost == Decimal("0.209600")


def test_a_price_of_ones_own_counts_instead() -> None:
    tariff = Tariff(models={MODEL: ModelPrice(audio_out=Decimal(10)).price()})
    assert priced(record(), USED, tariff).llm_cost == Decimal("0.020000")


@pytest.mark.parametrize(
    ("model", "tariff"),
    [("a-model-of-ones-own", Tariff()), (MODEL, Tariff(currency="EUR"))],
)
def test_a_model_without_a_price_in_this_currency_is_not_guessed_at(model: str, tariff: Tariff) -> None:
    assert priced(record(), [(model, USAGE)], tariff).llm_cost == 0


def test_each_model_is_billed_by_its_own_price() -> None:
    tariff = Tariff(models={"spare": Price(audio_out=Decimal(10), minute=Decimal(3))})
    spare = Usage(audio_out=1_000, seconds=1.5)
    assert priced(record(), [*USED, ("spare", spare)], tariff).llm_cost == Decimal("0.2946")


def test_the_total_is_the_sum_of_its_parts_less_the_discount() -> None:
    tariff = Tariff(
        llm_discount_percent=Decimal(25),
        recording_per_minute=Decimal("0.002"),
        transfer_per_minute=Decimal("0.03"),
    )
    recorded = recorded_cost(Decimal(90), tariff)
    call = priced(record(recording_cost=recorded, transfer_duration_seconds=120), USED, tariff)
    assert call.call_cost == Decimal("0.018750")  # 1.5 minutes at 0.0125
    assert call.llm_discount == Decimal("0.052400")  # a quarter of 0.2096
    assert call.recording_cost == Decimal("0.003000")  # 1.5 minutes at 0.002
    assert call.transfer_cost == Decimal("0.060000")  # 2 minutes at 0.03
    assert call.total_cost == Decimal("0.238950")


def test_a_call_that_was_never_answered_costs_nothing() -> None:
    tariff = Tariff(recording_per_minute=Decimal(1), transfer_per_minute=Decimal(1))
    assert priced(record(answered_at=None), (), tariff).total_cost == 0


def test_a_recording_costs_by_its_own_length() -> None:
    tariff = Tariff(recording_per_minute=Decimal("0.002"))
    assert recorded_cost(Decimal("30.5"), tariff) == Decimal("0.001017")
    assert recorded_cost(Decimal(30), Tariff()) == 0
    assert priced(record(), USED, tariff).recording_cost == 0


def test_the_currency_is_the_tariffs() -> None:
    assert priced(record(), USED, Tariff(currency="EUR")).currency == "EUR"


@given(
    st.builds(
        Usage, text_in=st.integers(0, 10**9), audio_out=st.integers(0, 10**9), seconds=st.floats(0, 10**6)
    )
)
def test_any_usage_costs_a_finite_amount_and_pricing_twice_changes_nothing(usage: Usage) -> None:
    once = priced(record(), [(MODEL, usage)], Tariff(llm_discount_percent=Decimal(10)))
    assert once.llm_cost >= once.llm_discount >= 0
    assert priced(once, [(MODEL, usage)], Tariff(llm_discount_percent=Decimal(10))) == once
