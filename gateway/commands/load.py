"""`offhook load`: many simulated calls at once against any gateway, and what they measured."""

import asyncio
import json
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from gateway.commands.call_options import (
    Audio,
    AuthToken,
    Carrier,
    CarrierOption,
    Delay,
    Jitter,
    Loss,
    NoGreeting,
    Reorder,
    Script,
    Url,
    checked_url,
    impairments_of,
    script_of,
)
from gateway.commands.examples import CALLER_SCRIPT
from gateway.commands.terminal import FAILED, MISUSED, err, fail, out, run
from gateway.fine_loop import FineLoop
from gateway.links import connect
from gateway.load import Load, LoadPlan, Progress, echo_script, lasting_script, process_figures
from gateway.load_report import LoadReport

LOAD_SCRIPT = CALLER_SCRIPT.with_name("load.yaml")

# Seconds between two looks at the load: on a terminal, and in a log.
_REFRESH = 0.5
_LINE = 2.0
# Descriptors this process needs besides one socket per call.
_SPARE_FILES = 64


def load(
    url: Url,
    calls: Annotated[int, typer.Option(help="How many calls.")],
    ramp: Annotated[float, typer.Option(help="Calls begun per second.")] = 10,
    carrier: CarrierOption = Carrier.TWILIO,
    audio: Audio = None,
    script: Script = None,
    no_greeting: NoGreeting = False,
    echo: Annotated[
        float | None,
        typer.Option(
            help="Against an agent that echoes: time each frame there and back, so long.", metavar="SECONDS"
        ),
    ] = None,
    duration_s: Annotated[
        float | None, typer.Option(help="Repeat the script and hang up after so long.")
    ] = None,
    delay_ms: Delay = 0,
    jitter_ms: Jitter = 0,
    loss: Loss = 0,
    reorder: Reorder = 0,
    auth_token: AuthToken = None,
    pid: Annotated[
        int | None,
        typer.Option(help="The gateway's process here: its processor time and memory are reported."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report here as JSON.", metavar="FILE.json")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON instead of a table.")
    ] = False,
    fail_above_p99_ms: Annotated[
        float | None, typer.Option(help="Exit code 1 if the latency's p99 is above this.")
    ] = None,
) -> None:
    """Place many calls at once. Without --audio, --script or --echo each follows examples/callers/load.yaml.

    Exit code 0 if every call ended as its script wanted, 1 if not, 2 if it was asked for wrongly.
    """
    checked_url(url)
    _check_numbers(calls, ramp, echo, duration_s)
    if echo is not None and (audio or script is not None or duration_s is not None or loss or reorder):
        fail(
            "--echo is a script of its own: no --audio, --script, --duration-s, --loss or --reorder", MISUSED
        )
    _check_process(pid)
    if report is not None and not report.absolute().parent.is_dir():
        fail(f"cannot write {report}: there is no folder {report.parent}", MISUSED)
    impairments = impairments_of(delay_ms=delay_ms, jitter_ms=jitter_ms, loss=loss, reorder=reorder)
    if echo is not None:
        steps = echo_script(echo)
    else:
        steps = script_of(audio, script, default=LOAD_SCRIPT, greeted=not no_greeting)
    if duration_s is not None:
        steps = lasting_script(steps)
    _allow_files(calls)
    plan = LoadPlan(
        url=url,
        calls=calls,
        script=steps,
        ramp=ramp,
        carrier=carrier.value,
        echo=echo is not None,
        limit=600.0 + (echo or 0) if duration_s is None else duration_s,
        impairments=impairments,
        auth_token=auth_token,
        pid=pid,
    )
    _finish(run(_run(plan), FineLoop), report, as_json=as_json, fail_above_p99_ms=fail_above_p99_ms)


# What was asked for


def _check_numbers(calls: int, ramp: float, echo: float | None, duration_s: float | None) -> None:
    if calls < 1:
        fail(f"--calls {calls}: at least one", MISUSED)
    for name, value in (("--ramp", ramp), ("--echo", echo), ("--duration-s", duration_s)):
        if value is not None and not 0 < value < float("inf"):
            fail(f"{name} {value:g}: more than nothing", MISUSED)


