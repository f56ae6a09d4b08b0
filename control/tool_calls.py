"""The tools a model has called and waits for."""

from dataclasses import dataclass

from media.realtime.session import RealtimeSession

# Rounds of calls answered before the caller or the agent is heard again; a model that makes more talks to itself.
_ROUNDS = 20
# Calls nobody has answered; beyond, the oldest is forgotten.
_OPEN = 64


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call without its result."""

    name: str
    session: RealtimeSession
    """Which asked; another one would not know the call."""


class ToolCalls:
    """Driven by the bridge: calls, results, and that somebody was heard. Runs nothing."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Every tool called, in order."""
        self._rounds = 0
        self._open: dict[str, OpenCall] = {}

    def called(self, call_id: str, name: str, session: RealtimeSession) -> bool:
        """Note a call; False if it is one too many in a row, which nobody is to answer."""
        self.names.append(name)
        self._rounds += 1
        if self._rounds > _ROUNDS:
            return False
        self._open[call_id] = OpenCall(name, session)
        if len(self._open) > _OPEN:
            del self._open[next(iter(self._open))]
        return True

    def answered(self, call_id: str) -> OpenCall | None:
        """Return the call a result belongs to; None if it has one already."""
        return self._open.pop(call_id, None)

    def somebody_spoke(self) -> None:
        self._rounds = 0
