"""What of a stored agent is secret, and how it lies in the database: encrypted, beside what everybody may read. Pure.

Secret are the headers of its tools, taken out of the configuration as a whole by the tools' ids, and the secrets that
prove requests to its servers. While one of these replaces another, both sign.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from control.agents import AgentConfig
from control.secrets import Cipher
from control.stores.agents import Draft


def sealed(config: AgentConfig, cipher: Cipher, note: str | None = None) -> Draft:
    """Return a configuration, each of whose tools has its id, as it is kept."""
    whole = config.with_secrets()
    headers = {each["tool_id"]: each.pop("headers") for each in whole.get("tools", ()) if each.get("headers")}
    secrets = cipher.encrypt(json.dumps(headers)) if headers else None
    return Draft(configuration=whole, secrets=secrets, note=note)


def unsealed(configuration: Mapping[str, Any], secrets: bytes | None, cipher: Cipher) -> AgentConfig:
    """Return a configuration as it was before it was kept.

    Raises:
        SecretUnreadable: it was encrypted with a key that is not ours.
    """
    if secrets is None:
        return AgentConfig.model_validate(configuration)
    headers = json.loads(cipher.decrypt(secrets))
    tools = [
        {**each, "headers": headers[each["tool_id"]]} if each["tool_id"] in headers else each
        for each in configuration["tools"]
    ]
    return AgentConfig.model_validate({**configuration, "tools": tools})


@dataclass(frozen=True, slots=True)
class Signer:
    """A secret that proves requests to an agent's servers."""

    secret: str = field(repr=False)
    until: datetime | None = None
    """None: until another one takes its place."""

    def retired(self, until: datetime) -> "Signer":
        """Return it as it signs once another one has taken its place."""
        return replace(self, until=until if self.until is None else min(self.until, until))


def sealed_signers(given: Sequence[Signer], cipher: Cipher) -> bytes:
    """Return secrets, the newest first, as they are kept."""
    rows = [[each.secret, None if each.until is None else each.until.timestamp()] for each in given]
    return cipher.encrypt(json.dumps(rows))


def signers(kept: bytes, cipher: Cipher, now: datetime) -> list[Signer]:
    """Return those that still sign, the newest first.

    Raises:
        SecretUnreadable: they were encrypted with a key that is not ours.
    """
    rows = json.loads(cipher.decrypt(kept))
    read = [
        Signer(secret, None if until is None else datetime.fromtimestamp(until, UTC))
        for secret, until in rows
    ]
    return [each for each in read if each.until is None or each.until > now]
