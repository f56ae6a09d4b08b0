"""Figures of lists and sums, as a table for people, a JSON file for programs and a Markdown file for the repository."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import RESULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """How long one question took, asked again and again about other agents, numbers, words and months."""

    question: str
    rounds: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    cpu_ms: float
    """Of this process, on average: with SQLite all that there is to do, with a server only asking and reading."""
    rows: float
    """Of an answer, on average."""
    wanted_ms: float
    """What p95 is to stay below."""
    plan: list[str]
    """Of the last statement that the question took, as the database explains it."""


_HEADER = ("question", "p50 ms", "p95 ms", "max ms", "cpu ms", "wanted", "rows", "rounds")


def _cells(each: Figure) -> list[str]:
    took = [f"{value:.1f}" for value in (each.p50_ms, each.p95_ms, each.max_ms, each.cpu_ms)]
    return [each.question, *took, f"{each.wanted_ms:g}", f"{each.rows:g}", str(each.rounds)]


def show(title: str, figures: Sequence[Figure], console: Console) -> None:
    table = Table(*_HEADER, title=title)
    for each in figures:
        table.add_row(*_cells(each), style="red" if each.p95_ms > each.wanted_ms else "")
    console.print(table)


def write(name: str, facts: Mapping[str, str], figures: Sequence[Figure]) -> None:
    """Write `results/<name>.json` and `.md`."""
    document: dict[str, Any] = {"facts": dict(facts), "figures": [asdict(each) for each in figures]}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text("\n".join(_markdown(name, facts, figures)), "utf-8")


def _markdown(name: str, facts: Mapping[str, str], figures: Sequence[Figure]) -> list[str]:
    return [
        f"# {name}",
        "",
        *(f"- {key}: {value}" for key, value in facts.items()),
        "",
        _row(_HEADER),
        _row(["---"] + ["---:"] * (len(_HEADER) - 1)),
        *(_row(_cells(each)) for each in figures),
        "",
        "## Plans",
        "",
        *(line for each in figures for line in (f"{each.question}:", "", "```", *each.plan, "```", "")),
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
