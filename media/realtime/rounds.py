"""Tool rounds: the function calls of one response, answered one by one, then ONE response for them all.

A round that was superseded (the caller barged in, or speaks and the server will answer by itself) still
delivers its outputs, since a model waits for ever for a missing one, but asks for no response: the turn that
follows uses them. Once that has begun without them, whatever is still missing wants a response of its own again:
the caller waits for it, and nobody else will speak of it.
"""

from dataclasses import dataclass, field

ROUNDS = 64  # responses with calls still open; the oldest is forgotten
CALLS = 64  # calls of one response


@dataclass(slots=True, eq=False)
class Round:
    waiting: set[str] = field(default_factory=set)
    called: bool = False
    finished: bool = False
    """Whether the response ended, so that no further call can come."""
    superseded: bool = False


class ToolRounds:
    """Keeps which calls are open, by response. Never runs a tool."""

    def __init__(self) -> None:
        self._rounds: dict[str, Round] = {}

    def called(self, response_id: str, call_id: str, *, superseded: bool) -> bool:
        """Note a call; False if it is known already or beyond what one response may ask."""
        current = self._rounds.get(response_id)
        if current is None:
            current = self._rounds[response_id] = Round()
            if len(self._rounds) > ROUNDS:
                del self._rounds[next(iter(self._rounds))]
        if call_id in current.waiting or len(current.waiting) >= CALLS:
            return False
        current.waiting.add(call_id)
        current.called = True
        current.superseded |= superseded
        return True

    def is_open(self, call_id: str) -> bool:
        return any(call_id in each.waiting for each in self._rounds.values())

    def answered(self, call_id: str) -> bool:
        """Note an output; True if its round now needs a response."""
        for response_id, current in self._rounds.items():
            if call_id in current.waiting:
                current.waiting.discard(call_id)
                return self._settle(response_id, current)
        return False

    def finished(self, response_id: str, *, superseded: bool) -> bool:
        """Note the end of a response; True if its calls were all answered before it and need a response."""
        current = self._rounds.get(response_id)
        if current is None:
            return False
        current.finished = True
        current.superseded |= superseded
        return self._settle(response_id, current)

    def supersede(self) -> None:
        for current in self._rounds.values():
            current.superseded = True

    def begun(self, response_id: str) -> None:
        """A response has begun, without the outputs that are missing yet."""
        for of, current in self._rounds.items():
            if of != response_id and current.waiting:
                current.superseded = False

    def _settle(self, response_id: str, current: Round) -> bool:
        if current.waiting or not current.finished:
            return False
        del self._rounds[response_id]
        return current.called and not current.superseded
