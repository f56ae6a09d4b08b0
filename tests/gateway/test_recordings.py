"""Whole calls and what is left of them: recorded as heard, filed wherever recordings are kept, whatever dies."""

import asyncio
import io
import os
import shutil
import signal
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from control.stores.store import Store
from gateway.call_house import node_of
from media.wav import WavHeader
from telephony.caller import AwaitAgent, Edge, HangUp, Speak, Wait
from telephony.simulated_exchange import Telephone
from telephony.simulated_switch import FarEnd
from tests.conftest import RunAsync
from tests.kept_calls import WAV, kept_call, leave_file, no_file, until
from tests.object_store import s3_server
from tests.patience import PATIENCE
from tests.receiver import Receiver
from tests.tones import Samples, samples, stretches
from tests.whole_house import THEIRS, House, free_port, whole_house

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

HEARD = AwaitAgent(Edge.END, quiet=0.2)
AGENT_HZ, CALLER_HZ = 1_900, 700
"""The agent's greeting (`tests.whole_house.GREETS`), and what the caller says."""


def said(seconds: float) -> Speak:
    time = np.arange(round(seconds * 8_000)) / 8_000
    return Speak((8_000 * np.sin(2 * np.pi * CALLER_HZ * time)).astype("<i2").tobytes())


def tracks(content: bytes) -> tuple[Samples, Samples]:
    """The caller's and the agent's."""
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8_000, 2)
        stereo = samples(file.readframes(file.getnframes()))
    return stereo[0::2], stereo[1::2]


def seconds_of(track: Samples, frequency: float) -> float:
    return sum(end - start for start, end in stretches(track, frequency))


async def download(house: House, call_id: str) -> bytes:
    async with house.http.get(f"/v1/recordings/{call_id}/download") as answer:
        assert answer.status == 200
        return await answer.read()


@both
def test_a_recording_has_what_the_caller_said_and_heard(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, recording=True, recording_rate_per_minute="0.6") as house:
            leg = house.ring(HEARD, said(0.5), Wait(0.2), HangUp())
            call_id = await house.the_call()
            ready = await house.happened(call_id, "call.recording_ready")
            caller, agent = tracks(await download(house, call_id))
            phone = leg.phone
            assert isinstance(phone, Telephone)
            assert phone.outcome is not None
            heard = samples(phone.outcome.heard)
            # The greeting, sample by sample: the agent's track is what came out of the caller's phone.
            (begun, _), *_ = stretches(agent, AGENT_HZ)
            (there, _), *_ = stretches(heard, AGENT_HZ)
            assert seconds_of(agent, AGENT_HZ) == pytest.approx(seconds_of(heard, AGENT_HZ), abs=0.04)
            ours, theirs = (
                track[np.flatnonzero(np.abs(track) > 500)[0] :][:2_000] for track in (agent, heard)
            )
            assert np.array_equal(ours, theirs)
            assert begun > 0
            assert there > 0
            assert seconds_of(caller, CALLER_HZ) == pytest.approx(0.5, abs=0.04)
            assert seconds_of(caller, AGENT_HZ) == seconds_of(agent, CALLER_HZ) == 0

            call = (await house.api("GET", f"/v1/calls/{call_id}")).json
            minutes = float(str(ready.data["duration_seconds"])) / 60
            assert call["has_recording"]
            assert call["recording_cost"] == pytest.approx(0.6 * minutes, abs=1e-6)
            assert call["total_cost"] == pytest.approx(call["recording_cost"] + call["llm_cost"])
            assert (await house.published(call_id))[-2:] == ["call.ended", "call.recording_ready"]
            assert str(ready.data["recording_id"]).startswith("rec_")

    real(scenario())


