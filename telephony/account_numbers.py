"""The numbers that an account has with its carrier, and where their calls go: the same for every carrier."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNumber:
    """A number of an account, as its carrier keeps it."""

    carrier_number_id: str
    """The carrier's own name for it."""
    number: str
    """E.164."""
    label: str | None = None
    """What people call it at the carrier."""
    points_here: bool = False
    """Whether its calls come to this gateway, by this account."""


class AccountNumbers(Protocol):
    """One account's numbers (`telephony.<carrier>.account_numbers`).

    Whatever fails is a `CommandFailed`: the carrier's refusal, or that it cannot be reached.
    """

    async def all(self, number: str | None = None) -> list[AccountNumber]:
        """Return every number of the account, or the one that is asked for (E.164), if it is there."""
        ...

    async def point_here(self, number: AccountNumber) -> None:
        """Have its calls come to this gateway. Doing it twice is doing it once."""
        ...

    async def point_away(self, number: AccountNumber) -> None:
        """Have its calls come no more, if they do; where they go then, its owner says at the carrier."""
        ...

    async def trouble(self) -> str | None:
        """Ask the carrier for the account itself; return what is wrong with it. None: nothing."""
        ...
