"""`offhook carrier`: a simulated Telnyx or Twilio with REST API, signed webhooks and media, for any gateway."""

import asyncio
import signal
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.caller_script import load_caller
from gateway.carrier_desk import CarrierDesk, CarrierLog
from gateway.commands.examples import CALLER_SCRIPT
from gateway.commands.terminal import MISUSED, err, fail, out, run
from gateway.far_ends import FarEnds, load_far_ends
from gateway.fine_loop import FineLoop
from gateway.links import connect
from gateway.loopback import plain_on_loopback
from gateway.telemetry import configure_logging
from gateway.yaml_document import ScriptError
from telephony.caller import Step
from telephony.party_lines import PartyLines
from telephony.simulated_switch import FarEnd
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.twilio.rest_simulator import SimulatedTwilio
from telephony.webhook_sender import Storm, Weather, fair

# How often the screen catches up, in seconds.
_REFRESH = 0.2
# Of the simulated account: the first rings the gateway from the start, the others when they are claimed.
_NUMBERS = {"+13125550101": True, "+13125550102": False, "+13125550103": False}
# A share of webhooks that is far more than any carrier's worst day, so that a short trial meets all of it.
_HOSTILE = {"duplicate": 0.3, "reorder": 0.3, "delay": 0.5}


class Simulated(StrEnum):
    """Whom to simulate."""

    TELNYX = "telnyx"
    TWILIO = "twilio"


def carrier(
    name: Annotated[Simulated, typer.Argument(help="telnyx or twilio.")],
    gateway: Annotated[
        str, typer.Option(help="The gateway's public URL, where webhooks go.")
    ] = "http://127.0.0.1:8080",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes any free one.")] = 8070,
    integration: Annotated[
        str, typer.Option(help="The carrier account's id at the gateway, as in its webhook URLs.")
    ] = "default",
    people: Annotated[
        Path | None, typer.Option(help="YAML: who answers which number; see examples/carriers/people.yaml.")
    ] = None,
    caller: Annotated[
        Path | None, typer.Option(help="YAML: what those do who ring; see examples/callers.")
    ] = None,
    hostile: Annotated[
        bool, typer.Option("--hostile", help="Webhooks come doubled, out of order and late.")
    ] = False,
    lose: Annotated[float, typer.Option(min=0, max=1, help="Share of webhooks that are lost.")] = 0.0,
    seed: Annotated[int, typer.Option(help="What goes wrong, again.")] = 0,
) -> None:
    """Be a carrier: dial, answer, transfer, gather and stream for any gateway that is pointed here. No account."""
    configure_logging("error", "console")
    far_ends, steps = _read(people, caller or CALLER_SCRIPT)
    weather: Weather = fair
    if hostile or lose:
        weather = Storm(seed=seed, lose=lose, **(_HOSTILE if hostile else {}))
    try:
        run(_serve(name, gateway.rstrip("/"), host, port, integration, far_ends, steps, weather), FineLoop)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror or error}")


def _read(people: Path | None, caller: Path) -> tuple[FarEnds, Sequence[Step]]:
    try:
        steps = load_caller(caller)
        if people is None:
            return FarEnds(FarEnd(rings_after=0.3, after=0.6, script=tuple(steps)), {}), steps
        return load_far_ends(people), steps
    except ScriptError as error:
        fail(str(error), MISUSED)
    except OSError as error:
        fail(f"cannot read {error.filename}: {error.strerror or error}", MISUSED)


async def _serve(
    name: Simulated,
    gateway: str,
    host: str,
    port: int,
    integration: str,
    far_ends: FarEnds,
    steps: Sequence[Step],
    weather: Weather,
) -> None:
    simulated = _simulated(name, f"{gateway}/carriers/{name.value}/{integration}", far_ends.default, weather)
    for number, line in far_ends.numbers.items():
        simulated.far_ends.script(number, *line)
    CarrierDesk(simulated, steps)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    bound = await simulated.start(host, port)
    try:
        err.print(f"simulated {name.value} at [bold]http://{host}:{bound}[/]")
        _tell(simulated, f"http://{host}:{bound}")
        await _watch(CarrierLog(simulated), stop)
    finally:
        await simulated.stop()


def _simulated(
    name: Simulated, webhooks: str, far_end: FarEnd, weather: Weather
) -> SimulatedTelnyx | SimulatedTwilio:
    lines = PartyLines(plain_on_loopback(connect))
    match name:
        case Simulated.TELNYX:
            return SimulatedTelnyx(
                lines,
                f"{webhooks}/webhook",
                far_end=far_end,
                weather=weather,
                costs=True,
                numbers=_NUMBERS,
            )
        case Simulated.TWILIO:
            return SimulatedTwilio(
                lines,
                f"{webhooks}/voice",
                status_callback=f"{webhooks}/status",
                far_end=far_end,
                weather=weather,
                numbers=_NUMBERS,
            )


def _tell(simulated: SimulatedTelnyx | SimulatedTwilio, url: str) -> None:
    """What to set at the gateway, and how to ring it."""
    match simulated:
        case SimulatedTelnyx():
            settings = {
                "OFFHOOK_TELNYX_API_KEY": simulated.api_key,
                "OFFHOOK_TELNYX_PUBLIC_KEY": simulated.public_key,
                "OFFHOOK_TELNYX_CONNECTION_ID": simulated.connection_id,
                "OFFHOOK_TELNYX_BASE_URL": simulated.base_url,
            }
        case SimulatedTwilio():
            settings = {
                "OFFHOOK_TWILIO_ACCOUNT_SID": simulated.account_sid,
                "OFFHOOK_TWILIO_AUTH_TOKEN": simulated.auth_token,
                "OFFHOOK_TWILIO_BASE_URL": simulated.base_url,
            }
    err.print("The gateway's settings for it:")
    for setting, value in settings.items():
        err.print(f"  {setting}={value}", markup=False)
    err.print("Ring the gateway:")
    err.print(f"""  curl -d '{{"to": "+13125550101"}}' {url}/simulator/calls\n""", markup=False)


async def _watch(log: CarrierLog, stop: asyncio.Event) -> None:
    """Print what is asked and told until the signal comes."""
    while not stop.is_set():
        try:
            async with asyncio.timeout(_REFRESH):
                await stop.wait()
        except TimeoutError:
            for line in log.news():
                out.print(line, markup=False)
