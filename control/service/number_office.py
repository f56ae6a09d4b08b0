"""Numbers claimed and released: what a carrier account has, what of it is ours, and where its calls are sent.

Theory of operation. A number is pointed at this gateway first and kept afterwards, and pointed away before it is
forgotten. So whatever stops in between leaves a number that rings where nobody has it, which is turned away, or one
that is kept and does not ring; asking again puts either right, since both requests to the carrier may be made twice.
Of many who claim a number at once the store lets one have it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from control.directory import Directory, NumberEntry
from control.stores.keys import DEFAULT_TENANT
from control.stores.numbers import AgentDeleted, ClaimedNumber, Claiming, Numbers
from telephony.account_numbers import AccountNumber, AccountNumbers
from telephony.client_errors import CommandFailed

log = structlog.get_logger()

# The carrier knows no such number: it is not the account's any more.
_GONE = 404


class NumberedAccount(Protocol):
    """A carrier account with its numbers (`gateway.accounts`)."""

    @property
    def carrier(self) -> str: ...
    @property
    def integration_id(self) -> str: ...
    @property
    def numbers(self) -> AccountNumbers: ...


class NumberedAccounts(Protocol):
    """Every account (`gateway.account_book`). Raises `StoreUnavailable`."""

    async def fetch(self, carrier: str, integration_id: str) -> NumberedAccount | None: ...
    async def of_tenant(self, tenant_id: str) -> Sequence[NumberedAccount]: ...


@dataclass(frozen=True, slots=True)
class Offer:
    """A number that may be claimed."""

    account: NumberedAccount
    number: AccountNumber


@dataclass(frozen=True, slots=True)
class Silent:
    """An account whose carrier did not list its numbers."""

    account: NumberedAccount
    failed: CommandFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Which number is wanted."""

    number: str
    """E.164."""
    carrier: str | None = None
    """None: whichever account has it."""
    integration_id: str | None = None
    agent_id: str | None = None
    label: str | None = None


class NumberTaken(Exception):
    """The number is claimed already."""


class NumberNotThere(Exception):
    """No account of the tenant's has the number."""


class NoSuchAccount(Exception):
    """The tenant has no such carrier account, or it cannot be used."""


