"""Stored agents as everybody but the store knows them: nothing secret lies there in the clear."""

import pytest

from control.agent_sealing import sealed, unsealed
from control.agents import AgentConfig
from control.secrets import SecretKeys, SecretUnreadable, new_key

SECRET = "Bearer t0psecret"
CONFIG = AgentConfig.model_validate(
    {
        "name": "sales",
        "instructions": "Sell.",
        "rate_per_minute": 0.0125,
        "silence_prompts": [],
        "end_call_enabled": True,
        "tools": [
            {
                "tool_id": "tool_1",
                "name": "look_up",
                "url": "https://shop.example/orders",
                "headers": {"Authorization": SECRET, "X-Shop": "7"},
                "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}},
                "filler": {"phrase": "One moment."},
            },
            {"tool_id": "tool_2", "name": "plain", "url": "https://shop.example/plain", "method": "GET"},
            {"tool_id": "tool_3", "name": "end_call", "description": "When they are done."},
        ],
    }
)


def test_a_configuration_comes_back_as_it_was_kept() -> None:
    keys = SecretKeys([new_key()])
    draft = sealed(CONFIG, keys, "note")
    assert SECRET not in str(draft.configuration)
    assert "headers" not in draft.configuration["tools"][0]
    found = unsealed(draft.configuration, draft.secrets, keys)
    assert found == CONFIG
    assert found.with_secrets() == CONFIG.with_secrets()
    assert draft.note == "note"


def test_where_nothing_is_secret_no_key_is_needed() -> None:
    plain = AgentConfig(name="plain", silence_prompts=("Hello?",))
    draft = sealed(plain, SecretKeys([new_key()]))
    assert draft.secrets is None
    assert unsealed(draft.configuration, None, SecretKeys([new_key()])) == plain


def test_with_another_key_it_cannot_be_read() -> None:
    draft = sealed(CONFIG, SecretKeys([new_key()]))
    with pytest.raises(SecretUnreadable):
        unsealed(draft.configuration, draft.secrets, SecretKeys([new_key()]))
