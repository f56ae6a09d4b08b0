"""Of a live call's turns, what has changed goes on record, and nothing else."""

from dataclasses import replace
from decimal import Decimal

from control.call_draft import DraftKind, DraftPiece
from control.call_record import CallRecord
from control.service.draft import Draft
from media.realtime.events import Usage
from telephony.causes import Direction
from tests.control.service_scene import BEGUN, PROGRESS

HELLO = {"role": "assistant", "content": "Hello."}
YES = {"role": "user", "content": "Yes?"}
PRICED = CallRecord(
    call_id="call_1",
    direction=Direction.INBOUND,
    carrier="telnyx",
    started_at=BEGUN,
    llm_cost=Decimal("0.25"),
)


def names(pieces: tuple[DraftPiece, ...]) -> list[tuple[str, str]]:
    return [(piece.kind.value, piece.key) for piece in pieces]


def test_what_is_on_record_already_is_not_written_again() -> None:
    draft = Draft()
    first = replace(PROGRESS, transcript=(HELLO,), latency_turns=({"turn": 1},))
    assert names(draft.pieces(first, PRICED, None)) == [
        ("sums", ""),
        ("schema", ""),
        ("utterance", "000000"),
        ("turn", "000000"),
    ]
    assert draft.pieces(first, PRICED, None) == ()
    (piece,) = draft.pieces(replace(first, transcript=(HELLO, YES)), PRICED, None)
    assert piece == DraftPiece(DraftKind.UTTERANCE, "000001", YES)


def test_an_utterance_that_takes_its_place_before_another_moves_that_one() -> None:
    draft = Draft()
    draft.pieces(replace(PROGRESS, transcript=(HELLO,)), PRICED, None)
    moved = draft.pieces(replace(PROGRESS, transcript=(YES, HELLO)), PRICED, None)
    assert [(piece.key, piece.data) for piece in moved] == [("000000", YES), ("000001", HELLO)]


def test_of_a_long_call_the_latest_is_looked_at_by_its_place() -> None:
    draft = Draft()
    draft.pieces(replace(PROGRESS, first_utterance=40, transcript=(HELLO, YES)), PRICED, None)
    later = replace(PROGRESS, first_utterance=41, transcript=(YES, HELLO))
    assert names(draft.pieces(later, PRICED, None)) == [("utterance", "000042")]


def test_what_was_used_goes_with_what_it_costs() -> None:
    used = replace(PROGRESS, usages=(Usage(audio_out=3), Usage(audio_out=4)))
    sums = Draft().pieces(used, PRICED, None)[0].data
    assert sums["usage"]["audio_out"] == 7
    assert sums["llm_cost"] == "0.25"
