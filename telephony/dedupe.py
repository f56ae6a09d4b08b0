"""Which events have been seen already: carriers deliver at least once, and often twice within a second."""

from telephony.calls import CallEvent, TwimlRequested

# Carriers give up re-sending within a minute or so (Telnyx, `webhook_retries_policies`: 60 s in all); this many
# events pass a busy gateway in several of them.
CAPACITY = 65_536


class SeenEvents:
    """A bounded window of event ids. Driven by `is_new`, once per event; the oldest ids are forgotten first.

    It spares the call's machine most repetitions. It proves nothing: one that comes after the window, or after a
    restart, passes, and must find a machine that does not mind.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError("a window of no events tells nothing apart")
        self.duplicates = 0
        self._capacity = capacity
        self._seen: dict[tuple[str, str, str], None] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, event: CallEvent, account: str = "") -> bool:
        """Return whether the event is seen for the first time, and remember it.

        A question is new however often it is put: who repeats it has not heard the answer.

        Args:
            account: who signed for it; what one account says takes nothing from another.
        """
        if isinstance(event, TwimlRequested):
            return True
        key = event.origin.carrier, account, event.origin.event_id
        if key in self._seen:
            self.duplicates += 1
            return False
        self._seen[key] = None
        if len(self._seen) > self._capacity:
            del self._seen[next(iter(self._seen))]
        return True
