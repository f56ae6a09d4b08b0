"""Requests to URLs of users, over real sockets: where they go, where they do not, and how long they take at most."""

import asyncio
import datetime
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession, TCPConnector, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.egress import EgressFailed, EgressFault, EgressRefused, OutgoingAnswer, OutgoingRequest
from control.egress_policy import EgressPolicy
from gateway.egress import Egress, Lookup, checked_sockets, system_lookup
from tests.conftest import RunAsync
from tests.receiver import Received, Receiver, saying

pytestmark = pytest.mark.sockets

# 127.0.0.1 stands for the public internet here, every other address of this machine for its inside.
OUTSIDE = EgressPolicy.allowing("127.0.0.1", allow_http=True)


def names(**addresses: str) -> Lookup:
    """A name server that knows these names."""

    def look_up(host: str) -> list[tuple[socket.AddressFamily, str]]:
        if (known := addresses.get(host.replace(".", "_"))) is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, address) for address in known.split()]

    return look_up


@asynccontextmanager
async def going_out(lookup: Lookup = system_lookup) -> AsyncIterator[tuple[Egress, Receiver]]:
    async with Receiver.running() as receiver, Egress(OUTSIDE, lookup=lookup) as egress:
        yield egress, receiver


async def fetch(egress: Egress, url: str, **options: Any) -> OutgoingAnswer:
    return await egress(OutgoingRequest(url=url, **options))


async def failure(egress: Egress, url: str, **options: Any) -> EgressFailed:
    with pytest.raises(EgressFailed) as failed:
        await fetch(egress, url, **options)
    return failed.value


def test_a_request_arrives_as_it_was_made_and_the_answer_comes_back(real: RunAsync) -> None:
    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = lambda _: web.Response(status=418, body=b"tea", headers={"X-Kind": "Oolong"})
            answer = await fetch(
                egress, f"{receiver.url}/a?b=c%20d", method="POST", body=b"{}", headers={"X-Key": "k"}
            )
            assert (answer.status, answer.body, answer.headers["x-kind"]) == (418, b"tea", "Oolong")
            (received,) = receiver.received
            assert (received.method, received.path, received.body) == ("POST", "/a?b=c%20d", b"{}")
            assert (received.headers["x-key"], received.headers["user-agent"]) == ("k", "Offhook")

    real(scenario())


def test_a_name_leads_to_its_checked_address_by_one_resolution(real: RunAsync) -> None:
    asked: list[str] = []
    known = names(hooks_example="127.0.0.1")

    def counting(host: str) -> list[tuple[socket.AddressFamily, str]]:
        asked.append(host)
        return known(host)

    async def scenario() -> None:
        async with going_out(counting) as (egress, receiver):
            assert (await fetch(egress, f"http://hooks.example:{receiver.port}/")).status == 204
            assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"
            assert asked == ["hooks.example"]

    real(scenario())


@pytest.mark.parametrize("addresses", ["127.0.0.2", "127.0.0.1 10.0.0.1", "169.254.169.254 127.0.0.1"])
def test_a_name_with_one_address_inside_is_not_visited(real: RunAsync, addresses: str) -> None:
    async def scenario() -> None:
        async with going_out(names(hooks_example=addresses)) as (egress, receiver):
            refused = await failure(egress, f"http://hooks.example:{receiver.port}/")
            assert isinstance(refused, EgressRefused)
            assert "not public" in refused.detail
            assert receiver.received == []

    real(scenario())


def test_a_name_that_turns_round_is_refused_at_its_next_connection(real: RunAsync) -> None:
    faces = iter(["127.0.0.1", "127.0.0.2"])

    async def scenario() -> None:
        async with going_out(lambda _: [(socket.AF_INET, next(faces))]) as (egress, receiver):
            url = f"http://two-faced.example:{receiver.port}/"
            assert (await fetch(egress, url)).status == 204
            assert (await failure(egress, url)).fault is EgressFault.REFUSED

    real(scenario())


def test_the_systems_own_name_for_this_machine_is_refused(real: RunAsync) -> None:
    async def scenario() -> None:
        async with Receiver.running() as receiver, Egress(EgressPolicy(allow_http=True)) as egress:
            for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
                refused = await failure(egress, f"http://{host}:{receiver.port}/")
                assert refused.fault is EgressFault.REFUSED
            assert receiver.received == []

    real(scenario())


