"""Far ends in YAML: every field, mistakes by line."""

from pathlib import Path

import pytest

from gateway.far_ends import load_far_ends, parse_far_ends
from gateway.yaml_document import ScriptError
from telephony.simulated_switch import FarEnd, Kind, Reaction

EXAMPLE = Path(__file__).parents[2] / "examples" / "carriers" / "people.yaml"


def test_the_example_shows_every_reaction_and_kind() -> None:
    said = load_far_ends(EXAMPLE)
    ends = [said.default, *(end for line in said.numbers.values() for end in line)]
    assert {end.reaction for end in ends} == set(Reaction)
    assert {end.kind for end in ends} >= {Kind.HUMAN, Kind.MACHINE, Kind.FAX}
    assert said.default.script


def test_times_are_seconds_and_a_number_may_answer_differently_each_time() -> None:
    said = parse_far_ends(
        'numbers:\n  "+1":\n    - {reaction: busy, after_ms: 800}\n'
        "    - {kind: machine, detected_after_ms: 1500, beep_after_ms: 4000, hangs_up_after_ms: 9000}\n"
    )
    assert said.default == FarEnd()
    assert said.numbers["+1"] == (
        FarEnd(reaction=Reaction.BUSY, after=0.8),
        FarEnd(kind=Kind.MACHINE, detected_after=1.5, beep_after=4.0, hangs_up_after=9.0),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("people: {}\n", r":1: people: unknown field"),
        ("default: {reaction: sleeps}\n", r":1: default.reaction: expected answers, busy, .* got 'sleeps'"),
        ("default: {after_ms: -1}\n", r":1: default.after_ms: expected a number from 0"),
        ('numbers:\n  "+1": []\n', r":2: numbers.\+1: needs at least one far end"),
        ("default:\n  caller: nobody.yaml\n", r":2: default.caller: cannot read .*nobody.yaml"),
    ],
)
def test_mistakes_are_told_by_line_and_field(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=complaint):
        parse_far_ends(text, folder=tmp_path)
