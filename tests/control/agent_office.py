"""The endpoints of agents over HTTP, over a store of their own: two tenants, and an agent of the settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from control.agent_book import AgentBook
from control.agents import AgentConfig
from control.api.agent_desk import AgentDesk
from control.api.agent_endpoints import AgentEndpoints
from control.api.agent_tool_endpoints import AgentToolEndpoints
from control.api.agent_version_endpoints import AgentVersionEndpoints
from control.directory import Directory
from control.egress_policy import EgressPolicy
from control.secrets import SecretKeys, new_key
from control.service.reception import Reception
from control.stores.keys import Scope
from control.stores.store import Store
from tests.control.service_scene import an_agent, house
from tests.served_api import Said, Users, made, served

RECEPTION = AgentConfig.model_validate(
    {
        "name": "reception",
        "voice": "cedar",
        "greeting": "Greet them.",
        "tools": [{"name": "ring", "url": "https://bell.example", "headers": {"X-Key": "settings-secret"}}],
    }
)
SECRET = "Bearer t0psecret"
LOOK_UP = {
    "name": "look_up",
    "description": "Finds an order.",
    "url": "https://shop.example/orders",
    "headers": {"Authorization": SECRET, "X-Shop": "7"},
    "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
}
SALES: dict[str, Any] = {
    "name": "sales",
    "from_number": "+13125550101",
    "voice": "marin",
    "instructions": "Today is {{date}}. Sell {{product}}.",
    "silence_prompts": [],
    "barge_in": {"min_speech_ms": 200},
    "rate_per_minute": 0.0125,
    "metadata": {"team": "a"},
    "tools": [LOOK_UP],
}


@dataclass(frozen=True, slots=True)
class Office:
    """Who asks, and what is kept."""

    store: Store
    book: AgentBook
    user: Users
    reader: Users
    stranger: Users
    """Another tenant's."""

    async def ask(self, method: str, path: str, body: Any = None) -> Said:
        return await self.user.ask(method, path, json=body)

    async def makes(self, **changes: Any) -> dict[str, Any]:
        """An agent that was made, as it was answered."""
        said = await self.ask("POST", "/v1/agents", {**SALES, **changes})
        assert said.status == 201, said.body
        return dict(said.json)


@asynccontextmanager
async def office(folder: Path, *, settings: Sequence[AgentConfig] = (RECEPTION,)) -> AsyncIterator[Office]:
    store = await Store.open(f"sqlite:///{folder / 'offhook.db'}", migrate=True)
    book = AgentBook(
        store.agents,
        SecretKeys([new_key()]),
        new_id=lambda prefix: f"{prefix}_{token_hex(12)}",
        clock=lambda: datetime.now(UTC),
    )
    directory = Directory(
        default=an_agent(AgentConfig(name="default")), agents=[an_agent(each) for each in settings]
    )
    reception = Reception(house())
    desk = AgentDesk(directory, book, EgressPolicy.allowing(""), reception.unknown_providers)
    endpoints = [
        *AgentEndpoints(desk, reception.effective).endpoints(),
        *AgentVersionEndpoints(desk).endpoints(),
        *AgentToolEndpoints(desk).endpoints(),
    ]
    try:
        async with served(folder, endpoints) as api:
            stranger = api.user.with_key((await made(store, Scope.FULL, "other")).secret)
            yield Office(store, book, api.user, api.reader, stranger)
    finally:
        await store.close()


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


def pointers(said: Said) -> list[str]:
    """Where the faults of a 422 are."""
    assert said.status == 422, said.body
    return [fault["pointer"] for fault in said.json["errors"]]
