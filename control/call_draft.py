"""What is on record of a call that still lives: its turns, what it has used and what it runs, piece by piece.

Pure. The whole record is written at the call's end; until then whatever was said or done rides with the entry that
tells of it, as pieces that replace what stood in their place before. A process that dies leaves them behind, and they
stand in for what only it knew. Nothing of them is left once the call's end is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from control.tool_log import ToolLog, ToolRun

# What is said of a run whose process died while it ran: nobody knows what came of it.
INTERRUPTED = "interrupted by a restart"


class DraftKind(StrEnum):
    """What a piece tells of."""

    UTTERANCE = "utterance"
    TURN = "turn"
    """The latency of one answer."""
    SUMS = "sums"
    """What has been counted and used so far, and what that costs."""
    SCHEMA = "schema"
    """What is to be extracted at the end."""
    TOOL = "tool"
    """A run that has begun."""


@dataclass(frozen=True, slots=True)
class DraftPiece:
    """One piece; there is one of its kind and key."""

    kind: DraftKind
    key: str
    """Sorts as the pieces are in order."""
    data: Mapping[str, Any] = field(repr=False)


def begun(run: ToolRun, tool_log_id: str, now: float, at: datetime) -> DraftPiece:
    """Return the piece that tells of a run that begins at `now`, the wall's `at`."""
    log = msgspec.to_builtins(run.log(tool_log_id, now))
    return DraftPiece(DraftKind.TOOL, run.tool_call_id, {"log": log, "began_at": at.isoformat()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run that had begun and of whose end nothing is known."""

    log: ToolLog
    began_at: datetime

    def interrupted(self, now: datetime) -> ToolLog:
        """Return what is kept of it."""
        lasted = max(0, round((now - self.began_at).total_seconds() * 1000))
        return replace(self.log, error=INTERRUPTED, duration_ms=lasted)


@dataclass(frozen=True, slots=True)
class CallDraft:
    """What a process that died has left of one call."""

    pieces: tuple[DraftPiece, ...] = ()
    """By kind, in order."""

    def data(self, kind: DraftKind) -> list[Mapping[str, Any]]:
        """Return what the pieces of one kind tell, in order."""
        return [piece.data for piece in self.pieces if piece.kind is kind]

    @property
    def schema(self) -> Mapping[str, object] | None:
        """What is to be extracted from the call; None: nothing, or it is not known (`tells_schema`)."""
        found = self.data(DraftKind.SCHEMA)
        return found[0]["schema"] if found else None

    @property
    def tells_schema(self) -> bool:
        return bool(self.data(DraftKind.SCHEMA))

    @property
    def runs(self) -> list[Begun]:
        """The runs that had begun."""
        return [
            Begun(
                log=msgspec.convert(data["log"], ToolLog), began_at=datetime.fromisoformat(data["began_at"])
            )
            for data in self.data(DraftKind.TOOL)
        ]