def _check_process(pid: int | None) -> None:
    if pid is None:
        return
    if not Path("/proc/self/stat").exists():
        fail("--pid reads /proc, which this system does not have", MISUSED)
    try:
        process_figures(pid)
    except OSError:
        fail(f"--pid {pid}: there is no such process", MISUSED)


def _allow_files(calls: int) -> None:
    """Let this process have a socket for each call."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = calls + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            fail(
                f"{calls} calls need {wanted} open files and this process may have {hard} (ulimit -n)",
                MISUSED,
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# While it runs


async def _run(plan: LoadPlan) -> tuple[LoadReport, bool]:
    """Run the load; Ctrl-C ends its calls, and a second one leaves."""
    load = Load(plan, connect)
    loop = asyncio.get_running_loop()
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        interrupted = True
        loop.remove_signal_handler(signal.SIGINT)
        err.print("[yellow]hanging up[/]")
        load.stop()

    loop.add_signal_handler(signal.SIGINT, stop)
    showing = asyncio.create_task(_show_table(load) if err.is_terminal else _show_lines(load))
    try:
        return await load.run(), interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


async def _show_table(load: Load) -> None:
    with Live(console=err, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_progress_table(load.progress(), load.plan.calls), refresh=True)
            await asyncio.sleep(_REFRESH)


async def _show_lines(load: Load) -> None:
    shown_at = 0.0
    while True:
        await asyncio.sleep(
            _REFRESH
        )  # progress looks back a second: it wants to be asked more often than it is shown
        progress = load.progress()
        if progress.seconds - shown_at >= _LINE:
            shown_at = progress.seconds
            err.print(_progress_line(progress))


def _progress_table(progress: Progress, calls: int) -> Table:
    table = Table("time", "live", "done", "failed", "frames sent", "lost", "p99 so far")
    failed = f"[red]{progress.failed}[/]" if progress.failed else "0"
    lost = f"[red]{progress.lost}[/]" if progress.lost else "0"
    done = f"{progress.done} of {calls}"
    p99 = "-" if progress.p99 is None else f"{progress.p99 * 1000:.1f} ms"
    table.add_row(
        f"{progress.seconds:.0f} s", str(progress.live), done, failed, str(progress.frames), lost, p99
    )
    return table


def _progress_line(progress: Progress) -> str:
    p99 = "-" if progress.p99 is None else f"{progress.p99 * 1000:.1f} ms"
    return (
        f"{progress.seconds:6.0f} s  live {progress.live}  done {progress.done}  failed {progress.failed}  "
        f"frames {progress.frames}  lost {progress.lost}  p99 {p99}"
    )


# When it is over


def _finish(
    result: tuple[LoadReport, bool], path: Path | None, *, as_json: bool, fail_above_p99_ms: float | None
) -> None:
    report, interrupted = result
    figures = report.as_dict()
    text = json.dumps(figures, indent=2)
    if as_json:
        typer.echo(text)
    else:
        _tell(report, figures)
    if path is not None:
        try:
            path.write_text(text + "\n", "utf-8")
        except OSError as error:
            fail(f"cannot write {path}: {error.strerror or error}")
        err.print(f"report: {path}", markup=False)
    if interrupted:
        raise typer.Exit(130)
    if fail_above_p99_ms is not None and (slow := report.above(fail_above_p99_ms)) is not None:
        fail(slow)
    if report.tally.failed:
        raise typer.Exit(FAILED)


def _tell(report: LoadReport, figures: dict[str, Any]) -> None:
    calls = figures["calls"]
    out.print(
        f"\n{calls['ok']} of {calls['asked']} calls ok, {calls['failed']} failed, {calls['interrupted']} interrupted; "
        f"{calls['peak_live']} at a time, {calls['call_seconds']:.0f} call-seconds in {figures['seconds']:.0f} s"
    )
    for reason, number in calls["failed_by_reason"].items():
        out.print(f"  [red]{number}[/] {escape(reason)}")
    out.print(_times(report, figures))
    for name, text in _counts(figures).items():
        out.print(f"{name:11}  {text}", markup=False)
    for code, number in figures["carrier_errors"].items():
        out.print(f"[yellow]carrier error {escape(code)}[/], {number} times")
    if (why := report.generator.limit) is not None:
        out.print(
            f"[bold yellow]The generator itself was the limit[/]: {why}. The times above are partly its own."
        )


def _times(report: LoadReport, figures: dict[str, Any]) -> Table:
    table = Table("", "count", "p50", "p95", "p99", "max", title="milliseconds", title_justify="left")
    rows = {
        "set-up: dial to accepted": figures["setup"],
        "dial to first agent audio": figures["first_heard"],
        "added latency, frame there and back": figures["echo"] and figures["echo"]["added_latency"],
        "answer: caller's last word to agent": figures["answers"] and figures["answers"]["latency"],
        "barge-in to clear": figures["barge_ins"]["to_clear"],
        "barge-in to silence": figures["barge_ins"]["to_silence"],
        "mark returned late, worst of each call": figures["marks"]["lateness_worst_per_call"],
    }
    for name, row in rows.items():
        if row and row["count"]:
            _add_times(table, name, row)
    table.add_section()
    _add_times(table, "generator: its loop late", figures["generator"]["loop_late"])
    return table


def _add_times(table: Table, name: str, row: dict[str, Any]) -> None:
    table.add_row(
        name, str(row["count"]), *(_ms(row[key]) for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _counts(figures: dict[str, Any]) -> dict[str, str]:
    """Return the lines below the table by their headings."""
    frames, marks, barge_ins = figures["frames"], figures["marks"], figures["barge_ins"]
    lines = {}
    lines["frames"] = (
        f"{frames['sent']} sent, {frames['lost_by_plan']} lost and {frames['overtaken_by_plan']} overtaken by plan, "
        f"{frames['unsent']} not sent (no stream up, or the gateway did not read)"
    )
    if (echo := figures["echo"]) is not None:
        lines["echo"] = f"{echo['returned']} of {echo['sent']} frames came back, {echo['lost']} lost"
    if (answers := figures["answers"]) is not None:
        lines["answers"] = f"{answers['latency']['count']} to {answers['turns']} turns of the callers"
    lines["marks"] = (
        f"{marks['received']} asked for: {marks['returned_when_played']} returned when played, "
        f"{marks['returned_on_clear']} on a clear, {marks['not_returned']} not"
    )
    if barge_ins["count"]:
        lines["barge-ins"] = f"{barge_ins['count']}, {barge_ins['never_cleared']} never cleared"
    underruns = figures["underruns"]
    lines["underruns"] = f"{underruns['within_a_reply']} within a reply, {underruns['all']} in all"
    if figures["awaited_in_vain"]:
        lines["awaited in vain"] = f"the agent, {figures['awaited_in_vain']} times"
    generator = figures["generator"]
    lines["generator"] = (
        f"{generator['cpu_share']:.0%} of a core, {generator['peak_cpu_share']:.0%} in its worst second"
    )
    if (server := figures["server"]) is not None:
        lines |= _server(server)
    return lines


def _server(server: dict[str, Any]) -> dict[str, str]:
    cpu, rss = server["cpu_ms_per_call_second"], server["rss_mb_per_call"]
    text = (
        f"{'-' if cpu is None else f'{cpu:.2f}'} CPU ms per call-second ({server['cpu_share']:.0%} of a core), "
        f"{'-' if rss is None else f'{rss:.2f}'} MB per call ({server['rss_before_mb']:.0f} MB before, "
        f"{server['rss_peak_mb']:.0f} MB at most)"
    )
    return {"server": text + (", ended before the load did" if server["ended_early"] else "")}
