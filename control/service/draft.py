"""Which pieces of a live call's draft are not on record yet: asked whenever a turn has come further.

Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from control.call_draft import DraftKind, DraftPiece
from control.call_record import CallRecord
from control.records import MediaProgress

# Digits of a place: a day of talk, with room.
_PLACES = 6

_Pieces = dict[tuple[DraftKind, str], Mapping[str, Any]]


class Draft:
    """One live call's draft. Driven by its owner, with what the media has come to; remembers what is written."""

    def __init__(self) -> None:
        self._written: _Pieces = {}

    def pieces(
        self,
        progress: MediaProgress,
        priced: CallRecord,
        schema: Mapping[str, object] | None,
    ) -> tuple[DraftPiece, ...]:
        """Return the pieces that are not on record as they are now.

        Args:
            priced: the call's record, with what its models have cost so far.
            schema: what is to be extracted at the end; None: nothing.
        """
        now: _Pieces = {
            (DraftKind.SUMS, ""): _sums(progress, priced),
            (DraftKind.SCHEMA, ""): {"schema": schema},
            **_placed(DraftKind.UTTERANCE, progress.first_utterance, progress.transcript),
            **_placed(DraftKind.TURN, progress.first_turn, progress.latency_turns),
        }
        before, self._written = self._written, now
        return tuple(DraftPiece(*name, data) for name, data in now.items() if before.get(name) != data)


def _placed(kind: DraftKind, first: int, values: Iterable[Mapping[str, Any]]) -> _Pieces:
    return {(kind, f"{place:0{_PLACES}d}"): value for place, value in enumerate(values, first)}


def _sums(progress: MediaProgress, priced: CallRecord) -> Mapping[str, Any]:
    return {
        "turn_count": progress.turn_count,
        "barge_in_count": progress.barge_in_count,
        "tools_called": list(progress.tools_called),
        "ws_unavailable": progress.ws_unavailable,
        "usage": dict(progress.usage),
        "currency": priced.currency,
        "llm_cost": str(priced.llm_cost),
        "llm_discount": str(priced.llm_discount),
    }
