"""Webhooks reach their receivers: in order, on schedule, whatever receivers, stores and this process do."""

import asyncio
import re
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook as Verifier

from control.call_record import PUBLISHED
from control.deliveries import LEASE, TEST, Bounds, DeliveryWorker
from control.delivery_verdict import RETRIES
from control.stores.delivery_log import LogFilters
from control.stores.errors import StoreUnavailable
from control.stores.keyset import Page
from control.stores.webhooks import Payload
from tests.conftest import RunAsync
from tests.outbox import CALL_SECRET, SECRET, TENANT, House
from tests.receiver import Receiver, saying, serving

ROOT = Path(__file__).parents[2]

# A worker that need not look for what others have added.
ALONE = Bounds(poll=100_000.0)

# docs/webhooks.md: retries 5 s, 30 s, 2 min, 10 min, 1 h, 6 h.
SCHEDULE = [0, 5, 35, 155, 755, 4_355, 25_955]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "offhook.db"


def ids(receiver: Receiver) -> list[str]:
    return [each.headers["webhook-id"] for each in receiver.received]


def times(receiver: Receiver) -> list[int]:
    return [round(each.at) for each in receiver.received]


# Receivers that are well


def test_events_reach_endpoints_and_the_calls_own_url_signed(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver, house.working() as worker:
            await house.endpoint(f"{receiver.url}/all")
            await house.endpoint(f"{receiver.url}/flat", "wh_2", events=("call.ended",), payload=Payload.FLAT)
            await house.happen("call_1", "call.ringing", "call.ended", webhook_url=f"{receiver.url}/call")
            worker.notify()
            await house.delivered()
            seen = {(each.path, each.json["event"]) for each in receiver.received}
            assert seen == {
                ("/all", "call.ringing"),
                ("/all", "call.ended"),
                ("/flat", "call.ended"),
                ("/call", "call.ringing"),
                ("/call", "call.ended"),
            }
            for each in receiver.received:
                secret = CALL_SECRET if each.path == "/call" else SECRET
                assert (
                    Verifier(secret).verify(each.body, dict(each.headers))["id"] == each.headers["webhook-id"]
                )

    virtual(scenario())


def test_a_calls_events_come_in_order_and_calls_beside_each_other(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            for call in ("call_1", "call_2", "call_3"):
                await house.happen(call, "call.ringing", "call.answered", "call.started")
            async with house.working():
                await house.delivered()
            for call in ("call_1", "call_2", "call_3"):
                assert [each for each in ids(receiver) if call in each] == [
                    f"evt_{call}_{n}" for n in (1, 2, 3)
                ]
            assert len(ids(receiver)) == 9

    virtual(scenario())


def test_what_another_process_added_is_found_without_a_word(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver, house.working():
            await house.endpoint(receiver.url)
            await asyncio.sleep(60)
            await house.happen("call_1", "call.ended")
            await house.delivered()
            assert 60 <= receiver.received[0].at <= 66

    virtual(scenario())


# Receivers that are not


def test_a_receiver_that_is_down_is_tried_on_schedule_and_then_given_up(
    virtual: RunAsync, database: Path
) -> None:
    async def scenario() -> None:
        async with (
            House.open(database) as house,
            Receiver.running() as receiver,
            house.working(ALONE) as worker,
        ):
            receiver.answer_with(500)
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.started", "call.ended")
            worker.notify()
            await house.delivered()
            first, second = times(receiver)[:7], times(receiver)[7:]
            assert first == SCHEDULE
            assert second == [SCHEDULE[-1] + each for each in SCHEDULE]
            assert ids(receiver) == ["evt_call_1_1"] * 7 + ["evt_call_1_2"] * 7
            log = await house.log("call_1")
            assert sorted(each.attempt for each in log) == sorted([*range(1, 8), *range(1, 8)])
            assert {(each.status_code, each.success, each.error) for each in log} == {
                (500, False, "HTTP 500")
            }

    virtual(scenario())


def test_a_later_event_waits_for_the_earlier_one_and_other_calls_do_not(
    virtual: RunAsync, database: Path
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver, house.working() as worker:
            refusals = iter([500, 500])
            receiver.answer = lambda got: web.Response(
                status=next(refusals, 204) if got.json["call_id"] == "call_1" else 204
            )
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ringing", "call.ended")
            await house.happen("call_2", "call.ringing", "call.ended")
            worker.notify()
            await house.delivered()
            assert [each for each in ids(receiver) if "call_1" in each] == ["evt_call_1_1"] * 3 + [
                "evt_call_1_2"
            ]
            assert [
                round(each.at) for each in receiver.received if "call_2" in each.headers["webhook-id"]
            ] == [0, 0]
            assert max(times(receiver)) == 35

    virtual(scenario())


def test_retries_are_spread_by_chance(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            house.chance = lambda: 0.5
            receiver.answer_with(500, 204)
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            async with house.working():
                await house.delivered()
            assert receiver.received[1].at == pytest.approx(5.25, abs=0.01)

    virtual(scenario())


def answers(status: int, **headers: str) -> Any:
    return lambda _: web.Response(status=status, headers=headers)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (answers(302, Location="http://127.0.0.1:1/"), "HTTP 302: redirects are not followed"),
        (answers(404), "HTTP 404"),
        (answers(503), "HTTP 503"),
    ],
)
def test_redirects_and_refusals_are_failures_that_say_why(
    virtual: RunAsync, database: Path, answer: Any, error: str
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            receiver.answer = lambda got: answer(got) if len(receiver.received) == 1 else web.Response()
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            async with house.working():
                await house.delivered()
            assert [(each.error, each.success) for each in await house.log("call_1")] == [
                (error, False),
                (None, True),
            ]

    virtual(scenario())


def test_a_receiver_that_talks_nonsense_is_tried_again(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, saying(b"220 smtp ready\r\n") as url:
            await house.happen("call_1", "call.ended", webhook_url=url)
            async with house.working(ALONE):
                await house.delivered()
            log = await house.log("call_1")
            assert [each.status_code for each in log] == [None] * 7
            assert {each.error for each in log} == {"garbage: 127.0.0.1 answers what is not HTTP"}

    virtual(scenario())


def test_an_endpoint_inside_gets_nothing_until_its_name_leads_outside(
    virtual: RunAsync, database: Path
) -> None:
    addresses = iter(["10.0.0.1", "169.254.169.254", "127.0.0.1"])

    def turning(_: str) -> list[tuple[socket.AddressFamily, str]]:
        return [(socket.AF_INET, next(addresses))]

    async def scenario() -> None:
        async with House.open(database, turning) as house, Receiver.running() as receiver:
            await house.endpoint(f"http://hooks.example:{receiver.port}/")
            await house.happen("call_1", "call.ended")
            async with house.working():
                await house.delivered()
            log = await house.log("call_1")
            assert [(each.error or "delivered").partition(":")[0] for each in log] == [
                "refused",
                "refused",
                "delivered",
            ]
            assert times(receiver) == [35]

    virtual(scenario())


def test_a_secret_that_cannot_be_read_sends_nothing(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url, secret=b"of another key")
            await house.happen("call_1", "call.ended")
            async with house.working(ALONE):
                await house.delivered()
            assert receiver.received == []
            assert "cannot be decrypted" in str((await house.log("call_1"))[0].error)

    virtual(scenario())


def test_a_slow_endpoint_holds_up_nobody_else(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as slow, Receiver.running() as fast:
            slow.hold()
            await house.endpoint(slow.url, "wh_slow")
            await house.endpoint(fast.url, "wh_fast")
            for number in range(20):
                await house.happen(f"call_{number}", "call.ended", webhook_url=f"{slow.url}/of-calls")
            async with house.working(Bounds(total=8, per_endpoint=3)):
                await fast.heard(20)
                assert len(slow.received) == 6
                slow.let_go()
                await house.delivered()
            assert len(slow.received) == 40

    virtual(scenario())


# Endpoints without hope


def test_an_endpoint_that_is_gone_is_disabled_and_the_stream_says_so(
    virtual: RunAsync, database: Path
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver, house.working() as worker:
            receiver.answer_with(410)
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ringing", "call.ended")
            await house.happen("call_2", "call.ringing")
            worker.notify()
            await house.delivered()
            assert len(receiver.received) <= 2  # one of each call may be under way
            endpoint = await house.webhooks.get(TENANT, "wh_1")
            assert endpoint.disabled_reason == "it answered 410 Gone"
            events = [stored.event for stored in await house.store.events(TENANT)]
            assert [(each.name, each.data["webhook_id"]) for each in events if not each.call_id] == [
                ("webhook.disabled", "wh_1")
            ]
            await house.happen("call_3", "call.ringing")
            assert await house.deliveries.pending() == 0

    virtual(scenario())


def test_an_endpoint_that_fails_for_a_day_is_disabled_and_one_good_answer_saves_it(
    virtual: RunAsync, database: Path
) -> None:
    async def fails_for(house: House, receiver: Receiver, worker: DeliveryWorker, hours: int) -> bool:
        """Whether an endpoint that is told of a call every hour is disabled after so many."""
        receiver.answer_with(500)
        for _ in range(hours):
            await house.happen(f"call_{house.elapsed()}", "call.ended")
            worker.notify()
            await asyncio.sleep(3600)
        return (await house.webhooks.get(TENANT, "wh_1")).disabled_at is not None

    async def scenario() -> None:
        async with (
            House.open(database) as house,
            Receiver.running() as receiver,
            house.working(ALONE) as worker,
        ):
            await house.endpoint(receiver.url)
            assert not await fails_for(house, receiver, worker, 22)
            receiver.answer_with(204)
            await house.happen("call_good", "call.ended")
            await house.delivered()  # retries have found it well again
            assert not await fails_for(house, receiver, worker, 22)
            assert await fails_for(house, receiver, worker, 3)
            reason = (await house.webhooks.get(TENANT, "wh_1")).disabled_reason
            assert reason == "it has failed for 24 hours, at last with HTTP 500"

    virtual(scenario())


# By hand


def test_a_test_is_sent_at_once_and_once(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver, house.working() as worker:
            receiver.answer_with(500)
            await house.endpoint(receiver.url, events=("call.ended",))
            assert await worker.send_test(TENANT, "wh_1") is not None
            await house.delivered()
            (received,) = receiver.received
            assert (received.json["event"], received.json["call_id"]) == ("webhook.test", None)
            (logged,) = (await house.delivery_log.of_webhook(TENANT, "wh_1", LogFilters(), Page())).entries
            assert (logged.event, logged.status_code) == ("webhook.test", 500)
            assert await worker.send_test(TENANT, "wh_2") is None
            assert await worker.send_test("another tenant", "wh_1") is None

    virtual(scenario())


def test_what_was_given_up_can_be_sent_again_by_hand(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with (
            House.open(database) as house,
            Receiver.running() as receiver,
            house.working(ALONE) as worker,
        ):
            receiver.answer_with(*[500] * 7, 204)
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            await house.delivered()
            delivery_id = (await house.log("call_1"))[0].delivery_id
            assert await worker.retry(TENANT, delivery_id)
            await house.delivered()
            assert [each.success for each in await house.log("call_1")] == [False] * 7 + [True]
            assert set(ids(receiver)) == {"evt_call_1_1"}
            assert not await worker.retry(TENANT, "dlv_none")

    virtual(scenario())


# This process, and the store


def test_a_worker_that_stops_sees_its_attempts_to_their_end(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            receiver.hold()
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ringing", "call.ended")
            worker = house.worker()
            running = asyncio.create_task(worker.run())
            await receiver.heard()
            worker.stop()
            receiver.let_go()
            await running
            assert [each.success for each in await house.log("call_1")] == [True]
            assert await house.deliveries.pending() == 1

    virtual(scenario())


def test_a_worker_that_is_cancelled_gives_its_claims_back(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            receiver.hold()
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            running = asyncio.create_task(house.worker().run())
            await receiver.heard()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            receiver.let_go()
            async with house.working():
                await house.delivered()
            assert times(receiver) == [0, 0]
            assert [each.attempt for each in await house.log("call_1")] == [1]

    virtual(scenario())


def test_what_a_dead_process_held_is_sent_when_its_lease_ends(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ringing", "call.ended")
            assert len(await house.deliveries.claim(house.now(), LEASE)) == 1  # and then it died
            async with house.working():
                await house.delivered()
            assert ids(receiver) == ["evt_call_1_1", "evt_call_1_2"]
            assert times(receiver) == [60, 60]

    virtual(scenario())


def test_what_it_held_when_it_died_is_due_as_soon_as_it_is_back(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            await house.happen("call_2", "call.ended")
            await house.deliveries.claim(house.now(), LEASE, 1, (), "node_a.1")
            await house.deliveries.claim(house.now(), LEASE, 1, (), "node_ab.1")
            async with house.working(holder="node_a"):
                await receiver.heard()
                assert house.elapsed() < 1
                await house.delivered()
            assert ids(receiver) == ["evt_call_1_1", "evt_call_2_1"]
            assert house.elapsed() > LEASE.total_seconds() - 1  # another's claim is another's

    virtual(scenario())


class LostAnswer:
    """The deliveries of a store whose first answer to a claim is lost."""

    def __init__(self, room: Any) -> None:
        self._room = room
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._room, name)

    async def claim(self, *args: Any) -> Any:
        claimed = await self._room.claim(*args)
        if claimed and not self._lost:
            self._lost = True
            raise StoreUnavailable("the connection was lost")
        return claimed


def test_a_claim_whose_answer_was_lost_costs_seconds_and_not_a_lease(
    virtual: RunAsync, database: Path
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ringing", "call.ended")
            async with house.working(outbox=LostAnswer(house.deliveries)):
                await house.delivered()
            assert ids(receiver) == ["evt_call_1_1", "evt_call_1_2"]
            assert house.elapsed() < 15

    virtual(scenario())


def test_workers_of_many_processes_share_the_work(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            for number in range(30):
                await house.happen(f"call_{number}", "call.ringing", "call.ended")
            async with house.working(), house.working(), house.working():
                await house.delivered()
            assert len(ids(receiver)) == len(set(ids(receiver))) == 60

    virtual(scenario())


class Outage:
    """The deliveries of a store that cannot be reached for its next calls of one kind."""

    def __init__(self, room: Any, method: str, times: int) -> None:
        self._room, self._method, self._left = room, method, times

    def __getattr__(self, name: str) -> Any:
        return self._refuse if name == self._method and self._left else getattr(self._room, name)

    def over(self) -> None:
        self._left = 0

    async def _refuse(self, *_: Any) -> None:
        self._left -= 1
        raise StoreUnavailable("it is away")


@pytest.mark.parametrize("method", ["claim", "next_due", "settle"])
def test_a_store_that_is_away_for_a_while_costs_nothing_but_time(
    virtual: RunAsync, database: Path, method: str
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ringing", "call.ended")
            async with house.working(outbox=Outage(house.deliveries, method, 3)):
                await house.delivered()
            assert ids(receiver) == ["evt_call_1_1", "evt_call_1_2"]
            assert max(times(receiver)) <= 15

    virtual(scenario())


def test_an_outcome_that_cannot_be_kept_is_sent_again_under_the_same_id(
    virtual: RunAsync, database: Path
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            outage = Outage(house.deliveries, "settle", 10**6)
            async with house.working(outbox=outage):
                await asyncio.sleep(LEASE.total_seconds() - 1)
                outage.over()
                await house.delivered()
            assert ids(receiver) == ["evt_call_1_1"] * 2
            assert [each.success for each in await house.log("call_1")] == [True]

    virtual(scenario())


class Dying:
    """The deliveries of a store as a process sees it that is killed at one of its calls, before or after the commit."""

    def __init__(self, room: Any, at: int, *, committed: bool) -> None:
        self._room, self._left, self._committed = room, at, committed
        self.dead = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            self._left -= 1
            if self._left > 0:
                return await getattr(self._room, name)(*args)
            if self._left == 0 and self._committed:
                await getattr(self._room, name)(*args)
            self.dead.set()
            await asyncio.Event().wait()

        return call


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("at", range(1, 10))
def test_wherever_it_is_killed_nothing_is_lost_and_doubles_have_one_id(
    virtual: RunAsync, database: Path, at: int, committed: bool
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            receiver.answer_with(204, 500, 204)
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ringing", "call.ended")
            await house.happen("call_2", "call.ringing")
            killed = Dying(house.deliveries, at, committed=committed)
            process = asyncio.create_task(house.worker(outbox=killed).run())
            await killed.dead.wait()
            process.cancel()
            await asyncio.gather(process, return_exceptions=True)
            async with house.working():
                await house.delivered()
            arrived = [each for each in ids(receiver) if "call_1" in each]
            assert sorted(set(ids(receiver))) == ["evt_call_1_1", "evt_call_1_2", "evt_call_2_1"]
            assert arrived == sorted(arrived)

    virtual(scenario())


PROCESS = """
import asyncio, sys
from pathlib import Path
from tests.outbox import House

async def main() -> None:
    async with House.open(Path(sys.argv[1])) as house:
        await house.worker().run()

asyncio.run(main())
"""


@pytest.mark.sockets
def test_a_process_that_is_killed_again_and_again_delivers_all_the_same(
    real: RunAsync, database: Path
) -> None:
    async def scenario() -> None:
        async with House.open(database) as house, Receiver.running() as receiver:
            for number in range(100):
                await house.happen(f"call_{number}", "call.ringing", "call.ended", webhook_url=receiver.url)
            for heard in (5, 50, 100):
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", PROCESS, str(database), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
                )
                await receiver.heard(heard)
                process.kill()
                await process.wait()
            # What the dead have left is due when their leases end: a minute later, by this worker's clock.
            house.began += 2 * LEASE
            async with house.working():
                await house.delivered()
            assert len(set(ids(receiver))) == 200
            for number in range(100):
                of_call = [each for each in ids(receiver) if each.startswith(f"evt_call_{number}_")]
                assert of_call == sorted(of_call)

    real(scenario())


def test_an_erased_call_is_not_told_of(virtual: RunAsync, database: Path) -> None:
    async def scenario() -> None:
        async with (
            House.open(database) as house,
            Receiver.running() as receiver,
            house.working(ALONE) as worker,
        ):
            receiver.hold()
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            worker.notify()
            await receiver.heard()
            await house.webhooks.delete(TENANT, "wh_1")
            receiver.let_go()
            await house.delivered()
            await asyncio.sleep(timedelta(hours=10).total_seconds())
            assert len(receiver.received) == 1

    virtual(scenario())


# What users are told


PAGE = (ROOT / "docs" / "webhooks.md").read_text("utf-8")


def test_the_page_names_every_event_and_no_other() -> None:
    table = PAGE.partition("| event | when |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == PUBLISHED | {TEST}


def test_the_page_tells_the_pauses_there_are() -> None:
    (row,) = re.findall(r"^\| after \| at once \| (.*) \|$", PAGE, re.MULTILINE)
    seconds = {"s": 1, "min": 60, "h": 3600}
    told = [int(number) * seconds[unit] for number, unit in (cell.split() for cell in row.split(" | "))]
    assert tuple(told) == RETRIES


def test_the_receiver_on_the_page_takes_every_event_once_and_nothing_forged(
    virtual: RunAsync, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sample,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("OFFHOOK_WEBHOOK_SECRET", CALL_SECRET)
    page: dict[str, Any] = {"__name__": "sample"}
    exec(sample, page)

    async def scenario() -> None:
        async with House.open(database) as house, serving(page["app"]) as backend:
            await house.endpoint(f"{backend}/offhook")  # signed with another secret: refused
            await house.happen("call_1", "call.ringing", "call.ended", webhook_url=f"{backend}/offhook")
            async with house.working(ALONE):
                await house.delivered()
            log = [(each.webhook_id, each.status_code) for each in await house.log("call_1")]
            assert {each for each in log if each[0] is None} == {(None, 204)}
            assert {each for each in log if each[0] is not None} == {("wh_1", 401)}

    virtual(scenario())
    assert re.findall(r"^call_1 (\d) (\S+)$", capsys.readouterr().out, re.MULTILINE) == [
        ("1", "call.ringing"),
        ("2", "call.ended"),
    ]
