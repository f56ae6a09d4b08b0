"""The one HTTP client for URLs that users gave: it goes only where the policy lets it, and waits for nobody for long.

**Theory of operation.** A URL is checked before anything happens. A name is then resolved by us, every address of it
is checked, and the connection goes to one of exactly these: there is no second resolution in which a name could turn
round (DNS rebinding). What the sockets are opened to is compared once more, so that no other way in through the HTTP
library leads past the check. Redirects are followed by us, if at all, each one as a new URL. Nothing is taken from
the environment (proxies, .netrc), no cookie is kept, nothing is decompressed, and a body is read up to its limit.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from aiohttp import (
    AddrInfoType,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from control.egress import EgressFailed, EgressFault, EgressRefused, OutgoingAnswer, OutgoingRequest
from control.egress_policy import EgressPolicy
from gateway.settings import Settings

# At a time, in all and to one host: the slowest of all receivers must leave room for the others.
CONNECTIONS = 256
CONNECTIONS_PER_HOST = 32

# Seconds an idle connection is kept: less than common servers keep theirs (5 s), or a request would meet its end.
KEPT = 4.0

# A name server that does not answer holds a thread for half a minute, so they are ours alone: nothing else of the
# gateway waits for one.
RESOLVER_THREADS = 16

REDIRECTS = frozenset({301, 302, 303, 307, 308})

# What frames a message on its connection is the HTTP library's to say.
_OUR_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade"}
    | {"te", "trailer", "expect", "proxy-authorization", "proxy-connection"}
)

Lookup = Callable[[str], list[tuple[socket.AddressFamily, str]]]
"""Resolves a name, blocking; raises OSError where it cannot."""


def system_lookup(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Ask the system's resolver for every address that a stream can be opened to."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [(family, str(address[0])) for family, _, _, _, address in found]


def egress_policy(settings: Settings) -> EgressPolicy:
    """Where users may send us."""
    return EgressPolicy.allowing(settings.egress_allow or "", allow_http=settings.egress_allow_http)


class CheckedAddress(str):
    """An address that was checked under the name it belongs to."""

    __slots__ = ()


class CheckedResolver(AbstractResolver):
    """Resolves names to checked addresses; as many requests as want the same name wait for one lookup."""

    def __init__(self, policy: EgressPolicy, lookup: Lookup) -> None:
        self._policy = policy
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")
        self._pending: dict[str, asyncio.Future[list[tuple[socket.AddressFamily, str]]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return every address of the name.

        Raises:
            EgressRefused: one of them is not allowed.
            OSError: there is none.
        """
        found = await asyncio.shield(self._looking_up(host))
        self._policy.check_addresses(host, [address for _, address in found])
        return [
            ResolveResult(
                hostname=host,
                host=CheckedAddress(address),
                port=port,
                family=each,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for each, address in found
            if family in (socket.AF_UNSPEC, each)
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _looking_up(self, host: str) -> "asyncio.Future[list[tuple[socket.AddressFamily, str]]]":
        pending = self._pending.get(host)
        if pending is None:
            loop = asyncio.get_running_loop()
            pending = loop.run_in_executor(self._threads, self._lookup, host)
            self._pending[host] = pending
            pending.add_done_callback(lambda done: self._looked_up(host, done))
        return pending

    def _looked_up(self, host: str, done: "asyncio.Future[list[tuple[socket.AddressFamily, str]]]") -> None:
        del self._pending[host]
        if not done.cancelled():
            done.exception()  # whoever waited may have given up: it is nobody's error then


def checked_sockets(policy: EgressPolicy) -> Callable[[AddrInfoType], socket.socket]:
    """Return how sockets are opened: to checked addresses, and to others only if the policy permits them."""

    def open_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, destination = info
        address = destination[0]
        if not isinstance(address, CheckedAddress) and not policy.permits(str(address)):
            raise PermissionError(errno.EACCES, "nobody has checked this address")
        return socket.socket(family, kind, protocol)

    return open_socket


class Egress:
    """A `control.egress.Fetch`, from `open` to `close`."""

    def __init__(
        self, policy: EgressPolicy, *, lookup: Lookup = system_lookup, tls: ssl.SSLContext | None = None
    ) -> None:
        """
        Args:
            lookup: how names are resolved.
            tls: whose certificates are believed; the system's authorities unless told.
        """
        self.policy = policy
        self._lookup = lookup
        self._tls = tls
        self._resolver: CheckedResolver | None = None
        self._session: ClientSession | None = None

    async def open(self) -> None:
        self._resolver = CheckedResolver(self.policy, self._lookup)
        connector = TCPConnector(
            resolver=self._resolver,
            socket_factory=checked_sockets(self.policy),
            use_dns_cache=False,
            limit=CONNECTIONS,
            limit_per_host=CONNECTIONS_PER_HOST,
            keepalive_timeout=KEPT,
            ssl=self._tls or True,
        )
        self._session = ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "Offhook", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._resolver is not None:
            await self._resolver.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __call__(self, request: OutgoingRequest) -> OutgoingAnswer:
        """Send the request; see `control.egress.Fetch`."""
        try:
            async with asyncio.timeout(request.timeout):
                return await self._follow(request)
        except TimeoutError as error:
            raise EgressFailed(EgressFault.TIMEOUT, f"no answer within {request.timeout:g} s") from error

    async def _follow(self, request: OutgoingRequest) -> OutgoingAnswer:
        url = self.policy.check_url(request.url)
        headers = _own_headers(request.headers)
        for _ in range(request.redirects + 1):
            answer = await self._exchange(request, url, headers)
            location = _redirected(request, answer)
            if location is None:
                return answer
            target = self.policy.check_url(_joined(url, location))
            if target.origin() != url.origin():
                headers = {}  # they were meant for somebody else
            url = target
        raise EgressFailed(EgressFault.REDIRECTS, f"more than {request.redirects} redirects")

    async def _exchange(
        self, request: OutgoingRequest, url: URL, headers: Mapping[str, str]
    ) -> OutgoingAnswer:
        if self._session is None:
            raise RuntimeError("requests are sent between open and close")
        try:
            async with self._session.request(
                request.method,
                url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                timeout=ClientTimeout(total=None, sock_connect=request.connect_timeout),
            ) as response:
                return await _read(response, request.max_bytes)
        except TimeoutError as error:
            raise EgressFailed(EgressFault.TIMEOUT, f"{url.host} takes no connection in time") from error
        except (ClientError, OSError) as error:
            raise _failure(url, error) from error


def _own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name.lower() in _OUR_HEADERS:
            raise EgressRefused(f"the header {name.lower()} is not for users to set")
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise EgressRefused("a header's name is letters, digits, - and _")
        if any(ord(character) < 32 and character != "\t" for character in value):
            raise EgressRefused(f"the header {name.lower()} has a control character in it")
    return dict(headers)


def _redirected(request: OutgoingRequest, answer: OutgoingAnswer) -> str | None:
    """Where the answer sends us, if we follow."""
    if request.redirects and request.method == "GET" and answer.status in REDIRECTS:
        return answer.headers.get("location")
    return None


def _joined(url: URL, location: str) -> str:
    try:
        return str(url.join(URL(location)))
    except ValueError as error:
        raise EgressFailed(EgressFault.GARBAGE, f"{url.host} redirects to no URL") from error


async def _read(response: ClientResponse, limit: int) -> OutgoingAnswer:
    body = bytearray()
    while len(body) <= limit and (piece := await response.content.read(limit + 1 - len(body))):
        body += piece
    truncated = len(body) > limit
    if truncated:
        response.close()  # the rest is not read: the connection is of no use any more
    return OutgoingAnswer(
        status=response.status,
        headers={name.lower(): value for name, value in response.headers.items()},
        body=bytes(body[:limit]),
        truncated=truncated,
    )


def _failure(url: URL, error: ClientError | OSError) -> EgressFailed:
    """What went wrong, in words that give away nothing of the URL but its host."""
    host = url.host
    match error:
        case InvalidURL():
            return EgressRefused("it is not a URL")
        case ClientSSLError():
            return EgressFailed(EgressFault.TLS, f"{host} has no certificate we believe, or speaks no TLS")
        case ClientConnectorDNSError():
            return EgressFailed(EgressFault.UNREACHABLE, f"{host} has no address")
        case ClientConnectorError():
            return EgressFailed(EgressFault.UNREACHABLE, f"{host} takes no connection")
        case ClientResponseError() | ClientPayloadError():
            return EgressFailed(EgressFault.GARBAGE, f"{host} answers what is not HTTP")
        case _:
            return EgressFailed(EgressFault.UNREACHABLE, f"{host} broke the connection")
