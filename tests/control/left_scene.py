"""A call whose process is gone, and who sees to it."""

from dataclasses import replace
from datetime import timedelta

from control.call_record import CallRecord, EventRecord
from control.service.left_calls import LeftCalls
from control.service.neighbours import Neighbours
from control.service.reconciliation import Reconciliation
from telephony.causes import (
    CallStatus,
    Direction,
    Disposition,
    EndedReason,
)
from tests.control.service_scene import BEGUN, OURS, THEIRS, Scene

LEFT = CallRecord(
    call_id="call_left",
    direction=Direction.OUTBOUND,
    carrier="telnyx",
    carrier_call_id="leg-left",
    leg_id="leg-left",
    from_number=OURS,
    to_number=THEIRS,
    status=CallStatus.IN_PROGRESS,
    node="node_1",
    started_at=BEGUN,
    answered_at=BEGUN,
    revision=3,
)


def asking(scene: Scene, neighbours: Neighbours | None = None) -> Reconciliation:
    def describe(record: CallRecord) -> dict[str, object]:
        return {"call_id": record.call_id}

    parts = (scene.service, scene.shelf, scene.keeper, scene.accounts, scene.world)
    return Reconciliation(
        *parts,
        left=LeftCalls(*parts, describe=describe),
        neighbours=neighbours or Neighbours(scene.shelf, scene.world, "node_1"),
    )


OVER = replace(
    LEFT,
    status=CallStatus.COMPLETED,
    disposition=Disposition.ANSWERED,
    ended_reason=EndedReason.CALLER_HANGUP,
    ended_at=BEGUN + timedelta(seconds=30),
)


async def shared(scene: Scene, node: str = "node_2") -> tuple[Reconciliation, CallRecord]:
    """A database that another process has a call in; it has just been heard of."""
    record = replace(LEFT, node=node)
    scene.shelf.records["call_left"] = record
    scene.shelf.beats[node] = scene.world.wall()
    neighbours = Neighbours(scene.shelf, scene.world, "node_1")
    scene.tasks.spawn(neighbours.run(30.0), "sign of life")
    reconciliation = asking(scene, neighbours)
    await reconciliation.recover("node_1")
    scene.tasks.spawn(reconciliation.run(30.0), "reconciliation")
    return reconciliation, record


def noted(name: str, sequence: int | None, **data: object) -> EventRecord:
    return EventRecord(
        event_id=f"evt_{name}",
        tenant_id="default",
        call_id="call_left",
        agent_id=None,
        at=10.0,
        name=name,
        sequence=sequence,
        occurred_at=BEGUN + timedelta(seconds=10),
        data=data,
    )
