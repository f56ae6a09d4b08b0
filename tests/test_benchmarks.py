"""The rig against the raw relay: nothing is lost, nothing is invented, every fault has a counter; records are asked."""

import json
import shutil
import subprocess
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import record_report, records, trial
from benchmarks.rig import build
from benchmarks.run import Search
from benchmarks.server import RELAY
from benchmarks.trial import Load, Profile, Trial
from benchmarks.year_of_calls import year

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))),
    reason="the rig is a C program and there is no compiler",
)

CALLS = 3


def load_of(profile: Profile, calls: int, seconds: float) -> Load:
    return Load(
        profile=profile,
        format="pcmu",
        calls=calls,
        seconds=seconds,
        warmup=0.5,
        ramp=50,
        barge=1,
        seed=1,
        path="/media/twilio/bench",
    )


def measured(profile: Profile, seconds: float) -> Trial:
    load = load_of(profile, CALLS, seconds)
    return trial.run(RELAY, load, trial.choose_cores(), patience=0, quiet=True)


def run_of_a_server_that_carries(most: int, load: Load) -> Trial:
    report = defaultdict[str, object](int, connected=load.calls, latency_ms={"p99": 1.0})
    report["lost"] = max(0, load.calls - most)
    return Trial(
        server="imagined",
        load=load,
        cpu_ms_per_call_second=1,
        server_load=0.5,
        rss_idle=0,
        rss_loaded=0,
        others_load=0,
        report=report,
    )


@pytest.mark.parametrize("limit", [40, 99, 100, 137, 480, 1000])
def test_the_search_ends_within_five_percent_below_the_limit(limit: int) -> None:
    search = Search(load_of("echo", 100, 1), lambda load: run_of_a_server_that_carries(limit, load))

    found = search.highest(600)

    reachable = min(limit, 600)
    assert reachable - max(5, reachable / 20) - 1 <= found <= reachable


@pytest.mark.sockets
@pytest.mark.xdist_group("on time")
@needs_compiler
def test_every_frame_of_the_echo_profile_comes_back_once_and_to_its_own_call() -> None:
    figures = measured("echo", 2)

    assert figures.faults() == {}
    assert figures.report["connected"] == figures.report["configured"] == CALLS
    # 50 frames a second from an absolute origin: at most one frame more or less at the edges of the window.
    assert figures.report["sent"] == pytest.approx(CALLS * 50 * figures.report["seconds"], abs=CALLS)
    assert figures.report["latency_ms"]["count"] == figures.report["returned"] == figures.report["sent"]
    assert figures.cpu_ms_per_call_second > 0
    assert 0 < figures.rig_load < 1


@pytest.mark.sockets
@pytest.mark.xdist_group("on time")
@needs_compiler
def test_a_conversation_is_heard_answered_barged_in_and_cleared() -> None:
    figures = measured("conversation", 6)

    assert figures.faults() == {}
    assert figures.report["identified"] == CALLS
    assert figures.report["barges"] > 0
    assert figures.report["barge_in_silence_ms"]["count"] > 0
    # The relay marks the end of each answer: every mark is played or comes back with a clear.
    returned = figures.report["marks_echoed"] + figures.report["marks_cleared"]
    assert 0 <= figures.report["marks"] - returned <= CALLS


@needs_compiler
def test_whoever_asks_for_the_rig_while_another_builds_it_gets_a_whole_one(tmp_path: Path) -> None:
    def built_and_run(_: int) -> int:
        return subprocess.run(
            [build(tmp_path), "--no-such-option"], capture_output=True, check=False
        ).returncode

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(built_and_run, range(4))) == {2}
    assert [path.name for path in tmp_path.iterdir()] == ["rig"]


def test_a_year_of_calls_is_the_same_for_the_same_seed_and_comes_in_order() -> None:
    first, again = ([each for chunk in year(5000, seed) for each in chunk] for seed in (1, 1))
    assert first == again
    assert [each.started_at for each in first] == sorted(each.started_at for each in first)
    assert {each.started_at.month for each in first} == set(range(1, 13))
    assert len({each.call_id for each in first}) == len(first)


def test_every_question_about_records_is_asked_and_has_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_report, "RESULTS", tmp_path)
    assert records.main(["--calls", "3000", "--rounds", "1", "--year", "--databases", "sqlite"]) == 0
    figures = json.loads((tmp_path / "records-sqlite.json").read_text("utf-8"))["figures"]
    assert len(figures) > 50
    assert [each["question"] for each in figures if not each["plan"]] == []
    found = {each["question"]: each["rows"] for each in figures}
    assert (found["none"], found["search (a word of every second call)"], found["daily of the year"]) == (
        50,
        50,
        365,
    )
    assert "ix_calls_tenant_id_agent_id_started_at_id" in (tmp_path / "records-sqlite.md").read_text("utf-8")
