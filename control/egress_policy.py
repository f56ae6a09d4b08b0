"""Where we go when a user gives us a URL: which URLs, which ports, and which addresses a name may stand for.

A gateway sits inside somebody's network, beside databases, admin pages and the cloud's metadata service; whoever may
give it a URL must not reach those through it. The rule is one of admission: an address must be *global unicast*, and
none that carries another address inside, since a translator on the way would unwrap it.

The URL is parsed by the library the HTTP client parses it with, so the two cannot disagree about the host.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

from control.egress import EgressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2048

# The "bad ports" of WHATWG Fetch (port blocking): services that take a line of HTTP for one of their own, mail above
# all. Any other port is somebody's web server; 443 alone would forbid half of all test receivers and protect nothing
# that the rule on addresses does not.
BAD_PORTS = frozenset(
    {0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103}
    | {104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513}
    | {514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720}
    | {1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)

# IANA's special-purpose registry for IPv4 (RFC 6890 and successors), and what follows after multicast.
_FORBIDDEN_V4 = {
    ip_network(text): why
    for text, why in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared by carrier-grade NAT",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "the platform service of a cloud",  # Azure's, in public space
        "169.254.0.0/16": "link-local",  # 169.254.169.254: the metadata of most clouds
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved for protocols",
        "192.0.2.0/24": "documentation",
        "192.31.196.0/24": "an anycast sink",
        "192.52.193.0/24": "an anycast relay",
        "192.88.99.0/24": "an anycast relay",
        "192.168.0.0/16": "private",
        "192.175.48.0/24": "an anycast sink",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
}

# IPv6 has one block of global unicast (RFC 4291, IANA); inside it are these. Outside are loopback, unique local,
# link-local, multicast, IPv4-mapped and NAT64.
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = {
    ip_network(text): why
    for text, why in {
        "2001::/23": "reserved for protocols",  # Teredo too
        "2001:db8::/32": "documentation",
        "2002::/16": "6to4: an IPv4 address inside",
        "2620:4f:8000::/48": "an anycast sink",
        "3fff::/20": "documentation",
    }.items()
}

# Where clouds hand out a machine's credentials: the first thing that is tried.
METADATA = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254")

# A host of which the last label is a number is an IPv4 address to somebody (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")


def forbidden(address: Address) -> str | None:
    """Why we do not go to this address; None if we do."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None or address not in _GLOBAL_V6:
            return "not a global unicast address"
        return next((why for network, why in _FORBIDDEN_V6.items() if address in network), None)
    return next((why for network, why in _FORBIDDEN_V4.items() if address in network), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy:
    """The rules, with the exceptions that the operator of this gateway has made."""

    allow_http: bool = False
    """Whether URLs without TLS are allowed."""
    hosts: frozenset[str] = frozenset()
    """Names whose addresses are allowed whatever they are."""
    networks: tuple[Network, ...] = ()
    """Addresses allowed although they are not global."""

    @classmethod
    def allowing(cls, exceptions: str, *, allow_http: bool = False) -> "EgressPolicy":
        """Read exceptions as the settings spell them: addresses, networks and names, separated by commas.

        Raises:
            ValueError: one is none of these; the message names it.
        """
        hosts: set[str] = set()
        networks: list[Network] = []
        for item in filter(None, (part.strip().lower() for part in exceptions.split(","))):
            if re.fullmatch(r"[0-9.]+(/.*)?|.*:.*|.*/.*", item):
                networks.append(_network(item))
            elif _NAME.fullmatch(item):
                hosts.add(item.rstrip("."))
            else:
                raise ValueError(f"{item!r} is no address, network or host name")
        return cls(allow_http=allow_http, hosts=frozenset(hosts), networks=tuple(networks))

    def check_url(self, url: str) -> URL:
        """Return the URL as it will be asked for, without its fragment.

        Raises:
            EgressRefused: we do not go there; says why without repeating the URL.
        """
        if len(url) > MAX_URL or _UNPRINTABLE.search(url):
            raise EgressRefused(f"a URL has at most {MAX_URL} characters and no spaces")
        try:
            parsed = URL(url)
        except ValueError as error:
            raise EgressRefused("it is not a URL") from error
        self._check_scheme(parsed)
        if parsed.raw_user is not None or parsed.raw_password is not None:
            raise EgressRefused("a URL with a user name or password is not allowed; use a header")
        if parsed.port in BAD_PORTS:
            raise EgressRefused(f"port {parsed.port} belongs to another protocol")
        self._check_host(parsed.raw_host or "")
        return parsed.with_fragment(None)

    def check_addresses(self, host: str, addresses: Iterable[str]) -> None:
        """Check what a name resolved to: one forbidden address condemns all, as names of two faces do only one thing.

        Raises:
            EgressRefused: an address is not allowed.
        """
        if self._trusts(host):
            return
        for text in addresses:
            self._check_address(host, ip_address(text))

    def excepts(self, url: str) -> bool:
        """Whether the operator names the URL's host among the exceptions, itself or as an address of a network.

        For what is connected to by others than `gateway.egress`, which check no addresses: whatever such a host
        resolves to is the operator's own decision.
        """
        try:
            parsed = URL(url)
        except ValueError:
            return False
        if parsed.scheme not in ("https", "wss") and not self.allow_http:
            return False
        host = parsed.raw_host or ""
        literal = _literal(host)
        return self._trusts(host) if literal is None else self._excepted(literal)

    def permits(self, address: str) -> bool:
        """Whether we go to this address, whatever name led to it."""
        literal = ip_address(address)
        return self._excepted(literal) or forbidden(literal) is None

    def _check_scheme(self, url: URL) -> None:
        if url.scheme == "https" or (url.scheme == "http" and self.allow_http):
            return
        raise EgressRefused(
            "only https is allowed" if not self.allow_http else "only https and http are allowed"
        )

    def _check_host(self, host: str) -> None:
        literal = _literal(host)
        if literal is not None:
            self._check_address(host, literal)
        elif _NUMBER.fullmatch(host):
            raise EgressRefused("an address is written as four decimal numbers")
        elif not _NAME.fullmatch(host) or len(host) > 253:
            raise EgressRefused("it names no host")

    def _check_address(self, host: str, address: Address) -> None:
        if not self._excepted(address) and (why := forbidden(address)) is not None:
            # Not the address itself: who gave the name need not learn what it means in here.
            raise EgressRefused(f"{host} is at an address that is not public ({why})")

    def _excepted(self, address: Address) -> bool:
        return any(address in network for network in self.networks)

    def _trusts(self, host: str) -> bool:
        return host.lower().rstrip(".") in self.hosts


def _literal(host: str) -> Address | None:
    """The address a host spells canonically; `ipaddress` refuses octal, hexadecimal and short forms."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no address or network: {error}") from error
