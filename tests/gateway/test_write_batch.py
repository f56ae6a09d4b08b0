"""What is held back to the end of a turn: when it leaves, in which order, and that a writer's fault is its own."""

import asyncio

import pytest

from gateway.write_batch import BIG, MOST, WriteBatch, write_batch
from tests.conftest import RunAsync


class Paper:
    """Notes what is written, by whom; a torn one raises."""

    def __init__(self, written: list[tuple[str, bytes]], name: str, *, torn: bool = False) -> None:
        self._written = written
        self._name = name
        self._torn = torn

    def write(self, message: bytes) -> None:
        if self._torn:
            raise OSError(self._name)
        self._written.append((self._name, message))


def test_messages_leave_together_at_the_end_of_the_turn_in_their_order(virtual: RunAsync) -> None:
    async def scenario() -> None:
        written: list[tuple[str, bytes]] = []
        box, a, b = WriteBatch(), Paper(written, "a"), Paper(written, "b")
        box.add(a, b"1")
        box.add(b, b"2")
        box.add(a, b"3")
        assert written == []
        await asyncio.sleep(0)
        assert written == [("a", b"1"), ("b", b"2"), ("a", b"3")]
        box.add(b, b"4")
        await asyncio.sleep(0)
        assert written[3:] == [("b", b"4")]

    virtual(scenario())


def test_who_cannot_wait_has_it_written_at_once_and_only_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        written: list[tuple[str, bytes]] = []
        box = WriteBatch()
        box.add(Paper(written, "a"), b"last words")
        box.flush()
        assert written == [("a", b"last words")]
        await asyncio.sleep(0)
        assert len(written) == 1

    virtual(scenario())


def test_a_long_turn_does_not_hold_everything_back(virtual: RunAsync) -> None:
    async def scenario() -> None:
        written: list[tuple[str, bytes]] = []
        box, a = WriteBatch(), Paper(written, "a")
        for number in range(MOST + 10):
            box.add(a, b"%d" % number)
        assert len(written) == MOST
        await asyncio.sleep(0)
        assert [message for _, message in written] == [b"%d" % number for number in range(MOST + 10)]

    virtual(scenario())


def test_a_big_message_leaves_at_once_and_never_before_what_was_sent_earlier(virtual: RunAsync) -> None:
    async def scenario() -> None:
        written: list[tuple[str, bytes]] = []
        box, a = WriteBatch(), Paper(written, "a")
        box.add(a, b"small")
        box.add(a, bytes(BIG))
        assert [message for _, message in written] == [b"small", bytes(BIG)]
        await asyncio.sleep(0)
        assert len(written) == 2

    virtual(scenario())


def test_what_one_writer_raises_is_told_and_costs_no_other_its_message(virtual: RunAsync) -> None:
    async def scenario() -> None:
        written: list[tuple[str, bytes]] = []
        box, whole, torn = WriteBatch(), Paper(written, "whole"), Paper(written, "torn", torn=True)
        box.add(whole, b"1")
        box.add(torn, b"2")
        box.add(whole, b"3")
        box.add(whole, b"4")
        with pytest.raises(OSError, match="torn"):
            box.flush()
        await asyncio.sleep(0)
        assert written == [("whole", b"1"), ("whole", b"3"), ("whole", b"4")]

    virtual(scenario())


def test_a_writer_may_send_while_it_writes(virtual: RunAsync) -> None:
    async def scenario() -> None:
        written: list[tuple[str, bytes]] = []
        box = WriteBatch()
        paper = Paper(written, "a")

        class Talkative:
            def write(self, message: bytes) -> None:
                paper.write(message)
                box.add(paper, b"and " + message)

        box.add(Talkative(), b"1")
        box.add(paper, b"2")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [message for _, message in written] == [b"1", b"2", b"and 1"]

    virtual(scenario())


def test_all_links_of_a_loop_share_one_and_loops_do_not(virtual: RunAsync) -> None:
    async def mine() -> WriteBatch:
        assert write_batch() is write_batch()
        return write_batch()

    assert virtual(mine()) is not virtual(mine())
