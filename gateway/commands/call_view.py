"""Calls and events as a person reads them at a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from control.call_record import CallRecord, EventRecord
from telephony.causes import CallStatus

_COLOURS = {
    CallStatus.COMPLETED: "green",
    CallStatus.RINGING: "cyan",
    CallStatus.IN_PROGRESS: "cyan",
    CallStatus.FAILED: "red",
}
# Of an event's fields, what fits beside its name.
_LONGEST = 60


def calls_table(records: Sequence[CallRecord], zone: ZoneInfo) -> Table:
    table = Table("began", "call", "", "from", "to", "agent", "status", "outcome", "lasted", "cost", box=None)
    for each in records:
        table.add_row(
            _when(each.started_at, zone),
            each.call_id,
            each.direction.value[:3],
            escape(each.from_number or ""),
            escape(each.to_number or ""),
            escape(each.agent_id or ""),
            _status(each),
            each.disposition or "",
            _lasted(each),
            f"{each.total_cost.normalize():f} {each.currency}",
        )
    return table


def call_parts(record: CallRecord, events: Sequence[EventRecord], zone: ZoneInfo) -> list[RenderableType]:
    """Everything of a call: its facts, what was said, how long answers took, and its timeline if that was asked for."""
    parts: list[RenderableType] = [_facts(record, zone)]
    if record.transcript:
        parts += ["", *_transcript(record)]
    if record.latency_turns:
        parts += ["", _latencies(record)]
    if events:
        parts += ["", *(event_line(each, zone, with_call=False) for each in events)]
    return parts


def event_line(event: EventRecord, zone: ZoneInfo, *, with_call: bool = True) -> Text:
    """One event in a line: its plain fields; what has parts of its own, such as the whole call, is for `--json`."""
    told = {
        name: value
        for name, value in event.data.items()
        if value is not None and not isinstance(value, Mapping)
    }
    fields = "  ".join(f"{name}={_short(value)}" for name, value in told.items())
    text = Text(f"{event.occurred_at.astimezone(zone):%H:%M:%S.%f}"[:-3], style="dim")
    text.append(f"  {event.call_id}" if with_call else f"  {event.at:8.3f}")
    text.append(f"  {event.name:24}", style="bold" if event.sequence is not None else "")
    text.append(f"  {fields}" if fields else "")
    return text


def _facts(record: CallRecord, zone: ZoneInfo) -> Table:
    rows = [
        ("call", record.call_id),
        ("status", _status(record)),
        (
            "outcome",
            ", ".join(
                each for each in (record.disposition, record.ended_reason, record.hangup_cause) if each
            ),
        ),
        (
            "direction",
            f"{record.direction.value} by {record.carrier} ({record.carrier_call_id or 'not known there'})",
        ),
        ("numbers", escape(f"{record.from_number or '?'} -> {record.to_number or '?'}")),
        ("agent", escape(f"{record.agent_id or 'none'}, version {record.agent_version}")),
        ("began", _when(record.started_at, zone)),
        ("answered", _when(record.answered_at, zone)),
        ("ended", _when(record.ended_at, zone)),
        ("lasted", _lasted(record)),
        ("turns", f"{record.turn_count}, barge-ins {record.barge_in_count}, tools {record.tool_call_count}"),
        ("cost", f"{record.total_cost.normalize():f} {record.currency}"),
        ("recording", "yes" if record.has_recording else "no"),
        ("transferred", escape(record.transferred_to or "")),
        ("notes", escape(record.notes or "")),
    ]
    table = Table(box=None, show_header=False)
    for name, value in rows:
        if value:
            table.add_row(f"[dim]{name}[/]", value)
    return table


def _transcript(record: CallRecord) -> Iterable[Text]:
    for entry in record.transcript:
        at, role = entry.get("timestamp"), str(entry.get("role", ""))
        text = Text(f"{at:8.1f}" if isinstance(at, int | float) else " " * 8, style="dim")
        text.append(f"  {role:10}", style="cyan" if role == "user" else "magenta")
        text.append(str(entry.get("content", "")))
        if entry.get("interrupted"):
            text.append(f"  (cut; {entry.get('heard_ms')} ms heard)", style="dim")
        yield text


def _latencies(record: CallRecord) -> Table:
    names = [name for name in record.latency_turns[0] if name.endswith("_ms")]
    table = Table(
        "turn",
        *[name.removesuffix("_ms") for name in names],
        box=None,
        title="milliseconds",
        title_justify="left",
    )
    for turn in record.latency_turns:
        cells = [turn.get(name) for name in names]
        table.add_row(str(turn.get("turn")), *["" if each is None else f"{each}" for each in cells])
    return table


def _status(record: CallRecord) -> str:
    return f"[{_COLOURS.get(record.status, 'yellow')}]{record.status.value}[/]"


def _when(moment: datetime | None, zone: ZoneInfo) -> str:
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def _lasted(record: CallRecord) -> str:
    seconds = int(record.duration_seconds)
    return f"{seconds // 60}:{seconds % 60:02}" if seconds else ""


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
