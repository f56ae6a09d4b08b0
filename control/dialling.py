"""What a user asks for who has us call somebody, and what comes of asking.

A value, valid when it is made: the API has checked numbers, agent and bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from control.agents import AgentConfig
from control.call_record import CallRecord
from control.requests import Refused
from control.stores.idempotency import Answered, Claim, Conflict, InProgress
from telephony.commands import MachineDetection


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRequest:
    """One call to be made. Times are seconds."""

    to: str
    """E.164, or a SIP URI where the carrier takes them."""
    from_number: str | None = None
    """None: the agent's."""
    carrier: str | None = None
    """None: the one that `from_number` is with."""
    agent_id: str | None = None
    """Id or name of a configured agent; None with `agent` given."""
    agent: AgentConfig | None = None
    """A configuration for this call alone."""
    variables: Mapping[str, object] = field(default_factory=dict)
    """For the texts of the agent."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    custom_headers: Mapping[str, str] = field(default_factory=dict)
    machine_detection: MachineDetection = MachineDetection.OFF
    ring_timeout: int = 60
    max_duration: int | None = None
    """None: the agent's."""
    record: bool | None = None
    """None: the agent's."""
    webhook_url: str | None = None
    """Also told of this call's events."""
    claim: Claim | None = None
    """Of the request's idempotency key, claimed in the transaction that adds the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """The call exists."""

    record: CallRecord
    certain: bool = True
    """Whether the carrier has taken it; if not, events will tell."""


@dataclass(frozen=True, slots=True)
class DialFailed:
    """The call exists, and has failed: its carrier would not have it. A `Refused` alone: there is no call."""

    record: CallRecord
    refused: Refused


Repeated = Answered | Conflict | InProgress
"""The idempotency key was used before: nothing was dialled."""

DialOutcome = Dialled | DialFailed | Refused | Repeated
