"""Trials as a table for people, a JSON file for programs and a Markdown file for the repository."""

import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rig import compiler
from benchmarks.trial import RIG_LOAD_LIMIT, Trial

RESULTS = Path(__file__).parent / "results"

Column = tuple[str, Callable[[Trial], float]]


def _at(name: str, part: str) -> Callable[[Trial], float]:
    return lambda trial: float(trial.report[name][part])


def _count(name: str) -> Callable[[Trial], float]:
    return lambda trial: float(trial.report[name])


_COST: tuple[Column, ...] = (
    ("CPU ms per call-s", lambda trial: trial.cpu_ms_per_call_second),
    ("server load %", lambda trial: trial.server_load * 100),
    ("RSS MB per call", lambda trial: trial.rss_per_call / 1e6),
)
_RIG: tuple[Column, ...] = (
    ("rig load %", lambda trial: trial.rig_load * 100),
    ("rig late p99 ms", _at("rig_lateness_ms", "p99")),
    ("others %", lambda trial: 100 * (trial.others_load or 0)),
)
_ECHO: tuple[Column, ...] = (
    *(("added p50 ms", _at("latency_ms", "p50")), ("p95", _at("latency_ms", "p95"))),
    *(("p99", _at("latency_ms", "p99")), ("max", _at("latency_ms", "max"))),
    *(("codec ms", _at("codec_delay_ms", "p50")), ("sent", _count("sent")), ("lost", _count("lost"))),
    *(("set-up p50 ms", _at("setup_ms", "p50")), ("set-up p99", _at("setup_ms", "p99"))),
)
_CONVERSATION: tuple[Column, ...] = (
    *(("reply p50 ms", _at("reply_ms", "p50")), ("reply p99", _at("reply_ms", "p99"))),
    *(
        ("silence p50 ms", _at("barge_in_silence_ms", "p50")),
        ("silence p99", _at("barge_in_silence_ms", "p99")),
    ),
    ("truncate error max ms", _at("truncate_error_ms", "max")),
    *(("turns", _count("turns")), ("barge-ins", _count("barges")), ("marks", _count("marks"))),
    *(("lost", _count("lost")), ("set-up p99 ms", _at("setup_ms", "p99"))),
)


def _columns(trial: Trial) -> tuple[Column, ...]:
    return (*_COST, *(_ECHO if trial.load.profile == "echo" else _CONVERSATION), *_RIG)


def _figure(value: float) -> str:
    if value >= 1000 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _groups(trials: Sequence[Trial]) -> dict[tuple[str, str, int], list[Trial]]:
    found: dict[tuple[str, str, int], list[Trial]] = {}
    for trial in trials:
        found.setdefault((trial.server, trial.load.format, trial.load.calls), []).append(trial)
    return found


def ratios(trials: Sequence[Trial]) -> dict[str, float]:
    """Return each server's median CPU over the relay's at the same number of calls."""
    medians = {
        key: median(each.cpu_ms_per_call_second for each in group) for key, group in _groups(trials).items()
    }
    relays = {calls: cost for (name, _, calls), cost in medians.items() if name == "relay"}
    return {
        f"{name} {audio} at {calls}": round(cost / relays[calls], 3)
        for (name, audio, calls), cost in medians.items()
        if name != "relay" and relays.get(calls)
    }


def warnings(trials: Sequence[Trial]) -> list[str]:
    """Return what a reader must know before believing the figures."""
    found = []
    for number, trial in enumerate(trials, 1):
        who = f"run {number} ({trial.server}, {trial.load.calls} calls)"
        if trial.rig_load > RIG_LOAD_LIMIT:
            found.append(
                f"{who}: the rig used {trial.rig_load:.0%} of its core: latency and losses are partly its own"
            )
        if trial.disturbed:
            found.append(f"{who}: others took {trial.others_load:.0%} of the server's core")
        if faults := trial.faults():
            cause = f" ({text})" if (text := trial.report["first_error"]) else ""
            found.append(f"{who}: " + ", ".join(f"{name} {count}" for name, count in faults.items()) + cause)
    return found


