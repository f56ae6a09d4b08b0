"""Transcripts as people and players have them."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control.api.transcripts import as_text, as_vtt

SAID: list[dict[str, Any]] = [
    {"role": "assistant", "content": "Hello, how can I help?", "timestamp": 0.5},
    {"role": "user", "content": "My <account> & PIN", "timestamp": 3.25},
    {"role": "assistant", "content": "One moment", "timestamp": 3661.0, "interrupted": True, "heard_ms": 400},
]


def test_text_has_a_line_per_utterance() -> None:
    assert as_text(SAID) == (
        "[00:00:00.500] assistant: Hello, how can I help?\n"
        "[00:00:03.250] user: My <account> & PIN\n"
        "[01:01:01.000] assistant: One moment (cut short: 400 ms heard)\n"
    )


def test_vtt_has_a_cue_per_utterance_with_its_speaker() -> None:
    assert as_vtt(SAID).split("\n\n") == [
        "WEBVTT",
        "00:00:00.500 --> 00:00:01.967\n<v assistant>Hello, how can I help?",
        "00:00:03.250 --> 00:00:04.450\n<v user>My &lt;account&gt; &amp; PIN",
        "01:01:01.000 --> 01:01:02.000\n<v assistant>One moment (cut short: 400 ms heard)\n",
    ]


def test_what_is_said_at_the_same_moment_is_shown_together() -> None:
    both = [{"role": role, "content": "Hello", "timestamp": 1.0} for role in ("user", "assistant")]
    assert as_vtt(both).count("00:00:01.000 --> 00:00:02.000") == 2


def test_a_call_without_words_is_an_empty_transcript() -> None:
    assert (as_text([]), as_vtt([])) == ("", "WEBVTT\n")


# WebVTT, section 4.1: a cue's timings, then its text, which holds no empty line and no arrow.
CUE = re.compile(
    r"(\d\d+):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d)\.(\d{3})\n<v \w+>[^\n\r]*\n?"
)


def millis(parts: tuple[str, ...]) -> int:
    hours, minutes, seconds, rest = map(int, parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


@given(st.lists(st.tuples(st.text(), st.floats(0, 90_000)), max_size=6))
def test_whatever_was_said_makes_a_file_that_players_read(said: list[tuple[str, float]]) -> None:
    utterances = [
        {"role": "user", "content": words, "timestamp": at} for words, at in sorted(said, key=at_of)
    ]
    head, *cues = as_vtt(utterances).split("\n\n")
    assert head.strip() == "WEBVTT"
    assert len(cues) == len(said)
    for cue in cues:
        found = CUE.fullmatch(cue)
        assert found is not None, cue
        assert millis(found.groups()[:4]) < millis(found.groups()[4:])
        assert "-->" not in cue.partition("\n")[2]


def at_of(said: tuple[str, float]) -> float:
    return said[1]


def test_cues_begin_in_the_order_of_the_conversation() -> None:
    said = [
        {"role": "user", "content": "Announced late.", "timestamp": 5.0},
        {"role": "assistant", "content": "Announced before.", "timestamp": 4.0},
    ]
    cues = [line.partition(" --> ")[0] for line in as_vtt(said).splitlines() if "-->" in line]
    assert cues == ["00:00:05.000", "00:00:05.000"]
