"""One response at a time: when `response.create` may be sent, and which responses were cut.

A server runs one response in the default conversation and refuses a second request. So a request made while
one is active, or while our last one is unanswered, is *owed*: the latest wins, and it leaves when the server
is free. Servers also create responses themselves (voice activity detection); those count alike.

What the server does is known only from its events, which come in its order. A request is *superseded* when
the caller barges in before its response was created: that response is cancelled as it appears, and a refusal
of the request is not made up for.
"""

from dataclasses import dataclass

# A server creates the response at once, before it thinks; if it said nothing for so long, the request is lost.
CREATE_TIMEOUT = 10.0
# Some servers never finish a response they cancelled; the next one must not wait for ever.
CANCEL_TIMEOUT = 5.0
# A response we know only from a refusal: its `response.done` should come, but may have passed already.
UNKNOWN_TIMEOUT = 10.0
# A request kept waiting so long is sent all the same: if a response is active after all, the server refuses.
OWED_TIMEOUT = 30.0
REMEMBERED = 64  # finished responses whose late messages are still told apart


@dataclass(slots=True, eq=False)
class Request:
    """A wish for a response; `instructions` None takes the conversation as it stands."""

    instructions: str | None = None
    event_id: str = ""
    since: float = 0.0
    """When it was last owed or sent."""
    superseded: bool = False
    turn_committed: bool = False
    """Whether the caller's turn ended after the barge-in: what comes now answers that turn."""


@dataclass(slots=True, eq=False)
class Response:
    """One response being generated."""

    response_id: str
    cut: bool = False
    cancelled: bool = False
    """Whether the server stopped it by itself, or was asked to."""
    deadline: float | None = None
    """When it is taken for finished without a word from the server."""


