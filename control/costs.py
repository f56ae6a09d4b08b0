"""What a call cost: the model by its price table, recording and transfers by the minute. Decimal throughout.

The carrier's minutes are `CallRecord.call_cost`: they follow from the record's own rate. A model without a price costs
nothing here rather than a guess; `offhook check` says so beforehand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import ROUND_HALF_UP, Decimal

from pydantic import Field

from control.call_record import CallRecord
from control.configuration import Money, Part
from media.realtime.events import Usage
from media.realtime.usage import SNAPSHOT, Price, cost, price_of

# What the built-in prices of models are in (`media.realtime.usage`).
BUILT_IN_CURRENCY = "USD"

_MICRO = Decimal("0.000001")
_MINUTE = Decimal(60)


class ModelPrice(Part):
    """What a model costs, as users write it down: per million tokens, or per minute."""

    text_in: Money = Field(default=Decimal(0), description="A million text tokens in.")
    audio_in: Money = Field(default=Decimal(0), description="A million audio tokens in.")
    cached_text_in: Money = Field(default=Decimal(0), description="A million cached text tokens in.")
    cached_audio_in: Money = Field(default=Decimal(0), description="A million cached audio tokens in.")
    text_out: Money = Field(default=Decimal(0), description="A million text tokens out.")
    audio_out: Money = Field(default=Decimal(0), description="A million audio tokens out.")
    minute: Money = Field(default=Decimal(0), description="A minute, where the model bills time.")

    def price(self) -> Price:
        return Price(**{each.name: getattr(self, each.name) for each in fields(Price)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What everything costs."""

    currency: str = BUILT_IN_CURRENCY
    models: Mapping[str, Price] = field(default_factory=dict)
    """By name; what stands here counts instead of the built-in prices."""
    llm_discount_percent: Decimal = Decimal(0)
    """What the provider takes off its list prices."""
    recording_per_minute: Decimal = Decimal(0)
    transfer_per_minute: Decimal = Decimal(0)
    """Of the leg that a transfer dialled."""

    def price(self, model: str) -> Price | None:
        """Return the price of a model or of its dated snapshot; None where none is known in this currency."""
        own = self.models.get(model) or self.models.get(SNAPSHOT.sub("", model))
        if own is not None:
            return own
        return price_of(model) if self.currency == BUILT_IN_CURRENCY else None


def priced(record: CallRecord, used: Iterable[tuple[str, Usage]], tariff: Tariff) -> CallRecord:
    """Return the record with everything in it that is known at its end to cost something beside the carrier's
    minutes.

    Args:
        used: what each model that the call's agent ran on has consumed, with its name.
    """
    llm = _rounded(sum((_llm_cost(model, usage, tariff) for model, usage in used), Decimal(0)))
    return replace(
        record,
        currency=tariff.currency,
        llm_cost=llm,
        llm_discount=_rounded(llm * tariff.llm_discount_percent / 100),
        transfer_cost=transfer_cost(record.transfer_duration_seconds, tariff),
    )


def transfer_cost(seconds: int, tariff: Tariff) -> Decimal:
    """Return what the leg that a transfer dialled costs."""
    return _rounded(Decimal(seconds) / _MINUTE * tariff.transfer_per_minute)


def recorded_cost(seconds: Decimal, tariff: Tariff) -> Decimal:
    """Return what a recording of this length costs; it is known once the file is kept."""
    return _rounded(seconds / _MINUTE * tariff.recording_per_minute)


def _llm_cost(model: str, usage: Usage, tariff: Tariff) -> Decimal:
    price = tariff.price(model)
    return Decimal(0) if price is None else cost(usage, price)


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_MICRO, ROUND_HALF_UP)