def test_a_trusted_name_may_be_inside(real: RunAsync) -> None:
    trusting = EgressPolicy.allowing("hooks.internal", allow_http=True)

    async def scenario() -> None:
        async with (
            Receiver.running() as receiver,
            Egress(trusting, lookup=names(hooks_internal="127.0.0.1")) as egress,
        ):
            assert (await fetch(egress, f"http://hooks.internal:{receiver.port}/")).status == 204
            assert (await failure(egress, receiver.url)).fault is EgressFault.REFUSED

    real(scenario())


def test_no_socket_is_opened_to_an_address_that_was_not_checked(real: RunAsync) -> None:
    async def scenario() -> None:
        async with Receiver.running() as receiver:
            connector = TCPConnector(socket_factory=checked_sockets(EgressPolicy()))
            async with ClientSession(connector=connector) as session:
                with pytest.raises(ClientConnectorError, match="nobody has checked"):
                    await session.get(receiver.url)
            assert receiver.received == []

    real(scenario())


# Redirects


def redirecting(*locations: str, status: int = 302) -> Any:
    """Answers that lead along these locations and end there."""
    left = list(locations)

    def answer(_: Received) -> web.Response:
        return (
            web.Response(status=status, headers={"Location": left.pop(0)})
            if left
            else web.Response(text="there")
        )

    return answer


def test_a_redirect_is_an_answer_unless_it_may_be_followed(real: RunAsync) -> None:
    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = redirecting("/b")
            assert (await fetch(egress, f"{receiver.url}/a")).status == 302
            receiver.answer = redirecting("/b", "c")
            assert (await fetch(egress, f"{receiver.url}/a/", redirects=2)).body == b"there"
            assert [each.path for each in receiver.received] == ["/a", "/a/", "/b", "/c"]

    real(scenario())


def test_a_post_is_never_repeated_elsewhere(real: RunAsync) -> None:
    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = redirecting("/b", status=307)
            answer = await fetch(egress, receiver.url, method="POST", body=b"x", redirects=3)
            assert (answer.status, len(receiver.received)) == (307, 1)

    real(scenario())


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://inside.example:{port}/",
        "http://2130706434/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_inside_is_refused(real: RunAsync, location: str) -> None:
    async def scenario() -> None:
        async with going_out(names(inside_example="127.0.0.2")) as (egress, receiver):
            receiver.answer = redirecting(location.format(port=receiver.port))
            assert (await failure(egress, receiver.url, redirects=5)).fault is EgressFault.REFUSED
            assert len(receiver.received) == 1

    real(scenario())


def test_redirects_have_an_end(real: RunAsync) -> None:
    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = lambda _: web.Response(status=302, headers={"Location": "/again"})
            assert (await failure(egress, receiver.url, redirects=3)).fault is EgressFault.REDIRECTS
            assert len(receiver.received) == 4
            receiver.answer = redirecting("http://[")
            assert (await failure(egress, receiver.url, redirects=3)).fault is EgressFault.GARBAGE

    real(scenario())


def test_headers_stay_with_the_host_they_were_meant_for(real: RunAsync) -> None:
    async def scenario() -> None:
        async with going_out(names(other_example="127.0.0.1")) as (egress, receiver):
            receiver.answer = redirecting("/same", f"http://other.example:{receiver.port}/")
            await fetch(egress, receiver.url, headers={"Authorization": "secret"}, redirects=2)
            assert ["authorization" in each.headers for each in receiver.received] == [True, True, False]

    real(scenario())


# Receivers that are no good


def test_a_receiver_that_is_slow_is_not_waited_for(real: RunAsync) -> None:
    async def never(_: Received) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = never
            slow = await failure(egress, receiver.url, timeout=0.05)
            assert (slow.fault, slow.detail) == (EgressFault.TIMEOUT, "no answer within 0.05 s")

    real(scenario())


def test_a_body_that_never_ends_is_cut_off_by_time_or_size(real: RunAsync) -> None:
    async def endless(_: Received) -> web.Response:
        return web.Response(body=drip())

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = endless
            answer = await fetch(egress, receiver.url, max_bytes=1_000)
            assert (len(answer.body), answer.truncated) == (1_000, True)
            assert (
                await failure(egress, receiver.url, timeout=0.05, max_bytes=10**9)
            ).fault is EgressFault.TIMEOUT

    real(scenario())


def test_an_answer_of_just_the_limit_is_whole(real: RunAsync) -> None:
    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = lambda _: web.Response(body=b"x" * 1_000)
            answer = await fetch(egress, receiver.url, max_bytes=1_000)
            assert (len(answer.body), answer.truncated) == (1_000, False)

    real(scenario())