class ResponseSequencer:
    """Decides when a response is asked for, and remembers which were cut.

    Driven by the session: by requests, by barge-ins and by the server's events. Never sends anything.
    """

    def __init__(self) -> None:
        self.active: Response | None = None
        self._pending: Request | None = None
        self._owed: Request | None = None
        self._last: Request | None = None
        self._requests = 0
        self._finished: dict[str, bool] = {}
        """Ids of finished responses, oldest first -> whether they were cut."""

    @property
    def responding(self) -> bool:
        """Whether the agent is speaking, or will without being asked again."""
        speaking = self.active is not None and not self.active.cut
        return speaking or self.asked

    @property
    def asked(self) -> bool:
        """Whether a response was asked for that has not begun."""
        return self._owed is not None or (self._pending is not None and not self._pending.superseded)

    def ask(self, now: float, instructions: str | None = None) -> None:
        """Owe one response; an older debt is forgotten."""
        self._owed = Request(instructions, since=now)

    def take(self, now: float) -> Request | None:
        """Return the request to send now, if one is owed and the server is free."""
        if self._owed is None or self.active is not None or self._pending is not None:
            return None
        self._requests += 1
        request, self._owed = self._owed, None
        request.event_id, request.since = f"create_{self._requests}", now
        self._pending = self._last = request
        return request

    def is_cut(self, response_id: str) -> bool:
        """Whether messages of this response are late ones of a cut response."""
        active = self.active
        if active is not None and (not response_id or response_id == active.response_id):
            return active.cut
        return self._finished.get(response_id, False)

    def created(self, response_id: str, now: float) -> Response | None:
        """The server began a response; return it if it must be cancelled at once."""
        if self.active is not None:
            self._finish(self.active)
        self._finished.pop(response_id, None)  # a server that counts its ids anew
        self.active = response = Response(response_id)
        request, self._pending = self._pending, None
        if request is None:
            # The server's own response: it answers the whole conversation, so a plain debt is paid.
            if self._owed is not None and self._owed.instructions is None:
                self._owed = None
        elif request.superseded and not request.turn_committed:
            return self._cut(response, now)
        return None

    def adopt(self, response_id: str, now: float) -> tuple[bool, Response | None]:
        """A message of a response came: begin it if the server never announced it.

        Returns whether it is new, and the response to cancel, if it must be cancelled at once.
        """
        active = self.active
        if active is not None and not active.response_id and response_id:
            active.response_id = response_id  # known so far only from a refusal, or from its lack of an id
            if not active.cut:
                active.deadline = None
            return False, None
        if (active is not None and not response_id) or response_id in self._finished:
            return False, None
        if active is not None and active.response_id == response_id:
            return False, None
        return True, self.created(response_id, now)

    def done(self, response_id: str) -> Response | None:
        """The server finished a response; return what was known of it."""
        active = self.active
        if active is None:
            if self._pending is not None and response_id not in self._finished:
                self._pending = None  # a server that never says `response.created`
            return None
        if response_id and active.response_id and response_id != active.response_id:
            return None
        active.response_id = active.response_id or response_id
        self._finish(active)
        self.active = None
        return active

    def speech_started(self, *, cancels: bool, creates: bool) -> None:
        """The caller speaks: the server cancels what is active, and will answer the turn by itself."""
        if cancels and self.active is not None:
            self.active.cancelled = True
        if creates and self._owed is not None and self._owed.instructions is None:
            self._owed = None

    def turn_committed(self) -> None:
        if self._pending is not None:
            self._pending.turn_committed = True

    def interrupt(self, now: float) -> Response | None:
        """Cut what is active and give up what was asked for; return the response to cancel, if any."""
        self._owed = None
        if self._last is not None:
            self._last.superseded = True
        if self._pending is not None:
            self._pending.turn_committed = False
        if self.active is None or self.active.cut:
            return None
        return self._cut(self.active, now)

    def refused(self, event_id: str, active_id: str, now: float) -> None:
        """A request met an active response: owe it again, unless something newer is owed.

        Without our event id it is the server's own response to the caller's turn that failed: owed as well.
        """
        request = Request(since=now)
        if self._last is not None and event_id in (self._last.event_id, ""):
            if event_id or self._pending is not None:
                request = Request(self._last.instructions, since=now, superseded=self._last.superseded)
            self._pending = None
        elif event_id:
            return
        if self._owed is None and not request.superseded:
            self._owed = request
        if self.active is None:
            self.active = Response(active_id, deadline=now + UNKNOWN_TIMEOUT)

    def failed(self, event_id: str) -> None:
        """A request was refused for good."""
        if self._pending is not None and self._pending.event_id == event_id:
            self._pending = None

    def next_deadline(self) -> float | None:
        waits = []
        if self._pending is not None:
            waits.append(self._pending.since + CREATE_TIMEOUT)
        if self.active is not None and self.active.deadline is not None:
            waits.append(self.active.deadline)
        if self.active is not None and self._owed is not None:
            waits.append(self._owed.since + OWED_TIMEOUT)
        return min(waits, default=None)

    def poll(self, now: float) -> tuple[Request | None, Response | None]:
        """Return the request that was lost and the response presumed finished by `now`."""
        lost, ended = None, None
        if self._pending is not None and self._pending.since + CREATE_TIMEOUT <= now:
            lost, self._pending = self._pending, None
        if self.active is not None and self.active.deadline is not None and self.active.deadline <= now:
            ended = self.active
            self._finish(ended)
            self.active = None
        if self.active is not None and self._owed is not None and self._owed.since + OWED_TIMEOUT <= now:
            self._finish(self.active)
            self.active = None
        return lost, ended

    def _cut(self, response: Response, now: float) -> Response | None:
        response.cut, response.deadline = True, now + CANCEL_TIMEOUT
        if response.cancelled:
            return None
        response.cancelled = True
        return response

    def _finish(self, response: Response) -> None:
        if response.response_id:
            self._finished.pop(response.response_id, None)
            self._finished[response.response_id] = response.cut
            if len(self._finished) > REMEMBERED:
                del self._finished[next(iter(self._finished))]
