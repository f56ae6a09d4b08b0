"""What carriers say of calls when asked: of those whose end nobody tells us, and of those whose process is gone.

Theory of operation. Webhooks get lost. A transferred call has nothing else by which we would learn of its end, and a
dial whose answer was lost has no name: both are asked about now and then. At the start, the calls that this process
had when it died are settled: their media is gone, so they are hung up and end as an error of ours; but a caller who
was transferred talks on, and is only waited for. Likewise, much later, with the calls of a process that shares the
database and is not heard of any more.
"""

import asyncio
from collections import defaultdict
from datetime import timedelta

import structlog

from control import released_call
from control.call_record import CallRecord
from control.inputs import Found, NotFound
from control.service.call_service import CallService
from control.service.keeper import Keeper
from control.service.left_calls import LeftCalls, names_of
from control.service.listed_call import SETTLED, is_the_dial
from control.service.live_call import LiveCall
from control.service.neighbours import Neighbours
from control.service.ports import CallStore, CarrierAccount, CarrierAccounts, World
from control.stores.errors import StoreUnavailable
from telephony.calls import HungUp
from telephony.client_errors import CommandFailed
from telephony.client_errors import LiveCall as CarriedCall

log = structlog.get_logger()

# Seconds between questions. A caller who was transferred may be billed by us for so much longer.
PERIOD = 30.0
# Calls asked about at a time: the questions share their carrier's rate limit with calls.
_AT_A_TIME = 8
# Seconds of silence after which the calls of a process that shares the database end if their carrier says that they are
# over, and after which they end whatever it says: who is cut off for so long has hardly a call left.
SILENT = 180.0
GONE = 900.0
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
        left: LeftCalls,
        neighbours: Neighbours,
    ) -> None:
        self._service = service
        self._store = store
        self._keeper = keeper
        self._accounts = accounts
        self._world = world
        self._left = left
        self._neighbours = neighbours
        self._told_of: set[str] = set()
        """Silent nodes whose untold ends were seen to."""
        self._node = ""
        """This process, once it has recovered."""
        self._released: dict[str, CallRecord] = {}
        self._parting: set[str] = set()
        """Those of them that have ended, and whose end is to be kept yet."""
        self._unsettled: str | None = None
        """The node whose calls are still to be settled: the store did not answer."""
        self._untold: str | None = None
        """The node of whose calls some may have ended without a word of it."""
        self._questions = asyncio.Semaphore(_AT_A_TIME)
        service.watch_ends(self.released_ended)
        service.watch_unmade(left.unmade)

    # What an earlier process left

    async def recover(self, node: str) -> None:
        """Settle the calls that this node had when it died."""
        self._node = self._unsettled = node
        if not await self._journal_is_replayed():
            log.error(
                "calls of an earlier process are not settled yet: a journal may tell how they have ended"
            )
            return
        try:
            left = await self._store.live_calls(node)
        except StoreUnavailable as fault:
            log.error("calls of an earlier process are not settled yet", error=str(fault))
            return
        settled = [await self._settle(record) for record in left]
        if all(settled):
            self._unsettled = None
        self._untold = node
        await self.tell_ends()

    async def _settle(self, record: CallRecord) -> bool:
        """Whether that is done: one that has to wait keeps no other waiting."""
        if self._service.has(record.call_id):
            return True
        if released_call.is_released(record):
            self._await_end(record)
            return True
        log.warning("a call of an earlier process ends", call_id=record.call_id)
        try:
            await self._left.abandon(record)
        except StoreUnavailable as fault:
            log.error("a call is not settled yet", call_id=record.call_id, error=str(fault))
            return False
        return True

    def _await_end(self, record: CallRecord) -> None:
        """Ask about a transferred caller from now on, unless the call's end is only to be kept yet."""
        if record.call_id not in self._parting:
            self._released[record.call_id] = record

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
            await self._tell_ends(self._untold)
        except StoreUnavailable as fault:
            log.error("calls of an earlier process are not told of yet", error=str(fault))
            return
        self._untold = None

    async def _tell_ends(self, node: str) -> None:
        faults = []
        for record in await self._store.untold_calls(node):
            if not self._service.has(record.call_id):
                log.warning("the end of a call is told for its process", call_id=record.call_id, node=node)
                try:
                    await self._left.tell(record)
                except StoreUnavailable as fault:
                    faults.append(fault)
        if faults:
            raise faults[0]

    # What another process left, that does not come back

    async def succeed(self) -> None:
        """See to the calls of processes that share the database and have not been heard of for long.

        Silence is no proof: a process that is cut off from the database keeps its calls and its journal. So at first
        only what the carrier says is over ends, and legs are hung up much later.
        """
        if self._keeper.is_failing():
            self._neighbours.forget()
            return
        silent = {node for node, silence in self._neighbours.silent().items() if silence >= SILENT}
        self._told_of &= silent
        await asyncio.gather(*[self._succeed(node) for node in silent])

    async def _succeed(self, node: str) -> None:
        try:
            left = await self._store.live_calls(node)
            for record in filter(released_call.is_released, left):
                self._await_end(record)
            ours = [record for record in left if not released_call.is_released(record)]
            await asyncio.gather(*[self._see_to(record) for record in ours])
            if node not in self._told_of:
                await self._tell_ends(node)
                self._told_of.add(node)
        except StoreUnavailable as fault:
            log.warning("another process's calls are not seen to yet", node=node, error=str(fault))

    async def _see_to(self, record: CallRecord) -> None:
        """End a call of a silent process if it is over."""
        async with self._questions:
            try:
                if await self._is_lost(record):
                    log.warning("a call of a silent process ends", call_id=record.call_id, node=record.node)
                    await self._left.abandon(record)
            except StoreUnavailable as fault:
                log.warning("a call is not seen to yet", call_id=record.call_id, error=str(fault))

    async def _is_lost(self, record: CallRecord) -> bool:
        if self._silence(record) >= GONE:
            return True
        account = await self._accounts.fetch(record.carrier, record.integration_id)
        over = account is not None and await self._is_gone(account, record)
        return over and self._silence(record) >= SILENT  # its process may be back by now

    def _silence(self, record: CallRecord) -> float:
        """For how long the call's process has not been heard of."""
        return self._neighbours.silent().get(record.node, 0.0)

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
        self._part(record, event)
        return True

    def _part(self, record: CallRecord, event: HungUp | None = None) -> None:
        if self._released.pop(record.call_id, None) is not None:
            self._parting.add(record.call_id)
            self._world.spawn(self._parted(record, event), f"{record.call_id} end")

    async def _parted(self, record: CallRecord, event: HungUp | None) -> None:
        try:
            await self._left.part(record, event)
        finally:
            self._parting.discard(record.call_id)

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
        async with self._questions:
            if await self._is_gone(call.account, call.record):
                call.tell(NotFound())

    async def _about_left(self, record: CallRecord) -> None:
        async with self._questions:
            try:
                account = await self._accounts.fetch(record.carrier, record.integration_id)
            except StoreUnavailable:
                return  # asked again
            if account is None:
                over = record.node == self._node or self._silence(record) >= GONE
            else:
                over = await self._is_gone(account, record)
            if over:
                self._part(record)

    async def _is_gone(self, account: CarrierAccount, record: CallRecord) -> bool:
        """Whether the carrier says that it is over; a carrier that does not answer has not said so."""
        try:
            if record.carrier_call_id is None:
                return not await names_of(account, record)
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
        if self._world.wall() - record.started_at > timedelta(seconds=SETTLED):
            call.tell(NotFound())


def _is_about(event: HungUp, record: CallRecord) -> bool:
    """Whether it is the caller's own leg that is over."""
    if event.origin.leg_id is not None and record.leg_id is not None:
        return event.origin.leg_id == record.leg_id
    return event.origin.carrier_call_id == record.carrier_call_id
