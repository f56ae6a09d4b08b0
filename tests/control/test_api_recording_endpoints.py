"""Recordings as users have them over HTTP: linked, downloaded in parts, listed, checked, put right, erased."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from control.download_links import PURPOSE, DownloadLinks
from control.stores.keys import Scope
from gateway.secret_keys import load_secret_keys
from media.wav import WavHeader
from tests.conftest import RunAsync
from tests.contracts.records import call
from tests.kept_calls import AUDIO, WAV, kept_call, leave_file, no_file, recorded_call, until
from tests.receiver import Receiver
from tests.served_api import Users, made, whole_api
from tests.whole_house import House

pytestmark = pytest.mark.sockets

SIZE = len(WAV)


def recordings_of(house: House) -> Path:
    return house.gateway.settings.data_dir / "recordings"


async def check(users: Users, call_id: str) -> dict[str, Any]:
    said = await users.ask("GET", f"/v1/calls/{call_id}/recording/check")
    assert said.status == 200, said.body
    found: dict[str, Any] = said.json
    return found


async def fix(users: Users, call_id: str) -> dict[str, Any]:
    said = await users.ask("POST", f"/v1/calls/{call_id}/recording/fix")
    assert said.status == 200, said.body
    found: dict[str, Any] = said.json
    return found


@contextmanager
def database_away(house: House) -> Iterator[None]:
    """A database that cannot say what recordings there are."""
    path = house.gateway.settings.data_dir / "offhook.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE recordings RENAME TO away")
        try:
            yield
        finally:
            connection.execute("ALTER TABLE away RENAME TO recordings")


RANGES = [
    ("bytes=0-0", 206, (0, 1)),
    ("bytes=44-1043", 206, (44, 1044)),
    (f"bytes=100-{SIZE * 2}", 206, (100, SIZE)),
    ("bytes=1000-", 206, (1000, SIZE)),
    ("bytes=-10", 206, (SIZE - 10, SIZE)),
    (f"bytes=-{SIZE * 2}", 206, (0, SIZE)),
    ("bytes=9-3", 200, (0, SIZE)),
    ("bytes=0-1,5-6", 200, (0, SIZE)),
    ("samples=0-1", 200, (0, SIZE)),
    (f"bytes={SIZE}-", 416, None),
    ("bytes=-0", 416, None),
]


def test_a_recording_is_downloaded_whole_and_in_parts(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            path = f"/v1/recordings/{record.call_id}/download"
            whole = await users.ask("GET", path)
            assert (whole.status, whole.body) == (200, WAV)
            assert whole.headers["Content-Type"] == "audio/wav"
            assert whole.headers["Content-Disposition"] == f'attachment; filename="{record.call_id}.wav"'
            for wanted, status, part in RANGES:
                said = await users.ask("GET", path, headers={"Range": wanted})
                assert said.status == status, wanted
                if part is None:
                    assert said.code == "range_not_satisfiable"
                    assert said.headers["Content-Range"] == f"bytes */{SIZE}"
                    continue
                assert said.body == WAV[part[0] : part[1]], wanted
                if status == 206:
                    assert said.headers["Content-Range"] == f"bytes {part[0]}-{part[1] - 1}/{SIZE}"
            head = await users.ask("HEAD", path)
            assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(SIZE))
            tag = whole.headers["ETag"]
            assert (await users.ask("GET", path, headers={"If-None-Match": tag})).status == 304
            part_of_it = {"Range": "bytes=0-0", "If-Range": tag}
            assert (await users.ask("GET", path, headers=part_of_it)).status == 206
            part_of_another = {"Range": "bytes=0-0", "If-Range": '"another"'}
            assert (await users.ask("GET", path, headers=part_of_another)).status == 200

    real(scenario())


def test_a_link_is_good_without_a_key_until_it_expires(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            path = f"/v1/calls/{record.call_id}/recording"
            before = datetime.now(UTC)
            link = (await users.ask("GET", path, params={"expires_in": "120"})).json
            assert set(link) == {"url", "expires_at", "duration_seconds", "channels", "format"}
            assert (link["duration_seconds"], link["channels"], link["format"]) == (2.0, 2, "wav")
            ends = datetime.fromisoformat(link["expires_at"]) - before
            assert timedelta(seconds=119) < ends < timedelta(seconds=140)
            anybody = Users(users._session, users.port)
            where = link["url"].partition(f":{users.port}")[2]
            assert (await anybody.ask("GET", where)).body == WAV
            assert (await anybody.ask("GET", where, headers={"Range": "bytes=0-3"})).body == b"RIFF"
            assert (await anybody.ask("HEAD", where)).status == 200
            for altered in (where[:-1], where.replace("expires=", "expires=1"), where.partition("?")[0]):
                said = await anybody.ask("GET", altered)
                assert (said.status, said.code) == (403, "invalid_link")
            with database_away(house):
                said = await anybody.ask("GET", where)
                assert (said.status, said.code) == (503, "store_unavailable")
                assert "Retry-After" in said.headers
            keys = load_secret_keys(None, house.gateway.settings.data_dir).derived(PURPOSE)
            over = DownloadLinks(keys, "").make(record.call_id, before - timedelta(seconds=1))
            assert (await anybody.ask("GET", over)).code == "invalid_link"
            for wrong in ("59", "86401", "soon"):
                assert (await users.ask("GET", path, params={"expires_in": wrong})).code == "invalid_query"
            await users.ask("DELETE", f"/v1/recordings/{record.call_id}")
            said = await anybody.ask("GET", where)
            assert (said.status, said.code) == (404, "recording_not_available")

    real(scenario())


def test_what_is_not_there_says_why(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            store = house.gateway.house.store
            unrecorded = await kept_call(store, recording_enabled=False)
            waiting = await kept_call(store)
            live = call(recording_enabled=True, node="another")
            await store.save_call(live)

            async def refused(call_id: str) -> tuple[int, str]:
                said = await users.ask("GET", f"/v1/calls/{call_id}/recording")
                return said.status, said.code

            assert await refused(unrecorded.call_id) == (404, "recording_not_enabled")
            assert await refused(waiting.call_id) == (404, "recording_not_available")
            assert await refused(live.call_id) == (404, "recording_not_available")
            assert await refused("call_nobody") == (404, "not_found")
            for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", ""), ("POST", "/transcribe")):
                said = await users.ask(method, f"/v1/recordings/{waiting.call_id}{path}")
                assert (said.status, said.code) == (404, "not_found")
            said = await users.ask("POST", f"/v1/calls/{live.call_id}/recording/fix")
            assert (said.status, said.code) == (409, "call_live")

    real(scenario())


def test_recordings_are_their_tenants_alone(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            other = await made(house.gateway.house.store, Scope.FULL, "tenant_2")
            stranger = users.with_key(other.secret)
            reader = users.with_key((await made(house.gateway.house.store, Scope.READ)).secret)
            mine = f"/v1/recordings/{record.call_id}"
            of_the_call = f"/v1/calls/{record.call_id}/recording"
            for method, path in (
                ("GET", mine),
                ("GET", f"{mine}/download"),
                ("HEAD", f"{mine}/download"),
                ("POST", f"{mine}/transcribe"),
                ("DELETE", mine),
                ("GET", of_the_call),
                ("GET", f"{of_the_call}/check"),
                ("POST", f"{of_the_call}/fix"),
            ):
                assert (await stranger.ask(method, path)).status == 404, path
            assert (await stranger.ask("GET", "/v1/recordings")).json == {"data": [], "next_cursor": None}
            assert (await reader.ask("DELETE", mine)).code == "read_only_key"
            assert (await reader.ask("GET", f"{mine}/download")).body == WAV

    real(scenario())


def test_recordings_are_listed_by_pages(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            day = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
            ids = [
                (
                    await recorded_call(
                        house, started_at=day + timedelta(hours=number), agent_id=f"agent_{number}"
                    )
                ).call_id
                for number in range(3)
            ]

            async def listed(**query: str) -> list[str]:
                said = await users.ask("GET", "/v1/recordings", params=query)
                assert said.status == 200, said.body
                return [each["call_id"] for each in said.json["data"]]

            assert await listed() == ids[::-1]
            assert await listed(order="asc") == await listed(sort="started_at") == ids
            said = await users.ask("GET", "/v1/recordings", params={"sort": "bytes"})
            assert (said.status, said.code) == (400, "invalid_sort")
            assert await listed(agent_id="agent_1") == [ids[1]]
            assert await listed(from_date="2026-03-03") == [ids[2], ids[1]]
            assert await listed(from_date="2026-03-03", timezone="Europe/Vienna") == ids[::-1]
            assert await listed(status="failed") == []
            first = (await users.ask("GET", "/v1/recordings", params={"limit": "2"})).json
            rest = (await users.ask("GET", "/v1/recordings", params={"after": first["next_cursor"]})).json
            assert [each["call_id"] for each in first["data"] + rest["data"]] == ids[::-1]
            one = first["data"][0]
            assert one["recording_id"].startswith("rec_")
            assert (one["status"], one["bytes"], one["duration_seconds"]) == ("ready", SIZE, 2.0)
            assert one == (await users.ask("GET", f"/v1/recordings/{ids[2]}")).json
            for wrong in (
                {"status": "erased"},
                {"from_date": "soon"},
                {"timezone": "Vienna"},
                {"statsu": "ready"},
            ):
                assert (await users.ask("GET", "/v1/recordings", params=wrong)).code == "invalid_query"
            assert (await users.ask("GET", "/v1/recordings", params={"after": "x"})).code == "invalid_cursor"

    real(scenario())


def test_erasing_a_recording_leaves_nothing_of_its_audio(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            data = house.gateway.settings.data_dir
            record = await recorded_call(house)
            audio = recordings_of(house) / f"{record.call_id}.wav"
            trace, text = (
                data / "traces" / f"{record.call_id}.jsonl",
                data / "calls" / f"{record.call_id}.json",
            )
            for each in (trace, text):
                each.parent.mkdir(exist_ok=True)
                each.write_text("{}")
            assert (await users.ask("DELETE", f"/v1/recordings/{record.call_id}")).status == 204
            assert (await users.ask("DELETE", f"/v1/recordings/{record.call_id}")).status == 404
            await no_file(data, audio.name)
            await no_file(data, trace.name)
            assert text.exists()
            seen = (await users.ask("GET", f"/v1/calls/{record.call_id}")).json
            assert not seen["has_recording"]
            assert (await check(users, record.call_id))["issues"] == []
            assert (await users.ask("DELETE", f"/v1/calls/{record.call_id}")).status == 204
            await no_file(data, text.name)

    real(scenario())


def test_erasing_a_call_erases_its_recording(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            assert (await users.ask("DELETE", f"/v1/calls/{record.call_id}")).status == 204
            assert (await users.ask("GET", f"/v1/recordings/{record.call_id}")).status == 404
            await no_file(recordings_of(house), f"{record.call_id}.wav")

    real(scenario())


# Check and fix


def test_a_sound_recording_has_nothing_to_put_right(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house, recording_consent=True)
            found = await check(users, record.call_id)
            assert set(found) == {
                "call_id", "recording_started", "recording_consent", "recording_url", "issues", "suggestions",
                "possible_recordings",
            }  # fmt: skip
            assert (found["recording_started"], found["recording_consent"]) == (True, True)
            assert (found["issues"], found["suggestions"]) == ([], [])
            (possible,) = found["possible_recordings"]
            assert set(possible) == {"name", "path", "created_at", "size"}
            assert (possible["name"], possible["size"]) == (f"{record.call_id}.wav", SIZE)
            where = found["recording_url"].partition(f":{users.port}")[2]
            assert (await users.ask("GET", where)).body == WAV
            assert await fix(users, record.call_id) == {
                "call_id": record.call_id,
                "changed": [],
                "issues": [],
                "recording": (await users.ask("GET", f"/v1/recordings/{record.call_id}")).json,
            }

    real(scenario())


def test_a_file_that_a_crash_cut_off_is_finished_and_filed(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await kept_call(house.gateway.house.store)
            part = recordings_of(house) / f"{record.call_id}.wav.part"
            part.write_bytes(WavHeader(rate=8_000, channels=2).bytes(None) + AUDIO[:32_003])  # in a block
            found = await check(users, record.call_id)
            assert found["issues"] == ["there is a file, but no recording in the database"]
            assert found["suggestions"] == [
                f"POST /v1/calls/{record.call_id}/recording/fix files recordings/{record.call_id}.wav.part"
            ]
            assert found["recording_url"] is None
            fixed = await fix(users, record.call_id)
            assert fixed["changed"] == [
                "finished the file that was cut off",
                "brought the file into the store",
            ]
            assert (fixed["issues"], fixed["recording"]["duration_seconds"]) == ([], 1.0)
            body = (await users.ask("GET", f"/v1/recordings/{record.call_id}/download")).body
            assert body == WavHeader(rate=8_000, channels=2).bytes(32_000) + AUDIO[:32_000]
            assert await house.published(record.call_id) == ["call.ended", "call.recording_ready"]

    real(scenario())


def test_a_damaged_header_is_repaired_in_the_store(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            path = recordings_of(house) / f"{record.call_id}.wav"
            path.write_bytes(WAV[: 44 + 16_000])  # its end is lost
            found = await check(users, record.call_id)
            assert found["issues"] == [
                f"its file is damaged: its header promises {len(AUDIO) - 16_000} bytes that are not there"
            ]
            fixed = await fix(users, record.call_id)
            assert fixed["changed"] == ["repaired the file's header", f"linked {path.name} to the call"]
            assert fixed["recording"]["duration_seconds"] == 0.5
            assert path.read_bytes() == WavHeader(rate=8_000, channels=2).bytes(16_000) + AUDIO[:16_000]
            assert (await check(users, record.call_id))["issues"] == []
            assert await house.published(record.call_id) == ["call.ended", "call.recording_ready"]

    real(scenario())


def test_a_header_that_says_less_than_there_is_is_found_and_put_right(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            path = recordings_of(house) / f"{record.call_id}.wav"
            path.write_bytes(WAV[:4] + bytes(4) + WAV[8:40] + bytes(4) + WAV[44:])
            (issue,) = (await check(users, record.call_id))["issues"]
            assert issue == f"its file is damaged: its header speaks of 8 bytes, and there are {len(WAV)}"
            await fix(users, record.call_id)
            assert path.read_bytes() == WAV
            assert (await check(users, record.call_id))["issues"] == []

    real(scenario())


def test_a_file_that_the_database_does_not_know_is_linked(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await kept_call(house.gateway.house.store)
            leave_file(house.gateway.settings.data_dir, record.call_id, due=False)
            assert (await check(users, record.call_id))["issues"] == [
                "there is a file, but no recording in the database"
            ]
            fixed = await fix(users, record.call_id)
            assert fixed["changed"] == [f"linked {record.call_id}.wav to the call"]
            assert (await users.ask("GET", f"/v1/recordings/{record.call_id}/download")).body == WAV
            assert (await users.ask("GET", f"/v1/calls/{record.call_id}")).json["has_recording"]

    real(scenario())


def test_a_recording_whose_file_is_nowhere_is_given_up_and_comes_back_with_it(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            path = recordings_of(house) / f"{record.call_id}.wav"
            path.rename(tmp_path / "elsewhere.wav")
            assert (await check(users, record.call_id))["issues"] == [
                f"its file {path.name} is not in the store"
            ]
            said = await users.ask("GET", f"/v1/recordings/{record.call_id}/download")
            assert (said.status, said.code) == (404, "recording_not_available")
            fixed = await fix(users, record.call_id)
            assert (fixed["changed"], fixed["recording"]["status"]) == (
                ["marked the recording as failed"],
                "failed",
            )
            assert not (await users.ask("GET", f"/v1/calls/{record.call_id}")).json["has_recording"]
            assert (await fix(users, record.call_id))["changed"] == []
            (tmp_path / "elsewhere.wav").rename(path)
            assert (await fix(users, record.call_id))["recording"]["status"] == "ready"
            assert (await users.ask("GET", f"/v1/recordings/{record.call_id}/download")).body == WAV

    real(scenario())


def test_what_another_process_may_have_in_its_folder_is_not_given_up(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            store = house.gateway.house.store
            kept = await store.call("default", record.call_id)
            assert kept is not None
            await store.save_call(replace(kept, node="node_other", revision=kept.revision + 1))
            (recordings_of(house) / f"{record.call_id}.wav").unlink()
            fixed = await fix(users, record.call_id)
            assert (fixed["changed"], fixed["recording"]["status"]) == ([], "ready")

    real(scenario())


def test_what_cannot_be_repaired_is_set_aside_and_said(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await kept_call(house.gateway.house.store)
            (recordings_of(house) / f"{record.call_id}.wav.part").write_bytes(b"RIFX" * 100)
            fixed = await fix(users, record.call_id)
            assert fixed["changed"] == ["set the file aside: it cannot be repaired"]
            assert fixed["recording"]["status"] == "failed"
            assert fixed["issues"] == ["its file cannot be repaired: it does not begin as a RIFF WAVE file"]
            (left,) = (await check(users, record.call_id))["possible_recordings"]
            assert left["name"] == f"{record.call_id}.wav.broken"

    real(scenario())


def test_what_is_left_of_an_erased_recording_is_deleted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            path = recordings_of(house) / f"{record.call_id}.wav"
            await users.ask("DELETE", f"/v1/recordings/{record.call_id}")
            await no_file(path.parent, path.name)
            path.write_bytes(WAV)  # out of a backup
            assert (await check(users, record.call_id))["issues"] == [
                "the recording was erased, and there is a file of it"
            ]
            assert (await fix(users, record.call_id))["changed"] == ["deleted what was left of the recording"]
            assert not path.exists()

    real(scenario())


def test_a_recording_is_transcribed_when_asked(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Receiver.running() as server:
            server.answer = lambda _: web.json_response({"text": "Good morning."})
            url = f"{server.url}/v1"
            async with whole_api("telnyx", tmp_path, transcription_url=url) as (house, users):
                record = await recorded_call(house)
                path = f"/v1/recordings/{record.call_id}"
                asked = await users.ask("POST", f"{path}/transcribe")
                assert (asked.status, asked.json["status"]) == (202, "pending")

                async def is_done() -> bool:
                    kept = (await users.ask("GET", path)).json
                    return bool(kept["transcription"]["status"] != "pending")

                await until(is_done)
                done = (await users.ask("GET", path)).json["transcription"]
                assert (done["status"], done["problem"]) == ("done", None)
                assert sorted(each["role"] for each in done["transcript"]) == ["assistant", "user"]
                assert {each["content"] for each in done["transcript"]} == {"Good morning."}

    real(scenario())


def test_without_a_provider_nothing_is_transcribed(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            record = await recorded_call(house)
            said = await users.ask("POST", f"/v1/recordings/{record.call_id}/transcribe")
            assert (said.status, said.code) == (501, "transcription_not_configured")

    real(scenario())
