"""Many simulated calls at once, from this process over real sockets, and what they measured.

Theory of operation. Calls start at an even pace. Each is a `SimulatedCall` that keeps no history; when it ends its
counters go into one `Tally`. A watch beside them measures the generator itself (processor time, how late its loop
is) and, told a process id, the gateway. In echo mode each frame is timed from its write to the read of the message
that brings it back: two passages of the gateway, the loopback, and this loop's own lateness, reported beside it.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.call_report import Answers, failure, silenced
from gateway.load_report import Distribution, Generator, LoadReport, Server, Tally
from media.dtmf import tone
from telephony.caller import AwaitAgent, Caller, Echo, Edge, HangUp, Note, Repeat, Speak, Step, Wait
from telephony.impairments import Impairments
from telephony.link import Connector
from telephony.outcome import CallOutcome
from telephony.simulation import SimulatedCall

# How often the generator asks itself how late it is, and how often it reads the processors' clocks.
PULSE = 0.050
WATCH = 1.0
# An echoed frame not back after so long counts as lost while its call goes on.
LOST_AFTER = 1.0


def echo_script(seconds: float) -> list[Step]:
    """Return the caller of the echo mode: a beep tells that the agent listens, then frames that can be told apart."""
    return [
        Speak(tone("5", 0.1)),
        AwaitAgent(Edge.START, timeout=10.0),
        Wait(0.2),
        Echo(seconds),
        Wait(LOST_AFTER),
        HangUp(),
    ]


def lasting_script(steps: Sequence[Step]) -> list[Step]:
    """Return a script without its ends, repeated for as long as the call may last."""
    endless = _without_ends(steps)
    return [Repeat(endless)] if endless else []


def _without_ends(steps: Sequence[Step]) -> list[Step]:
    return [
        replace(step, steps=_without_ends(step.steps)) if isinstance(step, Repeat) else step
        for step in steps
        if not isinstance(step, HangUp)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to do to a gateway."""

    url: str
    calls: int
    script: Sequence[Step]
    ramp: float = 10.0
    """Calls begun per second."""
    carrier: str = "twilio"
    echo: bool = False
    """Whether the script echoes; a call nothing came back to has then failed."""
    limit: float = 600.0
    """The longest a call may last."""
    impairments: Impairments = field(default_factory=Impairments)
    auth_token: str | None = None
    pid: int | None = None
    """The gateway's process, on this machine."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A load under way."""

    seconds: float
    live: int
    done: int
    failed: int
    frames: int
    lost: int
    p99: float | None


class Load:
    """Places the calls of a plan and keeps the account. Driven by `run`, once; never prints."""

    def __init__(self, plan: LoadPlan, connector: Connector) -> None:
        self.plan = plan
        self.tally = Tally()
        self._connector = connector
        self._live: set[_Placed] = set()
        self._peak = 0
        self._stopped = asyncio.Event()
        self._began_at = 0.0
        self._echoes: deque[tuple[float, int]] = deque(maxlen=64)
        """When progress was asked for lately, and how many echoed frames had been sent by then."""

    async def run(self) -> LoadReport:
        """Place every call and wait for the last to end."""
        plan, loop = self.plan, asyncio.get_running_loop()
        self._began_at = loop.time()
        watch = _Watch(plan.pid)
        watching = asyncio.create_task(watch.run())
        try:
            async with asyncio.TaskGroup() as calls:
                await self._place_all(calls)
        finally:
            watching.cancel()
        return LoadReport(
            url=plan.url,
            carrier=plan.carrier,
            calls=plan.calls,
            ramp=plan.ramp,
            echo=plan.echo,
            seconds=loop.time() - self._began_at,
            peak_live=self._peak,
            tally=self.tally,
            generator=watch.generator(),
            server=watch.server(),
        )

    def stop(self) -> None:
        """Place no more calls and hang up those going on; `run` returns soon."""
        self._stopped.set()
        for placed in list(self._live):
            placed.call.hang_up()

    def progress(self) -> Progress:
        """Return how far it is. Echoed frames count as lost a second after they were sent."""
        now = asyncio.get_running_loop().time()
        tally, live = self.tally, self._live
        return Progress(
            seconds=now - self._began_at,
            live=len(live),
            done=tally.done,
            failed=tally.failed.total(),
            frames=tally.frames_sent + sum(placed.call.caller.frames for placed in live),
            lost=tally.frames_lost + tally.frames_unsent + self._echoes_overdue(now),
            p99=tally.latency.percentile(0.99),
        )

    def _echoes_overdue(self, now: float) -> int:
        if not self.plan.echo:
            return 0
        self._echoes.append((now, self.tally.echo_sent + sum(placed.echoes_sent for placed in self._live)))
        returned = self.tally.echo_returned + sum(placed.echoes_returned for placed in self._live)
        due = [sent for at, sent in self._echoes if at <= now - LOST_AFTER]
        return max(0, due[-1] - returned) if due else 0

    async def _place_all(self, calls: asyncio.TaskGroup) -> None:
        for number in range(self.plan.calls):
            if await self._stopped_before(self._began_at + number / self.plan.ramp):
                self.tally.interrupted += self.plan.calls - number
                return
            calls.create_task(self._place(number))

    async def _stopped_before(self, moment: float) -> bool:
        """Wait for a moment; return whether the load was stopped first."""
        try:
            async with asyncio.timeout_at(moment):
                await self._stopped.wait()
        except TimeoutError:
            pass
        return self._stopped.is_set()

    async def _place(self, number: int) -> None:
        placed = _Placed(self.plan, self._connector, number, self.tally.latency)
        self.tally.started += 1
        self._live.add(placed)
        self._peak = max(self._peak, len(self._live))
        try:
            outcome = await placed.call.run()
        finally:
            self._live.discard(placed)
        self._count(placed, outcome)

    # The account

    def _count(self, placed: "_Placed", outcome: CallOutcome) -> None:
        tally = self.tally
        reason = placed.failure(outcome)
        if self._stopped.is_set():
            tally.interrupted += 1
        elif reason is None:
            tally.ok += 1
        else:
            tally.failed[reason] += 1
        self._count_times(outcome)
        tally.turns += placed.answers.spoken
        tally.stutters += placed.call.line.stutters
        tally.echo_returned += placed.echoes_returned
        # What was under way when somebody hung up was not lost by the gateway.
        tally.echo_sent += placed.echoes_returned if self._stopped.is_set() else placed.echoes_sent
        tally.frames_said += outcome.frames_said
        tally.frames_sent += outcome.frames_sent
        tally.frames_lost += outcome.frames_lost
        tally.frames_reordered += outcome.frames_reordered
        tally.frames_unsent += outcome.frames_unsent
        tally.marks_received += outcome.marks_received
        tally.marks_played += outcome.marks_played
        tally.marks_flushed += outcome.marks_flushed
        tally.underruns += outcome.underruns
        tally.awaited_in_vain += outcome.timeouts
        tally.complaints.update(outcome.complaints)

    def _count_times(self, outcome: CallOutcome) -> None:
        tally = self.tally
        if outcome.accepted_at is not None:
            tally.setup.add(outcome.accepted_at - outcome.began_at)
            tally.call_seconds += outcome.ended_at - outcome.accepted_at
        if outcome.setup_time is not None:
            tally.first_heard.add(outcome.setup_time)
        if outcome.marks_played:
            tally.mark_lateness.add(outcome.mark_lateness)
        for barge_in in silenced(outcome):
            tally.silenced(barge_in)