def test_a_pause_is_silence_of_the_same_length(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, recording=True) as house:
            house.ring(HEARD, said(6.0), HangUp())
            call_id = await house.the_call()
            await house.happened(call_id, "ai.speech.ended")
            await asyncio.sleep(1.0)
            assert (await house.ask(call_id, "recording/pause")).status == 200
            await asyncio.sleep(1.5)
            assert (await house.ask(call_id, "recording/resume")).status == 200
            await house.happened(call_id, "call.recording_ready")
            caller, _ = tracks(await download(house, call_id))
            (_, paused), (resumed, _) = stretches(caller, CALLER_HZ)
            assert resumed - paused == pytest.approx(1.5, abs=0.4)
            assert not caller[round((paused + 0.04) * 8_000) : round((resumed - 0.04) * 8_000)].any()
            first = stretches(caller, CALLER_HZ)[0][0]
            assert stretches(caller, CALLER_HZ)[-1][1] - first == pytest.approx(6.0, abs=0.1)
            call = (await house.api("GET", f"/v1/calls/{call_id}")).json
            assert len(caller) / 8_000 == pytest.approx(call["duration_seconds"], abs=0.3)

    real(scenario())


def test_a_recording_of_one_call_is_played_to_another(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, recording=True) as house:
            house.ring(HEARD, said(1.0), HangUp())
            first = await house.the_call()
            recording_id = (await house.happened(first, "call.recording_ready")).data["recording_id"]
            leg = house.ring(HEARD, Wait(30))
            second = await house.the_call(2)
            await house.happened(second, "ai.speech.ended")
            assert (await house.ask(second, "play", recording_id=recording_id)).json == {"success": True}
            await house.happened(second, "prompt.ended")
            missing = await house.ask(second, "play", recording_id="rec_nobody")
            assert (missing.status, missing.code) == (404, "recording_not_available")
            await house.ask(second, "end", after="now")
            await house.happened(second, "call.recording_ready")
            assert leg.phone is not None
            assert leg.phone.outcome is not None
            assert seconds_of(samples(leg.phone.outcome.heard), CALLER_HZ) == pytest.approx(1.0, abs=0.1)
            _, agent = tracks(await download(house, second))
            assert seconds_of(agent, CALLER_HZ) == pytest.approx(1.0, abs=0.1)

    real(scenario())


# Consent

PROMPT_HZ = 1_300
PROMPT = "This call is recorded."


async def dialled(house: House, **more: Any) -> str:
    """A call of an agent that asks before it records."""
    agent = {"name": "careful", "recording_consent_prompt": PROMPT}
    answer = await house.dial(agent_id=None, agent=agent, record=True, **more)
    assert answer.status == 201, answer.json
    return str(answer.json["call_id"])


@asynccontextmanager
async def voice(status: int = 200) -> AsyncIterator[str]:
    """A speech endpoint that says everything in one note, for a second."""
    time = np.arange(8_000) / 8_000
    note = (8_000 * np.sin(2 * np.pi * PROMPT_HZ * time)).astype("<i2").tobytes()
    wav = WavHeader(rate=8_000, channels=1).bytes(len(note)) + note
    async with Receiver.running() as server:
        server.answer = lambda _: web.Response(body=wav, content_type="audio/wav", status=status)
        yield f"{server.url}/v1"


