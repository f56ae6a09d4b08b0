"""The server's side of a link: aiohttp hands over to picows; peers are `websockets` and hand-written sockets."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest
import websockets
from aiohttp import web
from websockets.asyncio.client import connect as websockets_connect

from gateway.links import CLOSING_TIMEOUT, MAX_MESSAGE, PicowsLink
from telephony.link import Link
from tests.conftest import RunAsync
from tests.gateway.peers import KEY, OBJECTS, RawClient, frame, handshake, our_server
from tests.memory_link import Ear

pytestmark = pytest.mark.sockets

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def test_messages_of_every_size_go_both_ways_with_the_websockets_library(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), websockets_connect(f"{base}/ws") as client:
            server = await accepted.get()
            sizes = [0, 1, 125, 126, 300, 65535, 65536, 200_000, MAX_MESSAGE]
            for count, size in enumerate(sizes, 1):
                await client.send("x" * size)
                assert (await server.ear.hear(count))[-1] == b"x" * size
            for size in (0, 1, 126, 65536, 100_000):
                server.link.send(b"y" * size)
                assert await client.recv() == "y" * size
            await client.send(b"\x00\xff binary")
            assert (await server.ear.hear(len(sizes) + 1))[-1] == b"\x00\xff binary"
            for count, text in enumerate(OBJECTS, len(sizes) + 2):
                await client.send(text)
                assert (await server.ear.hear(count))[-1] == text.encode()
                server.link.send(text.encode())
                assert await client.recv() == text
            # A fragment may begin as an object does, and the last of them has the same bit as a whole message.
            await client.send(['{"a":', '{"b":1}', "}"])
            assert (await server.ear.hear(count + 1))[-1] == b'{"a":{"b":1}}'

    each_loop(scenario())


def test_fragments_become_one_message_even_around_a_ping(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base) as client:
            server = await accepted.get()
            word = "ä".encode()
            client.say(frame(TEXT, b"one " + word[:1], fin=False))
            client.say(frame(PING, b"alive?"))
            client.say(frame(CONTINUATION, word[1:], fin=False) + frame(CONTINUATION, b" end"))
            client.say(frame(TEXT, b"next"))
            assert await server.ear.hear(2) == ["one ä end".encode(), b"next"]
            assert await client.frame() == (PONG, b"alive?")
            client.gone()
            await server.ear.end()

    each_loop(scenario())


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007, "text is not UTF-8"),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"("), 1007, "text is not UTF-8"),
        (frame(CONTINUATION, b"of nothing"), 1002, "a continuation of nothing"),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002, "a message within a message"),
        (frame(TEXT, b"\xaaV\xca\x00", bits=0x40), 1002, "reserved bits"),
        (frame(TEXT, bytes(MAX_MESSAGE + 1)), 1009, "exceeding max allowed size"),
        (frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 1100, 1009, "too big"),
        (
            frame(TEXT, b"x" * 600_000, fin=False) + frame(CONTINUATION, b"x" * 600_000),
            1009,
            "message too big",
        ),
        (frame(3, b"unknown opcode"), 1002, "invalid opcode"),
        (frame(TEXT, b"unmasked", masked=False), 1002, "un-masked"),
        (frame(PING, b"x" * 126), 1002, "control frame"),
        (frame(PING, b"x", fin=False), 1002, "fragmented control frame"),
        (frame(CLOSE, (999).to_bytes(2, "big")), 1002, "invalid close code"),
    ],
)
def test_broken_framing_closes_with_its_code(
    each_loop: RunAsync, said: bytes, code: int, reason: str
) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base) as client:
            server = await accepted.get()
            client.say(said)
            assert await client.close_code() == code
            lost, why = await server.ear.end()
            assert lost is None
            assert reason in why
            assert server.ear.messages == []

    each_loop(scenario())


def test_the_peers_close_is_heard_with_code_and_reason(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted):
            client = await websockets_connect(f"{base}/ws")
            server = await accepted.get()
            await client.close(4001, "hung up")
            assert await server.ear.end() == (4001, "hung up")
            assert client.close_code == 4001
            server.link.send(b"into the void")
            server.link.close()
            server.link.abort()
            assert server.link.buffered == 0

    each_loop(scenario())


def test_a_close_without_a_code_is_1005(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base) as client:
            server = await accepted.get()
            client.say(frame(CLOSE, b""))
            assert await server.ear.end() == (1005, "")
            assert await client.close_code() == 1000
            assert await client.reader.read() == b""

    each_loop(scenario())


def test_our_close_reaches_the_peer_after_what_was_sent(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), websockets_connect(f"{base}/ws") as client:
            server = await accepted.get()
            server.link.send(b"last words")
            server.link.close(4000, "é" * 100)  # a reason too long for its frame is cut between characters
            assert await client.recv() == "last words"
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "é" * 61)
            code, _ = await server.ear.end()
            assert code == 4000

    each_loop(scenario())


def test_a_close_that_is_never_answered_ends_in_half_a_second(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with our_server() as (base, accepted), RawClient.open(base) as client:
            server = await accepted.get()
            began = loop.time()
            server.link.close()
            assert await client.close_code() == 1000  # read, and not answered
            assert await server.ear.end() == (None, "close not answered")
            assert loop.time() - began >= CLOSING_TIMEOUT - 0.01

    each_loop(scenario())


def test_nothing_is_delivered_after_our_close(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base) as client:
            server = await accepted.get()
            server.link.close()
            assert await client.close_code() == 1000
            client.say(frame(TEXT, b"too late") + frame(CLOSE, (1000).to_bytes(2, "big")))
            assert await server.ear.end() == (1000, "")
            assert server.ear.messages == []

    each_loop(scenario())


def test_a_half_closed_peer_is_lost_at_once(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base) as client:
            server = await accepted.get()
            client.writer.write_eof()
            assert await server.ear.end() == (None, "connection closed without a close frame")
            assert await client.reader.read() == b""  # and the socket went with it

    each_loop(scenario())


def test_a_half_closed_peer_that_does_not_read_is_not_waited_for(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base, receive_buffer=4096) as client:
            server = await accepted.get()
            client.stop_reading()
            while not server.link.buffered:
                server.link.send(bytes(8192))
            client.writer.write_eof()
            assert await server.ear.end() == (None, "connection closed without a close frame")
            assert isinstance(server.link, PicowsLink)
            await server.link.ended

    each_loop(scenario())


def test_a_peer_that_stops_reading_is_stalled_after_two_seconds(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with our_server() as (base, accepted), RawClient.open(base, receive_buffer=4096) as client:
            server = await accepted.get()
            client.stop_reading()
            while not server.link.paused:
                server.link.send(b"x" * 1000)
            began = loop.time()
            assert server.ear.pressures == [True]
            assert server.link.buffered > 64 * 1024
            assert await server.ear.end() == (None, "stalled")
            assert loop.time() - began >= 1.99

    each_loop(scenario())


def test_a_backlog_past_the_ceiling_is_stalled_at_once(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base, receive_buffer=4096) as client:
            server = await accepted.get()
            client.stop_reading()
            sent = 0
            while server.link.buffered <= 256 * 1024 and sent < 2_000_000:
                server.link.send(b"x" * 10_000)
                sent += 10_000
                if server.link.buffered == 0 and sent > 300_000:
                    break  # aborted
            assert server.ear.lost is None  # never from within a call into the link
            assert await server.ear.end() == (None, "stalled")
            # 256 kB of ours, the kernel's two small buffers, and no more.
            assert sent < 600_000

    each_loop(scenario())


def test_a_peer_that_reads_on_in_time_is_kept(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base, receive_buffer=4096) as client:
            server = await accepted.get()
            client.stop_reading()
            sent = 0
            while not server.link.paused:
                server.link.send(b"x" * 1000)
                sent += 1
            client.read_on()
            for _ in range(sent):
                assert await client.frame() == (TEXT, b"x" * 1000)
            await server.ear.until(lambda ear: ear.pressures == [True, False])
            client.say(frame(TEXT, b"still here"))
            assert await server.ear.hear(1) == [b"still here"]

    each_loop(scenario())


def test_a_reset_connection_is_lost(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), RawClient.open(base) as client:
            server = await accepted.get()
            server.link.send(b"unread")  # an abort with unread bytes is a reset
            client.gone()
            code, reason = await server.ear.end()
            assert code is None
            assert reason.startswith("connection")

    each_loop(scenario())


def test_bytes_sent_ahead_of_the_101_are_not_lost(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        early = frame(TEXT, b"impatient") + frame(BINARY, bytes(100_000))
        async with our_server() as (base, accepted), RawClient.open(base, early=early) as client:
            server = await accepted.get()
            assert await server.ear.hear(2) == [b"impatient", bytes(100_000)]
            client.gone()
            await server.ear.end()

    each_loop(scenario())


def test_what_the_listener_says_while_it_is_made_follows_the_101(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        ears: list[Ear] = []

        def greet(link: Link) -> Ear:
            link.send(b"welcome")
            link.close(4002, "full")
            ears.append(Ear())
            return ears[0]

        async with our_server(hear=greet) as (base, _), websockets_connect(f"{base}/ws") as client:
            assert await client.recv() == "welcome"
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 4002
            assert await ears[0].end() == (4002, "full")

    each_loop(scenario())


def test_a_refusal_out_of_the_listener_is_still_http(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        def refuse(link: Link) -> Ear:
            raise web.HTTPServiceUnavailable(text="draining")

        async with our_server(hear=refuse) as (base, _):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets_connect(f"{base}/ws")
            assert refused.value.response.status_code == 503

    each_loop(scenario())


def test_the_listener_goes_on_serving_http_and_sockets(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted), aiohttp.ClientSession() as http:
            page = f"{base.replace('ws', 'http', 1)}/page"
            for _ in range(3):
                async with websockets_connect(f"{base}/ws") as client:
                    server = await accepted.get()
                    async with http.get(page) as answer:
                        assert await answer.text() == "page"
                    await client.send("hello")
                    await server.ear.hear(1)
                await server.ear.end()

    each_loop(scenario())


def test_the_upgrade_may_come_on_a_connection_kept_alive(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted):
            host, _, port = base.removeprefix("ws://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /page HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert b"page" in await reader.readuntil(b"page")
            writer.write(handshake("/ws", host))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            server = await accepted.get()
            writer.write(frame(TEXT, b"hello"))
            assert await server.ear.hear(1) == [b"hello"]
            writer.transport.abort()
            await server.ear.end()

    each_loop(scenario())


@pytest.mark.parametrize(
    "lines",
    [
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"],
        ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"],
        ["Upgrade: h2c", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"],
        ["Connection: keep-alive", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"],
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"],
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: !"],
    ],
)
def test_what_is_no_handshake_is_never_upgraded(each_loop: RunAsync, lines: list[str]) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted):
            host, _, port = base.removeprefix("ws://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write("\r\n".join(["GET /ws HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode())
            status = await reader.readline()
            assert (
                b" 500 " in status
            )  # this server does not turn NotAnUpgrade into an answer; the gateway does
            assert accepted.empty()
            writer.close()
            await writer.wait_closed()

    each_loop(scenario())


def test_a_stopping_server_drops_its_links(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            async with our_server() as (base, accepted):
                await stack.enter_async_context(RawClient.open(base))
                server = await accepted.get()
            code, _ = await server.ear.end()
            assert code is None

    each_loop(scenario())
