"""The driver: servers in turn under the same load, on a core of their own, figures side by side.

Run as `python -m benchmarks.run --profile echo --calls 100 --seconds 20 --repeat 3`; every run starts a fresh
server and a fresh rig, talks to 127.0.0.1 only and ends by itself. `--search` looks for the most calls that
three of three runs carry cleanly.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console

from benchmarks import report, trial
from benchmarks.rig import BenchmarkError, build
from benchmarks.server import RELAY, ServerKind, compiled, gateway
from benchmarks.trial import CLEAN_P99_MS, RIG_LOAD_LIMIT, Cores, Load, Trial

RUNS_PER_CANDIDATE = 3
# A run that others disturbed says nothing about the server: it is made again, so often.
REPEATS_OF_DISTURBED = 2
CANDIDATES = 14


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--profile", choices=("echo", "conversation"), default="echo")
    parser.add_argument(
        "--format", choices=("pcmu", "pcm24k"), default="pcmu", help="audio on the model's side"
    )
    parser.add_argument("--calls", type=int, nargs="+", default=[100], help="one or more loads")
    parser.add_argument("--seconds", type=float, default=20, help="measured, after ramp and warm-up")
    parser.add_argument("--warmup", type=float, default=3)
    parser.add_argument("--ramp", type=float, default=40, help="new calls per second")
    parser.add_argument("--barge", type=float, default=0.3, help="share of answers barged in (conversation)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--servers", default="relay,gateway", help="in this order, interleaved")
    parser.add_argument("--path", default="/media/twilio/bench", help="where the carrier connects")
    parser.add_argument("--gateway", default="{python} -m gateway serve", help="{python} {port} {url} {data}")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="for the gateway")
    parser.add_argument(
        "--search", action="store_true", help="find the most clean calls, from --calls upward"
    )
    parser.add_argument("--most", type=int, default=1000, help="where the search gives up")
    parser.add_argument("--name", help="of the results files; default <profile>-<format>, '-' writes none")
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        help="seconds to wait before each run for both cores to fall idle",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress from the rig")
    return parser.parse_args(words)


def kinds(options: argparse.Namespace) -> list[ServerKind]:
    """Return the servers asked for, in their order."""
    interpreted = gateway(
        transcoding=options.format != "pcmu",
        command=shlex.split(options.gateway),
        environment=dict(each.split("=", 1) for each in options.env),
    )
    known: dict[str, Callable[[], ServerKind]] = {
        "relay": lambda: RELAY,
        "gateway": lambda: interpreted,
        "compiled": lambda: compiled(interpreted),
    }
    names = options.servers.split(",")
    if unknown := [name for name in names if name not in known]:
        raise BenchmarkError(f"no such server: {', '.join(unknown)}; known are {', '.join(known)}")
    return [known[name]() for name in names]


def load_of(options: argparse.Namespace, calls: int) -> Load:
    return Load(
        profile=options.profile,
        format=options.format,
        calls=calls,
        seconds=options.seconds,
        warmup=options.warmup,
        ramp=options.ramp,
        barge=options.barge,
        seed=options.seed,
        path=options.path,
    )


def interleave(options: argparse.Namespace, cores: Cores, tell: Callable[[Trial], None]) -> list[Trial]:
    """Run every server at every load, in turn, `--repeat` times."""
    trials = []
    servers = kinds(options)
    for calls in options.calls:
        for turn in range(options.repeat):
            load = replace(load_of(options, calls), seed=options.seed + turn)
            for kind in servers:
                trials.append(trial.run(kind, load, cores, patience=options.patience, quiet=options.quiet))
                tell(trials[-1])
    return trials


class Search:
    """Finds the highest load that three of three runs of one server carry cleanly."""

    def __init__(self, load: Load, run: Callable[[Load], Trial]) -> None:
        self._load = load
        self._run = run
        self.trials: list[Trial] = []
        self.rig_bound = False

    def highest(self, most: int) -> int:
        """Grow by a third until a load fails, then halve the gap down to 5 %; 0 if none passes."""
        good, bad, calls = 0, most + 1, self._load.calls
        for _ in range(CANDIDATES):
            if self._passes(calls):
                good = calls
            else:
                bad = calls
            if self.rig_bound or bad - good <= max(5, good // 20):
                break
            calls = min(good * 4 // 3, most) if bad > most else (good + bad) // 2
            if calls == good:
                break
        return good

    def _passes(self, calls: int) -> bool:
        again = REPEATS_OF_DISTURBED
        passed = 0
        while passed < RUNS_PER_CANDIDATE:
            done = self._run(replace(self._load, calls=calls, seed=self._load.seed + passed))
            self.trials.append(done)
            if done.clean():
                passed += 1
                continue
            if not (done.disturbed and again):
                self.rig_bound = self.rig_bound or done.rig_load > RIG_LOAD_LIMIT
                return False
            again -= 1
        return True


def search(
    options: argparse.Namespace, cores: Cores, tell: Callable[[Trial], None]
) -> tuple[list[Trial], dict[str, Any]]:
    """Search for each server in turn."""
    trials: list[Trial] = []
    found: dict[str, Any] = {}
    for kind in kinds(options):

        def run(load: Load, kind: ServerKind = kind) -> Trial:
            done = trial.run(kind, load, cores, patience=options.patience, quiet=options.quiet)
            tell(done)
            return done

        finder = Search(load_of(options, options.calls[0]), run)
        highest = finder.highest(options.most)
        trials += finder.trials
        rule = f"{RUNS_PER_CANDIDATE} of {RUNS_PER_CANDIDATE} runs without a fault, added p99 < {CLEAN_P99_MS:g} ms"
        bound = "; stopped by the rig's own load" if finder.rig_bound else ""
        found[f"{kind.name}, most clean calls ({rule}{bound})"] = highest
    return trials, found


def main(words: list[str]) -> int:
    options = parse(words)
    console = Console()
    cores = trial.choose_cores()
    if cores.server is None:
        console.print("[yellow]one core only: server and rig share it, figures are of little use[/yellow]")

    def tell(done: Trial) -> None:
        verdict = "clean" if done.clean() else f"not clean {done.faults() or ''}"
        console.print(
            f"{done.server} {done.load.format} {done.load.calls} calls: {done.cpu_ms_per_call_second:.2f} ms per "
            f"call-second, p99 {done.added_p99:.2f} ms, rig {done.rig_load:.0%}, {verdict}"
        )

    try:
        build()
        if options.search:
            trials, findings = search(options, cores, tell)
        else:
            trials, findings = interleave(options, cores, tell), {}
    except BenchmarkError as fault:
        console.print(f"[red]{type(fault).__name__}:[/red] {fault}", highlight=False, markup=True)
        return 1
    report.show(console, trials)
    for key, value in findings.items():
        console.print(f"[bold]{key}: {value}[/bold]")
    name = options.name or f"{options.profile}-{options.format}" + ("-search" if options.search else "")
    if name != "-":
        command = shlex.join(["python", "-m", "benchmarks.run", *words])
        for path in report.write(name, trials, command, findings):
            console.print(f"written: {path.relative_to(report.RESULTS.parent.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