class _Placed:
    """One call of a load, and what it measures as it goes."""

    def __init__(self, plan: LoadPlan, connector: Connector, number: int, latency: Distribution) -> None:
        self.answers = Answers(plan.script)
        self.echoes_returned = 0
        self._plan = plan
        self._latency = latency
        self.call = SimulatedCall(
            plan.carrier,
            connector,
            plan.url,
            Caller(plan.script),
            # A call's streams of chance are its seed and the next few numbers.
            impairments=replace(plan.impairments, seed=plan.impairments.seed + number * 10),
            auth_token=plan.auth_token,
            limit=plan.limit,
            history=False,
            on_note=self._noted,
            on_echo=self._echoed,
        )

    @property
    def echoes_sent(self) -> int:
        return self.call.caller.tags.sent

    def failure(self, outcome: CallOutcome) -> str | None:
        reason = failure(outcome, self._plan.script)
        if reason is None and self._plan.echo and not self.echoes_returned:
            return "no frame was echoed: the agent is no echo, or its audio is transcoded"
        return reason

    def _noted(self, note: Note) -> None:
        answer = self.answers.feed(note)
        if answer is not None and not self._plan.echo:
            self._latency.add(answer)

    def _echoed(self, seconds: float) -> None:
        self.echoes_returned += 1
        self._latency.add(seconds)


class _Watch:
    """Measures this process, and the gateway's, while a load runs."""

    def __init__(self, pid: int | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._late = Distribution()
        self._began_at = self._read_at = self._loop.time()
        self._began_cpu = self._read_cpu = time.process_time()
        self._peak = 0.0
        self._pid = pid
        self._first = None if pid is None else process_figures(pid)
        self._last = self._first
        self._rss_peak = 0 if self._first is None else self._first.rss
        self._gone = False

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            due = self._loop.time() + PULSE
            await asyncio.sleep(PULSE)
            now = self._loop.time()
            self._late.add(max(0.0, now - due))
            if now - self._read_at >= WATCH:
                self._read_clocks(now)

    def _read_clocks(self, now: float) -> None:
        cpu = time.process_time()
        self._peak = max(self._peak, (cpu - self._read_cpu) / (now - self._read_at))
        self._read_at, self._read_cpu = now, cpu
        self._read_server()

    def _read_server(self) -> None:
        if self._pid is None or self._gone:
            return
        try:
            self._last = process_figures(self._pid)
        except OSError:
            self._gone = True
        else:
            self._rss_peak = max(self._rss_peak, self._last.rss)

    def generator(self) -> Generator:
        elapsed = self._loop.time() - self._began_at
        share = (time.process_time() - self._began_cpu) / elapsed if elapsed else 0.0
        return Generator(cpu_share=share, peak_cpu_share=max(self._peak, share), late=self._late)

    def server(self) -> Server | None:
        if self._pid is None:
            return None
        self._read_server()
        if self._first is None or self._last is None:
            return None
        return Server(
            pid=self._pid,
            cpu_seconds=self._last.cpu_seconds - self._first.cpu_seconds,
            rss_before=self._first.rss,
            rss_peak=self._rss_peak,
            gone=self._gone,
        )


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What the kernel says of a process."""

    cpu_seconds: float
    rss: int
    """Bytes."""


def process_figures(pid: int) -> ProcessFigures:
    """Read a process's figures from /proc (Linux): proc(5), fields utime, stime and rss of `stat`.

    Raises:
        OSError: no such process, or no such file system.
    """
    stat = Path(f"/proc/{pid}/stat").read_text()
    # The second field is the program's name in brackets, which may itself hold brackets and spaces.
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ProcessFigures(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
