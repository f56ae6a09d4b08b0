"""Where the media of controlled calls run: begun before any socket, joined by sockets that bring a call's token.

Each stream that a carrier is told to open has a token of its own, bound to its call and its number in it. A socket that
comes with one becomes the call's stream, unless a later one is there already: two answers to the same question open
two sockets, in any order.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from control.agent_run import EffectiveAgent
from control.api.problem import Problem
from control.integrations import DEFAULT
from control.media_orders import Report
from control.timeline import TimelineEvent
from gateway.call_runner import AgentProvider, CallRunner, CallServices
from gateway.calls import Calls, Nobody
from gateway.media_auth import Authorised, StreamTokens
from gateway.media_socket import MediaSocket
from media.audio import PCMU_8K
from telephony.carrier import WIRES
from telephony.commands import MediaStream
from telephony.link import Link, LinkListener

log = structlog.get_logger()

# The socket is superseded: RFC 6455 leaves 4000 to 4999 to applications, and carriers report what they get.
_SUPERSEDED = 4000


@dataclass(slots=True)
class _Streams:
    """The streams of one call."""

    lifetimes: dict[int, float] = field(default_factory=dict)
    """Of the tokens minted, by the stream's number."""
    attached: int = 0
    """The number of the latest stream that has come."""


class MediaRoom:
    """Driven by the service (`begin`, `mint`, `revoke`) and by the listener (`accept_stream`)."""

    def __init__(
        self,
        calls: Calls,
        services: CallServices,
        tokens: StreamTokens,
        *,
        providers: Callable[[EffectiveAgent], Sequence[AgentProvider]],
        media_url: str,
        overloaded: Callable[[], str | None] = lambda: None,
    ) -> None:
        """
        Args:
            providers: where an agent's sessions are opened: the first, and those that are asked when it fails.
            media_url: below which carriers open media sockets, wss.
        """
        self._calls = calls
        self._services = services
        self._tokens = tokens
        self._providers = providers
        self._media_url = media_url.rstrip("/")
        self._streams: dict[str, _Streams] = {}
        self.free = calls.free
        self.overloaded = overloaded

    def begin(
        self,
        call_id: str,
        carrier: str,
        agent: EffectiveAgent,
        *,
        report: Callable[[Report], None],
        follow: Callable[[TimelineEvent], None],
    ) -> CallRunner:
        """Connect the agent now; the stream comes when it comes."""
        provider, *fallbacks = self._providers(agent)
        call = CallRunner(
            call_id,
            carrier,
            policy=agent.policy,
            provider=provider,
            fallbacks=fallbacks,
            services=self._services,
            outbound=PCMU_8K,  # what every stream of ours is asked for
            report=report,
            follow=follow,
        )
        self._calls.start(call)
        return call

    def mint(
        self,
        call_id: str,
        carrier: str,
        generation: int,
        lifetime: float,
        *,
        integration_id: str = DEFAULT,
    ) -> MediaStream:
        """A stream for the carrier to open, with a token of its own that is good for so many seconds."""
        now = asyncio.get_running_loop().time()
        self._streams.setdefault(call_id, _Streams()).lifetimes[generation] = lifetime
        token = self._tokens.mint(call_id, generation, now, integration_id=integration_id, lifetime=lifetime)
        return MediaStream(url=f"{self._media_url}/media/{carrier}/{token}")

    def revoke(self, call_id: str) -> None:
        """Whatever tokens of this call are unused are worth nothing any more."""
        self._tokens.revoke(call_id)
        self._streams.pop(call_id, None)

    def accept_stream(self, carrier: str, authorised: Authorised, link: Link) -> LinkListener:
        """Take in a socket that brought a call's token.

        Raises:
            Problem: its call is over, another carrier's, or has a later stream already.
        """
        call_id, generation = authorised.call_id, authorised.generation
        assert call_id is not None, "a token names its call"
        assert generation is not None, "a token names its stream"
        call, streams = self._calls.find(call_id), self._streams.get(call_id)
        if call is None or streams is None or call.carrier != carrier or generation <= streams.attached:
            raise Problem(404, "unknown_stream_token", "no stream is expected here")
        wire = WIRES[carrier]
        # A socket may open while the call still rings; its `start` comes with the answer.
        ringing = streams.lifetimes.get(generation, 0.0) if wire.connects_before_answer else 0.0
        return MediaSocket(
            carrier,
            link,
            claim=lambda _started, link, backlog: self._claim(call, streams, generation, link, backlog),
            abandoned=lambda reason: log.info(
                "media socket abandoned", carrier=carrier, call_id=call_id, reason=reason
            ),
            timeout=wire.start_timeout + ringing,
        )

    def _claim(
        self, call: CallRunner, streams: _Streams, generation: int, link: Link, backlog: list[bytes]
    ) -> LinkListener:
        if call.finished.is_set():
            link.close(1011, "the call has ended")
            return Nobody()
        if generation <= streams.attached:
            link.close(_SUPERSEDED, "a later stream is there")
            return Nobody()
        streams.attached = generation
        self._calls.counts.accepted += 1 if generation == 1 else 0
        return call.attach(link, backlog)
