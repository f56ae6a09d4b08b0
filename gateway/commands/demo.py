"""`offhook demo`: one whole call on this machine: simulated carrier and caller, gateway, local agent."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.table import Table

from control.timeline import TimelineEvent
from gateway.agent.script import load_script
from gateway.agent.server import AgentServer
from gateway.app import Gateway, running
from gateway.audio_file import AudioUnreadable, read_speech
from gateway.callback_demo import call_back
from gateway.caller_script import load_caller, simple_caller
from gateway.commands.examples import AGENT_SCRIPT, CALLBACK_PEOPLE, CALLBACK_SCRIPT, CALLER_SCRIPT
from gateway.commands.terminal import MISUSED, fail, out, run
from gateway.far_ends import load_far_ends
from gateway.links import connect
from gateway.settings import Settings
from gateway.telemetry import configure_logging
from telephony.caller import Caller, Step
from telephony.capabilities import CAPABILITIES
from telephony.impairments import Impairments
from telephony.outcome import CallOutcome, EndedBy
from telephony.simulation import SimulatedCall

# How often the screen catches up with the call, in seconds.
_REFRESH = 0.1
# A network as one meets it: 40 ms each way between carrier and gateway.
_ONE_WAY = 0.040

CONTROLLABLE = frozenset(name for name, row in CAPABILITIES.items() if row.controllable)

_COLOURS = {
    "barge_in": "red",
    "call.dtmf.received": "magenta",
    "ai": "cyan",
    "speech": "green",
    "call": "bold",
}


def demo(
    caller: Annotated[
        list[Path] | None,
        typer.Option(
            help="A recording the caller says instead, in the first call alone; may be given several times."
        ),
    ] = None,
    carrier: Annotated[str, typer.Option(help="twilio, telnyx or signalwire.")] = "twilio",
    data_dir: Annotated[Path, typer.Option(help="Where the record and the recording go.")] = Path(
        "offhook-data/demo"
    ),
) -> None:
    """Two calls here, with no account: a caller asks, barges in, presses digits and hangs up; then the gateway calls
    back, gathers a number, is refused one transfer and completes another."""
    configure_logging("error", "console")
    steps = _steps(caller)
    # By name, every one that matters: the demo is the same whatever this folder's settings are.
    settings = Settings.model_construct(
        host="127.0.0.1",
        port=0,
        media_auth=SecretStr("none"),
        data_dir=data_dir,
        trace=True,
        recording=True,
        realtime_greeting="Greet the caller.",
        realtime_transcription_model="gpt-transcribe",
        realtime_dialect="openai",
        max_calls=2,
        drain_s=5.0,
    )
    record, outcome = run(_call(settings, carrier, steps))
    _tell(record, outcome, data_dir)
    if outcome.ended_by is not EndedBy.CALLER:
        fail(f"the call did not end as it should: {outcome.ended_by.value} {outcome.refusal}")
    if carrier in CONTROLLABLE and not caller:
        _callback(carrier, data_dir / "callback")


def _callback(carrier: str, folder: Path) -> None:
    """The second call: what call control does, as a backend sees it."""
    out.print("\n[bold]And back again[/]: a backend dials, gathers and transfers over the REST API\n")
    people = load_far_ends(CALLBACK_PEOPLE)
    callback, call = run(call_back(carrier, folder, CALLBACK_SCRIPT, people, _print_told))
    _tell_transcript(call)
    out.print(f"\naccount number keyed in   {callback.account}", markup=False)
    out.print(f"transfer that failed      {', '.join(callback.failures)}", markup=False)
    out.print(f"transferred to            {call['transferred_to']} for {call['transfer_duration_seconds']} s")
    out.print(f"the call                  {call['status']}, {call['disposition']}, {call['ended_reason']}")
    out.print(f"recording                 {folder / 'recordings' / call['call_id']}.wav", markup=False)
    if (callback.account, callback.failures, callback.transferred) != ("4711", ["busy"], True):
        fail("the second call did not go as it should")


def _print_told(event: dict[str, Any]) -> None:
    fields = {name: value for name, value in event["data"].items() if name not in ("call", "command_id")}
    _print_event(TimelineEvent(event["at"], event["event"], fields))


def _steps(recordings: list[Path] | None) -> list[Step]:
    if not recordings:
        return load_caller(CALLER_SCRIPT)
    try:
        return simple_caller([read_speech(path) for path in recordings])
    except AudioUnreadable as error:
        fail(str(error), MISUSED)


async def _call(
    settings: Settings, carrier: str, steps: Sequence[Step]
) -> tuple[dict[str, Any], CallOutcome]:
    agent = AgentServer(load_script(AGENT_SCRIPT))
    port = await agent.start()
    settings = settings.model_copy(update={"realtime_url": f"ws://127.0.0.1:{port}/v1/realtime"})
    try:
        async with running(settings) as gateway:
            out.print(
                f"agent   ws://127.0.0.1:{port}/v1/realtime  (plays {AGENT_SCRIPT.name}, no model involved)"
            )
            out.print(f"gateway {gateway.media_url(carrier, '...')}")
            out.print(f"carrier simulated {carrier}, {_ONE_WAY * 1000:.0f} ms away\n")
            simulated = SimulatedCall(
                carrier,
                connect,
                gateway.media_url(carrier, "demo"),
                Caller(steps),
                impairments=Impairments.symmetric(_ONE_WAY),
            )
            async with asyncio.TaskGroup() as tasks:
                placed = tasks.create_task(simulated.run())
                await _watch(gateway)
            outcome = placed.result()
            await gateway.calls.idle()
            return dict(gateway.calls.last_record or {}), outcome
    finally:
        await agent.close()


async def _watch(gateway: Gateway) -> None:
    """Print the gateway's own timeline of the call as it grows, until the call is over."""
    call = None
    shown = 0
    while call is None or not call.finished.is_set():
        await asyncio.sleep(_REFRESH)
        if call is None:
            call = next(iter(gateway.calls.live()), None)
            continue
        events = call.bridge.timeline.events
        for event in events[shown:]:
            _print_event(event)
        shown = len(events)


