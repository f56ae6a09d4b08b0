"""The caller's side of a server-side session: audio in, turns out of it, transcripts, and long silences."""

from collections.abc import Callable, Mapping
from functools import partial

from media.realtime.server_agenda import Agenda
from media.realtime.server_behaviour import Behaviour, CallerTurn, Origin, Transcription
from media.realtime.server_config import SessionSettings
from media.realtime.server_conversation import Conversation, Item
from media.realtime.server_floor import Floor
from media.realtime.server_input import MIN_COMMIT_MS, InputBuffer, SpeechBegan, SpeechEnded
from media.realtime.server_response import ResponseRun
from media.realtime.server_wire import Outbox, Rejected

Attempt = Callable[[Callable[[float], None], float], None]
"""Runs an action that may be refused; the refusal becomes an `error` event of its own."""


class CallerSide:
    """Driven by appended audio, by commits and by the agenda; tells the floor when the caller begins and ends."""

    def __init__(
        self,
        behaviour: Behaviour,
        outbox: Outbox,
        settings: SessionSettings,
        conversation: Conversation,
        agenda: Agenda,
        floor: Floor,
        attempt: Attempt,
    ) -> None:
        self._behaviour = behaviour
        self._outbox = outbox
        self._settings = settings
        self._conversation = conversation
        self._agenda = agenda
        self._floor = floor
        self._attempt = attempt
        self._turns: dict[str, CallerTurn] = {}
        self._item_id = ""
        self._input = InputBuffer(settings.input_format, settings.turn_detection, keep=behaviour.keeps_audio)
        floor.ended = self._response_ended

    def configure(self) -> None:
        """Take the session's format and turn detection anew."""
        self._input.configure(self._settings.input_format, self._settings.turn_detection)

    @property
    def _detection(self) -> Mapping[str, object]:
        return self._settings.turn_detection or {}

    def append(self, audio: bytes, now: float) -> None:
        for heard in self._input.feed(audio):
            match heard:
                case SpeechBegan():
                    self._speech_began(heard, now)
                case SpeechEnded():
                    self._speech_ended(heard, now)

    def _speech_began(self, speech: SpeechBegan, now: float) -> None:
        self._floor.quiet += 1
        self._item_id = self._outbox.new_id("item")
        self._outbox.say(
            "input_audio_buffer.speech_started", audio_start_ms=speech.audio_ms, item_id=self._item_id
        )
        if self._detection.get("interrupt_response"):
            self._floor.interrupt(now)

    def _speech_ended(self, speech: SpeechEnded, now: float) -> None:
        self._outbox.say(
            "input_audio_buffer.speech_stopped", audio_end_ms=speech.audio_ms, item_id=self._item_id
        )
        seconds, audio = self._input.commit(speech.start_ms, speech.audio_ms)
        self._commit(self._item_id, seconds, audio, now)
        if self._detection.get("create_response"):
            self._attempt(partial(self._floor.respond, Origin.SPEECH, {}), now)

    # --- commits and transcripts ---------------------------------------------------------------------

    def commit(self, now: float) -> None:
        """The client ends the turn."""
        pending = self._input.pending_ms
        if pending < MIN_COMMIT_MS:
            raise Rejected(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {pending:.2f}ms of audio.",
            )
        seconds, audio = self._input.commit()
        self._commit(self._outbox.new_id("item"), seconds, audio, now)

    def _commit(self, item_id: str, seconds: float, audio: bytes, now: float) -> None:
        """Make a caller's item of committed audio, and have it transcribed."""
        item = Item(_shown(item_id), audio=seconds)
        previous = self._conversation.append(item)
        self._outbox.say("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self._outbox.say_added(item.shown, previous)
        turn = CallerTurn(
            item_id=item_id, duration=seconds, audio=audio, audio_format=self._settings.input_format
        )
        self._turns[item_id] = turn
        transcription = self._behaviour.heard(turn)
        if transcription is not None:
            self._agenda.at(now + transcription.delay, lambda _: self.transcribed(item_id, transcription))

    def transcribed(self, item_id: str, transcription: Transcription) -> None:
        """Report what the caller said, if the session asked for transcripts."""
        turn = self._turns.pop(item_id, None)
        if turn is None:
            return
        self._conversation.set_transcript(item_id, transcription.text)
        if not self._settings.transcribes:
            return
        kind = "conversation.item.input_audio_transcription"
        where: dict[str, object] = {"item_id": item_id, "content_index": 0}
        if transcription.failure is not None:
            failed = {
                "type": "server_error",
                "code": transcription.failure,
                "message": "Transcription failed.",
            }
            self._outbox.say(f"{kind}.failed", **where, error=failed)
            return
        for word in transcription.text.split():
            self._outbox.say(f"{kind}.delta", **where, delta=f"{word} ")
        usage = {"type": "duration", "seconds": turn.duration}
        self._outbox.say(f"{kind}.completed", **where, transcript=transcription.text, usage=usage)

    def clear(self) -> None:
        self._input.clear()
        self._outbox.say("input_audio_buffer.cleared")

    # --- silence -------------------------------------------------------------------------------------

    def _response_ended(self, run: ResponseRun, now: float) -> None:
        idle_ms = self._detection.get("idle_timeout_ms")
        if isinstance(idle_ms, int) and run.in_conversation:
            # The service counts from response.done plus the time the audio takes to play.
            idle = partial(self._idle, self._floor.quiet, self._input.written_ms)
            self._agenda.at(now + run.audio + idle_ms / 1000, idle)

    def _idle(self, quiet: int, begun_ms: int, now: float) -> None:
        if quiet != self._floor.quiet or self._input.speaking:
            return
        item_id = self._outbox.new_id("item")
        end_ms = self._input.written_ms
        self._outbox.say(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=begun_ms,
            audio_end_ms=end_ms,
            item_id=item_id,
        )
        seconds, audio = self._input.commit(begun_ms, end_ms)
        self._commit(item_id, seconds, audio, now)
        self._attempt(partial(self._floor.respond, Origin.IDLE, {}), now)


def _shown(item_id: str) -> dict[str, object]:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
