"""Proves to agents' servers that what they are asked comes from us (Standard Webhooks)."""

from collections.abc import Callable, Mapping
from datetime import datetime

from control.agent_run import EffectiveAgent
from control.webhook_message import message_headers


class ServerSigning:
    """Signs with the agent's own secrets, else with the one that signs the webhooks of calls."""

    def __init__(self, secret: str, clock: Callable[[], datetime]) -> None:
        """
        Args:
            secret: for agents that have none of their own.
            clock: the time of day, aware.
        """
        self._secret = secret
        self._clock = clock

    def headers(self, agent: EffectiveAgent, message_id: str, body: bytes) -> Mapping[str, str]:
        """Return the headers of a message to the agent's server."""
        return message_headers(message_id, body, agent.signing or (self._secret,), self._clock())
