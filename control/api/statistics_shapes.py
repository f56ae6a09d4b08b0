"""What statistics are answered with: the models that are published, and how sums become them."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pydantic import Field

from control.api.shapes import Money, Seconds, Shape
from control.percentiles import Distribution
from control.stores.statistics import Costs, Outcome, Outcomes, ToolUse, Totals

_MILLI = Decimal("0.001")


class CostShape(Shape):
    """What calls cost, in one currency."""

    currency: str
    calls: int
    call_cost: Money
    llm_cost: Money
    llm_discount: Money
    recording_cost: Money
    transfer_cost: Money
    total_cost: Money


class SummaryShape(Shape):
    """The sums that are asked for most."""

    total_calls: int
    completed_calls: int
    failed_calls: int
    answered_calls: int = Field(description="Answered by a person or by a machine.")
    no_answer_calls: int
    total_duration_seconds: Seconds
    total_minutes_used: Seconds
    total_cost: Money | None = Field(description="Null where the calls' currencies differ: see `costs`.")
    total_recording_cost: Money | None
    total_llm_discount: Money | None
    currency: str | None = Field(description="Of all of the calls; null if there are none, or several.")
    costs: list[CostShape] = Field(description="Currency by currency.")


class CallSummaryShape(SummaryShape):
    """What calls come to, and which were asked for."""

    filters: dict[str, Any] = Field(description="Those that were given.")


class TotalsShape(SummaryShape):
    """What calls come to."""

    live_calls: int
    busy_calls: int
    canceled_calls: int
    rejected_calls: int
    transferred_calls: int
    voicemail_calls: int
    inbound_calls: int
    outbound_calls: int
    recorded_calls: int
    disturbed_calls: int = Field(description="With `ws_unavailable`.")
    answer_rate: float | None = Field(description="Answered calls, of all; null of none.")
    average_duration_seconds: Seconds | None = Field(description="Of answered calls; null of none.")
    turn_count: int
    barge_in_count: int
    tool_call_count: int
    transfer_duration_seconds: int


class Overview(TotalsShape):
    """Everything that is summed, over all of the calls."""

    filters: dict[str, Any]


class DayShape(TotalsShape):
    """A day of the time zone."""

    date: str = Field(description="YYYY-MM-DD.")


class MonthShape(TotalsShape):
    """A month of the time zone."""

    month: str = Field(description="YYYY-MM.")


class HourShape(TotalsShape):
    """An hour of the day, as the clocks of the time zone show it, of all days together."""

    hour: int = Field(ge=0, le=23)


class AgentShape(TotalsShape):
    """An agent's calls."""

    agent_id: str | None = Field(description="Null: calls without a stored agent.")


class DayList(Shape):
    """Every day, those without calls too, in order."""

    data: list[DayShape]
    filters: dict[str, Any]


class MonthList(Shape):
    """Every month, those without calls too, in order."""

    data: list[MonthShape]
    filters: dict[str, Any]


class HourList(Shape):
    """The 24 hours of the day."""

    data: list[HourShape]
    filters: dict[str, Any]