def _print_event(event: TimelineEvent) -> None:
    colour = _COLOURS.get(event.name) or _COLOURS.get(event.name.split(".")[0], "dim")
    fields = "  ".join(f"{name}={value}" for name, value in event.fields.items())
    out.print(f"[dim]{event.at:8.2f} s[/]  [{colour}]{event.name:20}[/]  ", end="")
    out.print(fields, markup=False)


def _tell(record: dict[str, Any], outcome: CallOutcome, folder: Path) -> None:
    _tell_transcript(record)
    out.print("\n[bold]Latency per turn[/], milliseconds from the end of the caller's speech")
    out.print(_latency_table(record))
    _tell_barge_in(record, outcome)
    out.print(f"\nrecording  {record.get('recording')}  (stereo: caller left, agent right, as heard)")
    out.print(f"record     {folder / 'calls' / str(record.get('call_id'))}.json")
    trace = folder / "traces" / f"{record.get('call_id')}.jsonl"
    out.print(f"trace      {trace}  (run it again: offhook replay {trace})")


def _tell_transcript(record: dict[str, Any]) -> None:
    out.print("\n[bold]Transcript[/]")
    for line in record.get("transcript", []):
        cut = f"  [red](cut: {line['heard_ms']} ms heard)[/]" if line["interrupted"] else ""
        out.print(f"  {line['role']:9}  {line['content']}{cut}")


def _latency_table(record: dict[str, Any]) -> Table:
    table = Table("turn", "caller spoke", "response began", "first audio in", "sent", "heard", box=None)
    for turn in record.get("latency_data", {}).get("turns", []):
        stages = (
            "user_speech_ms",
            "llm_ttfb_ms",
            "tts_ttfb_ms",
            "first_audio_sent_ms",
            "first_audio_heard_ms",
        )
        table.add_row(
            str(turn["turn"]), *("-" if turn[stage] is None else str(turn[stage]) for stage in stages)
        )
    return table


def _tell_barge_in(record: dict[str, Any], outcome: CallOutcome) -> None:
    """Hold the gateway's account of each barge-in against the carrier's own."""
    cuts = [event for event in record.get("timeline", []) if event["event"] == "barge_in"]
    for cut, clear in zip(cuts, outcome.clears, strict=False):
        played = clear.position * 1000 / outcome.heard_rate
        out.print(
            f"\n[bold]Barge-in[/]: the model was told {cut['heard_ms']} ms of the item were heard; "
            f"on the whole call's count the gateway says {cut['position_ms']} ms, the carrier {played:.0f} ms."
        )
