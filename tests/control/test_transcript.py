"""The transcript keeps the conversation's order, whatever order its texts arrive in."""

from hypothesis import given
from hypothesis import strategies as st

from control.transcript import Transcript
from media.realtime.events import Role


def test_a_caller_text_that_arrives_after_the_answer_stands_before_it() -> None:
    transcript = Transcript()
    transcript.added("u1", None, Role.CALLER, 1.0)
    transcript.added("a1", "u1", Role.AGENT, 2.0)
    transcript.text("a1", Role.AGENT, "Two o'clock.", final=True, at=3.0)
    transcript.text("u1", Role.CALLER, "When?", final=True, at=4.0)
    assert [utterance.text for utterance in transcript.utterances] == ["When?", "Two o'clock."]


def test_an_item_announced_late_takes_its_place_behind_its_predecessor() -> None:
    transcript = Transcript()
    transcript.added("u1", None, Role.CALLER, 1.0)
    transcript.added("a1", "u1", Role.AGENT, 2.0)
    transcript.added("u0", "u1", Role.CALLER, 2.5)
    for item in ("a1", "u0", "u1"):
        transcript.text(item, Role.CALLER, item, final=True, at=3.0)
    assert [utterance.item_id for utterance in transcript.utterances] == ["u1", "u0", "a1"]


def test_a_failed_transcription_holds_nobody_up() -> None:
    transcript = Transcript()
    transcript.added("u1", None, Role.CALLER, 1.0)
    transcript.added("a1", "u1", Role.AGENT, 2.0)
    transcript.text("a1", Role.AGENT, "Yes.", final=True, at=3.0)
    assert [utterance.text for utterance in transcript.utterances] == ["Yes."]


def test_a_late_partial_text_does_not_undo_the_final_one() -> None:
    transcript = Transcript()
    transcript.text("u1", Role.CALLER, "I want two.", final=True, at=1.0)
    transcript.text("u1", Role.CALLER, "I want", final=False, at=1.1)
    assert transcript.utterances[0].text == "I want two."


def test_what_was_cut_says_how_much_was_heard() -> None:
    transcript = Transcript()
    transcript.text("a1", Role.AGENT, "A long story.", final=True, at=1.0)
    transcript.cut("a1", 700)
    assert transcript.utterances[0].as_dict() == {
        "role": "assistant",
        "content": "A long story.",
        "timestamp": 1.0,
        "interrupted": True,
        "heard_ms": 700,
    }


def test_a_new_session_is_not_told_what_nobody_heard() -> None:
    transcript = Transcript()
    transcript.text("u1", Role.CALLER, "Hello.", final=True, at=1.0)
    transcript.text("a1", Role.AGENT, "Heard in part.", final=True, at=2.0)
    transcript.text("a2", Role.AGENT, "Never heard.", final=True, at=2.0)
    transcript.cut("a1", 400)
    transcript.cut("a2", 0)
    assert [item.text for item in transcript.history()] == ["Hello.", "Heard in part."]


@given(st.permutations(["i0", "i1", "i2", "i3", "i4"]), st.permutations(range(5)))
def test_texts_in_any_order_end_in_the_order_announced(items: list[str], arrival: list[int]) -> None:
    transcript = Transcript()
    previous: str | None = None
    for item in items:
        transcript.added(item, previous, Role.CALLER, 0.0)
        previous = item
    for index in arrival:
        transcript.text(items[index], Role.CALLER, items[index], final=True, at=1.0)
    assert [utterance.item_id for utterance in transcript.utterances] == items
