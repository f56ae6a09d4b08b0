"""Media URLs of a gateway on this machine: written `wss` as carriers demand, reached without TLS.

A TwiML document and a `stream_url` name `wss` whatever the gateway listens on; in front of a real one stands whoever
ends TLS. A simulated carrier beside the gateway has nobody in between, so on loopback it opens the same address in the
clear.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from gateway.media_auth import is_loopback
from telephony.link import Connector, Link, LinkListener


def plain_on_loopback(connect: Connector) -> Connector:
    """Return a connector that opens `wss` URLs of this machine as `ws`, and every other as it is."""

    async def open_link(
        url: str, listener: LinkListener, *, headers: Mapping[str, str] | None = None
    ) -> Link:
        return await connect(plain_url(url), listener, headers=headers)

    return open_link


def plain_url(url: str) -> str:
    """Return the URL without TLS if its host is this machine."""
    parts = urlsplit(url)
    if parts.scheme != "wss" or not is_loopback(parts.hostname or ""):
        return url
    return urlunsplit(parts._replace(scheme="ws"))