class AgentStatistics(Shape):
    """Agents, those with the most calls first."""

    data: list[AgentShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")
    filters: dict[str, Any]


class DistributionShape(Shape):
    """How values are spread; percentiles are nearest ranks, each one of the values."""

    count: int
    average: float | None
    p50: int | None
    p95: int | None
    p99: int | None
    max: int | None


class LatencyStatistics(Shape):
    """Milliseconds from the end of the caller's speech, over all turns of ended calls."""

    user_speech_ms: DistributionShape = Field(description="How long callers spoke: a length, not a delay.")
    llm_ttfb_ms: DistributionShape
    tts_start_ms: DistributionShape
    tts_ttfb_ms: DistributionShape
    first_audio_sent_ms: DistributionShape
    first_audio_heard_ms: DistributionShape
    filters: dict[str, Any]


class ToolShape(Shape):
    """How often a tool was called, and how that went."""

    name: str
    calls: int
    outcomes: dict[str, int]
    duration_ms: DistributionShape


class ToolStatistics(Shape):
    """Tools, by name."""

    data: list[ToolShape]
    filters: dict[str, Any]


class OutcomeShape(Shape):
    """Calls that ended alike."""

    value: str | None = Field(description="Null: calls that have none.")
    calls: int
    share: float = Field(description="Of all of the calls.")
    total_duration_seconds: Seconds


class DispositionStatistics(Shape):
    """How calls ended, in the words of four fields, the most frequent first."""

    dispositions: list[OutcomeShape]
    statuses: list[OutcomeShape]
    ended_reasons: list[OutcomeShape]
    hangup_causes: list[OutcomeShape]
    filters: dict[str, Any]


def summary_fields(totals: Totals) -> dict[str, Any]:
    """Return what `SummaryShape` has."""
    one = next(iter(totals.costs.values()), Costs()) if len(totals.costs) < 2 else None
    return {
        "total_calls": totals.total_calls,
        "completed_calls": totals.completed_calls,
        "failed_calls": totals.failed_calls,
        "answered_calls": totals.answered_calls,
        "no_answer_calls": totals.no_answer_calls,
        "total_duration_seconds": _seconds(totals.duration_ms),
        "total_minutes_used": totals.minutes_used,
        "total_cost": None if one is None else one.total_cost,
        "total_recording_cost": None if one is None else one.recording_cost,
        "total_llm_discount": None if one is None else one.llm_discount,
        "currency": next(iter(totals.costs)) if len(totals.costs) == 1 else None,
        "costs": [_cost(currency, costs) for currency, costs in sorted(totals.costs.items())],
    }


def totals_fields(totals: Totals) -> dict[str, Any]:
    """Return what `TotalsShape` has."""
    answered = totals.answered_calls
    return {
        **{name: getattr(totals, name) for name in TotalsShape.model_fields if hasattr(totals, name)},
        **summary_fields(totals),
        "answer_rate": round(answered / totals.total_calls, 4) if totals.total_calls else None,
        "average_duration_seconds": _seconds(Decimal(totals.duration_ms) / answered) if answered else None,
    }


def distribution_shape(found: Distribution) -> DistributionShape:
    return DistributionShape(
        count=found.count,
        average=None if found.average is None else round(found.average, 1),
        p50=found.p50,
        p95=found.p95,
        p99=found.p99,
        max=found.highest,
    )


def tool_shape(use: ToolUse) -> ToolShape:
    return ToolShape(
        name=use.name,
        calls=use.calls,
        outcomes=dict(sorted(use.outcomes.items())),
        duration_ms=distribution_shape(use.duration),
    )


def disposition_statistics(found: Outcomes, filters: Mapping[str, Any]) -> DispositionStatistics:
    return DispositionStatistics(
        dispositions=_outcomes(found.disposition),
        statuses=_outcomes(found.status),
        ended_reasons=_outcomes(found.ended_reason),
        hangup_causes=_outcomes(found.hangup_cause),
        filters=dict(filters),
    )


def _outcomes(found: Mapping[str | None, Outcome]) -> list[OutcomeShape]:
    all_calls = sum(each.calls for each in found.values())
    ordered = sorted(found.items(), key=lambda pair: (-pair[1].calls, pair[0] or ""))
    return [
        OutcomeShape(
            value=value,
            calls=each.calls,
            share=round(each.calls / all_calls, 4),
            total_duration_seconds=_seconds(each.duration_ms),
        )
        for value, each in ordered
    ]


def _cost(currency: str, costs: Costs) -> CostShape:
    return CostShape(
        currency=currency,
        **{name: getattr(costs, name) for name in CostShape.model_fields if name != "currency"},
    )


def _seconds(milliseconds: Decimal | int) -> Decimal:
    return (Decimal(milliseconds) / 1000).quantize(_MILLI, ROUND_HALF_UP)
