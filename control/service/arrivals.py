"""Calls that have come in and whose agent is still being looked up: what is said of them meanwhile is kept in order."""

import asyncio
from dataclasses import dataclass, field

from control.call_record import CallRecord
from telephony.calls import CallEvent, Initiated


@dataclass(slots=True, eq=False)
class Arrival:
    """One of them. It lasts as long as the look-up, which is bounded, and so is what carriers say in that time."""

    record: CallRecord
    """As far as its carrier has told it."""
    event: Initiated
    said: list[CallEvent] = field(default_factory=list)
    """What its carrier has said since."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it has become a call, which is refused if nobody answers it."""

    @property
    def call_id(self) -> str:
        return self.record.call_id
