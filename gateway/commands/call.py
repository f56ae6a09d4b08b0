"""`offhook call`: one simulated call to any gateway of Twilio's or Telnyx's media format."""

import asyncio
import json
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.call_report import Answers, call_report
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
from media.audio import PCMA_8K, PCMU_8K
from media.wav import WavHeader
from telephony.caller import Caller, Note, Step
from telephony.outcome import CallOutcome
from telephony.simulation import SimulatedCall


class Codec(StrEnum):
    """What the phone line carries."""

    PCMU = "pcmu"
    PCMA = "pcma"


_FORMATS = {Codec.PCMU: PCMU_8K, Codec.PCMA: PCMA_8K}

_COLOURS = {"caller": "green", "agent": "cyan", "clear": "red", "error": "red", "stream": "bold"}


def call(
    url: Url,
    carrier: CarrierOption = Carrier.TWILIO,
    audio: Audio = None,
    script: Script = None,
    no_greeting: NoGreeting = False,
    codec: Annotated[Codec, typer.Option(help="The caller's codec; pcma on Telnyx only.")] = Codec.PCMU,
    delay_ms: Delay = 0,
    jitter_ms: Jitter = 0,
    loss: Loss = 0,
    reorder: Reorder = 0,
    drop_at_ms: Annotated[
        float | None, typer.Option(min=0, help="Drop the media socket so long after it started.")
    ] = None,
    reconnect_after_ms: Annotated[
        float | None, typer.Option(min=0, help="Then open the next stream of the same call.")
    ] = None,
    from_number: Annotated[str, typer.Option("--from", help="The caller's number.")] = "+13125550100",
    to_number: Annotated[str, typer.Option("--to", help="The number called.")] = "+13125550101",
    auth_token: AuthToken = None,
    limit_s: Annotated[float, typer.Option(min=1, help="The longest the call may last.")] = 300,
    heard: Annotated[
        Path | None, typer.Option(help="Write what the caller heard here, as WAV.", metavar="FILE.wav")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON and nothing else.")
    ] = False,
) -> None:
    """Place one call and tell how it went. Without --audio or --script the demo's caller calls.

    Exit code 0 if the call was accepted and ended as its script wanted, 1 if not, 2 if it was asked for wrongly.
    """
    if codec is Codec.PCMA and carrier is not Carrier.TELNYX:
        fail(f"{carrier.value} streams carry PCMU; --codec pcma goes with --carrier telnyx", MISUSED)
    if heard is not None and not heard.absolute().parent.is_dir():
        fail(f"cannot write {heard}: there is no folder {heard.parent}", MISUSED)
    checked_url(url)
    plan = impairments_of(
        delay_ms=delay_ms,
        jitter_ms=jitter_ms,
        loss=loss,
        reorder=reorder,
        drop_at_ms=drop_at_ms,
        reconnect_after_ms=reconnect_after_ms,
    )
    steps = script_of(audio, script, default=CALLER_SCRIPT, greeted=not no_greeting)
    timeline = Timeline(steps)
    placed = SimulatedCall(
        carrier.value,
        connect,
        url,
        Caller(steps, _FORMATS[codec]),
        impairments=plan,
        from_number=from_number,
        to_number=to_number,
        auth_token=auth_token,
        limit=limit_s,
        epoch=datetime.now(UTC),
        on_note=None if as_json else timeline.show,
    )
    outcome, interrupted = run(_place(placed, timeline), FineLoop)
    report = call_report(outcome, steps)
    if interrupted and report["ok"]:
        report |= {"ok": False, "failure": "interrupted"}
    if heard is not None:
        _write(heard, outcome)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _tell(report, heard)
    if not report["ok"]:
        raise typer.Exit(130 if interrupted else FAILED)


