"""Links in memory behave as links over sockets do."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.link import LinkRefused
from tests.conftest import RunAsync
from tests.memory_link import Dialled, Ear, MemoryLink, MemoryNetwork, memory_pair


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_message_arrives_one_delay_later(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ear = Ear()
        near, _ = memory_pair(Ear(), ear, delay=0.04)
        near.send(b"hello")
        assert ear.messages == []
        await ear.hear(1)
        assert (ear.messages, now()) == ([b"hello"], 0.04)

    virtual(scenario())


def test_nothing_is_delivered_from_within_send(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ear = Ear()
        near, _ = memory_pair(Ear(), ear)
        near.send(b"hello")
        assert ear.messages == []
        assert await ear.hear(1) == [b"hello"]

    virtual(scenario())


def test_a_close_is_answered_and_both_ends_hear_its_code(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left, right = Ear(), Ear()
        near, far = memory_pair(left, right, delay=0.1)
        near.send(b"last words")
        near.close(4000, "enough")
        near.send(b"too late")
        assert await right.end() == (4000, "enough")
        assert now() == pytest.approx(0.1)
        assert await left.end() == (4000, "enough")
        assert now() == pytest.approx(0.2)
        assert right.messages == [b"last words"]
        assert not near.connected
        assert not far.connected

    virtual(scenario())


def test_a_close_that_nobody_answers_ends_after_half_a_second(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left, right = Ear(), Ear()
        near, far = memory_pair(left, right)
        with far.not_reading():
            near.close()
            assert await left.end() == (None, "close not answered")
            assert now() == 0.5

    virtual(scenario())


def test_an_abort_is_heard_on_both_sides_but_not_from_within(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left, right = Ear(), Ear()
        near, _ = memory_pair(left, right, delay=0.04)
        near.abort()
        assert left.lost is None
        assert await left.end() == (None, "aborted")
        assert await right.end() == (None, "connection lost")
        assert now() == 0.04

    virtual(scenario())


def test_a_peer_that_does_not_read_is_given_up_after_two_seconds(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left, right = Ear(), Ear()
        near, far = memory_pair(left, right)
        with far.not_reading():
            near.send(bytes(65 * 1024))
            await left.until(lambda ear: ear.pressures == [True])
            assert near.paused
            assert near.buffered == 65 * 1024
            assert await left.end() == (None, "stalled")
            assert now() == 2.0

    virtual(scenario())


def test_a_peer_that_reads_again_in_time_is_kept(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left, right = Ear(), Ear()
        near, far = memory_pair(left, right)
        with far.not_reading():
            near.send(bytes(65 * 1024))
            await asyncio.sleep(1.9)
        await right.hear(1)
        assert left.pressures == [True, False]
        assert near.buffered == 0
        await asyncio.sleep(10.0)
        assert left.lost is None

    virtual(scenario())


def test_a_backlog_past_the_ceiling_ends_the_link_at_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left = Ear()
        near, far = memory_pair(left, Ear())
        with far.not_reading():
            near.send(bytes(257 * 1024))
            assert await left.end() == (None, "stalled")
            assert now() == 0.0

    virtual(scenario())


def test_a_vanished_network_tells_nobody(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left, right = Ear(), Ear()
        near, far = memory_pair(left, right)
        near.vanish()
        near.send(b"?")
        far.send(b"?")
        await asyncio.sleep(100.0)
        assert (left.messages, right.messages, left.lost, right.lost) == ([], [], None, None)

    virtual(scenario())


def test_a_dropped_connection_is_heard_by_both(virtual: RunAsync) -> None:
    async def scenario() -> None:
        left, right = Ear(), Ear()
        near, _ = memory_pair(left, right, delay=0.15)
        near.drop()
        assert await right.end() == await left.end() == (None, "connection lost")
        assert now() == 0.15

    virtual(scenario())


def test_messages_may_be_lost(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ear = Ear()
        near, _ = memory_pair(Ear(), ear)
        near.send(b"1")
        with near.losing_messages():
            near.send(b"2")
        near.send(b"3")
        assert await ear.hear(2) == [b"1", b"3"]

    virtual(scenario())


def test_the_network_connects_a_client_to_whom_it_dialled(virtual: RunAsync) -> None:
    async def scenario() -> None:
        seen: list[Dialled] = []
        server_ear, client_ear = Ear(), Ear()

        def accept(link: MemoryLink, dialled: Dialled) -> Ear:
            seen.append(dialled)
            link.send(b"welcome")
            return server_ear

        network = MemoryNetwork(delay=0.01)
        network.serve("ws://agent/v1", accept)
        link = await network("ws://agent/v1/realtime?model=m", client_ear, headers={"Authorization": "k"})
        assert now() == pytest.approx(0.04)
        assert client_ear.messages == []  # never before the caller has its link
        assert await client_ear.hear(1) == [b"welcome"]
        link.send(b"hi")
        assert await server_ear.hear(1) == [b"hi"]
        assert seen == [Dialled("ws://agent/v1/realtime?model=m", {"Authorization": "k"})]

    virtual(scenario())


def test_the_network_refuses_as_a_server_does(virtual: RunAsync) -> None:
    async def scenario() -> None:
        def refuse(link: MemoryLink, dialled: Dialled) -> Ear:
            raise LinkRefused(401, "no")

        network = MemoryNetwork()
        with pytest.raises(ConnectionRefusedError):
            await network("ws://nobody", Ear())
        network.serve("ws://agent", refuse)
        with pytest.raises(LinkRefused, match="401"):
            await network("ws://agent", Ear())

    virtual(scenario())


@given(st.lists(st.tuples(st.binary(max_size=20), st.floats(0.0, 0.3), st.floats(0.0, 0.1)), max_size=30))
def test_order_survives_any_change_of_delay(
    virtual: RunAsync, script: list[tuple[bytes, float, float]]
) -> None:
    async def scenario() -> None:
        ear = Ear()
        near, _ = memory_pair(Ear(), ear)
        for message, delay, pause in script:
            near.delay = delay
            near.send(message)
            await asyncio.sleep(pause)
        assert await ear.hear(len(script)) == [message for message, _, _ in script]

    virtual(scenario())
