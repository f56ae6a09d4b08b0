"""The client side of a realtime speech-to-speech session: messages in, events out, messages to send.

    connecting --opened--> configuring --session.updated--> ready --closed, close, fatal fault--> closed

Audio has its own way: `append` writes it, `scan` reads it. `scan` knows the deltas of the item being spoken by
their bytes (`media.realtime.delta`) and leaves everything else to `receive`. Both know which responses were
cut: their late audio never comes out.

The formats are the carrier's where the server takes them, PCM16 where it does not, and whatever
`session.updated` confirms is what counts; a format we cannot turn into the carrier's ends the session before
any audio flows. It is never noise.
"""

import binascii
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum

import pybase64

from media.audio import AudioFormat
from media.realtime import openai
from media.realtime.configuration import (
    HistoryItem,
    ItemCut,
    SessionConfig,
    ToolSpec,
    TurnDetection,
)
from media.realtime.delta import DeltaTemplate, learn
from media.realtime.dialects import OPENAI, Dialect, askable, native_pcm
from media.realtime.events import (
    AgentEvent,
    AgentFault,
    AudioEnded,
    AudioReceived,
    ExpiringSoon,
    ItemAdded,
    Ready,
    ResponseDone,
    ResponseStarted,
    Role,
    Severity,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    Transcript,
    TranscriptFailed,
    TranscriptionUsage,
    Truncated,
    Unrecognised,
)
from media.realtime.faults import ACTIVE_RESPONSE, classify, close_fault, fatal_fault
from media.realtime.items import Item, ItemLedger
from media.realtime.openai import Fields, ServerEvent, identifier, number, part, text
from media.realtime.responses import Response, ResponseSequencer
from media.realtime.rounds import ToolRounds
from media.realtime.usage import read_transcription_usage, read_usage

__all__ = [
    "HistoryItem",
    "ItemCut",
    "RealtimeSession",
    "SessionConfig",
    "SessionState",
    "ToolSpec",
    "TurnDetection",
]

CONFIGURE_TIMEOUT = 5.0  # a server answers session.update within a round trip; the caller is waiting
# A session is replaced at a turn boundary before the server ends it; turns are seldom longer.
EXPIRY_NOTICE = 300.0
# As on the carrier's side: a broken peer, not a broken message.
FLOOD, FLOOD_SECONDS = 50, 10.0
# Deltas of one item from which a template is tried; a server that writes each one differently has none.
LEARNING = 3
# Unix seconds beyond which an `expires_at` is a mistake (milliseconds, usually).
LATEST_EXPIRY = 1e11
# Words of an error that make it an answer to our session.update where the server names no event.
CONFIGURATION_WORDS = ("session.", "format", "audio/pcm", "g711", "codec")
FORMAT_WORDS = ("format", "pcmu", "pcma", "g711", "codec", "audio/")
# Known, and nothing to a telephone call.
IGNORED = frozenset(
    {
        "conversation.created",
        "conversation.item.deleted",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "input_audio_buffer.cleared",
        "input_audio_buffer.dtmf_event_received",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "ping",  # xAI
        "rate_limits.updated",
        "response.cancelled",  # named in a guide, sent by a few; response.done is what counts
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",  # also sent for calls cut short: never run a tool from it
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
    }
)


class SessionState(Enum):
    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    READY = "ready"
    CLOSED = "closed"


