"""The calls of this process: taken in, dialled, asked for things, found by the events of their carriers, and let go.

Theory of operation. Everything that concerns a call goes to its `LiveCall`; here is decided which one that is, whether
a new one may begin, and what becomes of events that belong to none. A call stays here for a while after its last word,
since carriers' words come late. Loops and tasks are the gateway's (`World.spawn`).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from control.agent_run import EffectiveAgent
from control.brief import CallBrief, CallPorts
from control.call import Call
from control.call_draft import CallDraft
from control.call_gather import GatherView
from control.call_record import CallRecord
from control.call_transfer import TransferView
from control.costs import priced, transfer_cost
from control.dialling import DialFailed, Dialled, DialOutcome, DialRequest
from control.effects import CommandDone, Instruction, PutDown
from control.inputs import DrainAsked
from control.refusals import carrier_refused
from control.requests import Accepted, Answer, CallRequest, EndCall, Refused
from control.secrets import SecretUnreadable
from control.service.arrivals import Arrival
from control.service.built_in_tools import built_in_of
from control.service.call_index import CallIndex
from control.service.chronicle import Chronicle
from control.service.dial_preparation import DialPreparation
from control.service.ledger import Ledger
from control.service.live_call import LiveCall, Pricing
from control.service.parts import Parts
from control.service.ports import CarrierAccount
from control.service.screening import Screening, with_agent
from control.service.stream_gaps import StreamGaps
from control.stores.errors import StoreUnavailable
from control.stores.idempotency import Claim, Claimed, ClaimOutcome
from control.stores.patience import within
from telephony.calls import Answered, CallEvent, HungUp, Initiated, LegToken, Ringing, TwimlRequested
from telephony.causes import Direction
from telephony.client_errors import CommandFailed, Verdict
from telephony.commands import Hangup, MediaStream, RejectReason

log = structlog.get_logger()

# Seconds for which the events of a call that is over find it: carriers repeat theirs for a minute (Telnyx).
REMEMBERED = 90.0
# What a token for a media socket is good for; a dial's lasts as long as it may ring.
TOKEN_LIFETIME = 60.0
RING_SLACK = 10.0
# Who asked for a dial waits so long for the carrier's answer, and is then told that it is not known.
DIAL_PATIENCE = 12.0
# A database that has not taken a new call by then is one that does not answer.
STORE_PATIENCE = 5.0

NOT_IN_PROGRESS = Refused(status=409, code="call_not_in_progress", detail="Call is not in progress")
NO_CONTROL = Refused(
    status=409, code="no_control_channel", detail="The carrier gives no way to control this call"
)
_STORE_AWAY = Refused(status=503, code="store_unavailable", detail="The database does not answer")
_UNREADABLE = Refused(
    status=503,
    code="secrets_unreadable",
    detail="The agent's secrets cannot be decrypted with the gateway's keys",
)
ELSEWHERE = Refused(status=503, code="owner_unreachable", detail="The process that has this call is gone")


class CallService:
    """Driven by the webhook endpoint, the API and the gateway."""

    def __init__(self, parts: Parts) -> None:
        self.draining = False
        self.gaps = StreamGaps()
        self._parts = parts
        self._world = parts.world
        self._screening = Screening(parts, self.unready)
        self._preparation = DialPreparation(parts)
        self._calls: CallIndex[LiveCall] = CallIndex()
        self._arrivals: CallIndex[Arrival] = CallIndex()
        self._reserved = 0
        self._finishing = False
        self._patience = 0.0
        self._left_over: Callable[[str, HungUp], bool] = lambda *_: False
        self._unmade: Callable[[CallRecord], None] = lambda _: None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def faults(self) -> int:
        """How many callers were turned away for a fault of ours."""
        return self._screening.faults

    def live(self) -> list[LiveCall]:
        """The calls that have not said their last word."""
        return [call for call in self._calls if not call.over]

    def has(self, call_id: str) -> bool:
        """Whether the call is one of this process."""
        return self._calls.get(call_id) is not None

    def watch_ends(self, left_over: Callable[[str, HungUp], bool]) -> None:
        """Have somebody look at the ends of calls that are not here, by the account that told; returns whether it was
        one of theirs."""
        self._left_over = left_over

    def watch_unmade(self, unmade: Callable[[CallRecord], None]) -> None:
        """Have somebody see to the records of calls that were not made, and may be in the store all the same."""
        self._unmade = unmade

    # Whether there is room

    def unready(self) -> list[str]:
        """Why no new call can be taken; empty when one can."""
        reasons = []
        if self.draining:
            reasons.append("draining")
        if self._parts.keeper.is_failing():
            reasons.append("the database does not answer")
        if self._parts.room.free() <= self._reserved:
            reasons.append(f"at capacity ({self._parts.max_calls} calls)")
        overloaded = self._parts.room.overloaded()
        if overloaded is not None:
            reasons.append(overloaded)
        return reasons

    def _refusal(self) -> Refused | None:
        """Why nothing can be dialled now."""
        if self.draining:
            return Refused(status=503, code="draining", detail="The gateway takes no new calls")
        if self._parts.keeper.is_failing():
            return _STORE_AWAY
        if self._parts.room.free() <= self._reserved:
            limit = self._parts.max_calls
            return Refused(
                status=429, code="concurrent_call_limit", detail=f"{limit} calls at a time are allowed"
            )
        if (overloaded := self._parts.room.overloaded()) is not None:
            return Refused(status=503, code="overloaded", detail=overloaded)
        return None

    def _leave(self, call_id: str) -> None:
        """The call's slot is free."""
        if self._parts.admission.holds(call_id):
            self._world.spawn(self._parts.admission.leave(call_id), f"{call_id} slot")

    # What carriers say

    def carrier_event(self, carrier: str, integration_id: str, event: CallEvent) -> None:
        """Take note of something that happened."""
        call = self._calls.of(integration_id, event.origin)
        if call is not None:
            call.tell(event)
        elif (arrival := self._arrivals.of(integration_id, event.origin)) is not None:
            arrival.said.append(event)
        elif isinstance(event, Initiated) and event.direction is Direction.INBOUND:
            self._take_in(carrier, integration_id, event)
        else:
            self._unknown(carrier, integration_id, event)

    async def document(
        self, carrier: str, integration_id: str, requested: TwimlRequested
    ) -> tuple[Instruction, LegToken]:
        """Decide what a leg is to do next, and under which name."""
        arrival = self._arrivals.of(integration_id, requested.origin)
        if arrival is not None:
            await arrival.over.wait()
        call = self._calls.of(integration_id, requested.origin)
        if call is None:
            log.warning("a carrier asks for a call that is not here", carrier=carrier)
            return PutDown(), requested.origin.token or LegToken("none")
        return await call.document(requested), LegToken(call.call_id)

    def _take_in(self, carrier: str, integration_id: str, event: Initiated) -> None:
        account = self._parts.accounts.find(carrier, integration_id)
        if account is None:
            return
        record = CallRecord(
            call_id=self._world.new_id("call"),
            tenant_id=account.tenant_id,
            direction=Direction.INBOUND,
            carrier=carrier,
            integration_id=integration_id,
            carrier_call_id=event.origin.carrier_call_id,
            leg_id=event.origin.leg_id,
            session_id=event.origin.session_id,
            from_number=event.from_number or None,
            to_number=event.to_number or None,
            node=self._parts.node,
            started_at=self._world.wall(),
        )
        arrival = Arrival(record, event)
        self._arrivals.add(arrival)
        self._quiet.clear()
        self._world.spawn(self._arrive(arrival, account), f"{record.call_id} arrival")

    async def _arrive(self, arrival: Arrival, account: CarrierAccount) -> None:
        """Find out who answers, and make a call of it, whatever is found: one that nobody answers is refused."""
        call: LiveCall | None = None
        refusal: RejectReason | None = None
        try:
            destination, effective, refusal = await self._screening.screened(arrival)
            record = with_agent(arrival.record, destination, effective)
            brief = self._parts.reception.inbound(record, effective, account.capabilities, refusal)
            call = self._make(brief, effective, account, TOKEN_LIFETIME)
            self._admit(call)
        finally:
            if call is None or refusal is not None:
                self._leave(arrival.call_id)
            self._arrivals.remove(arrival)
            arrival.over.set()
            self._settle()
        call.begin()
        for event in (arrival.event, *arrival.said):
            call.tell(event)

    def _unknown(self, carrier: str, integration_id: str, event: CallEvent) -> None:
        """An event of a call that is not here: late, another node's, or a leg that should not be there."""
        if isinstance(event, HungUp) and self._left_over(integration_id, event):
            return
        token = event.origin.token
        alive = isinstance(event, Initiated | Ringing | Answered)
        if token is None or not alive or event.origin.carrier_call_id is None:
            log.debug("event of an unknown call", carrier=carrier, kind=type(event).__name__)
            return
        account = self._parts.accounts.find(carrier, integration_id)
        if account is not None:
            self._world.spawn(
                self._put_down(account, token.call_id, event.origin.carrier_call_id), "stray leg"
            )

    async def _put_down(self, account: CarrierAccount, call_id: str, carrier_call_id: str) -> None:
        """Hang up a leg of ours that nobody has: its call was given up before the carrier told of it."""
        try:
            if any(record.call_id == call_id for record in await self._parts.store.live_calls()):
                return
            log.warning("a leg without a call is hung up", call_id=call_id)
            command = Hangup(command_id=self._world.new_id("cmd"), carrier_call_id=carrier_call_id)
            await account.perform(command)
        except (StoreUnavailable, CommandFailed) as fault:
            log.error("a leg without a call could not be hung up", call_id=call_id, error=str(fault))

    # What users ask

    async def dial(self, tenant_id: str, request: DialRequest) -> DialOutcome:
        """Call somebody; returns when the carrier has answered, or will not in time."""
        outcome: asyncio.Future[DialOutcome] = asyncio.get_running_loop().create_future()

        async def dialling() -> None:
            try:
                result = await self._dial(tenant_id, request)
            except BaseException as fault:
                if not outcome.done():
                    outcome.set_exception(fault)
                raise
            if not outcome.done():
                outcome.set_result(result)

        # A task of its own: who asked may go away while the carrier dials.
        self._world.spawn(dialling(), "dial")
        return await outcome

    async def _dial(self, tenant_id: str, request: DialRequest) -> DialOutcome:
        if (refused := self._refusal()) is not None:
            return refused
        # From here on there is room for it, and nobody goes without it: others may dial while it is looked up.
        self._reserved += 1
        self._quiet.clear()
        try:
            made = await self._made(tenant_id, request)
        finally:
            self._reserved -= 1
            self._settle()
        return await self._dialled(made) if isinstance(made, LiveCall) else made

    async def _made(self, tenant_id: str, request: DialRequest) -> LiveCall | DialOutcome:
        """Make a call of a request, and have its carrier asked for it; or why there is none."""
        try:
            prepared = await self._preparation.prepared(tenant_id, request)
        except StoreUnavailable:
            return _STORE_AWAY
        except SecretUnreadable:
            log.exception("an agent cannot be read", agent_id=request.agent_id)
            return _UNREADABLE
        if isinstance(prepared, Refused):
            return prepared
        brief, effective, account = prepared
        call: LiveCall | None = None
        try:
            refused = await self._parts.admission.enter(tenant_id, brief.record.call_id)
            if refused is not None:
                return refused
            added = await self._add(brief.record, request.claim)
            if not isinstance(added, Claimed):
                return added
            call = self._make(brief, effective, account, request.ring_timeout + RING_SLACK)
            call.ledger.is_kept(brief.record)
            self._admit(call)
            call.begin()
        except StoreUnavailable:
            return _STORE_AWAY
        finally:
            if call is None:
                self._leave(brief.record.call_id)
        return call

    async def _add(self, record: CallRecord, claim: Claim | None) -> ClaimOutcome:
        """Have a new call on record before anybody is asked to make it.

        Raises:
            StoreUnavailable: it has not said that it has it.
        """
        try:
            return await within(STORE_PATIENCE, self._parts.store.add_call(record, (), claim))
        except StoreUnavailable:
            self._unmade(record)
            raise

    async def _dialled(self, call: LiveCall) -> DialOutcome:
        await asyncio.wait({call.dial_outcome}, timeout=DIAL_PATIENCE)
        outcome = call.dial_outcome.result() if call.dial_outcome.done() else None
        if call.record.carrier_call_id is not None or isinstance(outcome, CommandDone):
            return Dialled(record=call.record)
        if outcome is None or outcome.verdict is Verdict.UNKNOWN:
            return Dialled(record=call.record, certain=False)
        await call.kept()  # who looks for the call after this answer finds what became of it
        return DialFailed(call.record, carrier_refused(outcome))

    async def ask(self, tenant_id: str, call_id: str, request: CallRequest) -> Answer | None:
        """Ask something of a call; None: the tenant has no such call."""
        call = self._of_tenant(tenant_id, call_id)
        if call is not None:
            return await call.ask(request)
        record = await self._parts.store.call(tenant_id, call_id)
        if record is None:
            return None
        if not record.live:
            return Accepted() if isinstance(request, EndCall) else NOT_IN_PROGRESS
        return NO_CONTROL if record.node == self._parts.node else ELSEWHERE

    async def to_extract(self, record: CallRecord, draft: CallDraft) -> Mapping[str, object] | None:
        """Return what is to be extracted from a call that has ended without a process.

        As was on record of it; else by its agent as it is now.

        Raises:
            StoreUnavailable: nobody can say.
        """
        if not self._parts.extracts or not record.transcript:
            return None
        if draft.tells_schema:
            return draft.schema
        if record.agent_id is None:
            return None
        try:
            agent = await self._parts.switchboard.agent(record.tenant_id, record.agent_id)
        except SecretUnreadable as fault:
            log.warning("what is to be extracted is not known", call_id=record.call_id, error=str(fault))
            return None
        return None if agent is None else self._parts.reception.to_extract(agent.config)

    def transferred(self, record: CallRecord, seconds: int) -> CallRecord:
        """Return the record of a call whose transferred caller talked for so long, with what that costs."""
        cost = transfer_cost(seconds, self._parts.tariff)
        return replace(record, transfer_duration_seconds=seconds, transfer_cost=cost)

    def live_record(self, tenant_id: str, call_id: str) -> CallRecord | None:
        call = self._of_tenant(tenant_id, call_id)
        return call.record if call is not None else None

    def transfer_view(self, tenant_id: str, call_id: str) -> TransferView | None:
        call = self._of_tenant(tenant_id, call_id)
        return call.transfer if call is not None else None

    def gather_view(self, tenant_id: str, call_id: str) -> GatherView | None:
        call = self._of_tenant(tenant_id, call_id)
        return call.gather if call is not None else None

    def _of_tenant(self, tenant_id: str, call_id: str) -> LiveCall | None:
        call = self._calls.get(call_id)
        return call if call is not None and call.record.tenant_id == tenant_id else None

    # The end of the process

    def drain(self, on: bool) -> None:
        """Take no new calls, or take them again; those that live go on."""
        self.draining = on

    async def finish(self, patience: float) -> None:
        """Take no new calls, let those that live end by themselves for so long, then end them politely.

        Returns when every call is over and kept, except those that were transferred: they go on without us.
        """
        self.draining = self._finishing = True
        self.drain_within(patience)
        await self._quiet.wait()

    def drain_within(self, patience: float) -> None:
        """Every call that has not ended by itself within so many seconds is ended; the last word counts."""
        self._patience = patience
        for call in self.live():
            call.tell(DrainAsked(patience))
        self._settle()

    def stop(self) -> None:
        """Let go of everything."""
        for call in self._calls:
            self._world.timers.cancel(_Memory(call.call_id))
            call.stop()

    async def stopped(self) -> None:
        """Wait until what was written is kept."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    # How calls come and go

    def _make(
        self,
        brief: CallBrief,
        agent: EffectiveAgent | None,
        account: CarrierAccount,
        first_token_lifetime: float,
    ) -> LiveCall:
        world, record = self._world, brief.record
        now, begun_at = world.now(), world.wall()

        def mint(generation: int) -> MediaStream:
            lifetime = max(first_token_lifetime, TOKEN_LIFETIME) if generation == 1 else TOKEN_LIFETIME
            return self._parts.room.mint(
                record.call_id,
                record.carrier,
                generation,
                lifetime,
                integration_id=record.integration_id,
            )

        ports = CallPorts(
            mint_stream=mint,
            new_id=world.new_id,
            # Its server may give the call other tools.
            built_in=lambda name, arguments: built_in_of(live.agent, world.new_id)(name, arguments),
            tool_id=lambda name: live.tool_id(name),
            filler=lambda name: live.filler(name),
            begun_at=begun_at,
        )
        live = LiveCall(
            Call(brief, ports, now),
            agent=agent,
            account=account,
            ledger=Ledger(record, self._parts.keeper),
            chronicle=Chronicle(record, new_id=world.new_id, begun_at=begun_at, now=now),
            room=self._parts.room,
            tools=self._parts.tools,
            servers=self._parts.servers,
            fetch_audio=self._parts.fetch_audio,
            describe=self._parts.describe,
            price=self._price_of(agent),
            world=world,
            extracts=self._parts.extracts,
            gaps=self.gaps,
            renamed=self._renamed,
            closed=self._closed,
        )
        return live

    def _price_of(self, agent: EffectiveAgent | None) -> Pricing:
        """How a call of this agent is billed: what each provider's model has consumed, by that model's price."""
        sessions = () if agent is None else (agent.session, *agent.fallbacks.values())
        models = [session.model for session in sessions]
        return lambda record, usages: priced(record, zip(models, usages, strict=False), self._parts.tariff)

    def _admit(self, call: LiveCall) -> None:
        self._calls.add(call)
        self._quiet.clear()
        if self._finishing:  # it was being dialled when the end began
            call.tell(DrainAsked(self._patience))
        task = self._world.spawn(call.ledger.run(), f"{call.call_id} ledger")
        self._tasks[call.call_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(call.call_id, None))

    def _renamed(self, call: LiveCall) -> None:
        self._calls.renamed(call)
        if call.released:
            self._leave(call.call_id)
            self._settle()

    def _closed(self, call: LiveCall) -> None:
        self._leave(call.call_id)
        self._remember(call)
        self._settle()

    def _remember(self, call: LiveCall) -> None:
        deadline = self._world.now() + REMEMBERED
        self._world.timers.schedule(_Memory(call.call_id), deadline, lambda _: self._forget(call))

    def _forget(self, call: LiveCall) -> None:
        if call.busy:  # it is still being hung up, by a carrier that does not answer
            self._remember(call)
            return
        self._calls.remove(call)
        self.gaps.forget(call.call_id)
        call.stop()

    def _settle(self) -> None:
        if (
            not self._reserved
            and not len(self._arrivals)
            and all(call.over or call.released for call in self._calls)
        ):
            self._quiet.set()


@dataclass(frozen=True, slots=True)
class _Memory:
    """The timer by which a call is forgotten."""

    call_id: str
