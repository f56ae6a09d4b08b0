"""The responses of a server-side session: one at a time in the conversation, any number out of band.

Who asks for a response, when it may begin, what cuts it and that it always ends with `response.done`.
"""

from collections.abc import Callable, Mapping
from functools import partial

from media.realtime.server_agenda import Agenda
from media.realtime.server_behaviour import Behaviour, Fault, Origin, Reply, ResponseRequest, ToolOutput
from media.realtime.server_config import SessionSettings
from media.realtime.server_conversation import Conversation
from media.realtime.server_response import ResponseRun, ResponseShape
from media.realtime.server_wire import Outbox, Rejected, invalid_value, optional

# No client of ours reads it, but every client's parser meets it.
RATE_LIMIT = 1_000_000


class Floor:
    """Driven by the session (a client asks), by the caller's side (speech begins, a turn ends) and by the agenda."""

    def __init__(
        self,
        behaviour: Behaviour,
        outbox: Outbox,
        settings: SessionSettings,
        conversation: Conversation,
        agenda: Agenda,
        plan: Callable[[tuple[Fault, ...], float], None],
    ) -> None:
        self.active: ResponseRun | None = None
        """In the conversation; None: a response may begin."""
        self.quiet = 0
        """Counts what breaks a silence, so that a timeout of an older silence is void."""
        self.ended: Callable[[ResponseRun, float], None] = lambda run, now: None
        """Told of every response that is over."""
        self._behaviour = behaviour
        self._outbox = outbox
        self._settings = settings
        self._conversation = conversation
        self._conversation_id = outbox.new_id("conv")
        self._agenda = agenda
        self._plan = plan
        self._awaiting: dict[str, ResponseRun] = {}
        self._calls: dict[str, str] = {}
        self._outputs: list[ToolOutput] = []
        self._typed: str | None = None

    # --- what the conversation was given since the last response -------------------------------------

    def know_call(self, call_id: str, name: str) -> None:
        """Note a function call of a replayed history."""
        self._calls[call_id] = name

    def tool_output(self, call_id: str, output: str) -> ToolOutput:
        """Return the output with its function's name, or refuse it."""
        if call_id not in self._calls:
            text = f"Tool call ID '{call_id[:80]}' not found in conversation."
            raise Rejected("invalid_tool_call_id", text, "item.call_id")
        return ToolOutput(call_id, self._calls[call_id], output)

    def take_output(self, output: ToolOutput) -> None:
        self._outputs.append(output)

    def take_typed(self, text: str | None) -> None:
        self._typed = text

    # --- beginning -----------------------------------------------------------------------------------

    def respond(self, origin: Origin, given: Mapping[str, object], now: float) -> None:
        """Begin a response and ask the behaviour for its reply."""
        run = self.claim(given)
        request = self._request(run, origin, given)
        reply = self._behaviour.reply(request)
        if reply is None:
            self._awaiting[run.response_id] = run
        else:
            self._begin(run, reply, now)

    def claim(self, given: Mapping[str, object]) -> ResponseRun:
        """Create a response, or refuse a second one in the conversation."""
        shape = self._shape(given)
        if shape.conversation_id is not None and self.active is not None:
            raise Rejected(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self.active.response_id}. Wait until the response is finished before creating a new one.",
            )
        run = ResponseRun(self._outbox.new_id("resp"), shape, self._outbox, self._conversation)
        if run.in_conversation:
            self.active = run
            self.quiet += 1
        run.created()
        return run

    def _shape(self, given: Mapping[str, object]) -> ResponseShape:
        settings = self._settings
        destination = optional(given, "conversation", str, "response.conversation") or "auto"
        if destination not in ("auto", "none"):
            raise invalid_value("response.conversation", destination, ("auto", "none"))
        modalities = optional(given, "output_modalities", list, "response.output_modalities")
        if modalities not in (None, ["audio"], ["text"]):
            raise invalid_value("response.output_modalities", modalities, ("audio", "text"))
        limit = given.get("max_output_tokens")
        instructions = optional(given, "instructions", str, "response.instructions")
        return ResponseShape(
            audio_format=settings.output_format,
            voice=settings.voice,
            modalities=modalities or settings.modalities,
            max_output_tokens=limit if type(limit) is int else settings.max_output_tokens,
            metadata=_metadata(given),
            conversation_id=self._conversation_id if destination == "auto" else None,
            instructions=instructions or settings.instructions,
        )

    def _request(self, run: ResponseRun, origin: Origin, given: Mapping[str, object]) -> ResponseRequest:
        outputs: tuple[ToolOutput, ...] = ()
        typed = None
        if run.in_conversation:
            outputs, self._outputs = tuple(self._outputs), []
            typed, self._typed = self._typed, None
        return ResponseRequest(
            response_id=run.response_id,
            origin=origin,
            instructions=optional(given, "instructions", str),
            session_instructions=self._settings.instructions,
            caller_spoke=self._conversation.caller_spoke,
            out_of_band=not run.in_conversation,
            tool_outputs=outputs,
            last_text=typed,
            history=self._conversation.shown(),
        )

    # --- going on ------------------------------------------------------------------------------------

    def replied(self, response_id: str, reply: Reply, now: float) -> None:
        run = self._awaiting.pop(response_id, None)
        if run is not None:
            self._begin(run, reply, now)

    def _begin(self, run: ResponseRun, reply: Reply, now: float) -> None:
        self._plan(reply.faults, now)
        run.generation = run.steps(reply)
        self._step(run, now)

    def _step(self, run: ResponseRun, now: float) -> None:
        if run.generation is None:
            return
        wait = next(run.generation, None)
        self._calls.update(run.calls)
        if run.audio:
            self._settings.spoken = True
        if wait is None:
            self._over(run, now)
        else:
            self._agenda.at(now + wait, partial(self._step, run))

    # --- ending --------------------------------------------------------------------------------------

    def cancel_by_client(self, wanted: str | None, now: float) -> None:
        run = self.active
        if run is None or run.cut_reason is not None or wanted not in (None, run.response_id):
            raise Rejected("response_cancel_not_active", "Cancellation failed: no active response found")
        self._cancel(run, "client_cancelled", now)

    def interrupt(self, now: float) -> None:
        """The caller speaks: cut what is being said, if anything is."""
        if self.active is not None and self.active.cut_reason is None:
            self._cancel(self.active, "turn_detected", now)

    def _cancel(self, run: ResponseRun, reason: str, now: float) -> None:
        run.cut(reason)
        if self._awaiting.pop(run.response_id, None) is not None:
            self._behaviour.cancelled(run.response_id)
        late = None if run.reply is None else run.reply.late
        if late is None or late.after_done:
            self._finish_cut(run, now)
        if late is not None:
            for turn in range(1, late.count + 1):
                self._agenda.at(now + turn * late.spacing, lambda _: run.late_delta())
            if not late.after_done:
                self._agenda.at(now + late.count * late.spacing, partial(self._finish_cut, run))

    def _finish_cut(self, run: ResponseRun, now: float) -> None:
        run.finish("cancelled", run.cut_reason)
        self._over(run, now)

    def _over(self, run: ResponseRun, now: float) -> None:
        quota = {"name": "tokens", "limit": RATE_LIMIT, "remaining": RATE_LIMIT, "reset_seconds": 0.0}
        self._outbox.say("rate_limits.updated", rate_limits=[quota])
        if run is self.active:
            self.active = None
        self.ended(run, now)


def _metadata(given: Mapping[str, object]) -> dict[str, str] | None:
    metadata = optional(given, "metadata", dict, "response.metadata")
    for name, value in (metadata or {}).items():
        if not isinstance(value, str):
            raise Rejected(
                "invalid_type", "Invalid type in 'response.metadata': strings are wanted.", str(name)
            )
    return metadata
