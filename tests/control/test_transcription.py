"""Who said what when, from what was heard on each track."""

import numpy as np
import pytest

from control.transcription import Heard, Piece, heard_of, pieces, utterances

RATE = 8_000


def stereo(left: list[tuple[int, int]], right: list[tuple[int, int]], seconds: int = 4) -> bytes:
    """Silence, but for these stretches (in seconds) of each track."""
    samples = np.zeros((seconds * RATE, 2), "<i2")
    for channel, stretches in enumerate((left, right)):
        for begin, end in stretches:
            samples[begin * RATE : end * RATE, channel] = 3_000
    return samples.tobytes()


def test_each_track_is_a_piece_from_where_it_is_first_heard() -> None:
    caller, agent = pieces(stereo([(2, 3)], [(0, 1)]), RATE, 600.0)
    assert (caller.role, caller.begin, len(caller.audio)) == ("user", 601.5, round(2.5 * RATE) * 2)
    assert (agent.role, agent.begin, len(agent.audio)) == ("assistant", 600.0, 4 * RATE * 2)


def test_a_silent_track_is_not_sent() -> None:
    assert [piece.role for piece in pieces(stereo([], [(1, 2)]), RATE, 0.0)] == ["assistant"]
    assert pieces(stereo([], []), RATE, 0.0) == []
    assert pieces(b"", RATE, 0.0) == []


def test_segments_are_sentences() -> None:
    answer = {
        "text": "Hello. Bye.",
        "segments": [{"start": 0.5, "text": " Hello."}, {"start": 2, "text": " Bye. "}],
    }
    assert heard_of(answer) == [Heard(0.5, "Hello."), Heard(2.0, "Bye.")]


def test_a_text_without_segments_is_one_sentence() -> None:
    assert heard_of({"text": " Hello. "}) == [Heard(0.0, "Hello.")]
    assert heard_of({"text": "Hello.", "segments": []}) == [Heard(0.0, "Hello.")]
    assert heard_of({"text": "  "}) == []


@pytest.mark.parametrize("answer", [{}, {"text": 7}, {"segments": [{"start": 1}]}, {"segments": ["Hello."]}])
def test_what_has_no_text_is_no_answer(answer: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="text"):
        heard_of(answer)


def test_a_conversation_is_in_the_order_in_which_it_was_spoken() -> None:
    said = utterances(
        [
            (Piece("user", 10.0, b""), [Heard(1.0, "Two."), Heard(5.0, "Four.")]),
            (Piece("assistant", 10.5, b""), [Heard(0.0, "One."), Heard(2.25, "Three.")]),
        ]
    )
    assert [each["content"] for each in said] == ["One.", "Two.", "Three.", "Four."]
    assert said[2] == {"role": "assistant", "content": "Three.", "timestamp": 12.75}
