"""The records of bare calls: media sockets that came without a call of ours. They are listed like any other call.

Nothing controls such a call; its record is written when its stream starts and when it is over, with its whole timeline.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from control.bridge import Bridge
from control.call_record import CallRecord, EventRecord
from control.records import MediaSummary
from control.service.chronicle import Chronicle
from control.service.keeper import Keeper
from control.service.ledger import Ledger
from control.service.live_call import with_summary
from control.service.ports import Describe, World
from telephony.causes import CallStatus, Direction, Disposition, EndedReason
from telephony.events import Started


class BareCall(Protocol):
    """A bare call's media (`gateway.call_runner.CallRunner`)."""

    @property
    def call_id(self) -> str: ...
    @property
    def carrier(self) -> str: ...
    @property
    def bridge(self) -> Bridge: ...
    @property
    def summary(self) -> MediaSummary | None: ...


class _Book:
    """One bare call's record and events."""

    def __init__(self, record: CallRecord, ledger: Ledger, chronicle: Chronicle) -> None:
        self.record = record
        self.ledger = ledger
        self.chronicle = chronicle


class BareCalls:
    """Driven by the media (`gateway.calls.Calls`)."""

    def __init__(self, keeper: Keeper, world: World, *, node: str, agent_id: str, describe: Describe) -> None:
        self._keeper = keeper
        self._world = world
        self._node = node
        self._agent_id = agent_id
        self._describe = describe
        self._books: dict[str, _Book] = {}

    def began(self, call: BareCall, started: Started) -> None:
        """The call's socket has named it."""
        world = self._world
        now, wall = world.now(), world.wall()
        record = CallRecord(
            call_id=call.call_id,
            agent_id=self._agent_id,
            direction=Direction.INBOUND,
            carrier=call.carrier,
            carrier_call_id=started.carrier_call_id,
            from_number=started.from_number,
            to_number=started.to_number,
            status=CallStatus.IN_PROGRESS,
            node=self._node,
            started_at=wall - timedelta(seconds=now - call.bridge.timeline.origin),
            answered_at=wall,
            recording_enabled=call.bridge.policy.record,
        )
        chronicle = Chronicle(record, new_id=world.new_id, begun_at=wall, now=now)
        ledger = Ledger(record, self._keeper)
        self._books[call.call_id] = _Book(record, ledger, chronicle)
        world.spawn(ledger.run(), f"{call.call_id} ledger")
        ledger.write(record, [])

    def ended(self, call: BareCall) -> None:
        """Its files are written."""
        book = self._books.pop(call.call_id, None)
        if book is None:
            return
        record = self._ended(book.record, call)
        origin = call.bridge.timeline.origin
        entries = [
            self._entry(book.chronicle, event.name, event.fields, origin + event.at, record)
            for event in call.bridge.timeline.events
        ]
        book.ledger.write(record, entries)
        book.ledger.close()

    def _ended(self, record: CallRecord, call: BareCall) -> CallRecord:
        record = replace(
            record,
            status=CallStatus.COMPLETED,
            disposition=Disposition.ANSWERED,
            ended_reason=_reason(call.bridge.ended_reason),
            ended_at=self._world.wall(),
        )
        return record if call.summary is None else with_summary(record, call.summary)

    def _entry(
        self, chronicle: Chronicle, name: str, fields: Mapping[str, object], at: float, record: CallRecord
    ) -> EventRecord:
        data = {**fields, "call": self._describe(record)} if name == "call.ended" else fields
        return chronicle.entry(name, data, at)


def _reason(said: str | None) -> EndedReason:
    """The media says why in the API's words, but for what only it knows."""
    try:
        return EndedReason(said or "")
    except ValueError:
        return EndedReason.ERROR
