"""Telephone numbers as answers have them."""

from typing import Literal

from pydantic import Field

from control.api.integration_shapes import settings_id
from control.api.shapes import Moment, Shape
from control.directory import NumberEntry
from control.integrations import DEFAULT, Vendor
from control.service.number_office import Offer, Silent
from control.stores.numbers import ClaimedNumber


class NumberShape(Shape):
    """A number of ours."""

    number_id: str
    number: str = Field(description="E.164.")
    carrier: str | None = Field(description="Null: of the settings, which name none.")
    integration_id: str | None = Field(description="The carrier account that it is with.")
    agent_id: str | None = Field(description="Who answers; null: calls to it are turned away.")
    label: str | None
    source: Literal["stored", "settings"] = Field(
        description="`settings`: of the gateway's own, which cannot be changed here."
    )
    created_at: Moment | None
    updated_at: Moment | None


class NumberList(Shape):
    """A page of numbers; those of the settings come last."""

    data: list[NumberShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


class AvailableNumber(Shape):
    """A number that a carrier account has and nobody has claimed."""

    number: str
    carrier: str
    integration_id: str
    label: str | None = Field(description="As the carrier has it.")
    points_here: bool = Field(description="Whether its calls come to this gateway already.")


class SilentAccount(Shape):
    """An account whose carrier did not list its numbers."""

    carrier: str
    integration_id: str
    detail: str


class AvailableList(Shape):
    """A page of numbers that may be claimed, in order."""

    data: list[AvailableNumber]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")
    unanswered: list[SilentAccount] = Field(
        description="Accounts whose numbers are missing, because their carrier refused or did not answer."
    )


def account_id(carrier: str, integration_id: str) -> str:
    """Return what the API calls a carrier account."""
    return settings_id(Vendor(carrier)) if integration_id == DEFAULT else integration_id


def claimed_shape(claimed: ClaimedNumber) -> NumberShape:
    return NumberShape(
        number_id=claimed.number_id,
        number=claimed.number,
        carrier=claimed.carrier,
        integration_id=account_id(claimed.carrier, claimed.integration_id),
        agent_id=claimed.agent_id,
        label=claimed.label,
        source="stored",
        created_at=claimed.created_at,
        updated_at=claimed.updated_at,
    )


def settings_number_id(entry: NumberEntry) -> str:
    """Return the id of a number of the settings: made of its digits, so that it stays the same."""
    return f"num_{entry.number.lstrip('+')}"


def settings_number_shape(entry: NumberEntry, agent_id: str | None) -> NumberShape:
    carrier = entry.carrier
    return NumberShape(
        number_id=settings_number_id(entry),
        number=entry.number,
        carrier=carrier,
        integration_id=None if carrier is None else account_id(carrier, entry.integration_id),
        agent_id=agent_id,
        label=None,
        source="settings",
        created_at=None,
        updated_at=None,
    )


def available_shape(offer: Offer) -> AvailableNumber:
    return AvailableNumber(
        number=offer.number.number,
        carrier=offer.account.carrier,
        integration_id=account_id(offer.account.carrier, offer.account.integration_id),
        label=offer.number.label,
        points_here=offer.number.points_here,
    )


def silent_shape(silent: Silent) -> SilentAccount:
    return SilentAccount(
        carrier=silent.account.carrier,
        integration_id=account_id(silent.account.carrier, silent.account.integration_id),
        detail=f"{silent.failed.verdict.value}: {silent.failed.detail}",
    )
