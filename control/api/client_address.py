"""Whose request it is: the address that connects, or the one that a proxy of ours vouches for."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_BRACKETED = re.compile(r"\[([^]]*)\](?::\d+)?")


class TrustedProxies:
    """The proxies that may say for whom they ask. Everybody else asks for themselves."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """
        Raises:
            ValueError: a network is none, such as `10.0.0.0/8` or `::1`.
        """
        self._networks: list[Network] = [ip_network(network) for network in networks]

    def client(self, peer: str | None, forwarded_for: str | None) -> str:
        """Return the client's address.

        `X-Forwarded-For`, all its lines joined, is read from its end: each proxy of ours appends whom it was asked by,
        and what stands before the first address that is not one of ours was written by whoever sent the request.
        """
        address = peer or "unknown"
        for hop in reversed((forwarded_for or "").split(",")):
            if not self._trusted(address):
                break
            claimed = _parsed(hop.strip())
            if claimed is None:
                break
            address = str(claimed)
        return address

    def _trusted(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def neighbourhood(client: str) -> str:
    """Return whom a client's misdeeds are put down to: its address; of IPv6 its /64, all of which is one customer's
    (RFC 6177), who could ask from another address of it each time.
    """
    parsed = _parsed(client)
    if not isinstance(parsed, IPv6Address):
        return client
    return str(IPv6Network((int(parsed), 64), strict=False))


def _parsed(text: str) -> Address | None:
    """Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    bracketed = _BRACKETED.fullmatch(text)
    plain = (
        bracketed[1] if bracketed is not None else text.partition(":")[0] if text.count(":") == 1 else text
    )
    try:
        address = ip_address(plain)
    except ValueError:
        return None
    # What listens on both families sees IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2).
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