def _tables(trials: Sequence[Trial]) -> Iterator[tuple[int, list[str], list[list[str]]]]:
    """One table per load: a row per figure, a column per run in its order, then each server's medians."""
    for calls in dict.fromkeys(trial.load.calls for trial in trials):
        runs = [(number, each) for number, each in enumerate(trials, 1) if each.load.calls == calls]
        groups = [group for group in _groups([each for _, each in runs]).values() if len(group) > 1]
        header = [
            f"{calls} calls",
            *(f"{each.server} #{number}" for number, each in runs),
            *(f"{group[0].server} median" for group in groups),
        ]
        rows = [
            [
                name,
                *(_figure(value(each)) for _, each in runs),
                *(_figure(median(value(each) for each in group)) for group in groups),
            ]
            for name, value in _columns(runs[0][1])
        ]
        audio = [
            "audio",
            *(each.load.format for _, each in runs),
            *(group[0].load.format for group in groups),
        ]
        clean = [
            "clean",
            *("yes" if each.clean() else "no" for _, each in runs),
            *(f"{sum(each.clean() for each in group)} of {len(group)}" for group in groups),
        ]
        yield calls, header, [audio, *rows, clean]


def show(console: Console, trials: Sequence[Trial]) -> None:
    for calls, header, rows in _tables(trials):
        load = trials[0].load
        table = Table(title=f"{load.profile} profile, {calls} calls, {load.seconds:g} s measured per run")
        for name in header:
            table.add_column(
                name,
                justify="left" if name == header[0] else "right",
                style="bold" if "median" in name else None,
            )
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for name, ratio in ratios(trials).items():
        console.print(f"[bold]{name}: {ratio:.2f} x the raw relay's CPU[/bold]")
    for warning in warnings(trials):
        console.print(f"[yellow]warning:[/yellow] {warning}")


def machine() -> dict[str, str]:
    """Return what the figures depend on besides the code."""
    compiled_by = subprocess.run(
        [compiler(), "--version"], capture_output=True, text=True, check=False
    ).stdout
    return {
        "compiler": compiled_by.partition("\n")[0],
        **surroundings("picows", "aiofastnet", "uvloop", "aiohttp", "numpy", "pybase64", "msgspec"),
    }


def surroundings(*packages: str) -> dict[str, str]:
    """Return the machine, the commit and the versions of these packages."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "load average before writing": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "commit": _commit(),
        **{name: version(name) for name in packages},
    }


def _commit() -> str:
    """The commit measured, with "+" where the working tree differs from it."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=RESULTS.parent, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain") else "")


def write(name: str, trials: Sequence[Trial], command: str, findings: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write `results/<name>.json` and `.md`; returns both paths."""
    RESULTS.mkdir(exist_ok=True)
    facts = machine()
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    document = {
        "at": at,
        "command": command,
        "machine": facts,
        "ratios_to_relay": ratios(trials),
        "findings": dict(findings),
        "warnings": warnings(trials),
        "trials": [trial.as_dict() for trial in trials],
    }
    data, text = RESULTS / f"{name}.json", RESULTS / f"{name}.md"
    data.write_text(json.dumps(document, indent=1) + "\n")
    text.write_text(_markdown(name, at, command, facts, trials, findings))
    return data, text


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells] + [""]


def _markdown(
    name: str,
    at: str,
    command: str,
    facts: Mapping[str, str],
    trials: Sequence[Trial],
    findings: Mapping[str, Any],
) -> str:
    load = trials[0].load
    lines = [
        f"# {name}",
        "",
        f"Obtained {at} by `{command}`: {load.profile} profile, {load.seconds:g} s measured after "
        f"{load.warmup:g} s of warm-up at full load, {load.ramp:g} new calls per second, servers in turn, "
        "each run a fresh server on one core and a fresh rig on another.",
        "What the columns mean and what they do not show: [README](../README.md).",
        "",
        *(f"- {name}: **{ratio:.2f}x** the raw relay's CPU" for name, ratio in ratios(trials).items()),
        *(f"- {key}: **{value}**" for key, value in findings.items()),
        "",
        *(line for _, header, rows in _tables(trials) for line in _markdown_table(header, rows)),
        *(f"- Warning: {warning}" for warning in warnings(trials)),
        "",
        "Machine: " + ", ".join(f"{key} {value}" for key, value in facts.items()) + ".",
        "",
    ]
    return "\n".join(lines)
