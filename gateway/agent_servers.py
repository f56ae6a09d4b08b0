"""Asks agents' own servers: what a call is to be, and tells them what was said. In bounded time, signed.

It never raises for what a server does wrong: whoever asked goes on without it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from control.agent_run import EffectiveAgent
from control.api.server_answers import AnswerUnreadable, read_commands, read_started
from control.call_record import CallRecord
from control.egress import EgressFailed, EgressFault, Fetch, OutgoingAnswer, OutgoingRequest
from control.server_answer import (
    MOST_BYTES,
    TIMEOUT,
    ServerAnswer,
    ServerFault,
    call_started,
    transcript_updated,
)
from gateway.server_signing import ServerSigning

Reader = Callable[[bytes], ServerAnswer]


class AgentServers:
    """Driven by live calls."""

    def __init__(self, fetch: Fetch, signing: ServerSigning) -> None:
        self._fetch = fetch
        self._signing = signing

    async def call_started(self, agent: EffectiveAgent, record: CallRecord) -> ServerAnswer | ServerFault:
        """Ask what the call is to be."""
        return await self._ask(agent, f"{record.call_id}.started", call_started(record), read_started)

    async def transcript_updated(
        self, agent: EffectiveAgent, record: CallRecord, number: int, role: str, text: str
    ) -> ServerAnswer | ServerFault:
        """Tell what was said; `number` counts these from 1."""
        told = transcript_updated(record, number, role, text)
        return await self._ask(agent, f"{record.call_id}.transcript.{number}", told, read_commands)

    async def _ask(
        self, agent: EffectiveAgent, message_id: str, message: Mapping[str, object], read: Reader
    ) -> ServerAnswer | ServerFault:
        url = agent.config.server_url
        if url is None:
            return ServerFault("the agent has no server")
        body = msgspec.json.encode(message)
        request = OutgoingRequest(
            url=url,
            method="POST",
            headers=self._signing.headers(agent, message_id, body),
            body=body,
            timeout=TIMEOUT,
            max_bytes=MOST_BYTES,
        )
        try:
            return _read(await self._answer(request), read)
        except EgressFailed as failure:
            late = failure.fault is EgressFault.TIMEOUT
            return ServerFault(f"no answer within {TIMEOUT:g} s" if late else failure.detail)

    async def _answer(self, request: OutgoingRequest) -> OutgoingAnswer:
        """Ask again, once, where the connection broke: a kept one may be closed by its server at any moment.

        The message has the same id, by which the server knows it.
        """
        now = asyncio.get_running_loop().time
        until = now() + TIMEOUT
        try:
            return await self._fetch(request)
        except EgressFailed as failure:
            left = until - now()
            if failure.fault is not EgressFault.UNREACHABLE or left <= 0:
                raise
            return await self._fetch(replace(request, timeout=left))


def _read(answer: OutgoingAnswer, read: Reader) -> ServerAnswer | ServerFault:
    if not answer.ok:
        return ServerFault(f"HTTP {answer.status}")
    if answer.truncated:
        return ServerFault(f"the answer is longer than {MOST_BYTES} bytes")
    try:
        return read(answer.body)
    except AnswerUnreadable as unreadable:
        return ServerFault(str(unreadable))
