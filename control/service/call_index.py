"""The calls of this process by every name they go by: ours, and those that carriers have for them and their legs."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from control.call_record import CallRecord
from telephony.calls import Origin


class Named(Protocol):
    """What can be found by name."""

    @property
    def call_id(self) -> str: ...
    @property
    def record(self) -> CallRecord: ...


C = TypeVar("C", bound=Named)


class CallIndex(Generic[C]):
    """Finds calls. Driven by their owner, who says when one has another name."""

    def __init__(self) -> None:
        self._by_id: dict[str, C] = {}
        self._by_name: dict[tuple[str, str, str], C] = {}
        self._names: dict[str, set[tuple[str, str, str]]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._by_id.values()))

    def add(self, call: C) -> None:
        self._by_id[call.call_id] = call
        self._names[call.call_id] = set()
        self.renamed(call)

    def renamed(self, call: C) -> None:
        """The call may have another name; the old ones stay good."""
        names = self._names.get(call.call_id)
        if names is None:
            return
        record = call.record
        for name in (record.carrier_call_id, record.leg_id, record.session_id):
            if name is not None:
                key = (record.carrier, record.integration_id, name)
                names.add(key)
                self._by_name[key] = call

    def remove(self, call: C) -> None:
        for key in self._names.pop(call.call_id, ()):
            if self._by_name.get(key) is call:
                del self._by_name[key]
        self._by_id.pop(call.call_id, None)

    def get(self, call_id: str) -> C | None:
        return self._by_id.get(call_id)

    def of(self, integration_id: str, origin: Origin) -> C | None:
        """Return the call that an event is about.

        Our own token is the surest name, then the leg's, then its parent's; the session, which the legs of a transfer
        share, comes last (carriers.md F 17, 18). An account's events are about that account's calls alone.
        """
        if origin.token is not None:
            call = self._by_id.get(origin.token.call_id)
            if call is not None and _is_of(call.record, origin.carrier, integration_id):
                return call
        for name in (origin.leg_id, origin.carrier_call_id, origin.parent_call_id, origin.session_id):
            if name is not None:
                call = self._by_name.get((origin.carrier, integration_id, name))
                if call is not None:
                    return call
        return None


def _is_of(record: CallRecord, carrier: str, integration_id: str) -> bool:
    return (record.carrier, record.integration_id) == (carrier, integration_id)
