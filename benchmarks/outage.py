"""What callers hear while the database is gone: controlled calls that echo, before, during and after.

    python -m benchmarks.outage --calls 40 --seconds 30

The gateway is a process of its own (`offhook serve`); carrier, agent and backend are this one. Every frame of every
caller can be told apart and is timed from its write to the read of the message that brings it back: two passages of
the gateway, the loopback, the agent, and this process's own lateness. It fails if one is not back when its call ends.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from gateway.agent.echo import EchoBehaviour
from gateway.load import echo_script
from telephony.outcome import EchoLatency
from telephony.simulated_switch import FarEnd
from tests.killable_house import KillableHouse, killable_house
from tests.outage import KINDS, Outage, outage_of
from tests.whole_house import THEIRS

RESULTS = Path(__file__).parent / "results"
# Seconds that calls talk before the outage begins and after it is over.
AROUND = 3.0


@dataclass(frozen=True, slots=True)
class Wave:
    """Calls that talked at the same time; times in milliseconds."""

    kind: str
    when: str
    calls: int
    frames: int
    lost: int
    p50: float
    p99: float
    max: float


async def wave(
    house: KillableHouse, kind: str, when: str, calls: int, seconds: float, outage: Outage | None
) -> Wave:
    """Have so many calls talk for so long, in an outage but for its edges."""
    known = set(house.carrier.legs)
    lasting = seconds + 2 * AROUND + calls * 0.1
    house.carrier.far_ends.script(THEIRS, FarEnd(script=echo_script(lasting)))
    ids = [await house.dial() for _ in range(calls)]
    for call_id in ids:
        await house.backend.was_told(call_id, "call.started")
    async with outage.begins(house.data) if outage is not None else nullcontext():
        await asyncio.sleep(seconds)
    for call_id in ids:
        await house.backend.was_told(call_id, "call.ended")
    # The carrier keeps a leg under all its names.
    legs: dict[str, Any] = {
        leg.leg.leg_id: leg for name, leg in house.carrier.legs.items() if name not in known
    }
    outcomes = [leg.phone.outcome for leg in legs.values()]
    sent = sum(outcome.latency.sent for outcome in outcomes)
    all_of_them = EchoLatency.of(sent, [each for outcome in outcomes for each in outcome.latencies])
    assert all_of_them is not None
    return Wave(
        kind,
        when,
        len(outcomes),
        sent,
        sent - all_of_them.returned,
        *(round(each * 1000, 1) for each in (all_of_them.p50, all_of_them.p99, all_of_them.maximum)),
    )


async def waves(kind: str, outage: Outage, calls: int, seconds: float) -> list[Wave]:
    with tempfile.TemporaryDirectory() as folder:
        async with killable_house(
            Path(folder), agent=EchoBehaviour, far_end=FarEnd(), database=outage.database_url
        ) as house:
            await house.gateway.start()
            found = [
                await wave(house, kind, "before", calls, seconds / 3, None),
                await wave(house, kind, "during", calls, seconds, outage),
                await wave(house, kind, "after", calls, seconds / 3, None),
            ]
            await house.gateway.stop()
            return found


def report(found: Sequence[Wave], command: str) -> str:
    head = (
        "| database | | calls | frames | lost | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|---|---|---|"
    )
    rows = [
        f"| {w.kind} | {w.when} | {w.calls} | {w.frames} | {w.lost} | {w.p50} | {w.p99} | {w.max} |"
        for w in found
    ]
    return f"# The database is gone\n\nObtained by `{command}`.\n\n" + "\n".join([head, *rows]) + "\n"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="What callers hear while the database is gone.")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--name", default="outage", help="of the files in results/; - writes none")
    given = parser.parse_args(arguments)
    found: list[Wave] = []
    for kind in given.kind:
        with outage_of(kind) as outage, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found += runner.run(waves(kind, outage, given.calls, given.seconds))
    text = report(found, f"python -m benchmarks.outage {' '.join(arguments)}".strip())
    sys.stdout.write(text)
    if given.name != "-":
        (RESULTS / f"{given.name}.md").write_text(text, encoding="utf-8")
        (RESULTS / f"{given.name}.json").write_text(json.dumps([asdict(each) for each in found], indent=2))
    return 1 if any(each.lost for each in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
