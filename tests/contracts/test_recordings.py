"""Recordings are filed once, told of once, erased for good and transcribed by one at a time, on both databases."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select, update

from control.call_record import CallRecord, EventRecord
from control.recordings import Recording, RecordingFormat, RecordingState, Transcription, TranscriptionState
from control.stores.call_filters import CallFilters
from control.stores.calls import Deletion
from control.stores.keyset import Page
from control.stores.recordings import Filed, RecordingFilters, Unowned
from control.stores.store import Store
from control.stores.tables import calls, recordings
from tests.contracts.conftest import RunWithStore, somebody_waits
from tests.contracts.records import NOON, call, ended_call, event

LATER = NOON + timedelta(hours=1)
HALF_A_CENT = Decimal("0.005")


def recording_of(record: CallRecord, **changes: Any) -> Recording:
    made = Recording(
        recording_id=f"rec_{record.call_id}",
        tenant_id=record.tenant_id,
        call_id=record.call_id,
        agent_id=record.agent_id,
        path=f"{record.call_id}.wav",
        sample_rate=8_000,
        consent=True,
        started_at=record.started_at,
    )
    return replace(made, **changes)


def ready(recording: Recording, **changes: Any) -> Recording:
    facts = {"state": RecordingState.READY, "bytes": 32_044, "duration_ms": 1_000, "ready_at": LATER}
    return replace(recording, **{**facts, **changes})


def told(record: CallRecord) -> EventRecord:
    return event(
        record, None, event_id=f"evt_ready_{record.call_id}", name="call.recording_ready", occurred_at=LATER
    )


async def over(store: Store, **changes: Any) -> CallRecord:
    """A call that has said its last word."""
    record = ended_call(**changes)
    await store.save_call(record, [event(record, 1), event(record, 2, name="call.ended")])
    return record


async def filed(store: Store, record: CallRecord, **changes: Any) -> Recording:
    recording = recording_of(record)
    assert await store.recordings.begin(recording) is None
    recording = ready(recording, **changes)
    assert await store.recordings.finish(recording, HALF_A_CENT, told(record)) is Filed.DONE
    return recording


def test_a_recording_is_filed_and_told_of_in_one_transaction(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(
            store, agent_id="agent_1", llm_cost=Decimal("0.1"), webhook_url="https://there.example/"
        )
        recording = await filed(
            store, record, format=RecordingFormat.OPUS, expires_at=LATER + timedelta(days=30)
        )
        assert await store.recordings.get(record.tenant_id, record.call_id) == recording
        assert await store.recordings.by_id(record.tenant_id, recording.recording_id) == recording
        kept = await store.call(record.tenant_id, record.call_id)
        assert kept is not None
        assert (kept.has_recording, kept.recording_cost, kept.total_cost) == (
            True, HALF_A_CENT, record.total_cost + HALF_A_CENT,
        )  # fmt: skip
        events = [each.event for each in await store.events(record.tenant_id, record.call_id)]
        assert [(each.name, each.sequence) for each in events] == [
            ("call.ringing", 1), ("call.ended", 2), ("call.recording_ready", 3),
        ]  # fmt: skip
        owed = await store.deliveries.claim(LATER + timedelta(days=1), timedelta(minutes=1))
        assert [each.event.name for each in owed] == ["call.ringing"]  # the first of the call's lane

    stored(scenario)


def test_the_owner_of_the_call_does_not_undo_it(stored: RunWithStore) -> None:
    """A save that comes late, from a journal, say, knows nothing of the recording."""

    async def scenario(store: Store) -> None:
        record = await over(store)
        await filed(store, record)
        late = replace(record, revision=record.revision + 1, llm_cost=Decimal("0.3"))
        await store.save_call(late)
        kept = await store.call(record.tenant_id, record.call_id)
        assert kept is not None
        assert (kept.has_recording, kept.recording_cost, kept.llm_cost) == (True, HALF_A_CENT, Decimal("0.3"))
        page = await store.calls(record.tenant_id, CallFilters(), Page(sort=("-total_cost",)))
        assert page.calls[0].total_cost == late.total_cost + HALF_A_CENT

    stored(scenario)


def test_a_file_waits_until_the_calls_last_word(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        live = call()
        await store.save_call(live)
        recording = recording_of(live)
        assert await store.recordings.begin(recording) is Filed.LATER
        assert await store.recordings.finish(ready(recording), Decimal(0), told(live)) is Filed.LATER
        assert await store.recordings.get(live.tenant_id, live.call_id) is None

    stored(scenario)


def test_filing_is_begun_again_after_a_kill_and_done_once(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store)
        recording = recording_of(record)
        for _ in range(2):
            assert await store.recordings.begin(recording) is None
        await filed(store, record)
        assert await store.recordings.begin(recording) is Filed.DONE
        assert await store.recordings.begin(recording, again=True) is None

    stored(scenario)


def test_a_file_belongs_to_its_call_whoevers_it_is(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store, tenant_id="tenant_2")
        owner = await store.recordings.owner(record.call_id)
        assert isinstance(owner, CallRecord)
        assert owner.tenant_id == "tenant_2"
        assert await store.recordings.owner("call_nobody") is Unowned.UNKNOWN
        await store.delete_call("tenant_2", record.call_id, LATER)
        assert await store.recordings.owner(record.call_id) is Unowned.ERASED

    stored(scenario)


def test_nobody_sees_erases_or_transcribes_anothers(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store)
        recording = await filed(store, record)
        for tenant in ("tenant_2", ""):
            assert await store.recordings.get(tenant, record.call_id) is None
            assert await store.recordings.by_id(tenant, recording.recording_id) is None
            assert (await store.recordings.page(tenant, RecordingFilters(), Page())).recordings == ()
            assert not await store.recordings.erase(tenant, record.call_id, LATER)
            assert not await store.recordings.ask_transcription(tenant, record.call_id, LATER)
        stranger = replace(recording, tenant_id="tenant_2")
        assert await store.recordings.finish(stranger, Decimal(0), None) is Filed.GONE
        assert await store.recordings.get(record.tenant_id, record.call_id) == recording

    stored(scenario)


def test_an_erased_recording_stays_erased(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store, node="node_1")
        recording = await filed(store, record, expires_at=LATER)
        assert await store.recordings.erase(record.tenant_id, record.call_id, LATER)
        assert not await store.recordings.erase(record.tenant_id, record.call_id, LATER)
        kept = await store.recordings.get(record.tenant_id, record.call_id)
        assert kept is not None
        assert (kept.state, kept.erased_at, kept.expires_at) == (RecordingState.ERASED, LATER, None)
        assert (await store.recordings.page(record.tenant_id, RecordingFilters(), Page())).recordings == ()
        seen = await store.call(record.tenant_id, record.call_id)
        assert seen is not None
        assert (seen.has_recording, seen.recording_cost) == (False, HALF_A_CENT)  # what it cost it did cost
        assert await store.recordings.begin(recording) is Filed.GONE
        assert await store.recordings.finish(recording, Decimal(0), None) is Filed.GONE
        await store.recordings.fail(recording, "late")
        assert await store.recordings.get(record.tenant_id, record.call_id) == kept

    stored(scenario)


def test_files_are_deleted_by_anybody_from_the_store_and_by_their_node_from_its_disk(
    stored: RunWithStore,
) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store, node="node_1")
        await filed(store, record)
        await store.recordings.erase(record.tenant_id, record.call_id, LATER)
        (elsewhere,) = await store.recordings.erasures("node_2")
        assert (elsewhere.call_id, elsewhere.path, elsewhere.whole_call) == (
            record.call_id, f"{record.call_id}.wav", False,
        )  # fmt: skip
        await store.recordings.erased(elsewhere, node="node_2")
        assert await store.recordings.erasures("node_2") == []
        (left,) = await store.recordings.erasures("node_1")
        assert left.path is None
        assert await store.recordings.erasures("node_1", after=left.number) == []
        await store.recordings.erased(left, node="node_1")
        assert await store.recordings.erasures("node_1") == []

    stored(scenario)


def test_erasing_a_call_erases_its_recording(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store, node="node_1")
        recording = await filed(store, record)
        assert await store.delete_call(record.tenant_id, record.call_id, LATER) is Deletion.ERASED
        assert await store.recordings.get(record.tenant_id, record.call_id) is None
        (erasure,) = await store.recordings.erasures("node_1")
        assert (erasure.path, erasure.whole_call) == (recording.path, True)
        assert await store.recordings.begin(recording) is Filed.GONE
        assert await store.recordings.finish(recording, Decimal(0), told(record)) is Filed.GONE

    stored(scenario)


def test_a_call_erased_while_its_recording_is_filed_leaves_none(stored: RunWithStore) -> None:
    """Whoever is first: either the file must go, or there is an erasure that says so."""

    async def scenario(store: Store) -> None:
        for _ in range(10):
            record = await over(store, node="node_1")
            recording = recording_of(record)
            await store.recordings.begin(recording)
            outcome, _ = await asyncio.gather(
                store.recordings.finish(ready(recording), Decimal(0), told(record)),
                store.delete_call(record.tenant_id, record.call_id, LATER),
            )
            assert outcome in (Filed.DONE, Filed.GONE)
            assert await store.recordings.of_call(record.call_id) is None
            erasures = await store.recordings.erasures("node_1", limit=1_000)
            assert recording.path in [each.path for each in erasures if each.call_id == record.call_id]

    stored(scenario)


def test_recordings_expire_when_their_time_is_over(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        records = [await over(store, node="node_1") for _ in range(3)]
        for days, record in enumerate(records):
            await filed(store, record, expires_at=LATER + timedelta(days=days) if days < 2 else None)
        assert await store.recordings.expire(LATER - timedelta(seconds=1)) == 0
        assert await store.recordings.expire(LATER) == 1
        assert await store.recordings.expire(LATER + timedelta(days=9_999)) == 1
        states = [await store.recordings.get(each.tenant_id, each.call_id) for each in records]
        assert [each.state.value for each in states if each is not None] == ["erased", "erased", "ready"]
        assert len(await store.recordings.erasures("node_1")) == 2

    stored(scenario)


def test_a_recording_that_failed_says_why_and_can_be_filed_after_all(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store)
        recording = await filed(store, record)
        await store.recordings.fail(recording, "its file is lost")
        kept = await store.recordings.get(record.tenant_id, record.call_id)
        assert kept is not None
        assert (kept.state, kept.problem, kept.ready_at) == (RecordingState.FAILED, "its file is lost", None)
        seen = await store.call(record.tenant_id, record.call_id)
        assert seen is not None
        assert not seen.has_recording
        await store.recordings.begin(recording_of(record))
        await store.recordings.note_problem(record.call_id, "the store is away")
        waiting = await store.recordings.get(record.tenant_id, record.call_id)
        assert waiting is not None
        assert (waiting.state, waiting.problem) == (RecordingState.PROCESSING, "the store is away")
        assert await store.recordings.finish(ready(recording), HALF_A_CENT, None) is Filed.DONE

    stored(scenario)


def test_a_list_is_filtered_and_turned_by_pages(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        days = [NOON + timedelta(days=number) for number in range(5)]
        records = [
            await over(store, started_at=day, agent_id=f"agent_{number % 2}")
            for number, day in enumerate(days)
        ]
        for record in records[:4]:
            await filed(store, record)
        await store.recordings.begin(recording_of(records[4]))

        async def listed(**filters: Any) -> list[str]:
            page = await store.recordings.page("default", RecordingFilters(**filters), Page())
            return [each.call_id for each in page.recordings]

        ids = [record.call_id for record in records]
        assert await listed() == ids[::-1]
        assert await listed(agent_id="agent_1") == [ids[3], ids[1]]
        assert await listed(state=RecordingState.PROCESSING) == [ids[4]]
        assert await listed(from_date=date(2026, 3, 3), to_date=date(2026, 3, 4)) == [ids[2], ids[1]]
        seen: list[str] = []
        cursor = None
        while True:
            page = await store.recordings.page(
                "default", RecordingFilters(), Page(limit=2, after=cursor, sort=("started_at",))
            )
            seen += [each.call_id for each in page.recordings]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == ids

    stored(scenario)


def test_a_transcription_is_claimed_by_one_at_a_time(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store)
        recording = await filed(store, record)
        lease = timedelta(minutes=10)
        assert await store.recordings.claim_transcription(LATER, lease) is None
        assert await store.recordings.ask_transcription(record.tenant_id, record.call_id, LATER)
        claims = await asyncio.gather(*(store.recordings.claim_transcription(LATER, lease) for _ in range(3)))
        assert [each.recording_id for each in claims if each is not None] == [recording.recording_id]
        assert await store.recordings.ask_transcription(record.tenant_id, record.call_id, LATER)
        assert await store.recordings.claim_transcription(LATER, lease) is None  # it is being worked on
        assert await store.recordings.claim_transcription(LATER + lease, lease) is not None  # that one died
        said = ({"role": "user", "content": "Hello.", "timestamp": 0.5},)
        done = Transcription(
            state=TranscriptionState.DONE, requested_at=LATER, finished_at=LATER + lease, utterances=said
        )
        await store.recordings.settle_transcription(recording.recording_id, done)
        kept = await store.recordings.get(record.tenant_id, record.call_id)
        assert kept is not None
        assert kept.transcription == done
        assert (
            await store.recordings.claim_transcription(datetime.max.replace(tzinfo=UTC) - lease * 2, lease)
            is None
        )
        await store.recordings.erase(record.tenant_id, record.call_id, LATER)
        erased = await store.recordings.get(record.tenant_id, record.call_id)
        assert erased is not None
        assert erased.transcription is None

    stored(scenario)


def test_a_transcription_that_goes_on_is_nobody_elses(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store)
        recording = await filed(store, record)
        lease = timedelta(minutes=10)
        await store.recordings.ask_transcription(record.tenant_id, record.call_id, LATER)
        await store.recordings.claim_transcription(LATER, lease)
        await store.recordings.hold_transcription(recording.recording_id, LATER + 2 * lease)
        assert await store.recordings.claim_transcription(LATER + lease, lease) is None
        assert await store.recordings.claim_transcription(LATER + 2 * lease, lease) is not None

    stored(scenario)


def test_what_was_filed_meanwhile_is_not_given_up(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store)
        recording = recording_of(record)
        await store.recordings.begin(recording)
        seen = await store.recordings.of_call(record.call_id)
        assert seen is not None
        await store.recordings.finish(ready(recording), Decimal(0), told(record))
        assert not await store.recordings.fail(seen, "its file is lost")
        kept = await store.recordings.of_call(record.call_id)
        assert kept is not None
        assert kept.state is RecordingState.READY
        assert await store.recordings.fail(kept, "its file is lost")

    stored(scenario)


def test_what_is_filed_while_it_is_erased_is_erased_under_its_new_name(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await over(store)
        assert await store.recordings.begin(recording_of(record)) is None
        database = store.recordings._database
        async with database.write() as filing:
            own = calls.c.call_id == record.call_id
            await filing.execute(select(calls.c.id).where(own).with_for_update())
            await filing.execute(
                update(recordings).where(recordings.c.call_id == record.call_id).values(path="smaller.opus")
            )
            erasing = asyncio.create_task(store.recordings.erase(record.tenant_id, record.call_id, LATER))
            if database.postgresql:
                await somebody_waits(store)
        assert await erasing
        (owed,) = await store.recordings.erasures(record.node)
        assert owed.path == "smaller.opus"

    stored(scenario)