async def _place(call: SimulatedCall, timeline: "Timeline") -> tuple[CallOutcome, bool]:
    """Run the call; Ctrl-C hangs up, and a second one leaves."""
    interrupted = False
    loop = asyncio.get_running_loop()

    def hang_up() -> None:
        nonlocal interrupted
        interrupted = True
        loop.remove_signal_handler(signal.SIGINT)
        call.hang_up()

    loop.add_signal_handler(signal.SIGINT, hang_up)
    timeline.began_at = loop.time()
    try:
        return await call.run(), interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class Timeline:
    """Prints the call's notes as they come, each answer with its delay."""

    def __init__(self, script: Sequence[Step]) -> None:
        self.began_at = 0.0
        self._answers = Answers(script)

    def show(self, note: Note) -> None:
        answer = self._answers.feed(note)
        delay = "" if answer is None else f"  [dim]{answer * 1000:.0f} ms after the caller's last word[/]"
        colour = _COLOURS.get(note.what.split(" ")[0], "default")
        out.print(f"[dim]{note.at - self.began_at:8.2f} s[/]  [{colour}]{escape(note.what)}[/]{delay}")


def _write(path: Path, outcome: CallOutcome) -> None:
    try:
        path.write_bytes(WavHeader(outcome.heard_rate, 1).bytes(len(outcome.heard)) + outcome.heard)
    except OSError as error:
        err.print(f"[red]offhook:[/] cannot write {path}: {error.strerror or error}")


def _tell(report: dict[str, Any], heard: Path | None) -> None:
    out.print()
    if report["ok"]:
        out.print(f"[green]ok[/]  the call lasted {report['duration_ms'] / 1000:.1f} s")
    if report["accepted_ms"] is not None:
        for name, text in _summary(report).items():
            out.print(f"{name:17}  {text}", markup=False)
    for code, times in report["complaints"].items():
        out.print(f"[yellow]carrier error {code}[/], {times} times")
    for detail in report["complaint_details"][:5]:
        out.print(f"  {detail}", markup=False)
    if report["awaited_in_vain"]:
        out.print(f"[yellow]the agent was awaited in vain[/] {report['awaited_in_vain']} times")
    if heard is not None:
        out.print(f"what the caller heard: {heard}", markup=False)
    if not report["ok"]:
        err.print(f"[red]offhook:[/] {escape(report['failure'])}")


def _summary(report: dict[str, Any]) -> dict[str, str]:
    """Return the lines of the summary by their headings."""
    frames, sound, marks, echo = (report[name] for name in ("frames", "agent_audio", "marks", "echo"))
    lines = {}
    lines["set-up"] = f"accepted after {_ms(report['accepted_ms'])}"
    lines["agent first heard"] = f"after {_ms(report['agent_heard_ms'])}"
    if report["caller_turns"]:
        answers = report["answers_ms"]
        after = f", after {', '.join(_ms(each) for each in answers)}" if answers else ""
        lines["answers"] = f"{len(answers)} to {report['caller_turns']} turns of the caller{after}"
    if report["barge_ins"]:
        lines["barge-ins"] = "; ".join(_barge_in(each) for each in report["barge_ins"])
    lines["caller's frames"] = (
        f"{frames['sent']} sent, {frames['lost']} lost and {frames['reordered']} overtaken by plan, "
        f"{frames['unsent']} not sent"
    )
    lines["agent's audio"] = (
        f"{sound['played_ms'] / 1000:.2f} s heard of {sound['received_ms'] / 1000:.2f} s sent, "
        f"{sound['dropped_ms'] / 1000:.2f} s cleared or cut off"
    )
    lines["marks"] = f"{marks['played']} played and {marks['flushed']} flushed of {marks['received']}"
    if report["digits_pressed"]:
        lines["keys"] = f"{report['digits_pressed']} pressed"
    if echo is not None:
        lines["echo"] = (
            f"{echo['returned']} of {echo['sent']} frames came back: p50 {echo['p50_ms']} ms, "
            f"p95 {echo['p95_ms']} ms, p99 {echo['p99_ms']} ms, max {echo['max_ms']} ms"
        )
    if report["streams"] > 1:
        lines["streams"] = f"{report['streams']}, one after the other"
    lines["ended by"] = f"{report['ended_by']}, close code {report['close_code'] or 'none'}"
    return lines


def _barge_in(barge_in: dict[str, Any]) -> str:
    if barge_in["clear_ms"] is None:
        return "never cleared"
    return f"cleared after {_ms(barge_in['clear_ms'])}, silent after {_ms(barge_in['silence_ms'])}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
