"""Calls as a table for other programs: the columns, and the two forms in which they travel, CSV and Parquet.

Writers are given rows and return bytes, as much as there is to send. What a caller may have said is text to whoever
opens it: a CSV cell that a spreadsheet would take for a formula is written with an apostrophe before it (OWASP, CSV
injection); telephone numbers, which begin with `+`, are none.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Protocol

from control.api.problem import Problem
from control.api.shapes import rfc3339
from control.call_record import CallRecord
from control.stores.documents import dumps


class Kind(Enum):
    """What a column holds."""

    TEXT = auto()
    MOMENT = auto()
    MONEY = auto()
    """To the millionth."""
    NUMBER = auto()
    """To the thousandth."""
    COUNT = auto()
    FLAG = auto()
    JSON = auto()


COLUMNS: Mapping[str, Kind] = {
    "call_id": Kind.TEXT,
    "agent_id": Kind.TEXT,
    "agent_version": Kind.COUNT,
    "direction": Kind.TEXT,
    "carrier": Kind.TEXT,
    "carrier_call_id": Kind.TEXT,
    "from_number": Kind.TEXT,
    "to_number": Kind.TEXT,
    "status": Kind.TEXT,
    "disposition": Kind.TEXT,
    "ended_reason": Kind.TEXT,
    "hangup_cause": Kind.TEXT,
    "duration_seconds": Kind.NUMBER,
    "minutes_used": Kind.NUMBER,
    "rate_per_minute": Kind.MONEY,
    "currency": Kind.TEXT,
    "call_cost": Kind.MONEY,
    "llm_cost": Kind.MONEY,
    "llm_discount": Kind.MONEY,
    "recording_cost": Kind.MONEY,
    "transfer_cost": Kind.MONEY,
    "total_cost": Kind.MONEY,
    "has_recording": Kind.FLAG,
    "recording_enabled": Kind.FLAG,
    "turn_count": Kind.COUNT,
    "barge_in_count": Kind.COUNT,
    "tool_call_count": Kind.COUNT,
    "tools_called": Kind.JSON,
    "transferred_to": Kind.TEXT,
    "transfer_duration_seconds": Kind.COUNT,
    "metadata": Kind.JSON,
    "extracted_data": Kind.JSON,
    "notes": Kind.TEXT,
    "ws_unavailable": Kind.FLAG,
    "drain_forced": Kind.FLAG,
    "started_at": Kind.MOMENT,
    "answered_at": Kind.MOMENT,
    "ended_at": Kind.MOMENT,
}
"""Those of a listed call, in its order."""

_FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d+$)")
# Rows that Parquet compresses together: enough to pay, few enough to hold.
_GROUP = 5000


class TableWriter(Protocol):
    """Turns rows into the bytes of a file, piece by piece."""

    def write(self, rows: Sequence[CallRecord]) -> bytes:
        """Take rows; return what can be sent."""
        ...

    def close(self) -> bytes:
        """Return the end of the file."""
        ...


class CsvWriter:
    """RFC 4180, in UTF-8, with a header."""

    def __init__(self) -> None:
        self._text = io.StringIO(newline="")
        self._csv = csv.writer(self._text)
        self._csv.writerow(COLUMNS)

    def write(self, rows: Sequence[CallRecord]) -> bytes:
        for record in rows:
            self._csv.writerow([_cell(getattr(record, name), kind) for name, kind in COLUMNS.items()])
        return self._taken()

    def close(self) -> bytes:
        return self._taken()

    def _taken(self) -> bytes:
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text.encode()


def _cell(value: object, kind: Kind) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return rfc3339(value)
        case Decimal():
            return f"{value:f}"
        case _ if kind is Kind.JSON:
            return dumps(value)
        case _:
            text = str(value)
            return f"'{text}" if kind is Kind.TEXT and _FORMULA.match(text) else text


class ParquetWriter:
    """Apache Parquet: exact decimals, times to the microsecond in UTC, JSON as text."""

    def __init__(self) -> None:
        """
        Raises:
            Problem: 501, the library is not installed.
        """
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError as missing:
            raise Problem(
                501,
                "format_not_installed",
                "this gateway was installed without Parquet (the extra `parquet`)",
            ) from missing
        kinds = {
            Kind.TEXT: pyarrow.string(),
            Kind.MOMENT: pyarrow.timestamp("us", tz="UTC"),
            Kind.MONEY: pyarrow.decimal128(20, 6),
            Kind.NUMBER: pyarrow.decimal128(20, 3),
            Kind.COUNT: pyarrow.int64(),
            Kind.FLAG: pyarrow.bool_(),
            Kind.JSON: pyarrow.string(),
        }
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
        self._file = io.BytesIO()
        self._parquet = parquet.ParquetWriter(pyarrow.PythonFile(self._file, "w"), self._schema)
        self._rows: list[CallRecord] = []

    def write(self, rows: Sequence[CallRecord]) -> bytes:
        self._rows += rows
        if len(self._rows) >= _GROUP:
            self._write_group()
        return self._taken()

    def close(self) -> bytes:
        if self._rows:
            self._write_group()
        self._parquet.close()
        return self._taken()

    def _write_group(self) -> None:
        columns = [
            self._arrow.array(
                [_value(getattr(record, name), kind) for record in self._rows], self._schema.field(name).type
            )
            for name, kind in COLUMNS.items()
        ]
        self._parquet.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))
        self._rows = []

    def _taken(self) -> bytes:
        # Arrow counts its positions itself: nothing that it has written needs to stay.
        written = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return written


def _value(value: object, kind: Kind) -> Any:  # noqa: ANN401  # of the column's type
    if value is None:
        return None
    match kind:
        case Kind.JSON:
            return dumps(value)
        case Kind.TEXT:
            return str(value)
        case _:
            return value