class RealtimeSession:
    """One session with a speech-to-speech server.

    Driven by its socket (`opened`, `scan`, `receive`, `closed`), by the bridge (`append`, `request_response`,
    `inject`, `tool_result`, `interrupt`) and by time (`poll`). Never raises on anything a server sends, never
    sends: its owner takes `outgoing()` after each of these calls.
    """

    __slots__ = (
        "_bad",
        "_config",
        "_configure_deadline",
        "_configures",
        "_configures_again",
        "_dialect",
        "_expires_at",
        "_expiry",
        "_expiry_told",
        "_items",
        "_muted",
        "_opened_at",
        "_out",
        "_readers",
        "_responses",
        "_rounds",
        "_sample_bytes",
        "_server_cancels",
        "_server_creates",
        "_speaking",
        "_template",
        "_wall",
        "dropped",
        "input_format",
        "malformed",
        "output_format",
        "session_id",
        "state",
    )

    def __init__(self, config: SessionConfig, dialect: Dialect = OPENAI) -> None:
        self.state = SessionState.CONNECTING
        self.input_format: AudioFormat = askable(config.input_format, dialect)
        self.output_format: AudioFormat = askable(config.output_format, dialect)
        self.session_id = ""
        self.malformed = 0
        self.dropped = 0
        """Bytes of late audio of cut responses."""
        self._sample_bytes = self.output_format.sample_bytes
        self._config = config
        self._dialect = dialect
        self._out: list[bytes] = []
        self._configures = 0
        self._configures_again = 0
        self._configure_deadline: float | None = None
        self._opened_at = 0.0
        self._wall: float | None = None
        self._expires_at: float | None = None
        self._expiry: float | None = None
        self._expiry_told = False
        self._bad: deque[float] = deque(maxlen=FLOOD)
        self._items = ItemLedger()
        self._responses = ResponseSequencer()
        self._rounds = ToolRounds()
        self._server_cancels = config.turn_detection.kind is not None
        self._server_creates = config.turn_detection.kind is not None
        self._template: DeltaTemplate | None = None
        self._speaking: Item | None = None
        """The item of the template."""
        self._muted = False
        self._readers: dict[str, Callable[[ServerEvent, float], list[AgentEvent]]] = {
            "conversation.item.added": self._on_item_added,
            "conversation.item.input_audio_transcription.completed": self._on_caller_text,
            "conversation.item.input_audio_transcription.delta": self._on_caller_delta,
            "conversation.item.input_audio_transcription.failed": self._on_caller_text_failed,
            "conversation.item.input_audio_transcription.updated": self._on_caller_update,
            "conversation.item.truncated": self._on_truncated,
            "error": self._on_error,
            "input_audio_buffer.committed": self._on_committed,
            "input_audio_buffer.speech_started": self._on_speech_started,
            "input_audio_buffer.speech_stopped": self._on_speech_stopped,
            "response.created": self._on_response_created,
            "response.done": self._on_response_done,
            "response.output_audio.delta": self._on_audio,
            "response.output_audio.done": self._on_audio_done,
            "response.output_audio_transcript.delta": self._on_agent_delta,
            "response.output_audio_transcript.done": self._on_agent_text,
            "response.output_item.added": self._on_output_item_added,
            "response.output_item.done": self._on_output_item_done,
            "response.output_text.delta": self._on_agent_delta,
            "response.output_text.done": self._on_agent_text,
            "session.created": self._on_session_created,
            "session.updated": self._on_session_updated,
        }

    # -- the socket

    def opened(self, now: float, *, history: Sequence[HistoryItem] = (), wall: float | None = None) -> None:
        """The socket is up: configure the session, and tell it what was said before.

        `wall` is the unix time of `now`, by which the server's `expires_at` is understood.
        """
        self.state = SessionState.CONFIGURING
        self._opened_at, self._wall = now, wall
        early, self._out = self._out, []
        self._configure(now)
        for index, entry in enumerate(history):
            item_id = f"history_{index}"
            # Ours: the server's word that it was added is no news.
            self._items.open(item_id).announced = True
            self._out.append(openai.message_item(entry, self._dialect, item_id=item_id, event_id=item_id))
        self._out += early
        self._plan_expiry()

    def scan(self, message: bytes) -> tuple[str, bytes] | None:
        """Return (item, audio) of an audio delta, audio empty if it belongs to a cut response.

        None means it is no delta of the item being spoken: hand the message to `receive`.
        """
        template, item = self._template, self._speaking
        if template is None or item is None:
            return None
        audio = template.audio(message)
        if audio is None:
            return None
        if self._muted:
            item.dropped = True
            self.dropped += len(audio)
            return template.item_id, b""
        return template.item_id, item.take(audio, self._sample_bytes)

    def receive(self, message: bytes, now: float) -> list[AgentEvent]:
        """Read one message. Never raises."""
        if self.state is SessionState.CLOSED:
            return []
        try:
            event = openai.parse(message, self._dialect)
        except openai.MalformedMessage as error:
            return self._on_malformed(str(error), now)
        reader = self._readers.get(event.name)
        if reader is None:
            return [] if event.name in IGNORED else [Unrecognised(event.name)]
        events = reader(event, now)
        self._send_owed(now)
        return events

    def outgoing(self) -> list[bytes]:
        """Take the control messages to send, in order."""
        out, self._out = self._out, []
        return out

    def close(self) -> None:
        """We end the session: what the socket still says is of no interest."""
        self.state = SessionState.CLOSED
        self._template = None
        self._out.clear()

    def closed(self, code: int | None, reason: str, now: float) -> list[AgentEvent]:
        """The socket closed; nothing to say if we closed it, or gave it up already."""
        if self.state is SessionState.CLOSED:
            return []
        self.close()
        return [close_fault(code, reason)]

    # -- the bridge

    def reconfigure(self, *, instructions: str | None, tools: tuple[ToolSpec, ...] | None) -> None:
        """Go on with other instructions or tools (None: with the same); a response under way keeps what it began with.

        Before `opened` nothing is sent: the session begins so.
        """
        config = self._config
        self._config = replace(
            config,
            instructions=config.instructions if instructions is None else instructions,
            tools=config.tools if tools is None else tools,
        )
        if self.state in (SessionState.CONFIGURING, SessionState.READY):
            self._configures_again += 1
            event_id = f"reconfigure_{self._configures_again}"
            self._send(openai.session_change(self._config, self._dialect, event_id))

    @property
    def responding(self) -> bool:
        """Whether a response is active and not cut, or has been asked for and will come."""
        return self.state is not SessionState.CLOSED and self._responses.responding

    @property
    def asked(self) -> bool:
        """Whether a response was asked for that has not begun."""
        return self.state is not SessionState.CLOSED and self._responses.asked

    def clear_input(self) -> bytes:
        """Return the message that drops what the server has heard and not taken for a turn yet."""
        return openai.input_clear()

    def append(self, audio: bytes) -> bytes:
        """Return the message that hands caller audio (in `input_format`) to the session."""
        return openai.APPEND + pybase64.b64encode(audio) + openai.END

    def request_response(self, now: float, *, instructions: str | None = None) -> None:
        """Ask for a response, now or when the server is free; the latest request wins."""
        self._responses.ask(now, instructions)
        self._send_owed(now)

    def inject(self, role: Role, words: str, now: float, *, item_id: str | None = None) -> None:
        """Add text to the conversation, under our own `item_id` if given; no response is asked for."""
        self._send(openai.message_item(HistoryItem(role, words), self._dialect, item_id=item_id))

    def tool_result(self, call_id: str, output: str, now: float) -> None:
        """Hand over one call's output; after the last of its response, ask for one response to all."""
        if not self._rounds.is_open(call_id):
            return  # answered already, or of a session this one replaced: the server would refuse it
        self._send(openai.function_output(call_id, output))
        if self._rounds.answered(call_id):
            self._responses.ask(now)
            self._send_owed(now)

    def interrupt(self, cuts: Sequence[ItemCut], now: float) -> None:
        """The caller barged in: stop what is being generated and say how much of each item was heard."""
        if self.state is not SessionState.READY:
            return
        self._rounds.supersede()
        self._cancel(self._responses.interrupt(now))
        for cut in cuts:
            if (item := self._items.get(cut.item_id)) is not None and not item.cut:
                self._cut(item, cut.heard_ms)
        self._mute()

    # -- time

    def next_deadline(self) -> float | None:
        if self.state is SessionState.CONFIGURING:
            return self._configure_deadline
        if self.state is not SessionState.READY:
            return None
        waits = [wait for wait in (self._expiry, self._responses.next_deadline()) if wait is not None]
        return min(waits, default=None)

    def poll(self, now: float) -> list[AgentEvent]:
        """Return what time alone brought about."""
        if self.state is SessionState.CONFIGURING:
            deadline = self._configure_deadline
            if deadline is not None and deadline <= now:
                return self._fail("configure_timeout", "no session.updated in time")
        if self.state is not SessionState.READY:
            return []
        events: list[AgentEvent] = []
        if self._expiry is not None and self._expiry <= now:
            events.append(ExpiringSoon(max(0.0, self._expiry + EXPIRY_NOTICE - now)))
            self._expiry, self._expiry_told = None, True
        lost, ended = self._responses.poll(now)
        if lost is not None:
            events.append(
                AgentFault(
                    "response_not_started",
                    "the server created no response",
                    Severity.RECOVERABLE,
                    lost.event_id,
                )
            )
        if ended is not None:
            events += self._finish(ended, now, superseded=True)
            events.append(ResponseDone(ended.response_id, "cancelled", "timeout"))
        self._send_owed(now)
        return events

    # -- configuration

    def _configure(self, now: float) -> None:
        self._configures += 1
        self._configure_deadline = now + CONFIGURE_TIMEOUT
        self._out.append(
            openai.session_update(
                self._config,
                self.input_format,
                self.output_format,
                self._dialect,
                self._configure_id,
            )
        )

    @property
    def _configure_id(self) -> str:
        return f"configure_{self._configures}"

    def _on_session_created(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        self._note_session(part(event.fields, "session"))
        return []

    def _on_session_updated(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        session = part(event.fields, "session")
        self._note_session(session)
        confirmed = openai.read_session(session, self._dialect)
        if self.state is SessionState.READY:
            return self._check_unchanged(confirmed)
        heard = self._confirmed(confirmed.input_format, confirmed.names_input, self.input_format)
        said = self._confirmed(confirmed.output_format, confirmed.names_output, self.output_format)
        if heard is None or said is None:
            return self._ask_for_pcm("the server confirms no format we can use", now)
        self.input_format, self.output_format = heard, said
        self._sample_bytes = said.sample_bytes
        self._note_turns(confirmed.turn_detection)
        self.state = SessionState.READY
        return [Ready(self.session_id, heard, said, self._expires_at)]

    def _confirmed(self, answer: AudioFormat | None, named: bool, asked: AudioFormat) -> AudioFormat | None:
        """Return the format to use, None if it is not known for sure.

        Silence confirms only what the server speaks anyway: taking it for G.711 risks noise for a whole call.
        """
        if named:
            return answer
        return asked if asked == native_pcm(self._dialect) else None

    def _ask_for_pcm(self, why: str, now: float) -> list[AgentEvent]:
        """Ask again, for the PCM16 every server speaks; give up if that is what was asked."""
        native = native_pcm(self._dialect)
        if self._configures > 1 or (self.input_format == native and self.output_format == native):
            return self._fail("format_refused", why)
        self.input_format = self.output_format = native
        pending, self._out = self._out, []
        self._configure(now)
        self._out += pending
        return []

    def _check_unchanged(self, confirmed: openai.Confirmed) -> list[AgentEvent]:
        heard = confirmed.input_format if confirmed.names_input else self.input_format
        said = confirmed.output_format if confirmed.names_output else self.output_format
        if (heard, said) != (self.input_format, self.output_format):
            return self._fail("format_refused", "the server changed its audio format during the call")
        self._note_turns(confirmed.turn_detection)
        return []

    def _note_session(self, session: Fields) -> None:
        self.session_id = identifier(session, "id") or self.session_id
        expires_at = session.get("expires_at")
        if isinstance(expires_at, int | float) and 0 < expires_at < LATEST_EXPIRY:
            self._expires_at = float(expires_at)
            self._plan_expiry()

    def _note_turns(self, turns: Fields | None) -> None:
        """Note what the server will do by itself when the caller speaks."""
        wanted = self._config.turn_detection
        present = bool(turns) if turns is not None else wanted.kind is not None
        switches = self._dialect.switches_turns
        asked = (wanted.interrupt_response, wanted.create_response) if switches else (True, True)
        said = turns or {}
        cancels, creates = said.get("interrupt_response"), said.get("create_response")
        self._server_cancels = present and (cancels if isinstance(cancels, bool) else asked[0])
        self._server_creates = present and (creates if isinstance(creates, bool) else asked[1])

    def _plan_expiry(self) -> None:
        if self._expiry_told:
            return
        ends = []
        if self._dialect.session_seconds is not None:
            ends.append(self._opened_at + self._dialect.session_seconds)
        if self._expires_at is not None and self._wall is not None and self._expires_at > self._wall:
            ends.append(self._opened_at + self._expires_at - self._wall)
        self._expiry = min(ends) - EXPIRY_NOTICE if ends else None

    # -- faults

    def _fail(self, code: str, message: str, event_id: str | None = None) -> list[AgentEvent]:
        self.close()
        return [fatal_fault(code, message, event_id)]

    def _on_malformed(self, why: str, now: float) -> list[AgentEvent]:
        self.malformed += 1
        self._bad.append(now)
        if len(self._bad) == FLOOD and now - self._bad[0] < FLOOD_SECONDS:
            return self._fail("malformed_flood", f"{FLOOD} malformed messages within {FLOOD_SECONDS:.0f} s")
        return [AgentFault("malformed", why[:200], Severity.RECOVERABLE)]

    def _on_error(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        error = openai.read_error(event.fields)
        message, event_id = text(error, "message"), identifier(error, "event_id")
        verdict = classify(text(error, "code"), message, text(error, "type"))
        if verdict.severity is Severity.FATAL:
            return self._fail(verdict.code, message, event_id or None)
        if self.state is SessionState.CONFIGURING and self._answers_configuration(error, event_id):
            if any(word in f"{message} {text(error, 'param')}".lower() for word in FORMAT_WORDS):
                return self._ask_for_pcm(message, now) or [
                    AgentFault(verdict.code, message, Severity.RECOVERABLE, event_id or None)
                ]
            # The server keeps its defaults then, PCM16 among them: going on would be noise.
            return self._fail("configuration_refused", message, event_id or None)
        if verdict.code == ACTIVE_RESPONSE:
            self._responses.refused(event_id, _response_named(message), now)
        elif event_id:
            self._responses.failed(event_id)
        return [AgentFault(verdict.code, message, verdict.severity, event_id or None)]

    def _answers_configuration(self, error: Fields, event_id: str) -> bool:
        if event_id:
            return event_id == self._configure_id
        words = f"{text(error, 'param')} {text(error, 'message')}".lower()
        return any(word in words for word in CONFIGURATION_WORDS)

    # -- the caller

    def _on_speech_started(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        self._responses.speech_started(cancels=self._server_cancels, creates=self._server_creates)
        if self._server_creates:
            self._rounds.supersede()
        return [SpeechStarted(identifier(event.fields, "item_id"), number(event.fields, "audio_start_ms"))]

    def _on_speech_stopped(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        return [SpeechStopped(identifier(event.fields, "item_id"), number(event.fields, "audio_end_ms"))]

    def _on_committed(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        if self._server_creates:
            self._responses.turn_committed()
        return self._announce(event.fields, identifier(event.fields, "item_id"), Role.CALLER)

    def _on_item_added(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = part(event.fields, "item")
        return self._announce(event.fields, identifier(item, "id"), openai.item_role(item))

    def _announce(self, fields: Fields, item_id: str, role: Role) -> list[AgentEvent]:
        """Tell an item's place once; again only when the place becomes known later."""
        if not item_id:
            return []
        item = self._items.open(item_id)
        previous = identifier(fields, "previous_item_id") or None
        if item.announced and (previous is None or item.previous is not None):
            return []
        if item.announced and item.role is None:
            return []  # history we replayed
        item.announced, item.previous = True, previous
        item.role = item.role or role
        return [ItemAdded(item_id, previous, item.role)]

    def _on_caller_delta(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = self._caller_item(event.fields)
        if item is None or item.settled:
            return []
        words = item.add_text(number(event.fields, "content_index"), text(event.fields, "delta"))
        return [Transcript(item.item_id, Role.CALLER, words, final=False)]

    def _on_caller_update(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        """xAI: the whole text so far, each time."""
        item = self._caller_item(event.fields)
        if item is None or item.settled:
            return []
        said = text(event.fields, "transcript") or text(event.fields, "text")
        words = item.set_text(number(event.fields, "content_index"), said)
        return [Transcript(item.item_id, Role.CALLER, words, final=False)]

    def _on_caller_text(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = self._caller_item(event.fields)
        if item is None:
            return []
        words = item.set_text(number(event.fields, "content_index"), text(event.fields, "transcript"))
        item.settled = True
        events: list[AgentEvent] = [Transcript(item.item_id, Role.CALLER, words, final=True)]
        if usage := part(event.fields, "usage"):
            events.append(TranscriptionUsage(item.item_id, read_transcription_usage(usage)))
        return events

    def _on_caller_text_failed(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = self._caller_item(event.fields)
        if item is None:
            return []
        error = part(event.fields, "error")
        return [TranscriptFailed(item.item_id, text(error, "code") or None, text(error, "message"))]

    def _caller_item(self, fields: Fields) -> Item | None:
        item_id = identifier(fields, "item_id")
        return self._items.open(item_id) if item_id else None

    # -- the agent

    def _on_response_created(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        response_id = identifier(part(event.fields, "response"), "id") or identifier(
            event.fields, "response_id"
        )
        self._cancel(self._responses.created(response_id, now))
        self._rounds.begun(response_id)
        self._mute()
        return [ResponseStarted(response_id)]

    def _adopt(self, fields: Fields, now: float) -> tuple[str, list[AgentEvent]]:
        """Return the response a message belongs to, begun here if the server never announced it."""
        response_id = identifier(fields, "response_id")
        new, cancel = self._responses.adopt(response_id, now)
        self._cancel(cancel)
        if new:
            self._rounds.begun(response_id)
        return self._response_of(fields), [ResponseStarted(response_id)] if new else []

    def _response_of(self, fields: Fields) -> str:
        """Return the response a message names, else the active one."""
        active = self._responses.active
        return identifier(fields, "response_id") or (active.response_id if active is not None else "")

    def _on_audio(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item_id = identifier(event.fields, "item_id")
        if self.state is not SessionState.READY:
            return []
        if not item_id:
            return self._on_malformed("audio without an item_id", now)
        try:
            audio = pybase64.b64decode(text(event.fields, "delta"), None, True)
        except (binascii.Error, ValueError) as error:
            return self._on_malformed(str(error), now)
        response_id, events = self._adopt(event.fields, now)
        item = self._agent_item(item_id, response_id)
        item.slow += 1
        if item.slow <= LEARNING:
            self._template, self._speaking = learn(event, response_id, item_id), item
            self._mute()
        if item.cut or self._responses.is_cut(response_id):
            item.dropped = True
            self.dropped += len(audio)
            return events
        return [*events, AudioReceived(item_id, item.take(audio, self._sample_bytes))]

    def _agent_item(self, item_id: str, response_id: str) -> Item:
        item = self._items.open(item_id)
        item.role = item.role or Role.AGENT
        item.response_id = item.response_id or response_id
        return item

    def _mute(self) -> None:
        """Settle whether the item being spoken may still be heard."""
        item, template = self._speaking, self._template
        self._muted = (
            item is not None
            and template is not None
            and (item.cut or self._responses.is_cut(template.response_id))
        )

    def _on_audio_done(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = self._items.get(identifier(event.fields, "item_id"))
        return self._end_audio(item) if item is not None else []

    def _end_audio(self, item: Item) -> list[AgentEvent]:
        if item.ended or item.role is not Role.AGENT:
            return []
        item.ended = True
        return [AudioEnded(item.item_id)] if item.received else []

    def _on_agent_delta(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        response_id, events = self._adopt(event.fields, now)
        item = self._said(event.fields, response_id)
        if item is None or item.settled:
            return events
        words = item.add_text(number(event.fields, "content_index"), text(event.fields, "delta"))
        return [*events, Transcript(item.item_id, Role.AGENT, words, final=False)]

    def _on_agent_text(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = self._said(event.fields, self._response_of(event.fields))
        if item is None:
            return []
        said = text(event.fields, "transcript") or text(event.fields, "text")
        index = number(event.fields, "content_index")
        # xAI's `done` carries no text: what came in deltas is all of it.
        words = item.set_text(index, said) if said else item.text
        item.settled = True
        return [Transcript(item.item_id, Role.AGENT, words, final=True)]

    def _said(self, fields: Fields, response_id: str) -> Item | None:
        """Return the item whose words these are; None where nothing of it was, or will be, heard."""
        item_id = identifier(fields, "item_id")
        if not item_id:
            return None
        item = self._agent_item(item_id, response_id)
        unheard = not item.received and (item.cut or self._responses.is_cut(response_id))
        return None if unheard else item

    def _on_output_item_added(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = part(event.fields, "item")
        item_id = identifier(item, "id")
        if not item_id:
            return []
        response_id, events = self._adopt(event.fields, now)
        known = self._items.open(item_id)
        known.role = known.role or openai.item_role(item)
        known.response_id = known.response_id or response_id
        return events

    def _on_output_item_done(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item = part(event.fields, "item")
        response_id = self._response_of(event.fields)
        known = self._items.get(identifier(item, "id"))
        events = self._end_audio(known) if known is not None else []
        # An interrupted call is `incomplete` and its arguments may be half a JSON object.
        if text(item, "type") != "function_call" or text(item, "status") != "completed":
            return events
        return events + self._call(item, response_id)

    def _call(self, item: Fields, response_id: str) -> list[AgentEvent]:
        call_id, name = identifier(item, "call_id"), identifier(item, "name")
        if not call_id or not name:
            return [AgentFault("malformed", "a function call without call_id or name", Severity.RECOVERABLE)]
        if not self._rounds.called(response_id, call_id, superseded=self._responses.is_cut(response_id)):
            return []
        arguments = openai.arguments_of(item)
        if arguments is not None:
            return [ToolCall(call_id, name, arguments)]
        # The model waits for an output in any case, and can do better when told.
        self._send(openai.function_output(call_id, '{"error":"arguments are not a JSON object"}'))
        self._rounds.answered(call_id)
        return [AgentFault("malformed_arguments", f"call {call_id} of {name}"[:200], Severity.RECOVERABLE)]

    def _on_response_done(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        response = part(event.fields, "response")
        response_id = identifier(response, "id") or identifier(event.fields, "response_id")
        status = text(response, "status") or "completed"
        details = part(response, "status_details")
        error = part(details, "error")
        reason = text(details, "reason") or text(error, "code") or text(error, "type") or None
        response_id = response_id or self._response_of({})
        cut = self._responses.is_cut(response_id)
        ended = self._responses.done(response_id) or Response(response_id, cut=cut)
        events = self._finish(ended, now, superseded=cut or status == "cancelled")
        events.append(ResponseDone(response_id, status, reason, read_usage(response.get("usage"))))
        if error:
            verdict = classify(text(error, "code"), text(error, "message"), text(error, "type"))
            if verdict.severity is Severity.FATAL:
                events += self._fail(verdict.code, text(error, "message"))
            else:
                events.append(AgentFault(verdict.code, text(error, "message"), Severity.RECOVERABLE))
        return events

    def _finish(self, response: Response, now: float, *, superseded: bool) -> list[AgentEvent]:
        """Close the books of a response: its items, and its tool round."""
        events: list[AgentEvent] = []
        for item in self._items.of_response(response.response_id):
            events += self._end_audio(item)
            if item.dropped and not item.cut:
                # It spoke on after the cut, in flight: nothing of that was heard.
                self._cut(item, self._received_ms(item))
        if self._rounds.finished(response.response_id, superseded=superseded):
            self._responses.ask(now)
        self._mute()
        return events

    def _on_truncated(self, event: ServerEvent, now: float) -> list[AgentEvent]:
        item_id = identifier(event.fields, "item_id")
        return [Truncated(item_id, number(event.fields, "audio_end_ms"))] if item_id else []

    # -- what is sent

    def _send(self, message: bytes) -> None:
        if self.state is not SessionState.CLOSED:
            self._out.append(message)

    def _send_owed(self, now: float) -> None:
        if self.state is SessionState.READY and (request := self._responses.take(now)) is not None:
            self._out.append(openai.response_create(request.event_id, request.instructions))

    def _cancel(self, response: Response | None) -> None:
        if response is not None and self._dialect.supports_cancel:
            # Named, so that it can never hit the response after it.
            self._send(openai.response_cancel(response.response_id))

    def _cut(self, item: Item, heard_ms: int) -> None:
        """Tell the server how much of an item was heard: never more than came, and never 0 of it.

        A server refuses to truncate an item at 0, or beyond its audio; an item nobody heard is deleted.
        """
        if item.role is not Role.AGENT:
            return
        item.cut = True
        received = self._received_ms(item)
        heard = min(heard_ms, received)
        if heard <= 0:
            if self._dialect.supports_delete:
                self._send(openai.item_delete(item.item_id))
        elif self._dialect.supports_truncate and (heard < received or item.dropped or not item.ended):
            self._send(openai.item_truncate(item.item_id, heard))

    def _received_ms(self, item: Item) -> int:
        return item.received // self._sample_bytes * 1000 // self.output_format.rate


def _response_named(message: str) -> str:
    """Return the response an error speaks of ("... in progress: resp_X. Wait until ...")."""
    for word in message.split():
        if word.startswith("resp_"):
            return word.strip(".,;:'\"`")[: openai.LONGEST_ID]
    return ""
