"""Many calls at once: what a load counts, on virtual time in one house and once over real sockets."""

import asyncio
import json
import os
import random
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.policy import CallPolicy
from gateway.agent.script import parse_script
from gateway.agent.scripted import Script
from gateway.agent.server import AgentServer
from gateway.app import running
from gateway.call_report import Silenced
from gateway.links import connect
from gateway.load import Load, LoadPlan, echo_script, lasting_script, process_figures
from gateway.load_report import Distribution, Generator, LoadReport, Server, Tally
from gateway.settings import Settings
from media.dtmf import tone
from telephony.caller import AwaitAgent, BargeIn, Edge, HangUp, Press, Repeat, Speak, Step, Wait
from telephony.impairments import Impairments
from tests.conftest import RunAsync
from tests.whole_call import MEDIA, House

QUESTION = tone("5", 1.2)


# Percentiles


def by_nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_of_the_nearest_rank_within_a_quarter_percent(
    values: list[float], share: float
) -> None:
    distribution = Distribution()
    for value in values:
        distribution.add(value)
    found = distribution.percentile(share)
    assert found == pytest.approx(by_nearest_rank(values, share), rel=0.00251, abs=1.1e-6)
    assert found is not None
    assert min(values) <= found <= max(values)


@given(st.lists(st.floats(0, 1000)))
def test_the_greatest_and_the_count_are_exact(values: list[float]) -> None:
    distribution = Distribution()
    for value in values:
        distribution.add(value)
    assert distribution.count == len(values)
    assert distribution.greatest == max(values, default=float("-inf"))
    figures = distribution.report()
    percentiles = [figures[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")]
    if values:
        assert percentiles == sorted(percentiles, key=lambda value: value or 0)
    else:
        assert percentiles == [None] * 4


def test_a_distribution_of_hours_stays_small() -> None:
    distribution, chance = Distribution(), random.Random(1)
    for _ in range(20_000):
        distribution.add(10 ** chance.uniform(-7, 3))
    assert len(distribution._buckets) < 4_200


# The report


def report(tally: Tally, **more: Any) -> LoadReport:
    late = Distribution()
    late.add(0.001)
    given: dict[str, Any] = {
        "url": "ws://gateway.test/media/twilio/x",
        "carrier": "twilio",
        "calls": 4,
        "ramp": 10.0,
        "echo": False,
        "seconds": 10.0,
        "peak_live": 4,
        "tally": tally,
        "generator": Generator(cpu_share=0.2, peak_cpu_share=0.3, late=late),
        "server": None,
    }
    return LoadReport(**given | more)


@given(
    ok=st.integers(0, 50),
    failed=st.dictionaries(st.text(max_size=5), st.integers(1, 50), max_size=3),
    interrupted=st.integers(0, 50),
)
def test_every_call_is_counted_once(ok: int, failed: dict[str, int], interrupted: int) -> None:
    tally = Tally(ok=ok, interrupted=interrupted)
    tally.failed.update(failed)
    calls = json.loads(json.dumps(report(tally).as_dict()))["calls"]
    assert calls["ok"] + calls["failed"] + calls["interrupted"] == tally.done
    assert calls["failed"] == sum(calls["failed_by_reason"].values())


def test_the_server_s_cost_is_per_call_second_and_per_call() -> None:
    server = Server(pid=7, cpu_seconds=0.4, rss_before=80_000_000, rss_peak=84_000_000, gone=False)
    told = report(Tally(call_seconds=40.0), server=server).as_dict()["server"]
    assert (told["cpu_ms_per_call_second"], told["rss_mb_per_call"], told["cpu_share"]) == (10.0, 1.0, 0.04)


def test_a_load_without_a_call_divides_by_nothing() -> None:
    server = Server(pid=7, cpu_seconds=0.0, rss_before=1, rss_peak=1, gone=True)
    told = report(Tally(), server=server, seconds=0.0, peak_live=0).as_dict()["server"]
    assert told["cpu_ms_per_call_second"] is None
    assert told["rss_mb_per_call"] is None


def test_barge_ins_are_counted_with_and_without_their_clear() -> None:
    tally = Tally()
    for each in (Silenced(0.3, 0.2), Silenced(0.1, None), Silenced(None, None)):
        tally.silenced(each)
    told = report(tally).as_dict()["barge_ins"]
    assert (told["count"], told["never_cleared"]) == (3, 1)
    assert (told["to_clear"]["count"], told["to_clear"]["max_ms"]) == (2, 300.0)
    assert told["to_silence"]["count"] == 1


@pytest.mark.parametrize(
    ("share", "late", "limited"), [(0.3, 0.001, False), (0.9, 0.001, True), (0.3, 0.02, True)]
)
def test_a_generator_that_measured_itself_says_so(share: float, late: float, limited: bool) -> None:
    lateness = Distribution()
    lateness.add(late)
    generator = Generator(cpu_share=0.1, peak_cpu_share=share, late=lateness)
    assert report(Tally(), generator=generator).as_dict()["generator"]["is_the_limit"] is limited


def test_a_limit_for_the_latency_is_held_against_its_99th_percentile() -> None:
    tally = Tally()
    assert report(tally, echo=True).above(20) == "no added latency was measured"
    tally.latency.add(0.030)
    assert report(tally, echo=True).above(20) == "added latency p99 is 30 ms, above 20 ms"
    assert report(tally).above(30) is None


# Loads, on virtual time


def voice(ms: int) -> str:
    return f"audio: {{tone: {{frequencies: [1900], ms: {ms}}}}}"


def conversation() -> Script:
    return parse_script(
        f"greeting: {{say: Hello., {voice(500)}}}\n"
        f"turns:\n  - {{say: It is on its way., {voice(6000)}}}\n  - {{say: That is all., {voice(500)}}}\n"
        "after: silent\n"
    )


DIALOGUE: list[Step] = [
    AwaitAgent(Edge.END),
    Speak(QUESTION),
    BargeIn(2.0, QUESTION),
    AwaitAgent(Edge.END),
    HangUp(),
]


async def loaded(
    folder: Path, plan: dict[str, Any], *, agent: Script | None = None, stop_after: float = 0
) -> LoadReport:
    policy = CallPolicy(greeting="Greet the caller." if agent else None)
    house = (
        House(folder, agent, policy=policy, agent_delay=0.005) if agent else House(folder, agent_delay=0.005)
    )
    try:
        given: dict[str, Any] = {"url": f"{MEDIA}twilio/test", "calls": 3} | plan
        load = Load(LoadPlan(**given), house.network)
        if stop_after:
            asyncio.get_running_loop().call_later(stop_after, load.stop)
        told = await load.run()
        await house.calls.idle()
        return told
    finally:
        house.close()


def test_every_echoed_frame_comes_back_and_is_timed(virtual: RunAsync, tmp_path: Path) -> None:
    plan = {"script": echo_script(2.0), "echo": True, "calls": 5}
    figures = virtual(loaded(tmp_path, plan)).as_dict()
    assert figures["calls"]["ok"] == 5
    assert (figures["echo"]["sent"], figures["echo"]["returned"], figures["echo"]["lost"]) == (500, 500, 0)
    # The agent's delay is all there is on virtual time.
    assert figures["echo"]["added_latency"]["p50_ms"] == pytest.approx(5.0, rel=0.01)
    assert figures["calls"]["peak_live"] == 5
    assert figures["marks"]["received"] == sum(
        figures["marks"][name] for name in ("returned_when_played", "returned_on_clear", "not_returned")
    )


def test_conversations_tell_answers_barge_ins_and_marks(virtual: RunAsync, tmp_path: Path) -> None:
    told = virtual(loaded(tmp_path, {"script": DIALOGUE}, agent=conversation()))
    figures = told.as_dict()
    assert figures["calls"]["failed_by_reason"] == {}
    assert figures["answers"]["turns"] == 6
    assert figures["answers"]["latency"]["count"] == 6
    assert 0 < figures["answers"]["latency"]["p50_ms"] < 2000
    assert (figures["barge_ins"]["count"], figures["barge_ins"]["never_cleared"]) == (3, 0)
    assert figures["barge_ins"]["to_silence"]["max_ms"] == figures["barge_ins"]["to_clear"]["max_ms"] < 1000
    assert figures["marks"]["returned_when_played"] > 0
    assert figures["underruns"]["within_a_reply"] == 0
    assert told.above(2000) is None


def test_calls_start_at_the_pace_asked_for(virtual: RunAsync, tmp_path: Path) -> None:
    plan = {"script": [Wait(0.5), HangUp()], "calls": 10, "ramp": 4.0}
    told = virtual(loaded(tmp_path, plan))
    assert told.peak_live <= 3
    assert told.seconds == pytest.approx(9 / 4 + 0.5, abs=0.1)


def test_refused_calls_fail_by_their_reason(virtual: RunAsync, tmp_path: Path) -> None:
    plan = {"script": DIALOGUE, "url": "wss://nowhere.test/media"}
    figures = virtual(loaded(tmp_path, plan)).as_dict()
    assert (figures["calls"]["ok"], figures["calls"]["failed"]) == (0, 3)
    (reason,) = figures["calls"]["failed_by_reason"]
    assert "the stream" in reason
    assert figures["setup"]["p50_ms"] is None


def test_an_agent_that_does_not_echo_fails_an_echo_load(virtual: RunAsync, tmp_path: Path) -> None:
    plan = {"script": echo_script(0.5), "echo": True, "calls": 1}
    figures = virtual(loaded(tmp_path, plan, agent=conversation())).as_dict()
    assert "the agent is no echo" in next(iter(figures["calls"]["failed_by_reason"]))
    assert (figures["echo"]["sent"], figures["echo"]["lost"]) == (25, 25)


def test_a_load_that_is_stopped_hangs_up_and_reports(virtual: RunAsync, tmp_path: Path) -> None:
    plan = {"script": echo_script(60.0), "echo": True, "calls": 30}
    told = virtual(loaded(tmp_path, plan, stop_after=2.05))
    figures = told.as_dict()
    assert told.seconds == pytest.approx(2.05, abs=0.2)
    assert (figures["calls"]["started"], figures["calls"]["interrupted"]) == (21, 30)
    assert figures["echo"]["lost"] == 0
    assert figures["echo"]["added_latency"]["count"] > 0


def test_a_call_of_a_given_length_repeats_its_script_until_then(virtual: RunAsync, tmp_path: Path) -> None:
    script = lasting_script([Speak(QUESTION), Wait(1.0), HangUp()])
    figures = virtual(loaded(tmp_path, {"script": script, "limit": 10.0, "calls": 1})).as_dict()
    assert figures["calls"]["ok"] == 1
    assert figures["calls"]["call_seconds"] == pytest.approx(10.0, abs=0.2)
    assert figures["answers"]["turns"] == 5


def test_a_script_without_its_ends_loses_nothing_else() -> None:
    steps: list[Step] = [Wait(1), Repeat([Press("1"), HangUp()], 2), HangUp()]
    assert lasting_script(steps) == [Repeat([Wait(1), Repeat([Press("1")], 2)])]
    assert lasting_script([HangUp()]) == []


def test_frames_lost_and_overtaken_by_plan_are_counted(virtual: RunAsync, tmp_path: Path) -> None:
    plan = {
        "script": [Wait(10.0), HangUp()],
        "impairments": Impairments(loss=0.1, reorder=0.1),
        "calls": 2,
    }
    frames = virtual(loaded(tmp_path, plan)).as_dict()["frames"]
    assert 50 < frames["lost_by_plan"] < 150
    assert 50 < frames["overtaken_by_plan"] < 150
    assert frames["sent"] + frames["lost_by_plan"] == frames["said"]


def test_progress_counts_what_is_under_way(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path, agent_delay=0.005)
        plan = LoadPlan(url=f"{MEDIA}twilio/test", calls=2, script=echo_script(4.0), echo=True)
        load = Load(plan, house.network)
        running = asyncio.create_task(load.run())
        seen = []
        while not running.done():
            await asyncio.wait([running], timeout=0.5)
            seen.append(load.progress())
        house.close()
        assert [progress.lost for progress in seen] == [0] * len(seen)
        assert max(progress.live for progress in seen) == 2
        assert [progress.frames for progress in seen] == sorted(progress.frames for progress in seen)
        assert (seen[-1].live, seen[-1].done, seen[-1].failed) == (0, 2, 0)
        assert seen[-1].p99 == pytest.approx(0.005, rel=0.01)

    virtual(scenario())


# The kernel's figures


def test_a_process_is_measured_by_the_kernel() -> None:
    figures = process_figures(os.getpid())
    assert figures.cpu_seconds > 0
    assert figures.rss > 10_000_000


def test_a_process_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="No such"):
        process_figures(2**22 + 1)  # above the kernel's greatest (proc(5), pid_max)


# Over real sockets


@pytest.mark.sockets
def test_a_load_over_real_sockets_loses_nothing(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> LoadReport:
        agent = AgentServer()
        options: dict[str, Any] = {
            "_env_file": None,
            "host": "127.0.0.1",
            "port": 0,
            "media_auth": "none",
            "data_dir": tmp_path,
            "realtime_url": f"ws://127.0.0.1:{await agent.start()}/v1/realtime",
            "drain_s": 1.0,
        }
        try:
            async with running(Settings(**options)) as gateway:
                plan = LoadPlan(
                    url=gateway.media_url("telnyx", "load"),
                    carrier="telnyx",
                    calls=4,
                    ramp=100.0,
                    script=echo_script(0.4),
                    echo=True,
                    pid=os.getpid(),
                )
                return await Load(plan, connect).run()
        finally:
            await agent.close()

    figures = real(scenario()).as_dict()
    assert figures["calls"]["failed_by_reason"] == {}
    assert (figures["echo"]["sent"], figures["echo"]["returned"]) == (80, 80)
    assert figures["server"]["cpu_ms_per_call_second"] > 0
    assert figures["server"]["rss_peak_mb"] > 10
    assert figures["generator"]["loop_late"]["count"] > 5
