"""Where recordings are kept: a folder and an S3 server behave alike."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from control.api.ports import RecordingStoreAway
from gateway.recording_store import RecordingStore
from tests.conftest import RunAsync
from tests.object_store import S3Server, s3_server

pytestmark = pytest.mark.sockets

# More than a part of an upload (5 MB), and no round number.
CONTENT = os.urandom(6_000_001)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordingStore:
    if request.param == "folder":
        return RecordingStore.open(f"file://{tmp_path}/kept", tmp_path / "unused")
    server: S3Server = request.getfixturevalue("s3")
    return RecordingStore.open(server.url, tmp_path / "unused", server.account)


def file_of(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "source"
    path.write_bytes(content)
    return path


def test_what_is_put_can_be_found_read_in_parts_and_deleted(
    real: RunAsync, store: RecordingStore, tmp_path: Path
) -> None:
    async def scenario() -> None:
        assert await store.find("call_1.wav") is None
        await store.put("call_1.wav", file_of(tmp_path, CONTENT), "audio/wav")
        kept = await store.find("call_1.wav")
        assert kept is not None
        assert (kept.name, kept.size) == ("call_1.wav", len(CONTENT))
        assert (
            b"".join([block async for block in store.read("call_1.wav", 7, 1_000_003)])
            == CONTENT[7:1_000_003]
        )
        assert [block async for block in store.read("call_1.wav", 5, 5)] == []
        assert await store.content("call_1.wav", len(CONTENT)) == CONTENT
        assert await store.content("call_1.wav", len(CONTENT) - 1) is None
        await store.fetch("call_1.wav", tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == CONTENT
        await store.delete("call_1.wav")
        await store.delete("call_1.wav")
        assert await store.find("call_1.wav") is None
        with pytest.raises(FileNotFoundError):
            await store.content("call_1.wav", 1)

    real(scenario())


def test_what_is_put_twice_is_the_later_one(real: RunAsync, store: RecordingStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        await store.put("call_2.wav", file_of(tmp_path, b"early"), "audio/wav")
        await store.put("call_2.wav", file_of(tmp_path, b"late"), "audio/wav")
        assert await store.content("call_2.wav", 100) == b"late"

    real(scenario())


def test_a_link_to_s3_is_good_for_anybody_and_for_ranges(
    real: RunAsync, s3: S3Server, tmp_path: Path
) -> None:
    async def scenario() -> None:
        store = RecordingStore.open(s3.url, tmp_path, s3.account)
        await store.put("call_3.wav", file_of(tmp_path, CONTENT), "audio/wav")
        url = await store.link("call_3.wav", 60)
        assert url is not None
        async with aiohttp.ClientSession() as http, http.get(url, headers={"Range": "bytes=1-9"}) as answer:
            assert answer.status == 206
            assert answer.content_type == "audio/wav"
            assert await answer.read() == CONTENT[1:10]

    real(scenario())


def test_a_folder_signs_no_links(real: RunAsync, tmp_path: Path) -> None:
    assert real(RecordingStore.open(None, tmp_path / "kept").link("call_1.wav", 60)) is None


def test_a_file_that_is_in_its_place_stays_there(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = RecordingStore.open(None, tmp_path / "kept")
        path = tmp_path / "kept" / "call_1.wav"
        path.write_bytes(b"here")
        before = path.stat().st_ino
        await store.put("call_1.wav", path, "audio/wav")
        assert path.stat().st_ino == before
        assert store.has_at("call_1.wav", path)

    real(scenario())


def test_a_store_that_is_away_says_so_and_is_found_again(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(server: S3Server) -> None:
        store = RecordingStore.open(server.url, tmp_path, server.account)
        await store.ping()
        await asyncio.to_thread(server.stop)
        for question in (
            store.find("a"),
            store.delete("a"),
            store.put("a", file_of(tmp_path, b"x"), "audio/wav"),
        ):
            with pytest.raises(RecordingStoreAway) as caught:
                await question
            assert "\n" not in str(caught.value)
            assert "secret" not in str(caught.value)
        await asyncio.to_thread(server.start)
        await store.ping()

    with s3_server() as server:
        real(scenario(server))


def test_a_store_without_its_bucket_is_away(real: RunAsync, s3: S3Server, tmp_path: Path) -> None:
    store = RecordingStore.open("s3://another", tmp_path, s3.account)
    with pytest.raises(RecordingStoreAway):
        real(store.put("a", file_of(tmp_path, b"x"), "audio/wav"))


def test_what_is_no_store_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        RecordingStore.open("az://container", tmp_path)  # without an account in the environment
