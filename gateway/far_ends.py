"""Who answers under which number of a simulated carrier: YAML, `examples/carriers/people.yaml` shows every field.

default: {after_ms: 600, caller: ../callers/parcel.yaml}
numbers:
  "+13125550111": {reaction: busy, after_ms: 800}
  "+13125550112":                     # one call after the other; the last line stays
    - {reaction: rings out}
    - {kind: machine, detected_after_ms: 1500, beep_after_ms: 4000}
"""

from dataclasses import dataclass
from pathlib import Path

from gateway.caller_script import LONGEST_MS, load_caller
from gateway.yaml_document import Field, parse_document, read
from telephony.caller import Step
from telephony.simulated_switch import FarEnd, Kind, Reaction

_REACTIONS = {reaction.value.replace(" ", "-"): reaction for reaction in Reaction}
_KINDS = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class FarEnds:
    """What a file of far ends says."""

    default: FarEnd
    numbers: dict[str, tuple[FarEnd, ...]]


def load_far_ends(path: Path) -> FarEnds:
    """Read far ends from a file; the caller scripts it names are relative to it.

    Raises:
        ScriptError: what is wrong, and where.
        OSError: the file cannot be read.
    """
    return parse_far_ends(path.read_text("utf-8"), source=path.name, folder=path.parent)


def parse_far_ends(text: str, *, source: str = "far ends", folder: Path = Path()) -> FarEnds:
    """Read far ends from text."""
    root = parse_document(text, source=source, folder=folder)
    fields = root.fields("default", "numbers")
    return FarEnds(
        read(fields, "default", _far_end, FarEnd()),
        {
            number: _line(field)
            for number, field in (fields["numbers"].entries() if "numbers" in fields else {}).items()
        },
    )


def _line(field: Field) -> tuple[FarEnd, ...]:
    if not field.sequence:
        return (_far_end(field),)
    line = tuple(_far_end(each) for each in field.items())
    if not line:
        raise field.wrong("needs at least one far end")
    return line


def _far_end(field: Field) -> FarEnd:
    fields = field.fields(
        "reaction", "rings_after_ms", "after_ms", "kind", "detected_after_ms", "beep_after_ms", "hangs_up_after_ms",
        "caller",
    )  # fmt: skip
    return FarEnd(
        reaction=_REACTIONS[read(fields, "reaction", lambda each: each.choice(*_REACTIONS), "answers")],
        rings_after=read(fields, "rings_after_ms", _seconds, 0.0),
        after=read(fields, "after_ms", _seconds, 0.0),
        kind=_KINDS[read(fields, "kind", lambda each: each.choice(*_KINDS), "human")],
        detected_after=read(fields, "detected_after_ms", _seconds, 0.0),
        beep_after=read(fields, "beep_after_ms", _seconds, None),
        hangs_up_after=read(fields, "hangs_up_after_ms", _seconds, None),
        script=read(fields, "caller", _caller, ()),
    )


def _caller(field: Field) -> tuple[Step, ...]:
    path = field.folder / field.text()
    try:
        return tuple(load_caller(path))
    except OSError as error:
        raise field.wrong(f"cannot read {path}: {error.strerror or error}") from error


def _seconds(field: Field) -> float:
    return field.number(0, LONGEST_MS) / 1000