class NumberOffice:
    """Driven by the API."""

    def __init__(
        self,
        numbers: Numbers,
        accounts: NumberedAccounts,
        directory: Directory,
        *,
        wall: Callable[[], datetime],
        new_id: Callable[[str], str],
    ) -> None:
        """
        Args:
            directory: of the settings, whose numbers are nobody's to claim.
        """
        self._numbers = numbers
        self._accounts = accounts
        self._directory = directory
        self._wall = wall
        self._new_id = new_id

    def of_settings(self, tenant_id: str) -> list[NumberEntry]:
        """Return the numbers of the settings, if they are the tenant's."""
        return self._directory.numbers() if tenant_id == DEFAULT_TENANT else []

    def agent_of(self, entry: NumberEntry) -> str | None:
        """Return the id of the agent that a number of the settings is given."""
        agent = None if entry.agent is None else self._directory.agent(entry.agent)
        return None if agent is None else agent.agent_id

    async def available(
        self, tenant_id: str, *, carrier: str | None = None, integration_id: str | None = None
    ) -> tuple[list[Offer], list[Silent]]:
        """Return what the tenant's accounts have and is not claimed, in order, and which accounts did not say.

        Raises:
            NoSuchAccount: there is none of that id.
            StoreUnavailable
        """
        accounts = await self._of(tenant_id, carrier, integration_id)
        if not accounts and integration_id is not None:
            raise NoSuchAccount
        listed = await asyncio.gather(*[_listed(account) for account in accounts])
        offers = [Offer(each, number) for each, found in zip(accounts, listed, strict=True)
                  if not isinstance(found, CommandFailed) for number in found]  # fmt: skip
        silent = [Silent(each, found) for each, found in zip(accounts, listed, strict=True)
                  if isinstance(found, CommandFailed)]  # fmt: skip
        taken = await self._numbers.claimed_of(tenant_id, [offer.number.number for offer in offers])
        taken |= {entry.number for entry in self.of_settings(tenant_id)}
        free = [offer for offer in offers if offer.number.number not in taken]
        return sorted(free, key=lambda offer: offer.number.number), silent

    async def claim(self, tenant_id: str, request: ClaimRequest) -> ClaimedNumber:
        """Have a number's calls come to this gateway, and keep it.

        Raises:
            NumberTaken, NumberNotThere, NoSuchAccount, AgentDeleted
            CommandFailed: the carrier refuses, or cannot be reached.
            StoreUnavailable
        """
        if await self._is_ours(tenant_id, request.number):
            raise NumberTaken
        offer = await self._offered(tenant_id, request)
        await offer.account.numbers.point_here(offer.number)
        now = self._wall()
        claimed = ClaimedNumber(
            number_id=self._new_id("num"),
            tenant_id=tenant_id,
            number=request.number,
            carrier=offer.account.carrier,
            integration_id=offer.account.integration_id,
            carrier_number_id=offer.number.carrier_number_id,
            agent_id=request.agent_id,
            label=request.label,
            created_at=now,
            updated_at=now,
        )
        match await self._numbers.claim(claimed):
            case Claiming.TAKEN:
                raise NumberTaken
            case Claiming.NO_ACCOUNT:
                raise NoSuchAccount
            case Claiming.NO_AGENT:
                raise AgentDeleted
            case Claiming.DONE:
                return claimed

    async def release(self, held: ClaimedNumber, *, force: bool) -> None:
        """Have a number's calls come no more, and forget it.

        Args:
            force: forget it even if its carrier cannot be asked.

        Raises:
            NoSuchAccount: its account cannot be used.
            CommandFailed: the carrier refuses, or cannot be reached.
            StoreUnavailable
        """
        try:
            await self._point_away(held)
        except (CommandFailed, NoSuchAccount) as fault:
            if not force:
                raise
            log.warning("a number is released that may still ring here", reason=str(fault))
        await self._numbers.release(held.tenant_id, held.number_id)

    async def _point_away(self, held: ClaimedNumber) -> None:
        account = await self._accounts.fetch(held.carrier, held.integration_id)
        if account is None or held.carrier_number_id is None:
            raise NoSuchAccount
        number = AccountNumber(carrier_number_id=held.carrier_number_id, number=held.number)
        try:
            await account.numbers.point_away(number)
        except CommandFailed as failed:
            if failed.status != _GONE:
                raise

    async def _is_ours(self, tenant_id: str, number: str) -> bool:
        if any(entry.number == number for entry in self.of_settings(tenant_id)):
            return True
        return await self._numbers.held(tenant_id, number) is not None

    async def _offered(self, tenant_id: str, request: ClaimRequest) -> Offer:
        """The number, with the first account that has it; a carrier that does not answer may have it."""
        failed: CommandFailed | None = None
        accounts = await self._of(tenant_id, request.carrier, request.integration_id)
        if not accounts:
            raise NoSuchAccount
        for account in accounts:
            found = await _listed(account, request.number)
            if isinstance(found, CommandFailed):
                failed = found
            elif found:
                return Offer(account, found[0])
        if failed is not None:
            raise failed
        raise NumberNotThere

    async def _of(
        self, tenant_id: str, carrier: str | None, integration_id: str | None
    ) -> list[NumberedAccount]:
        return [
            account
            for account in await self._accounts.of_tenant(tenant_id)
            if carrier in (None, account.carrier) and integration_id in (None, account.integration_id)
        ]


async def _listed(account: NumberedAccount, number: str | None = None) -> list[AccountNumber] | CommandFailed:
    try:
        return await account.numbers.all(number)
    except CommandFailed as failed:
        return failed
