"""A call's events, numbered: what happened becomes entries of its timeline; those users are told of get their place.

Pure. Numbers go up by one from where an earlier process stopped; ids are fresh.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from control.call_draft import begun
from control.call_record import PUBLISHED, CallRecord, EventRecord
from control.tool_log import ToolRun


class Chronicle:
    """Driven by whoever tells what happened to one call."""

    def __init__(
        self,
        record: CallRecord,
        *,
        new_id: Callable[[str], str],
        begun_at: datetime,
        now: float,
        last_sequence: int = 0,
    ) -> None:
        """
        Args:
            begun_at: the wall clock (aware) at `now`.
            last_sequence: of the call's last published event, if an earlier process had it.
        """
        self._record = record
        self._new_id = new_id
        self._begun_at = begun_at
        self._origin = now
        self._sequence = last_sequence

    def entry(
        self,
        name: str,
        data: Mapping[str, object],
        now: float,
        *,
        secret: tuple[str, ...] = (),
        tool_run: ToolRun | None = None,
        tool_begun: ToolRun | None = None,
    ) -> EventRecord:
        """Return what happened as an entry; fields named `secret` go into its webhooks and nowhere else."""
        sequence = None
        if name in PUBLISHED:
            self._sequence += 1
            sequence = self._sequence
        occurred_at = self._begun_at + timedelta(seconds=now - self._origin)
        return EventRecord(
            event_id=self._new_id("evt"),
            tenant_id=self._record.tenant_id,
            call_id=self._record.call_id,
            agent_id=self._record.agent_id,
            name=name,
            sequence=sequence,
            occurred_at=occurred_at,
            at=round(max(0.0, (occurred_at - self._record.started_at).total_seconds()), 3),
            data={field: value for field, value in data.items() if field not in secret},
            secret={field: data[field] for field in secret if field in data},
            tool_log=None if tool_run is None else tool_run.log(self._new_id("tlog"), now),
            draft=() if tool_begun is None else (begun(tool_begun, self._new_id("tlog"), now, occurred_at),),
        )
