"""One response of a server-side session: its items and events, from `response.created` to `response.done`.

`steps` is a generator: each `yield` is the number of seconds until the next step, so the pace of a reply
reads as it sounds, and a cut is the generator not being resumed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from media.audio import AudioFormat
from media.realtime.server_behaviour import FunctionCall, Reply, Speech, TruncateRefusal
from media.realtime.server_config import format_object
from media.realtime.server_conversation import AGENT_TOKENS, Conversation, Item, text_tokens
from media.realtime.server_wire import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseShape:
    """What one response was asked to be: the session's settings with the response's own on top."""

    audio_format: AudioFormat
    voice: object
    modalities: list[str]
    max_output_tokens: int | str
    metadata: object
    conversation_id: str | None
    """None: out of band."""
    instructions: str


@dataclass(slots=True)
class _OpenMessage:
    """The output message being generated."""

    item: Item
    output_index: int
    text: str
    audio: bytes
    template: bytes
    """Of its audio deltas; empty: the message is text."""
    position: int = 0
    """Bytes of audio said."""
    told: int = 0
    """Characters of the transcript said."""


class ResponseRun:
    """Driven by the session (`created`, `steps`, `cut`, `finish`); writes to the outbox, knows no clock."""

    def __init__(
        self, response_id: str, shape: ResponseShape, outbox: Outbox, conversation: Conversation
    ) -> None:
        self.response_id = response_id
        self.shape = shape
        self.reply: Reply | None = None
        self.generation: Iterator[float] | None = None
        self.cut_reason: str | None = None
        """Why it is being cancelled; None while it runs."""
        self.over = False
        self.audio = 0.0
        """Seconds generated."""
        self.calls: dict[str, str] = {}
        """Names of the functions called, by call id."""
        self._outbox = outbox
        self._conversation = conversation
        self._output: list[Item] = []
        self._text_out = 0
        self._open: _OpenMessage | None = None
        self._cut_message: _OpenMessage | None = None
        self._previous: str | None = None
        self._refusal: TruncateRefusal | None = None

    @property
    def in_conversation(self) -> bool:
        return self.shape.conversation_id is not None

    def created(self) -> None:
        self._outbox.say("response.created", response=self._shown("in_progress", None, None))

    def steps(self, reply: Reply) -> Iterator[float]:
        """Generate the reply; finishes the response at its end."""
        self.reply, self._refusal = reply, reply.truncate_refusal
        yield reply.delay
        for item in reply.items:
            if isinstance(item, Speech):
                yield from self._speak(item, reply)
                if self._open is not None:
                    self.finish("incomplete", "max_output_tokens")
                    return
            else:
                self._call(item)
        if reply.failure is None:
            self.finish("completed")
        else:
            self.finish("failed", error=reply.failure)

    def _speak(self, speech: Speech, reply: Reply) -> Iterator[float]:
        if "audio" not in self.shape.modalities:
            self._write(speech.text)
            return
        audio_format = self.shape.audio_format
        audio = speech.sound.encoded(audio_format)
        message = self._open = self.open_message(speech.text, audio)
        step = max(1, round(reply.delta * audio_format.rate)) * audio_format.sample_bytes
        while message.position < len(audio) and not self._spent():
            said = self._say_chunk(message, step)
            yield 0.0 if reply.pace is None else said / reply.pace
        if message.position >= len(audio):
            self._close_message("completed")

    def _say_chunk(self, message: _OpenMessage, step: int) -> float:
        """Send the next delta and the words that go with it; return its length in seconds."""
        audio = message.audio[message.position : message.position + step]
        message.position += len(audio)
        share = len(message.text) * message.position // len(message.audio)
        if words := message.text[message.told : share]:
            message.told = share
            self._text_out += text_tokens(words)
            ids = self._ids(message)
            self._outbox.say("response.output_audio_transcript.delta", **ids, content_index=0, delta=words)
        self._outbox.say_audio(message.template, audio)
        seconds = self.shape.audio_format.duration(audio)
        self.add_audio(message.item, seconds)
        return seconds

    def add_audio(self, item: Item, seconds: float) -> None:
        item.spoken = True
        item.audio += seconds
        self.audio += seconds

    def _spent(self) -> bool:
        limit = self.shape.max_output_tokens
        return isinstance(limit, int) and self.audio * AGENT_TOKENS + self._text_out >= limit

    # --- items ---------------------------------------------------------------------------------------

    def _ids(self, message: _OpenMessage) -> dict[str, object]:
        return {
            "response_id": self.response_id,
            "item_id": message.item.item_id,
            "output_index": message.output_index,
        }

    def _add_item(self, item: Item) -> int:
        index = len(self._output)
        self._output.append(item)
        item.truncate_refusal = self._refusal
        self._outbox.say(
            "response.output_item.added", response_id=self.response_id, output_index=index, item=item.shown
        )
        if self.in_conversation:
            previous = self._conversation.append(item)
            self._outbox.say("conversation.item.added", previous_item_id=previous, item=item.shown)
            self._previous = previous
        return index

    def _item_done(self, item: Item, index: int, status: str) -> None:
        item.shown["status"] = status
        if self.in_conversation:
            self._outbox.say("conversation.item.done", previous_item_id=self._previous, item=item.shown)
        self._outbox.say(
            "response.output_item.done", response_id=self.response_id, output_index=index, item=item.shown
        )

    def open_message(self, text: str, audio: bytes, *, spoken: bool = True) -> _OpenMessage:
        """Begin an output message."""
        item = Item(
            {
                "id": self._outbox.new_id("item"),
                "object": "realtime.item",
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
        )
        index = self._add_item(item)
        template = self._outbox.delta_template(self.response_id, item.item_id, index) if spoken else b""
        message = self._open = _OpenMessage(item, index, text, audio, template)
        part = {"type": "audio", "transcript": ""} if spoken else {"type": "text", "text": ""}
        self._outbox.say("response.content_part.added", **self._ids(message), content_index=0, part=part)
        return message

    def _close_message(self, status: str) -> None:
        message, self._open = self._open, None
        if message is None:
            return
        ids = {**self._ids(message), "content_index": 0}
        said = message.text[: message.told]
        if message.template:
            if status == "completed":
                said = message.text
            self._outbox.say("response.output_audio.done", **ids)
            self._outbox.say("response.output_audio_transcript.done", **ids, transcript=said)
            part = {"type": "audio", "transcript": said}
            message.item.shown["content"] = [{"type": "output_audio", "transcript": said}]
        else:
            self._outbox.say("response.output_text.done", **ids, text=said)
            part = {"type": "text", "text": said}
            message.item.shown["content"] = [{"type": "output_text", "text": said}]
        self._outbox.say("response.content_part.done", **ids, part=part)
        self._item_done(message.item, message.output_index, status)

    def _write(self, text: str) -> None:
        """Say a message as text."""
        message = self.open_message(text, b"", spoken=False)
        message.told = len(text)
        self._text_out += text_tokens(text)
        ids = self._ids(message)
        self._outbox.say("response.output_text.delta", **ids, content_index=0, delta=text)
        self._close_message("completed")

    def _call(self, call: FunctionCall) -> None:
        call_id = self._outbox.new_id("call")
        self.calls[call_id] = call.name
        self._text_out += text_tokens(call.arguments)
        item = Item(
            {
                "id": self._outbox.new_id("item"),
                "object": "realtime.item",
                "type": "function_call",
                "status": "in_progress",
                "call_id": call_id,
                "name": call.name,
                "arguments": "",
            }
        )
        index = self._add_item(item)
        ids = {
            "response_id": self.response_id,
            "item_id": item.item_id,
            "output_index": index,
            "call_id": call_id,
        }
        middle = len(call.arguments) // 2
        for delta in (call.arguments[:middle], call.arguments[middle:]):
            self._outbox.say("response.function_call_arguments.delta", **ids, delta=delta)
        self._outbox.say(
            "response.function_call_arguments.done", **ids, name=call.name, arguments=call.arguments
        )
        item.shown["arguments"] = call.arguments
        self._item_done(item, index, "completed")

    # --- the end -------------------------------------------------------------------------------------

    def cut(self, reason: str) -> None:
        """Stop generating; `finish` still has to be called."""
        self.cut_reason = reason
        self.generation = None

    def late_delta(self) -> None:
        """Send one more piece of what was cut, as a generator does that is slow to stop."""
        message, reply = self._open or self._cut_message, self.reply
        if message is None or reply is None:
            return
        audio_format = self.shape.audio_format
        step = max(1, round(reply.delta * audio_format.rate)) * audio_format.sample_bytes
        audio = message.audio[message.position : message.position + step]
        message.position += len(audio)
        self._outbox.say_audio(
            message.template, audio or audio_format.silence(step // audio_format.sample_bytes)
        )

    def finish(self, status: str, reason: str | None = None, *, error: str | None = None) -> None:
        """Close what is open and say `response.done`: it is always sent."""
        self.over = True
        self.generation = None
        self._cut_message = self._open
        self._close_message("completed" if status == "completed" else "incomplete")
        self._outbox.say("response.done", response=self._shown(status, reason, error))

    def _shown(self, status: str, reason: str | None, error: str | None) -> dict[str, object]:
        details: dict[str, object] | None = None
        if reason is not None:
            details = {"type": status, "reason": reason}
        if error is not None:
            message = "The server had an error while processing your request."
            details = {"type": status, "error": {"type": "server_error", "code": error, "message": message}}
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "status_details": details,
            "output": [item.shown for item in self._output],
            "conversation_id": self.shape.conversation_id,
            "output_modalities": self.shape.modalities,
            "max_output_tokens": self.shape.max_output_tokens,
            "audio": {
                "output": {"format": format_object(self.shape.audio_format), "voice": self.shape.voice}
            },
            "usage": None if status == "in_progress" else self._usage(),
            "metadata": self.shape.metadata,
        }

    def _usage(self) -> dict[str, object]:
        read = self._conversation.input_usage(self.shape.instructions, without=self._output)
        audio_out = round(self.audio * AGENT_TOKENS)
        input_tokens = int(str(read["text_tokens"])) + int(str(read["audio_tokens"]))
        output_tokens = audio_out + self._text_out
        return {
            "total_tokens": input_tokens + output_tokens,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "input_token_details": read,
            "output_token_details": {"text_tokens": self._text_out, "audio_tokens": audio_out},
        }
