"""What `offhook call` and `offhook load` are told alike: where to call, what the caller says, what goes wrong."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from gateway.audio_file import AudioUnreadable, read_speech
from gateway.caller_script import load_caller, simple_caller
from gateway.commands.terminal import MISUSED, fail
from gateway.yaml_document import ScriptError
from telephony.caller import AwaitAgent, Step
from telephony.impairments import Drop, Impairments


class Carrier(StrEnum):
    """Whose media stream is spoken."""

    TWILIO = "twilio"
    TELNYX = "telnyx"
    SIGNALWIRE = "signalwire"


Url = Annotated[str, typer.Argument(help="The gateway's media socket: ws://... or wss://...", metavar="URL")]
CarrierOption = Annotated[Carrier, typer.Option(help="Whose media stream to speak.")]
Audio = Annotated[
    list[Path] | None,
    typer.Option(
        help="A recording the caller says, of any format pydub reads; give several for several turns.",
        metavar="FILE",
    ),
]
Script = Annotated[
    Path | None,
    typer.Option(help="What the caller does: YAML, see examples/callers/reference.yaml.", metavar="YAML"),
]
NoGreeting = Annotated[
    bool, typer.Option("--no-greeting", help="The caller speaks first, without waiting for a greeting.")
]
Delay = Annotated[float, typer.Option(min=0, help="One-way delay between carrier and gateway.")]
Jitter = Annotated[float, typer.Option(min=0, help="Up to this much more, each message, each way.")]
Loss = Annotated[float, typer.Option(min=0, max=1, help="Share of the caller's frames that never come.")]
Reorder = Annotated[
    float, typer.Option(min=0, max=1, help="Share of the caller's frames that are overtaken.")
]
AuthToken = Annotated[
    str | None,
    typer.Option(help="The account's secret: signs the upgrade (Twilio) or goes with it.", metavar="SECRET"),
]


def checked_url(url: str) -> str:
    """Return a websocket URL, or leave."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without its other half
        sound = False
    if not sound:
        fail(f"{url!r} is not a websocket URL: ws://HOST[:PORT]/PATH or wss://...", MISUSED)
    return url


def script_of(
    audio: Sequence[Path] | None, script: Path | None, *, default: Path, greeted: bool = True
) -> list[Step]:
    """Return what the caller does, or leave with what cannot be read."""
    if audio and script is not None:
        fail("--audio and --script each say what the caller does; give one of them", MISUSED)
    try:
        if audio:
            steps = simple_caller([read_speech(path) for path in audio], greeted=greeted)
        else:
            steps = load_caller(script or default)
    except (AudioUnreadable, ScriptError) as error:
        fail(str(error), MISUSED)
    except UnicodeDecodeError:
        fail(f"cannot read {script or default}: it is not UTF-8 text", MISUSED)
    except OSError as error:
        fail(f"cannot read {script or default}: {error.strerror or error}", MISUSED)
    while not greeted and steps and isinstance(steps[0], AwaitAgent):
        steps = steps[1:]
    return steps


def impairments_of(
    *,
    delay_ms: float,
    jitter_ms: float,
    loss: float,
    reorder: float,
    drop_at_ms: float | None = None,
    reconnect_after_ms: float | None = None,
) -> Impairments:
    """Return the plan of what goes wrong."""
    drops: tuple[Drop, ...] = ()
    if drop_at_ms is not None:
        reconnect_after = None if reconnect_after_ms is None else reconnect_after_ms / 1000
        drops = (Drop(at=drop_at_ms / 1000, reconnect_after=reconnect_after),)
    elif reconnect_after_ms is not None:
        fail("--reconnect-after-ms goes with --drop-at-ms", MISUSED)
    delay, jitter = delay_ms / 1000, jitter_ms / 1000
    return Impairments(
        inbound_delay=delay,
        outbound_delay=delay,
        inbound_jitter=jitter,
        outbound_jitter=jitter,
        loss=loss,
        reorder=reorder,
        drops=drops,
    )
