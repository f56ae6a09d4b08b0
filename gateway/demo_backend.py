"""A small backend, as the demo has one: it dials, follows the call's events and commands it, all over the REST API.

This is what a user of the gateway writes, and all that it knows of the gateway is a URL and a key.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import ClientSession, ClientTimeout

# No answer of the gateway takes longer; a stream of events lasts as long as its call.
_TIMEOUT = ClientTimeout(total=30.0)
_STREAM = ClientTimeout(total=None, sock_connect=5.0, sock_read=60.0)


class RequestRefused(Exception):
    """The gateway answered with a problem."""

    def __init__(self, method: str, path: str, problem: Mapping[str, Any]) -> None:
        super().__init__(
            f"{method} {path}: {problem.get('status')} {problem.get('code')}: {problem.get('detail')}"
        )
        self.problem = problem


class Backend:
    """Asks one gateway, with one key."""

    def __init__(self, session: ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}

    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return what is answered.

        Raises:
            RequestRefused: it is a problem.
        """
        async with self._session.request(
            method, self._url + path, json=body, headers=self._headers, timeout=_TIMEOUT
        ) as answer:
            text = await answer.text()
            found: dict[str, Any] = json.loads(text) if text else {}
            if answer.status >= 400:
                raise RequestRefused(method, path, found)
            return found

    async def events(self, call_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield a call's events as they come, until it has ended."""
        url = f"{self._url}/v1/calls/{call_id}/events?follow=1"
        async with self._session.get(url, headers=self._headers, timeout=_STREAM) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                name, _, value = line.decode().partition(": ")
                if name == "data":
                    yield json.loads(value)
