"""Who may open a media socket: decided before the upgrade, and closed unless a rule lets it in.

Three ways in. A *stream token* that we minted for one stream of one call: single use, short-lived, in the path.
A *shared secret* in its place (`OFFHOOK_MEDIA_AUTH=shared:<secret>`) for foreign clients and load generators.
*None at all* (`OFFHOOK_MEDIA_AUTH=none`), believed only while nobody but this machine can be asking.
Where Twilio signs the upgrade, and we hold the key, a wrong signature is refused whatever else is right.
"""

import hashlib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from secrets import token_urlsafe
from typing import Literal
from urllib.parse import urlsplit

from control.integrations import DEFAULT
from telephony.signatures import SignatureRefused, equal, header
from telephony.twilio.webhooks import verify_upgrade

# Seconds until an unused token is worth nothing: a carrier connects within one or two of being told to.
TOKEN_LIFETIME = 60.0

# A shared secret stands in a URL for as long as the process lives; shorter ones can be guessed.
SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True)
class Authorised:
    """How a media socket was let in."""

    by: Literal["token", "shared", "none"]
    call_id: str | None = None
    """The call that the token was minted for."""
    generation: int | None = None
    """Which of the call's streams the token was minted for."""
    integration_id: str = DEFAULT
    """The carrier account of that call."""


class MediaRefused(Exception):
    """A media socket is not let in."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class StreamTokens:
    """Tokens waiting to be used. Driven by who starts streams (`mint`) and who accepts them (`redeem`)."""

    def __init__(self) -> None:
        # By digest: what can be timed in the search tells nothing of a token.
        self._waiting: dict[bytes, tuple[Authorised, float]] = {}
        self._expiries: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def mint(
        self,
        call_id: str,
        generation: int,
        now: float,
        *,
        integration_id: str = DEFAULT,
        lifetime: float = TOKEN_LIFETIME,
    ) -> str:
        """A new token for one stream."""
        self._expire(now)
        token = token_urlsafe(32)
        digest = _digest(token)
        self._waiting[digest] = Authorised("token", call_id, generation, integration_id), now + lifetime
        heappush(self._expiries, (now + lifetime, digest))
        return token

    def look(self, token: str, now: float) -> Authorised | None:
        """What the token was minted for, without using it."""
        self._expire(now)
        found = self._waiting.get(_digest(token))
        return found[0] if found is not None else None

    def redeem(self, token: str, now: float) -> Authorised | None:
        """What the token was minted for, once; None if it is unknown, used or expired."""
        self._expire(now)
        found = self._waiting.pop(_digest(token), None)
        return found[0] if found is not None else None

    def revoke(self, call_id: str) -> None:
        """The call is over: whatever still waits for it is worth nothing."""
        for digest, (authorised, _) in list(self._waiting.items()):
            if authorised.call_id == call_id:
                del self._waiting[digest]

    def _expire(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            self._waiting.pop(heappop(self._expiries)[1], None)


class MediaAuth:
    """The gate. Driven by the listener, once per upgrade; never touches a socket."""

    def __init__(
        self,
        mode: str = "tokens",
        *,
        tokens: StreamTokens,
        bound_host: str,
        public_url: str | None = None,
        twilio_secret: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """
        Args:
            twilio_secret: what Twilio signs with, of an account by its integration id.
        """
        self._open = mode == "none" and is_loopback(bound_host) and _is_local_url(public_url)
        self._shared = shared_secret(mode)
        self._tokens = tokens
        self._public_url = public_url
        self._twilio_secret = twilio_secret

    def warning(self) -> str | None:
        """What must be said loudly when the gateway starts."""
        if self._shared is not None:
            return "anyone who knows the shared secret may open media sockets from anywhere"
        if self._open:
            return "any program on this machine may open media sockets without authentication"
        return None

    def authorise(
        self, carrier: str, token: str, *, target: str, headers: Mapping[str, str], now: float
    ) -> Authorised:
        """Let a socket in; `target` is the request's path and query as received, `headers` any-case.

        Raises:
            MediaRefused: 403 for a wrong signature, 404 for everything else.
        """
        if carrier == "twilio":
            expected = self._tokens.look(token, now)
            self._check_twilio(target, headers, DEFAULT if expected is None else expected.integration_id)
        if self._shared is not None and equal(token, self._shared):
            return Authorised("shared")
        granted = self._tokens.redeem(token, now)
        if granted is not None:
            return granted
        if self._open and _from_this_machine(headers):
            return Authorised("none")
        raise MediaRefused(404, "unknown_stream_token", "no stream is expected here")

    def _check_twilio(self, target: str, headers: Mapping[str, str], integration_id: str) -> None:
        """Twilio signs the exact URL of its TwiML, which is ours: never what a proxy says it was."""
        secret = self._twilio_secret(integration_id)
        if header(headers, "x-twilio-signature") is None or secret is None:
            return
        if self._public_url is None:
            raise MediaRefused(403, "invalid_signature", "signed, but the public URL is not configured")
        url = media_origin(self._public_url) + target
        try:
            verify_upgrade(url, headers, auth_token=secret)
        except SignatureRefused as refused:
            raise MediaRefused(403, refused.code, refused.detail) from refused


def media_origin(public_url: str) -> str:
    """Where carriers open media sockets: the public URL as wss, without a trailing slash."""
    parts = urlsplit(public_url)
    return f"wss://{parts.netloc}{parts.path.rstrip('/')}"


def shared_secret(mode: str) -> str | None:
    """The secret of `shared:<secret>`; None in any other mode.

    Raises:
        ValueError: no such mode, or a secret too short for it.
    """
    kind, colon, secret = mode.partition(":")
    if kind == "shared" and colon:
        if len(secret) < SHORTEST_SECRET or not secret.isascii() or "/" in secret:
            raise ValueError(f"a shared secret is at least {SHORTEST_SECRET} ASCII characters without '/'")
        return secret
    if mode not in ("none", "tokens"):
        raise ValueError("is one of: tokens, none, shared:<secret>")
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local_url(url: str | None) -> bool:
    return url is None or is_loopback(urlsplit(url).hostname or "")


def _from_this_machine(headers: Mapping[str, str]) -> bool:
    """No proxy or tunnel in between, and no web page in a browser here: both reach loopback from outside."""
    if any(name.lower() == "forwarded" or name.lower().startswith("x-forwarded-") for name in headers):
        return False
    host = urlsplit(f"//{headers.get('host', 'localhost')}").hostname
    origin = urlsplit(headers.get("origin", "http://localhost")).hostname
    return is_loopback(host or "") and is_loopback(origin or "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
