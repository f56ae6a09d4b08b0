"""Ends calls whose process is gone: what was on record of each becomes its record, and whoever waits is told.

Theory of operation. Several may try at once, and the process that is thought gone may be back in the middle of it: the
store keeps an end only while nobody has kept anything of the call since it was read, and all of it or nothing. An end
that the store does not take stays to be kept; the call is there still, for whoever asks next.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from control import released_call
from control.call_draft import Begun, CallDraft
from control.call_record import CallRecord, EventRecord
from control.service.call_service import CallService
from control.service.chronicle import Chronicle
from control.service.keeper import Keeper
from control.service.listed_call import is_the_dial
from control.service.ports import CallStore, CarrierAccount, CarrierAccounts, Describe, World
from control.stores.errors import StoreUnavailable
from control.unfinished import EVENTS, Unfinished, transferred_at, unfinished
from telephony.calls import HungUp
from telephony.client_errors import CommandFailed, Verdict
from telephony.commands import Hangup

log = structlog.get_logger()

# Seconds until an end that nobody will ask for again is offered to the store once more.
AGAIN = 5.0
# Seconds until a leg that could not be hung up is hung up again: a store or a carrier that is away for minutes.
_TRIES = (5.0, 30.0, 120.0)
_LOOKED_AT = EVENTS | {"transcript.updated"}

_Summed = Callable[[list[EventRecord], CallDraft], CallRecord]
"""Sums a call up by what happened in it and what else was on record."""


class LeftCalls:
    """Driven by whoever finds that a call has no process any more."""

    def __init__(
        self,
        service: CallService,
        store: CallStore,
        keeper: Keeper,
        accounts: CarrierAccounts,
        world: World,
        *,
        describe: Describe,
    ) -> None:
        self._service = service
        self._store = store
        self._keeper = keeper
        self._accounts = accounts
        self._world = world
        self._describe = describe

    async def abandon(self, record: CallRecord) -> None:
        """End a call whose media died with its process, and hang up what may be left of it.

        Raises:
            StoreUnavailable: its end is still to be kept.
        """
        wall = self._world.wall()
        try:
            left = await self._end(
                record, lambda events, draft: released_call.abandoned(record, wall, events, draft)
            )
        except StoreUnavailable:
            # It may have been kept all the same, and then nobody comes back to this call.
            self._hang_up(record)
            raise
        if left:
            self._hang_up(record)

    def _hang_up(self, record: CallRecord) -> None:
        self._world.spawn(self._put_down(record), f"{record.call_id} recovery")

    async def tell(self, record: CallRecord) -> None:
        """Tell of a call that had ended when its process died, which came before it told of that.

        Raises:
            StoreUnavailable: it is still to be told.
        """
        await self._end(record, lambda events, draft: released_call.known(record, events, draft))

    async def part(self, record: CallRecord, event: HungUp | None = None) -> None:
        """End a call whose caller talked to somebody else, whenever the store can take it.

        Args:
            event: the carrier's word of it; None: it is not there any more.
        """
        wall = self._world.wall()
        while True:
            try:
                await self._end(
                    record, lambda events, draft: self._parted(record, wall, event, events, draft)
                )
            except StoreUnavailable as fault:
                log.warning("the end of a call is not kept yet", call_id=record.call_id, error=str(fault))
                await self._world.sleep(AGAIN)
            else:
                return

    def _parted(
        self,
        record: CallRecord,
        wall: datetime,
        event: HungUp | None,
        events: list[EventRecord],
        draft: CallDraft,
    ) -> CallRecord:
        ended, since = released_call.ended(record, wall, event, draft), transferred_at(events)
        if since is None or ended.ended_at is None:
            return ended
        return self._service.transferred(ended, max(0, round((ended.ended_at - since).total_seconds())))

    def unmade(self, record: CallRecord) -> None:
        """A dial was refused because the store did not answer, which may have taken, or yet take, its call.

        What is there has an end, too: a call that failed is kept over it.
        """
        self._world.spawn(self._unmade(record), f"{record.call_id} was not made")

    async def _unmade(self, record: CallRecord) -> None:
        ended = released_call.abandoned(record, self._world.wall())
        entries = await self._entries(ended, last_sequence=0)
        await self._keeper.save(replace(ended, revision=record.revision + 1), entries)

    async def _end(self, before: CallRecord, summed: _Summed) -> bool:
        """Keep the end of a call, and tell of it; whether nobody was there first."""
        events = await self._store.happened(before.call_id, _LOOKED_AT)
        draft = await self._store.draft(before.call_id)
        last_sequence = await self._store.last_sequence(before.call_id)
        ended = summed(events, draft)
        entries = await self._entries(ended, last_sequence, unfinished(events), draft)
        return await self._keeper.end(before, ended, entries)

    async def _entries(
        self,
        ended: CallRecord,
        last_sequence: int,
        begun: Sequence[Unfinished] = (),
        draft: CallDraft = released_call.NOTHING,
    ) -> list[EventRecord]:
        """What is told of an end: first of what had begun in the call."""
        now, wall = self._world.now(), self._world.wall()
        chronicle = Chronicle(
            ended, new_id=self._world.new_id, begun_at=wall, now=now, last_sequence=last_sequence
        )
        facts = {
            "status": ended.status.value,
            "disposition": ended.disposition and ended.disposition.value,
            "ended_reason": ended.ended_reason and ended.ended_reason.value,
        }
        names = ["call.ended"] if ended.answered_at is not None else ["call.failed", "call.ended"]
        entries = [_interrupted(chronicle, run, now, wall) for run in draft.runs]
        entries += [chronicle.entry(each.name, each.data, now) for each in begun]
        entries += [
            chronicle.entry(
                name, {**facts, **({"call": self._describe(ended)} if name == "call.ended" else {})}, now
            )
            for name in names
        ]
        entries[-1] = replace(entries[-1], extraction_schema=await self._service.to_extract(ended, draft))
        return entries

    async def _put_down(self, record: CallRecord) -> None:
        """Hang up what may be left of a call; nobody is on our side of it any more, and nobody else will."""
        for pause in (*_TRIES, None):
            try:
                await self._hung_up(record)
            except (CommandFailed, StoreUnavailable) as fault:
                log.error("a leg may be up without us", call_id=record.call_id, error=str(fault))
                if pause is not None:
                    await self._world.sleep(pause)
            else:
                return

    async def _hung_up(self, record: CallRecord) -> None:
        account = await self._accounts.fetch(record.carrier, record.integration_id)
        if account is None:
            return
        for name in await names_of(account, record):
            try:
                await account.perform(Hangup(command_id=self._world.new_id("cmd"), carrier_call_id=name))
            except CommandFailed as fault:
                if fault.verdict is not Verdict.ALREADY_ENDED:
                    raise


async def names_of(account: CarrierAccount, record: CallRecord) -> list[str]:
    """Return by what names the carrier may know a call: of a dial whose answer was lost, by what it lists.

    Raises:
        CommandFailed: it does not say.
    """
    if record.carrier_call_id is not None:
        return [record.carrier_call_id]
    listed = await account.live_calls(record.to_number)
    return [each.carrier_call_id for each in listed if is_the_dial(each, record)]


def _interrupted(chronicle: Chronicle, run: Begun, now: float, wall: datetime) -> EventRecord:
    """The entry that tells of a run which nobody will ever hear the end of."""
    log = run.interrupted(wall)
    data = {"tool_call_id": log.tool_call_id, "name": log.name, "status": log.outcome.value}
    return replace(chronicle.entry("tool.abandoned", data, now), tool_log=log)
