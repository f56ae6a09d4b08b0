"""Bare calls are on record from their stream's start to their end, with their whole timeline."""

import asyncio
from dataclasses import dataclass, field

import pytest

from control.bridge import Bridge
from control.policy import CallPolicy
from control.records import MediaSummary
from control.service.bare_calls import BareCalls
from media.audio import PCMU_8K
from telephony.causes import CallStatus, EndedReason
from telephony.events import Started
from tests.conftest import RunAsync
from tests.control.service_scene import BEGUN, SUMMARY, Scene

STARTED = Started(
    stream_id="MZ1", carrier_call_id="CA1", inbound=PCMU_8K, from_number="+13125550100", to_number=None
)


@dataclass
class Media:
    """A bare call's media."""

    bridge: Bridge
    call_id: str = "call_1"
    carrier: str = "twilio"
    summary: MediaSummary | None = field(default=SUMMARY)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("caller-hangup", EndedReason.CALLER_HANGUP),
        ("max-duration", EndedReason.MAX_DURATION),
        (None, EndedReason.ERROR),
        ("something else", EndedReason.ERROR),
    ],
)
def test_a_bare_call_is_live_and_then_over(virtual: RunAsync, said: str | None, reason: EndedReason) -> None:
    async def scenario() -> None:
        scene = Scene()
        bare = BareCalls(
            scene.keeper,
            scene.world,
            node="node_1",
            agent_id="agent_default",
            describe=lambda record: {"status": record.status.value},
        )
        media = Media(Bridge(CallPolicy(), scene.world.now()))
        await asyncio.sleep(1)
        bare.began(media, STARTED)
        await scene.settles()
        record = scene.kept("call_1")
        assert (record.status, record.agent_id, record.carrier_call_id) == (
            CallStatus.IN_PROGRESS,
            "agent_default",
            "CA1",
        )
        assert record.started_at == BEGUN
        media.bridge.timeline.add(scene.world.now(), "speech.started")
        media.bridge.timeline.add(scene.world.now(), "call.ended")
        media.bridge.ended_reason = said
        bare.ended(media)
        await scene.settles()
        record = scene.kept("call_1")
        assert (record.status, record.ended_reason) == (CallStatus.COMPLETED, reason)
        assert record.transcript == SUMMARY.transcript
        assert scene.shelf.published("call_1") == [(1, "speech.started"), (2, "call.ended")]
        assert scene.shelf.events[-1].data["call"] == {"status": "completed"}
        assert scene.tasks.tasks == set()
        await scene.close()

    virtual(scenario())


def test_a_call_of_which_nothing_was_told_is_not_ended(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        bare = BareCalls(scene.keeper, scene.world, node="n", agent_id="a", describe=lambda _: {})
        bare.ended(Media(Bridge(CallPolicy(), 0.0)))
        await scene.settles()
        assert scene.shelf.records == {}
        await scene.close()

    virtual(scenario())