@both
def test_nothing_is_recorded_before_the_caller_was_told(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        script = (AwaitAgent(Edge.END, quiet=1.5), said(0.5), HangUp())
        async with (
            voice() as url,
            whole_house(carrier, tmp_path, speech_url=url, far_end=FarEnd(script=script)) as house,
        ):
            call_id = await dialled(house)
            await house.happened(call_id, "call.recording_ready")
            leg = house.leg_to(THEIRS)
            assert leg.phone is not None
            assert leg.phone.outcome is not None
            heard = samples(leg.phone.outcome.heard)
            (_, told), *_ = stretches(heard, PROMPT_HZ)
            (greeted, _), *_ = stretches(heard, AGENT_HZ)
            assert seconds_of(heard, PROMPT_HZ) == pytest.approx(1.0, abs=0.06)
            assert told <= greeted
            caller, agent = tracks(await download(house, call_id))
            assert seconds_of(agent, PROMPT_HZ) < 0.1  # its very end, at most
            assert seconds_of(agent, AGENT_HZ) == pytest.approx(seconds_of(heard, AGENT_HZ), abs=0.06)
            assert seconds_of(caller, CALLER_HZ) == pytest.approx(0.5, abs=0.06)
            check = (await house.api("GET", f"/v1/calls/{call_id}/recording/check")).json
            assert (check["recording_consent"], check["issues"]) == (True, [])
            call = (await house.api("GET", f"/v1/calls/{call_id}")).json
            assert call["transcript"][0]["content"] == PROMPT

    real(scenario())


def test_who_cannot_be_told_is_not_recorded_and_is_talked_to(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        script = (HEARD, HangUp())
        async with (
            voice(status=500) as url,
            whole_house("telnyx", tmp_path, speech_url=url, far_end=FarEnd(script=script)) as house,
        ):
            call_id = await dialled(house)
            await house.ended(call_id)
            assert "ai.speech.ended" in await house.published(call_id)
            link = await house.api("GET", f"/v1/calls/{call_id}/recording")
            assert (link.status, link.code) == (404, "recording_not_available")
            assert "consent" in link.json["detail"]
            check = (await house.api("GET", f"/v1/calls/{call_id}/recording/check")).json
            assert (check["recording_consent"], check["recording_started"], check["issues"]) == (
                False,
                False,
                [],
            )

    real(scenario())


# Kept elsewhere


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.mark.parametrize(
    "kind", ["wav", *(pytest.param(each, marks=needs_ffmpeg) for each in ("flac", "mp3", "opus"))]
)
def test_recordings_go_to_an_object_store(real: RunAsync, tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        with s3_server() as s3:
            options = {**s3.settings(), "recording": True, "recording_format": kind}
            async with whole_house("telnyx", tmp_path, **options) as house:
                house.ring(HEARD, said(1.0), HangUp())
                call_id = await house.the_call()
                await house.happened(call_id, "call.recording_ready")
                link = (await house.api("GET", f"/v1/calls/{call_id}/recording")).json
                assert link["format"] == kind
                assert link["url"].startswith(s3.endpoint)
                async with aiohttp.ClientSession() as anybody, anybody.get(link["url"]) as answer:
                    content = await answer.read()
                assert content == await download(house, call_id)
                caller = await heard_by_anybody(content, kind)
                assert seconds_of(caller, CALLER_HZ) == pytest.approx(1.0, abs=0.1)
                folder = house.gateway.settings.data_dir / "recordings"
                assert [path.name for path in folder.rglob("*") if path.is_file()] == []
                health = (await house.api("GET", "/v1/health/detailed")).json["dependencies"]["recordings"]
                assert health["ok"]
                assert (await house.api("DELETE", f"/v1/recordings/{call_id}")).status == 204
                await until(lambda: is_gone(link["url"]))

    real(scenario())


async def is_gone(url: str) -> bool:
    async with aiohttp.ClientSession() as anybody, anybody.get(url) as answer:
        return answer.status == 404


async def heard_by_anybody(content: bytes, kind: str) -> Samples:
    """The caller's track, by another reader than ours."""
    if kind == "wav":
        return tracks(content)[0]
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-loglevel", "error", "-i", "pipe:0", "-ar", "8000", "-f", "s16le", "pipe:1",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    pcm, _ = await process.communicate(content)
    assert process.returncode == 0
    return samples(pcm)[0::2]


def test_a_store_that_is_away_costs_no_call_and_gets_its_recording_later(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        with s3_server() as s3:
            async with whole_house("telnyx", tmp_path, **s3.settings(), recording=True) as house:
                await asyncio.to_thread(s3.stop)
                house.ring(HEARD, HangUp())
                call_id = await house.the_call()
                await house.ended(call_id)  # which waits for nothing
                await until(lambda: has_a_problem(house, call_id))
                kept = await house.api("GET", f"/v1/recordings/{call_id}")
                assert kept.json["status"] == "processing"
                link = await house.api("GET", f"/v1/calls/{call_id}/recording")
                assert (link.status, link.code) == (404, "recording_not_available")
                check = await house.api("GET", f"/v1/calls/{call_id}/recording/check")
                assert (check.status, check.code) == (503, "recording_store_unavailable")
                assert not (await house.api("GET", "/v1/health/detailed")).json["dependencies"]["recordings"][
                    "ok"
                ]
                await asyncio.to_thread(s3.start)
                s3.make_bucket()
                fixed = await house.api("POST", f"/v1/calls/{call_id}/recording/fix")
                assert fixed.json["recording"]["status"] == "ready"
                assert (await download(house, call_id))[:4] == b"RIFF"
                assert (await house.published(call_id)).count("call.recording_ready") == 1

    real(scenario())


async def has_a_problem(house: House, call_id: str) -> bool:
    kept = await house.api("GET", f"/v1/recordings/{call_id}")
    return kept.status == 200 and kept.json["problem"] is not None


# What a crash leaves


@asynccontextmanager
async def never_answering() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A store that takes whatever comes and says nothing: an upload to it is under way until somebody dies."""
    reached = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65_536):
            if b"PUT " in block:
                reached.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], reached


def test_a_kill_during_the_upload_loses_nothing(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        data = tmp_path / "data"
        data.mkdir()
        store = await Store.open(f"sqlite:///{data / 'offhook.db'}", migrate=True)
        record = await kept_call(store, node=node_of(data))
        await store.close()
        leave_file(data, record.call_id)
        with s3_server() as s3:
            async with never_answering() as (port, reached):
                settings = {**s3.settings(), "recording_store_endpoint": f"http://127.0.0.1:{port}"}
                process = await serving(data, settings)
                async with asyncio.timeout(PATIENCE):
                    await reached.wait()
                process.send_signal(signal.SIGKILL)
                await process.wait()
            async with whole_house("telnyx", tmp_path, **s3.settings()) as house:
                await house.happened(record.call_id, "call.recording_ready")
                assert await download(house, record.call_id) == WAV
                assert await house.published(record.call_id) == ["call.ended", "call.recording_ready"]
                await no_file(data / "recordings")

    real(scenario())


def test_a_kill_during_the_call_leaves_a_recording_that_opens(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        data = tmp_path / "data"
        data.mkdir()
        store = await Store.open(f"sqlite:///{data / 'offhook.db'}", migrate=True)
        record = await kept_call(store, node=node_of(data))
        await store.close()
        path = leave_file(data, record.call_id, due=False)
        path.write_bytes(
            WAV[:4] + b"\xff" * 4 + WAV[8:40] + b"\xff" * 4 + WAV[44:-2]
        )  # as it grows, cut in a sample
        path.rename(path.with_suffix(".wav.part"))
        async with whole_house("telnyx", tmp_path) as house:
            await house.happened(record.call_id, "call.recording_ready")
            content = await download(house, record.call_id)
            assert content[44:] == WAV[44:-4]
            with wave.open(io.BytesIO(content)) as file:
                assert file.getnframes() == (len(WAV) - 44) // 4 - 1

    real(scenario())


def test_a_recording_that_a_kill_left_without_a_header_is_told_to_be_lost(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        data = tmp_path / "data"
        data.mkdir()
        store = await Store.open(f"sqlite:///{data / 'offhook.db'}", migrate=True)
        record = await kept_call(store, node=node_of(data))
        await store.close()
        path = leave_file(data, record.call_id, b"RIFF", due=False)
        path.rename(path.with_suffix(".wav.part"))
        async with whole_house("telnyx", tmp_path) as house:

            async def is_told() -> bool:
                said = await house.api("GET", f"/v1/recordings/{record.call_id}")
                return bool(said.status == 200)

            await until(is_told)
            kept = (await house.api("GET", f"/v1/recordings/{record.call_id}")).json
            assert kept["status"] == "failed"
            assert kept["problem"] == "its file was cut off before its header was whole"
            check = (await house.api("GET", f"/v1/calls/{record.call_id}/recording/check")).json
            assert [each["name"] for each in check["possible_recordings"]] == [f"{record.call_id}.wav.broken"]

    real(scenario())


def test_a_recording_expires(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, recording=True, recording_retention_days=30) as house:
            house.ring(HEARD, HangUp())
            call_id = await house.the_call()
            await house.happened(call_id, "call.recording_ready")
            kept = (await house.api("GET", f"/v1/recordings/{call_id}")).json
            days = np.datetime64(kept["expires_at"][:-1]) - np.datetime64(kept["ready_at"][:-1])
            assert days == np.timedelta64(30, "D")

    real(scenario())


async def serving(data: Path, settings: dict[str, Any]) -> asyncio.subprocess.Process:
    """A gateway in a process of its own."""
    told = {f"OFFHOOK_{name}".upper(): value for name, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "serve",
        env={
            **os.environ,
            **told,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "OFFHOOK_DATA_DIR": str(data),
            "OFFHOOK_PORT": str(free_port()),
        },
        cwd=data,
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
