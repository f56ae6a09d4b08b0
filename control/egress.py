"""What we ask of other people's web servers, what they answer, and how that fails: the port to the world outside.

Everything that goes to a URL which a user gave goes through one `Fetch` (`gateway.egress`), under one policy
(`control.egress_policy`). Errors name the host at most: the rest of a URL may be a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# What a receiver needs to answer; who needs longer is told to answer first and work afterwards.
TIMEOUT = 10.0
CONNECT_TIMEOUT = 5.0

MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequest:
    """One HTTP request to a URL that a user gave."""

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout: float = TIMEOUT
    """Seconds for everything: resolution, connection, answer, redirects."""
    connect_timeout: float = CONNECT_TIMEOUT
    max_bytes: int = MAX_BYTES
    """Of the answer's body; what is beyond is not read."""
    redirects: int = 0
    """How many are followed, each checked as the first; only a GET's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingAnswer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By names in lower case."""
    body: bytes = field(default=b"", repr=False)
    truncated: bool = False
    """Whether there was more than `max_bytes`."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class EgressFault(StrEnum):
    """Why there was no answer."""

    REFUSED = "refused"
    """By us: the URL or an address behind it is not allowed."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """No such name, no connection, or it broke."""
    TLS = "tls"
    GARBAGE = "garbage"
    """What came was not HTTP."""
    REDIRECTS = "too_many_redirects"


class EgressFailed(Exception):
    """There is no answer. `detail` may be shown to whoever gave the URL."""

    def __init__(self, fault: EgressFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


class EgressRefused(EgressFailed):
    """We do not go there: nothing was sent."""

    def __init__(self, detail: str) -> None:
        super().__init__(EgressFault.REFUSED, detail)


class Fetch(Protocol):
    """Sends a request and returns the answer.

    Raises:
        EgressFailed: there is none; `EgressRefused` where the policy forbids it.
    """

    async def __call__(self, request: OutgoingRequest, /) -> OutgoingAnswer: ...