def test_what_is_compressed_stays_so(real: RunAsync) -> None:
    bomb = gzip.compress(bytes(10_000_000))

    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = lambda _: web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
            assert (await fetch(egress, receiver.url)).body == bomb
            assert receiver.received[0].headers["accept-encoding"] == "identity"

    real(scenario())


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", EgressFault.GARBAGE),
        (b"HTTP/1.1 abc\r\n\r\n", EgressFault.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", EgressFault.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", EgressFault.GARBAGE),
        (b"", EgressFault.UNREACHABLE),
    ],
)
def test_a_receiver_that_talks_nonsense_is_said_to(real: RunAsync, said: bytes, fault: EgressFault) -> None:
    async def scenario() -> None:
        async with saying(said) as url, Egress(OUTSIDE) as egress:
            assert (await failure(egress, url)).fault is fault

    real(scenario())


def test_nobody_there_and_no_such_name_are_unreachable(real: RunAsync) -> None:
    async def scenario() -> None:
        async with going_out(names()) as (egress, _):
            with socket.socket() as unheard:
                unheard.bind(("127.0.0.1", 0))  # bound and deaf: connections are refused
                nobody = await failure(egress, f"http://127.0.0.1:{unheard.getsockname()[1]}/secret")
            assert (nobody.fault, nobody.detail) == (EgressFault.UNREACHABLE, "127.0.0.1 takes no connection")
            nowhere = await failure(egress, "http://nowhere.example/secret")
            assert (nowhere.fault, nowhere.detail) == (
                EgressFault.UNREACHABLE,
                "nowhere.example has no address",
            )

    real(scenario())


def test_a_slow_name_server_holds_up_nobody_else(real: RunAsync) -> None:
    let_go = threading.Event()
    asked: list[str] = []

    def sometimes(host: str) -> list[tuple[socket.AddressFamily, str]]:
        asked.append(host)
        if host == "slow.example":
            let_go.wait()
        return [(socket.AF_INET, "127.0.0.1")]

    async def scenario() -> None:
        async with going_out(sometimes) as (egress, receiver):
            slow = [failure(egress, f"http://slow.example:{receiver.port}/", timeout=0.1) for _ in range(40)]
            waiting = asyncio.gather(*slow)
            assert (await fetch(egress, f"http://fast.example:{receiver.port}/")).status == 204
            assert {failed.fault for failed in await waiting} == {EgressFault.TIMEOUT}
            assert sorted(asked) == ["fast.example", "slow.example"]
            let_go.set()

    real(scenario())


# What is ours alone


def test_nothing_is_taken_from_the_environment_or_kept(
    real: RunAsync, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    for name, value in {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "NETRC": str(netrc),
    }.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)

    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            receiver.answer = lambda _: web.Response(headers={"Set-Cookie": "a=b; Path=/"})
            for _ in range(2):
                await fetch(egress, receiver.url)
            assert [set(each.headers) & {"authorization", "cookie"} for each in receiver.received] == [
                set(),
                set(),
            ]

    real(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"Content-Length": "3"},
        {"transfer-encoding": "chunked"},
        {"a b": "c"},
        {"": "c"},
        {"a": "b\r\nc: d"},
    ],
)
def test_headers_that_would_change_the_message_are_refused(real: RunAsync, headers: dict[str, str]) -> None:
    async def scenario() -> None:
        async with going_out() as (egress, receiver):
            assert (await failure(egress, receiver.url, headers=headers)).fault is EgressFault.REFUSED
            assert receiver.received == []

    real(scenario())


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS for one name, and a client's that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    issued = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    cert = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(issued)
        .not_valid_after(issued + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


def test_a_certificate_is_of_the_name_asked_for_and_believed(real: RunAsync, tmp_path: Path) -> None:
    server, believing = certificate(tmp_path, "hooks.example")
    lookup = names(hooks_example="127.0.0.1", other_example="127.0.0.1")

    async def scenario() -> None:
        async with Receiver.running(tls=server) as receiver:
            async with Egress(OUTSIDE, lookup=lookup, tls=believing) as egress:
                assert (await fetch(egress, f"https://hooks.example:{receiver.port}/")).status == 204
                other = await failure(egress, f"https://other.example:{receiver.port}/")
                assert other.fault is EgressFault.TLS
            async with Egress(OUTSIDE, lookup=lookup) as doubting:
                unknown = await failure(doubting, f"https://hooks.example:{receiver.port}/")
                assert unknown.fault is EgressFault.TLS
            assert len(receiver.received) == 1

    real(scenario())
