"""The agents and numbers of the settings: who answers a call to a number, and through whom a number calls.

Those that are stored come beside them in `control.service.switchboard`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from pydantic import Field

from control.agents import Agent
from control.configuration import Name, Number, Part
from telephony import numbers


class NumberConfig(Part):
    """A number of ours, as the settings file has it."""

    agent: Name | None = Field(
        default=None,
        description="Name of the agent that answers; left out: as for a number that is not listed.",
    )
    carrier: str | None = Field(
        default=None, description="The carrier that the number is with; left out: any may bring its calls."
    )
    integration: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="The carrier account; `default` is the one of the settings.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberEntry:
    """A number of ours."""

    number: str
    """E.164."""
    agent: str | None = None
    """Name of the agent that answers."""
    carrier: str | None = None
    integration_id: str = "default"


class Unlisted(Enum):
    """What becomes of a call to a number that nobody has given an agent."""

    DEFAULT_AGENT = "default-agent"
    REJECT = "reject"
    AUTO = "auto"
    """The default agent answers while no number is listed at all, and nobody once one is.

    While there is none, whoever pointed a number at us meant the one agent there is. Once there are, another one is a
    mistake, and answering it costs money and trust.
    """


class Directory:
    """Finds agents and routes numbers. Never changed: the settings are read once."""

    def __init__(
        self,
        *,
        default: Agent,
        agents: Iterable[Agent] = (),
        numbers: Iterable[NumberEntry] = (),
        unlisted: Unlisted = Unlisted.REJECT,
    ) -> None:
        """
        Raises:
            ValueError: a number is given an agent that is not there, or two agents share a name.
        """
        self.default = default
        self._unlisted = unlisted
        self._agents: dict[str, Agent] = {}
        self._by_name: dict[str, Agent] = {}
        for agent in (default, *agents):
            if agent.config.name in self._by_name:
                raise ValueError(f"two agents are called {agent.config.name}")
            self._agents[agent.agent_id] = self._by_name[agent.config.name] = agent
        self._numbers = {entry.number: entry for entry in numbers}
        for entry in self._numbers.values():
            if entry.agent is not None and entry.agent not in self._by_name:
                raise ValueError(f"{entry.number} is given the agent {entry.agent}, which is not there")

    def agents(self) -> list[Agent]:
        """Every agent, the default one first."""
        return list(self._agents.values())

    def agent(self, id_or_name: str) -> Agent | None:
        """Return the agent of this id or, failing that, of this name."""
        return self._agents.get(id_or_name) or self._by_name.get(id_or_name)

    def numbers(self) -> list[NumberEntry]:
        return list(self._numbers.values())

    def number(self, number: str | None) -> NumberEntry | None:
        """Return our number, however its digits are grouped."""
        if number is None:
            return None
        try:
            return self._numbers.get(numbers.parse(number))
        except numbers.InvalidNumber:  # a SIP address, or a number that the carrier withholds
            return None

    def answering(self, called: str | None, *, carrier: str, integration_id: str = "default") -> Agent | None:
        """Return the agent that a listed number has, for a call to it which this carrier account brings."""
        entry = self.number(called)
        if entry is not None and entry.agent is not None and _brings(entry, carrier, integration_id):
            return self._by_name[entry.agent]
        return None

    def otherwise(self, *, any_stored: bool) -> Agent | None:
        """Return the agent for a number that nobody has given one; None: reject the call.

        Args:
            any_stored: whether numbers are listed elsewhere.
        """
        match self._unlisted:
            case Unlisted.DEFAULT_AGENT:
                return self.default
            case Unlisted.REJECT:
                return None
            case Unlisted.AUTO:
                return None if self._numbers or any_stored else self.default


def _brings(entry: NumberEntry, carrier: str, integration_id: str) -> bool:
    """Whether the account may bring calls to this number: whoever signs for one may not speak for another."""
    if entry.carrier is None:
        return True
    return (entry.carrier, entry.integration_id) == (carrier, integration_id)


def number_entry(number: Number, config: NumberConfig) -> NumberEntry:
    """What the settings file says of a number."""
    return NumberEntry(
        number=number, agent=config.agent, carrier=config.carrier, integration_id=config.integration
    )
