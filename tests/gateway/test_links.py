"""The client's side of a link: `connect` against the `websockets` library and against servers that lie."""

import asyncio
import http
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from gateway import links
from gateway.links import connect
from telephony.link import Link, LinkRefused
from tests.conftest import RunAsync
from tests.gateway.peers import OBJECTS, our_server
from tests.memory_link import Ear

pytestmark = pytest.mark.sockets


@asynccontextmanager
async def raw_server(
    serve_one: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that says exactly what it is told; its base URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve_one(reader, writer)
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve_and_close(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def url_of(server: object) -> str:
    (listening,) = list(getattr(server, "sockets"))[:1]  # noqa: B009  # typed differently across versions
    return f"ws://127.0.0.1:{listening.getsockname()[1]}"


def test_messages_go_both_ways_with_the_websockets_library(each_loop: RunAsync) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def scenario() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            ear = Ear()
            link = await connect(url_of(server) + "/v1/realtime?model=m", ear)
            sizes = [0, 1, 125, 126, 300, 65535, 65536, 200_000]
            for count, size in enumerate(sizes, 1):
                link.send(b"x" * size)
                assert (await ear.hear(count))[-1] == b"x" * size
            for count, text in enumerate(OBJECTS, len(sizes) + 1):
                link.send(text.encode())
                assert (await ear.hear(count))[-1] == text.encode()
            link.close()
            assert await ear.end() == (1000, "")

    each_loop(scenario())


def test_what_was_sent_in_the_turn_of_the_close_arrives_before_it(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        heard: asyncio.Queue[str | bytes] = asyncio.Queue()

        async def listen(connection: ServerConnection) -> None:
            async for message in connection:
                heard.put_nowait(message)

        async with serve(listen, "127.0.0.1", 0) as server:
            ear = Ear()
            link = await connect(url_of(server), ear)
            link.send(b"goodbye")
            link.send(b"really")
            link.close()
            assert await ear.end() == (1000, "")
            assert [heard.get_nowait(), heard.get_nowait()] == ["goodbye", "really"]

    each_loop(scenario())


def test_path_query_and_headers_arrive_as_given(real: RunAsync) -> None:
    async def scenario() -> None:
        seen: asyncio.Queue[Request] = asyncio.Queue()

        async def keep(connection: ServerConnection) -> None:
            assert connection.request is not None
            seen.put_nowait(connection.request)
            await connection.wait_closed()

        async with serve(keep, "127.0.0.1", 0) as server:
            url = url_of(server).replace("ws://", "ws://user:secret@")
            ear = Ear()
            link = await connect(f"{url}/v1/ü?model=a%20b", ear, headers={"Authorization": "Bearer key"})
            request = await seen.get()
            assert request.path == "/v1/%C3%BC?model=a%20b"
            assert request.headers["Authorization"] == "Bearer key"
            assert "secret" not in request.headers["Host"]
            link.abort()
            assert await ear.end() == (None, "aborted")

    real(scenario())


@pytest.mark.parametrize("status", [401, 404, 429, 503, 301])
def test_a_refusal_carries_its_status(real: RunAsync, status: int) -> None:
    def refuse(_: ServerConnection, __: Request) -> Response:
        return Response(status, http.HTTPStatus(status).phrase, Headers([("Location", "ws://x")]), b"why not")

    async def never(_: ServerConnection) -> None:
        raise AssertionError

    async def scenario() -> None:
        async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
            with pytest.raises(LinkRefused, match=str(status)) as refused:
                await connect(url_of(server), Ear())
            assert refused.value.status == status

    real(scenario())


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (b"HTTP/1.1 520 Web Server Returned an Unknown Error\r\n\r\noops", LinkRefused, "520: oops"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", LinkRefused, "400"),
        (b"220 mail.example.com ESMTP\r\n\r\n", ConnectionError, "not a websocket server"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: wrong\r\n\r\n",
            ConnectionError,
            "accept",
        ),
        (b"HTTP/1.1 101", ConnectionError, "before the upgrade"),
        (b"", ConnectionError, "before the upgrade"),
        (b"x" * 20_000, ConnectionError, "not a websocket server"),
    ],
)
def test_whatever_answers_the_upgrade_fails_cleanly(
    each_loop: RunAsync, answer: bytes, error: type[Exception], says: str
) -> None:
    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def scenario() -> None:
        async with raw_server(serve_one) as url:
            ear = Ear()
            with pytest.raises(error, match=says):
                await connect(url, ear)
            assert ear.lost is None

    each_loop(scenario())


def test_a_server_that_never_answers_times_out(each_loop: RunAsync) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async def scenario() -> None:
        async with raw_server(silent) as url:
            with pytest.raises(TimeoutError):
                await connect(url, Ear(), timeout=0.05)

    each_loop(scenario())


def test_a_cancelled_connect_leaves_no_socket(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        gone = asyncio.Event()
        asked = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await reader.read(-1)
            gone.set()

        async with raw_server(silent) as url:
            connecting = asyncio.create_task(connect(url, Ear()))
            await asked.wait()
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await gone.wait()

    each_loop(scenario())


def test_nobody_listening_is_an_os_error(real: RunAsync) -> None:
    async def scenario() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(OSError, match="Connect"):
                await connect(f"ws://127.0.0.1:{bound.getsockname()[1]}", Ear())

    real(scenario())


@pytest.mark.parametrize("url", ["http://x", "ws://", "nonsense", "wss:///path"])
def test_what_is_no_websocket_url_is_refused(virtual: RunAsync, url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match="not a websocket URL"):
            await connect(url, Ear())

    virtual(scenario())


def test_no_message_comes_before_the_caller_has_its_link(each_loop: RunAsync) -> None:
    """`session.created` rides in the same packet as the 101."""

    async def scenario() -> None:
        def greet(link: Link) -> Ear:
            link.send(b"first")
            link.send(b"second")
            return Ear()

        async with our_server(hear=greet) as (base, _):
            ear = Ear()
            link = await connect(f"{base}/ws", ear)
            assert ear.messages == []
            assert await ear.hear(2) == [b"first", b"second"]
            link.abort()
            await ear.end()

    each_loop(scenario())


def test_a_close_right_behind_the_upgrade_is_heard_after_the_connect(each_loop: RunAsync) -> None:
    def slam(link: Link) -> Ear:
        link.send(b"sorry")
        link.close(4000, "beta_api_shape_disabled")
        return Ear()

    async def scenario() -> None:
        async with our_server(hear=slam) as (base, _):
            ear = Ear()
            await connect(f"{base}/ws", ear)
            assert ear.lost is None
            assert await ear.end() == (4000, "beta_api_shape_disabled")
            assert ear.messages == [b"sorry"]

    each_loop(scenario())


def test_the_servers_close_is_heard_with_code_and_reason(each_loop: RunAsync) -> None:
    async def expire(connection: ServerConnection) -> None:
        await connection.send("bye")
        await connection.close(1001, "session_expired")

    async def scenario() -> None:
        async with serve(expire, "127.0.0.1", 0) as server:
            ear = Ear()
            link = await connect(url_of(server), ear)
            assert await ear.end() == (1001, "session_expired")
            assert ear.messages == [b"bye"]
            link.send(b"too late")

    each_loop(scenario())


def test_a_server_that_masks_its_frames_is_left(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async with our_server() as (base, accepted):
            ear = Ear()
            await connect(f"{base}/ws", ear)
            server = await accepted.get()
            transport = getattr(server.link, "_transport")  # noqa: B009  # to say what no link would
            transport.write(b"\x81\x81\x00\x00\x00\x00x")
            assert await ear.end() == (
                None,
                "Received masked frame from server, RFC 6455 section 5.1 forbids this",
            )
            assert (await server.ear.end())[0] == 1002

    each_loop(scenario())


def test_a_server_that_stops_reading_is_stalled_by_its_backlog(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        async def deaf(connection: ServerConnection) -> None:
            connection.transport.pause_reading()
            await gone.wait()

        gone = asyncio.Event()
        async with serve(deaf, "127.0.0.1", 0, close_timeout=0.1) as server:
            ear = Ear()
            link = await connect(url_of(server), ear)
            while not link.paused:
                link.send(b"x" * 1000)
                await asyncio.sleep(0)
            while link.buffered:
                link.send(b"x" * 1000)
            assert await ear.end() == (None, "stalled")
            assert ear.pressures == [True]
            gone.set()

    each_loop(scenario())


class Faulty(Ear):
    """A listener with a bug."""

    def message_received(self, message: bytes) -> None:
        raise ZeroDivisionError(message)


def test_an_error_in_a_listener_ends_its_link_and_is_loud(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        loud: list[BaseException | None] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: loud.append(context.get("exception")))
        faulty = Faulty()
        async with our_server(hear=lambda _: faulty) as (base, _):
            ear = Ear()
            link = await connect(f"{base}/ws", ear)
            link.send(b"for the server")
            assert (await ear.end())[0] == 1011
            assert await faulty.end() == (None, "listener failed")
        faulty = Faulty()
        async with our_server() as (base, accepted):
            await connect(f"{base}/ws", faulty)
            server = await accepted.get()
            await asyncio.sleep(0)  # else the first message is delivered by the loop itself
            server.link.send(b"for the client")
            assert (await server.ear.end())[0] == 1011
            assert await faulty.end() == (None, "listener failed")
        assert [type(error) for error in loud] == [ZeroDivisionError, ZeroDivisionError]

    each_loop(scenario())


def test_pings_measure_the_round_trip_and_find_a_dead_peer(
    each_loop: RunAsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "PING_PERIOD", 0.05)

    async def scenario() -> None:
        async with our_server() as (base, accepted):
            ear = Ear()
            link = await connect(f"{base}/ws", ear)
            server = await accepted.get()
            assert isinstance(link, links.PicowsLink)
            while link.rtt is None:  # noqa: ASYNC110  # a figure, not an event
                await asyncio.sleep(0.01)
            assert 0 <= link.rtt < 1.0  # uvloop counts milliseconds
            transport = getattr(server.link, "_transport")  # noqa: B009
            transport.pause_reading()
            getattr(server.link, "_pulse").cancel()  # noqa: B009  # which would notice the silence as soon
            assert await ear.end() == (None, "ping timeout")

    each_loop(scenario())


def test_tls_is_verified_and_spoken(each_loop: RunAsync, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = f"-addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}"
    subprocess.run([*request.split(), *files.split()], check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def scenario() -> None:
        async with serve(echo, "localhost", 0, ssl=serving) as server:
            url = url_of(server).replace("ws://127.0.0.1", "wss://localhost")
            ear = Ear()
            link = await connect(url, ear, tls=trusting)
            for count, size in enumerate((1, 300, 100_000), 1):
                link.send(b"x" * size)
                assert (await ear.hear(count))[-1] == b"x" * size
            link.close(1000, "done")
            assert await ear.end() == (1000, "done")
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(url, Ear())

    each_loop(scenario())
