"""The server's side of one OpenAI Realtime session (GA wire): what `offhook agent` puts behind a socket.

Theory of operation. Client events come in as bytes (`receive`), server events leave as bytes (`outgoing`).
Everything that happens later - a delta that is due, a transcript that comes late, a planned fault - is an
entry of one agenda: `next_deadline` says when the first is due, `poll` lets it happen. What to say is the
behaviour's (`server_behaviour`); how the wire tells it is here and in the files beside:

    server_config         session.update, checked and applied
    server_caller, _input audio in: turn detection, commits, transcripts
    server_floor, _response  who may speak, and the life of one response
    server_conversation   items, truncation, tokens
    server_echo           the load profile's short way back
    server_wire, _agenda  ids, encoding, refusals; time

Validation follows the real service, its error texts included, because clients are tested against it:
a truncation beyond the audio, a cancel with nothing active, a second response, an empty commit, the beta
shape. Codes of refusals that nobody has published are named after what is wrong, in the service's manner.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf

import msgspec
import pybase64

from media.realtime.server_agenda import Agenda
from media.realtime.server_behaviour import (
    Behaviour,
    CloseSocket,
    Fault,
    Origin,
    Reply,
    SendError,
    SendRaw,
    Stall,
    ToolOutput,
    Transcription,
)
from media.realtime.server_caller import CallerSide
from media.realtime.server_config import SessionSettings, beta_shape_disabled
from media.realtime.server_conversation import Conversation, Item, client_item
from media.realtime.server_echo import Echo
from media.realtime.server_floor import Floor
from media.realtime.server_wire import (
    APPEND_PREFIX,
    APPEND_SPACED,
    Outbox,
    Rejected,
    field,
    invalid_value,
    optional,
)

# The service takes at most 15 MiB of audio in one append.
MAX_APPEND = 15 * 1024 * 1024
# Messages held while stalled by script; a peer that goes on writing loses the oldest.
MAX_HELD = 2_000
# Steps of one poll: a burst of minutes leaves in parts, so that a reader's pressure is noticed between them.
STEPS_PER_POLL = 8
EXPIRED = "Your session hit the maximum duration of 60 minutes."


class AgentServerSession:
    """One client's session.

    Driven by the socket's owner (`opened`, `scan`, `receive`), by time (`poll`) and by behaviours that
    answer late (`transcribed`, `replied`). Never raises on what a client sends, never reads a clock, never
    closes a socket: `close_requested` says that its owner must.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        session_id: str = "sess_1",
        *,
        model: str = "offhook-agent",
        beta: bool = False,
    ) -> None:
        """`beta`: the client asked for the beta shape by header."""
        self.session_id = session_id
        self.close_requested: tuple[int, str] | None = None
        """Close code and reason, once the session is over."""
        self.malformed = 0
        """Client messages that were not JSON objects."""
        self._behaviour = behaviour
        self._beta = beta
        self._agenda = Agenda()
        self._outbox = Outbox(session_id)
        self._settings = SessionSettings(session_id, model)
        self._conversation = Conversation()
        shared = (behaviour, self._outbox, self._settings, self._conversation, self._agenda)
        self._floor = Floor(*shared, self._plan)
        self._caller = CallerSide(*shared, self._floor, self._attempt)
        self._echo = Echo(self._outbox, self._settings, self._floor) if behaviour.echo else None
        self._stalled_until = -inf
        self._held: list[bytes] = []

    # --- the face every machine has -----------------------------------------------------------------

    def opened(self, now: float, *, wall: float | None = None) -> None:
        """The socket is up. `wall` is unix time, for `expires_at`; left out where it is None."""
        faults = self._behaviour.faults
        if wall is not None:
            self._settings.shown["expires_at"] = int(wall + faults.expires_in)
        if self._beta:
            self._refuse(beta_shape_disabled(), None)
            return
        shown = self._settings.snapshot()
        shown["offhook"] = {"behaviour": self._behaviour.name, "note": self._behaviour.note}
        self._outbox.say("session.created", session=shown)
        self._agenda.at(now + faults.expires_in, self._expire)
        self._plan(faults.timed, now)

    def outgoing(self) -> list[bytes]:
        """Return what must be sent now, in order; nothing while a planned stall lasts."""
        return [] if self.stalled else self._outbox.take()

    @property
    def stalled(self) -> bool:
        """Whether a planned stall lasts: the owner should stop reading its socket."""
        return self._stalled_until > -inf

    @property
    def responding(self) -> bool:
        return self._floor.active is not None

    def next_deadline(self) -> float | None:
        if self.close_requested is not None:
            return None
        if self.stalled:
            return None if self._stalled_until == inf else self._stalled_until
        return self._agenda.next()

    def poll(self, now: float) -> None:
        """Let happen what is due; at most `STEPS_PER_POLL` steps, the rest stays due."""
        if self.stalled:
            if now < self._stalled_until:
                return
            self._go_on(now)
        for _ in range(STEPS_PER_POLL):
            if self.stalled or self.close_requested is not None or not self._agenda.step(now):
                return

    def scan(self, message: bytes) -> bytes | None:
        """Hot path of echo: return the delta that answers a plain append; None: call `receive`."""
        return None if self._echo is None else self._echo.scan(message)

    def receive(self, message: bytes, now: float) -> None:
        """Take one client message."""
        if self.close_requested is not None:
            return
        if self.stalled:
            self._held.append(message)
            del self._held[:-MAX_HELD]
            return
        for prefix in (APPEND_PREFIX, APPEND_SPACED):
            # Nothing follows the audio, and nothing in it is escaped: no need for a JSON parser.
            if message.startswith(prefix) and message.find(b'"', len(prefix)) == len(message) - 2:
                self._attempt(partial(self._append, message[len(prefix) : -2]), now)
                return
        event = self._decoded(message)
        if event is not None:
            self._attempt(partial(self._handle, event), now, event.get("event_id"))

    def transcribed(self, item_id: str, transcription: Transcription, now: float) -> None:
        """Report, now, what the behaviour says the caller said."""
        if self.close_requested is None:
            self._caller.transcribed(item_id, transcription)

    def replied(self, response_id: str, reply: Reply, now: float) -> None:
        """Give the reply that the behaviour owed; dropped if the response was cut meanwhile."""
        if self.close_requested is None:
            self._floor.replied(response_id, reply, now)

    # --- messages ------------------------------------------------------------------------------------

    def _decoded(self, message: bytes) -> dict[str, object] | None:
        try:
            event = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if isinstance(event, dict):
            return event
        self.malformed += 1
        self._refuse(Rejected("invalid_json", "The message could not be parsed as a JSON object."), None)
        return None

    def _handle(self, event: Mapping[str, object], now: float) -> None:
        kind = field(event, "type", str)
        handle = _EVENTS.get(kind)
        if handle is None:
            raise invalid_value("type", kind, tuple(_EVENTS))
        handle(self, event, now)

    def _attempt(self, action: Callable[[float], None], now: float, event_id: object = None) -> None:
        try:
            action(now)
        except Rejected as refusal:
            self._refuse(refusal, event_id if isinstance(event_id, str) else None)

    def _refuse(self, refusal: Rejected, event_id: str | None) -> None:
        self._outbox.error(refusal, event_id)
        if refusal.fatal is not None:
            self._close(refusal.fatal, f"invalid_request_error.{refusal.code}")

    # --- faults and the end --------------------------------------------------------------------------

    def _plan(self, faults: tuple[Fault, ...], now: float) -> None:
        for fault in faults:
            self._agenda.at(now + fault.at, partial(self._break, fault))

    def _break(self, fault: Fault, now: float) -> None:
        match fault:
            case SendError():
                self._outbox.error(Rejected(fault.code, fault.message, fault.param), None, fault.kind)
            case CloseSocket():
                self._close(fault.code, fault.reason)
            case Stall():
                self._stalled_until = inf if fault.duration is None else now + fault.duration
                self._arm_echo()
            case SendRaw():
                self._outbox.raw(fault.message)

    def _go_on(self, now: float) -> None:
        """The stall is over: take what came meanwhile."""
        self._stalled_until = -inf
        self._arm_echo()
        held, self._held = self._held, []
        for message in held:
            self.receive(message, now)

    def _expire(self, now: float) -> None:
        self._outbox.error(Rejected("session_expired", EXPIRED), None)
        self._close(1001, EXPIRED)

    def _close(self, code: int, reason: str) -> None:
        self.close_requested = (code, reason)
        self._agenda.clear()
        self._arm_echo()

    def _arm_echo(self) -> None:
        if self._echo is not None:
            self._echo.arm(held=self.stalled or self.close_requested is not None)

    # --- client events -------------------------------------------------------------------------------

    def _update_session(self, event: Mapping[str, object], now: float) -> None:
        faults, settings = self._behaviour.faults, self._settings
        before = (settings.input_format, settings.output_format, settings.turn_detection)
        settings.apply(field(event, "session", dict), faults.refused_formats)
        if faults.forced_format is not None:
            settings.force_format(faults.forced_format)
        if before != (settings.input_format, settings.output_format, settings.turn_detection):
            self._caller.configure()
            self._arm_echo()
        if faults.silent_update:
            return
        shown = settings.snapshot()
        if faults.update_delay:
            confirm = partial(self._outbox.say, "session.updated", session=shown)
            self._agenda.at(now + faults.update_delay, lambda _: confirm())
        else:
            self._outbox.say("session.updated", session=shown)

    def _append_event(self, event: Mapping[str, object], now: float) -> None:
        self._append(field(event, "audio", str).encode(), now)

    def _append(self, base64_audio: bytes, now: float) -> None:
        try:
            audio = pybase64.b64decode(base64_audio, validate=True)
        except ValueError:
            message = "Invalid 'audio'. Expected base64-encoded audio bytes but got an invalid value."
            raise Rejected("invalid_value", message, "audio") from None
        if len(audio) > MAX_APPEND:
            raise Rejected(
                "string_above_max_length", "Invalid 'audio': 15 MiB at most in one event.", "audio"
            )
        if self._echo is None:
            self._caller.append(audio, now)
        else:
            self._echo.frame(audio)

    def _commit(self, event: Mapping[str, object], now: float) -> None:
        self._caller.commit(now)

    def _clear(self, event: Mapping[str, object], now: float) -> None:
        self._caller.clear()

    def _create_item(self, event: Mapping[str, object], now: float) -> None:
        item = client_item(field(event, "item", dict), self._outbox.new_id("item"))
        shown = item.shown
        output: ToolOutput | None = None
        if shown["type"] == "function_call_output":
            output = self._floor.tool_output(str(shown["call_id"]), str(shown["output"]))
        previous = self._conversation.insert(item, optional(event, "previous_item_id", str))
        if output is not None:
            self._floor.take_output(output)
        elif shown["type"] == "function_call":
            self._floor.know_call(str(shown["call_id"]), str(shown["name"]))
        elif item.by_caller:
            self._floor.take_typed(_typed_text(item))
        self._outbox.say_added(shown, previous)

    def _truncate_item(self, event: Mapping[str, object], now: float) -> None:
        item_id = field(event, "item_id", str)
        index, end_ms = field(event, "content_index", int), field(event, "audio_end_ms", int)
        self._conversation.truncate(item_id, index, end_ms)
        self._outbox.say(
            "conversation.item.truncated", item_id=item_id, content_index=index, audio_end_ms=end_ms
        )

    def _delete_item(self, event: Mapping[str, object], now: float) -> None:
        item_id = field(event, "item_id", str)
        self._conversation.delete(item_id)
        self._outbox.say("conversation.item.deleted", item_id=item_id)

    def _retrieve_item(self, event: Mapping[str, object], now: float) -> None:
        item = self._conversation.find(field(event, "item_id", str), "retrieve")
        self._outbox.say("conversation.item.retrieved", item=item.shown)

    def _create_response(self, event: Mapping[str, object], now: float) -> None:
        given = optional(event, "response", dict) or {}
        if self._echo is None:
            self._floor.respond(Origin.CLIENT, given, now)
        else:
            self._echo.begin(given)

    def _cancel_response(self, event: Mapping[str, object], now: float) -> None:
        self._floor.cancel_by_client(optional(event, "response_id", str), now)

    def _clear_output(self, event: Mapping[str, object], now: float) -> None:
        message = "output_audio_buffer.clear is only supported over WebRTC and SIP."
        raise Rejected("invalid_value", message, "type")


def _typed_text(item: Item) -> str | None:
    content = item.shown.get("content")
    texts = [str(part["text"]) for part in content if "text" in part] if isinstance(content, list) else []
    return " ".join(texts) or None


_Handler = Callable[[AgentServerSession, Mapping[str, object], float], None]

_EVENTS: Mapping[str, _Handler] = {
    "session.update": AgentServerSession._update_session,
    "input_audio_buffer.append": AgentServerSession._append_event,
    "input_audio_buffer.commit": AgentServerSession._commit,
    "input_audio_buffer.clear": AgentServerSession._clear,
    "conversation.item.create": AgentServerSession._create_item,
    "conversation.item.truncate": AgentServerSession._truncate_item,
    "conversation.item.delete": AgentServerSession._delete_item,
    "conversation.item.retrieve": AgentServerSession._retrieve_item,
    "response.create": AgentServerSession._create_response,
    "response.cancel": AgentServerSession._cancel_response,
    "output_audio_buffer.clear": AgentServerSession._clear_output,
}
