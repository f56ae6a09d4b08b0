"""What carriers say of calls when asked: of those whose end nobody tells us, and of those an earlier process left.

Theory of operation. Webhooks get lost. A transferred call has nothing else by which we would learn of its end, and a
dial whose answer was lost has no name: both are asked about now and then. At the start, the calls that this process
had when it died are settled: their media is gone, so they are hung up and end as an error of ours; but a caller who
was transferred talks on, and is only waited for.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from control import released_call
from control.call_draft import Begun, CallDraft
from control.call_record import CallRecord, EventRecord
from control.inputs import Found, NotFound
from control.service.call_service import CallService
from control.service.chronicle import Chronicle
from control.service.keeper import Keeper
from control.service.live_call import LiveCall
from control.service.neighbours import Neighbours
from control.service.ports import CallStore, CarrierAccount, CarrierAccounts, Describe, World
from control.stores.errors import StoreUnavailable
from control.unfinished import EVENTS, Unfinished, transferred_at, unfinished
from telephony.calls import HungUp
from telephony.client_errors import CommandFailed
from telephony.client_errors import LiveCall as CarriedCall
from telephony.commands import Hangup

log = structlog.get_logger()

# Seconds between questions. A caller who was transferred may be billed by us for so much longer.
PERIOD = 30.0
# A dial that is not listed may still be on its way into the list.
_SETTLED = 30.0
# Questions to one carrier at a time: they share its rate limit with calls.
_AT_A_TIME = 8
# Seconds of silence after which the calls of a process that shares the database end if their carrier says that they are
# over, and after which they end whatever it says: who is cut off for so long has hardly a call left.
SILENT = 180.0
GONE = 900.0
_LOOKED_AT = EVENTS | {"transcript.updated"}
# Seconds that a start waits for a journal to be replayed, and between looks; then it is seen to later.
_JOURNAL_PATIENCE = 2.0
_LOOK = 0.05


class Reconciliation:
    """Driven by the gateway: `recover` once, then `run`."""

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
        self._neighbours = Neighbours(store, world)
        self._node: str | None = None
        self._told_of: set[str] = set()
        """Silent nodes whose untold ends were seen to."""
        self._released: dict[str, CallRecord] = {}
        self._unsettled: str | None = None
        """The node whose calls are still to be settled: the store did not answer."""
        self._untold: str | None = None
        """The node of whose calls some may have ended without a word of it."""
        self._questions = asyncio.Semaphore(_AT_A_TIME)
        service.watch_ends(self.released_ended)
        service.watch_unmade(self.unmade)

    # What an earlier process left

    async def recover(self, node: str) -> None:
        """Settle the calls that this node had when it died."""
        self._node = node
        if not await self._journal_is_replayed():
            log.error(
                "calls of an earlier process are not settled yet: a journal may tell how they have ended"
            )
            self._unsettled = node
            return
        try:
            left = await self._store.live_calls(node)
        except StoreUnavailable as fault:
            log.error("calls of an earlier process are not settled yet", error=str(fault))
            self._unsettled = node
            return
        self._unsettled = None
        self._untold = node
        for record in left:
            if self._service.has(record.call_id):
                continue
            if released_call.is_released(record):
                self._released[record.call_id] = record
            else:
                log.warning("a call of an earlier process ends", call_id=record.call_id)
                await self._abandon(record)
        await self.tell_ends()

    async def _abandon(self, record: CallRecord) -> None:
        """End a call whose media died with its process."""
        events, draft = await self._left(record)
        ended = released_call.abandoned(record, self._world.wall(), events, draft)
        await self._end(record, ended, events, draft)
        self._world.spawn(self._put_down(record), f"{record.call_id} recovery")

    async def _journal_is_replayed(self) -> bool:
        """Whether the store knows everything; a journal that was left takes a moment."""
        until = self._world.now() + _JOURNAL_PATIENCE
        while self._keeper.is_failing() and self._world.now() < until:
            await self._world.sleep(_LOOK)
        return not self._keeper.is_failing()

    async def tell_ends(self) -> None:
        """Tell of calls that had ended when the process died, which came before it told of that."""
        if self._untold is None or self._keeper.is_failing():  # a journal may tell of them yet
            return
        try:
            left = await self._store.untold_calls(self._untold)
        except StoreUnavailable as fault:
            log.error("calls of an earlier process are not told of yet", error=str(fault))
            return
        self._untold = None
        await self._tell(left)

    async def _tell(self, left: list[CallRecord]) -> None:
        for record in left:
            if not self._service.has(record.call_id):
                log.warning("the end of an earlier process's call is told", call_id=record.call_id)
                events, draft = await self._left(record)
                await self._end(record, released_call.known(record, events, draft), events, draft)

    async def _left(self, record: CallRecord) -> tuple[list[EventRecord], CallDraft]:
        """What was said and begun in a call, and what else was on record of it."""
        try:
            events = await self._store.happened(record.call_id, _LOOKED_AT)
            return events, await self._store.draft(record.call_id)
        except StoreUnavailable as fault:
            log.warning("what went on in a call is not known", call_id=record.call_id, error=str(fault))
            return [], released_call.NOTHING

    # What another process left, that does not come back

    async def succeed(self) -> None:
        """See to the calls of processes that share the database and have not been heard of for long.

        Silence is no proof: a process that is cut off from the database keeps its calls and its journal. So at first
        only what the carrier says is over ends, and legs are hung up much later.
        """
        if self._node is None:
            return
        if self._keeper.is_failing():
            self._neighbours.forget()
            return
        try:
            silences = await self._neighbours.silent(self._node)
            silences = {node: silence for node, silence in silences.items() if silence >= SILENT}
            self._told_of &= silences.keys()
            for node, silence in silences.items():
                await self._succeed(node, silence)
        except StoreUnavailable as fault:
            log.warning("other processes' calls are not known", error=str(fault))

    async def _succeed(self, node: str, silence: float) -> None:
        for record in await self._store.live_calls(node):
            if released_call.is_released(record):
                self._released.setdefault(record.call_id, record)
                continue
            account = await self._accounts.fetch(record.carrier, record.integration_id)
            if silence >= GONE or account is None or await self._is_gone(account, record):
                log.warning("a call of a silent process ends", call_id=record.call_id, node=node)
                await self._abandon(record)
        if node not in self._told_of:
            self._told_of.add(node)
            await self._tell(await self._store.untold_calls(node))

    def released_ended(self, integration_id: str, event: HungUp) -> bool:
        """Whether the event, of this account, ends a call that an earlier process had transferred."""
        record = next(
            (
                each
                for each in self._released.values()
                if each.integration_id == integration_id and _is_about(event, each)
            ),
            None,
        )
        if record is None:
            return False
        del self._released[record.call_id]
        self._world.spawn(self._released_ended(record, event), f"{record.call_id} end")
        return True

    async def _released_ended(self, record: CallRecord, event: HungUp | None = None) -> None:
        wall = self._world.wall()
        events, draft = await self._left(record)
        ended, since = released_call.ended(record, wall, event, draft), transferred_at(events)
        if since is not None and ended.ended_at is not None:
            ended = self._service.transferred(ended, max(0, round((ended.ended_at - since).total_seconds())))
        await self._end(record, ended, events, draft)

    def unmade(self, record: CallRecord) -> None:
        """A dial was refused because the store did not answer, which may have taken, or yet take, its call.

        What is there has an end, too: a call that failed is kept over it.
        """
        ended = released_call.abandoned(record, self._world.wall())
        self._world.spawn(self._keep_end(record, ended, last_sequence=0), f"{record.call_id} was not made")

    async def _end(
        self, before: CallRecord, ended: CallRecord, events: list[EventRecord], draft: CallDraft
    ) -> None:
        """Keep the end of a call, and tell of it."""
        try:
            last_sequence = await self._store.last_sequence(before.call_id)
        except StoreUnavailable:
            last_sequence = 1_000_000  # above whatever there is: an order with a gap is an order
        await self._keep_end(before, ended, last_sequence, unfinished(events), draft)

    async def _keep_end(
        self,
        before: CallRecord,
        ended: CallRecord,
        last_sequence: int,
        begun: Sequence[Unfinished] = (),
        draft: CallDraft = released_call.NOTHING,
    ) -> None:
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
        await self._keeper.save(_next(before, ended), entries)

    async def _put_down(self, record: CallRecord) -> None:
        """Hang up what may be left of a call; nobody is on our side of it any more."""
        try:
            account = await self._accounts.fetch(record.carrier, record.integration_id)
            if account is None:
                return
            names = await self._names(account, record)
            for name in names:
                await account.perform(Hangup(command_id=self._world.new_id("cmd"), carrier_call_id=name))
        except (CommandFailed, StoreUnavailable) as fault:
            log.error("a leg may be up without us", call_id=record.call_id, error=str(fault))

    async def _names(self, account: CarrierAccount, record: CallRecord) -> list[str]:
        if record.carrier_call_id is not None:
            return [record.carrier_call_id]
        listed = await account.live_calls(record.to_number)
        return [each.carrier_call_id for each in listed if is_the_dial(each, record)]

    # What is asked now and then

    async def run(self, period: float) -> None:
        """Ask, until cancelled."""
        while True:
            await self._world.sleep(period)
            if self._unsettled is not None:
                await self.recover(self._unsettled)
            await self.tell_ends()
            await self.succeed()
            await self.ask()

    async def ask(self) -> None:
        """Ask about every call that nothing else tells us the end of."""
        live = self._service.live()
        open_dials: defaultdict[tuple[str, str], list[LiveCall]] = defaultdict(list)
        questions = [self._about_released(call) for call in live if call.released]
        questions += [self._about_left(record) for record in list(self._released.values())]
        for call in live:
            if call.dial_is_open:
                open_dials[call.account.carrier, call.account.integration_id].append(call)
        questions += [self._about_dials(calls[0].account, calls) for calls in open_dials.values()]
        await asyncio.gather(*questions)

    async def _about_released(self, call: LiveCall) -> None:
        if await self._is_gone(call.account, call.record):
            call.tell(NotFound())

    async def _about_left(self, record: CallRecord) -> None:
        try:
            account = await self._accounts.fetch(record.carrier, record.integration_id)
        except StoreUnavailable:
            return  # asked again
        gone = account is None or await self._is_gone(account, record)
        if gone and self._released.pop(record.call_id, None) is not None:
            await self._released_ended(record)

    async def _is_gone(self, account: CarrierAccount, record: CallRecord) -> bool:
        """Whether the carrier says that it is over; a carrier that does not answer has not said so."""
        if record.carrier_call_id is None:
            return True
        try:
            async with self._questions:
                return not await account.is_alive(record.carrier_call_id)
        except CommandFailed as fault:
            log.warning("carrier does not answer", call_id=record.call_id, error=str(fault))
            return False

    async def _about_dials(self, account: CarrierAccount, calls: list[LiveCall]) -> None:
        by_number: defaultdict[str | None, list[LiveCall]] = defaultdict(list)
        for call in calls:
            by_number[call.record.to_number].append(call)
        for number, dialled in by_number.items():
            try:
                listed = await account.live_calls(number)
            except CommandFailed as fault:
                log.warning("carrier does not list its calls", carrier=account.carrier, error=str(fault))
                return
            for call in dialled:
                self._settle_dial(call, listed)

    def _settle_dial(self, call: LiveCall, listed: list[CarriedCall]) -> None:
        record = call.record
        if not call.dial_is_open:
            return  # a webhook was faster
        known = {each.record.carrier_call_id for each in self._service.live()}
        for each in listed:
            if each.carrier_call_id not in known and is_the_dial(each, record):
                call.tell(
                    Found(
                        carrier_call_id=each.carrier_call_id,
                        leg_id=each.leg_id,
                        session_id=each.session_id,
                    )
                )
                return
        if self._world.wall() - record.started_at > timedelta(seconds=_SETTLED):
            call.tell(NotFound())


def is_the_dial(listed: CarriedCall, record: CallRecord) -> bool:
    """Whether a call that the carrier lists is the one that was dialled.

    By our own token where the carrier repeats it (Telnyx); else by both numbers and the time (Twilio).
    """
    if listed.token is not None:
        return listed.token.call_id == record.call_id and listed.token.transfer_id is None
    if (listed.from_number, listed.to_number) != (record.from_number, record.to_number):
        return False
    if listed.started_at is None:
        return False
    try:
        began = datetime.fromisoformat(listed.started_at)
    except ValueError:
        return False
    # Twilio counts whole seconds, and calls wait in its queue (F 34).
    return timedelta(seconds=-2) <= began - record.started_at <= timedelta(seconds=_SETTLED)


def _is_about(event: HungUp, record: CallRecord) -> bool:
    """Whether it is the caller's own leg that is over."""
    if event.origin.leg_id is not None and record.leg_id is not None:
        return event.origin.leg_id == record.leg_id
    return event.origin.carrier_call_id == record.carrier_call_id


def _interrupted(chronicle: Chronicle, run: Begun, now: float, wall: datetime) -> EventRecord:
    """The entry that tells of a run which nobody will ever hear the end of."""
    log = run.interrupted(wall)
    data = {"tool_call_id": log.tool_call_id, "name": log.name, "status": log.outcome.value}
    return replace(chronicle.entry("tool.abandoned", data, now), tool_log=log)


def _next(before: CallRecord, ended: CallRecord) -> CallRecord:
    return replace(ended, revision=before.revision + 1)
