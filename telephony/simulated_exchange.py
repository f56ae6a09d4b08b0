"""What simulated carriers run on: the switch's clock, the person on each line, scripted trouble and the server.

Everything here is the same for every carrier and knows no carrier's words.
"""

import asyncio
import math
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from typing import Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from media import g711
from media.audio import AudioFormat, Encoding
from media.wav import BadWav, read
from telephony.caller import Caller
from telephony.line import Line
from telephony.outcome import CallOutcome, EndedBy, StreamRecord
from telephony.simulated_switch import Switch, SwitchEvent

# The far end's audio, whatever codec carries it.
_RATE = 8_000
# About fifteen characters a second, as people read aloud.
_CHARACTER = 0.065
# No call of a simulated carrier lasts longer than Telnyx allows (4 h).
_LONGEST_CALL = 14_400.0
# Of a file a prompt plays.
_FETCH_TIMEOUT = 10.0


class SwitchClock:
    """Wakes a switch when something is due and hands on what it says.

    Driven by the loop's timers and by `pump`, after each command to the switch.
    """

    def __init__(self, switch: Switch, hear: Callable[[SwitchEvent], None]) -> None:
        self._switch = switch
        self._hear = hear
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def pump(self) -> None:
        """Hand on everything that happened by now."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        while events := self._switch.poll(loop.time()):
            for event in events:
                self._hear(event)
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._switch.next_deadline()
        self._timer = None if deadline is None else loop.call_at(deadline, self.pump)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()


# The carrier's own voice


def toned_speech(text: str) -> bytes:
    """Return PCM16 at 8 kHz as long as `text` takes to say: a tone per letter, not words, the same each time."""
    samples = array("h")
    for character in text:
        length = round(_RATE * _CHARACTER)
        if character.isspace():
            samples.extend([0] * length)
            continue
        step = math.tau * (180 + 7 * (ord(character) % 40)) / _RATE
        samples.extend(
            round(8_000 * math.sin(step * n) * math.sin(math.pi * n / length)) for n in range(length)
        )
    return samples.tobytes()


class PromptEnd(Enum):
    """How a prompt ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    HANGUP = "hangup"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """Something the carrier plays to the person on a leg."""

    what: str
    """The text, the file's address, or the digits."""
    audio: bytes
    """PCM16 at 8 kHz."""
    loops: int | None = 1
    """None: until stopped."""
    started: Callable[[], None] = lambda: None
    ended: Callable[[PromptEnd], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class HeardPrompt:
    """What the carrier has begun to play, and when."""

    at: float
    what: str


class FileNotPlayable(Exception):
    """The address of a prompt has no audio that a phone can play."""


async def fetch_audio(url: str) -> bytes:
    """Return a WAV file's audio as PCM16 at 8 kHz.

    Raises:
        FileNotPlayable: no answer, another status than 200, or not mono WAV at 8 kHz.
    """
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=_FETCH_TIMEOUT)) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise FileNotPlayable(f"HTTP {response.status}")
            body = await response.read()
        header, audio = read(BytesIO(body))
    except (ClientError, OSError, TimeoutError, BadWav, ValueError) as error:
        raise FileNotPlayable(f"{type(error).__name__}: {error}") from error
    if header.rate != _RATE or header.channels != 1:
        raise FileNotPlayable(f"{header.channels} channels at {header.rate} Hz")
    return audio if header.encoding is Encoding.PCM16 else g711.decode(audio, header.encoding)


# The person on the line


class LineOwner(Protocol):
    """The carrier's side of a leg: told what the person on it does, and what became of its streams."""

    def key_pressed(self, digit: str) -> None: ...
    def stream_started(self, stream: StreamRecord) -> None: ...

    def stream_ended(self, stream: StreamRecord) -> None:
        """The other end closed it, or it broke; nothing is said of one that was detached."""
        ...

    def stream_refused(self, url: str, reason: str) -> None: ...

    def put_down(self) -> None:
        """The person hung up."""
        ...


class PartyLine(Protocol):
    """The media side of a leg (`telephony.simulation.SimulatedCall`): the person's script, their ear, the streams."""

    @property
    def line(self) -> Line: ...

    async def run(self) -> CallOutcome: ...
    def hang_up(self, by: EndedBy) -> None: ...
    def attach(
        self, url: str, *, parameters: Mapping[str, str] | None, auth_token: str | None, plays: bool
    ) -> None: ...
    def detach(self) -> None: ...
    def hush(self) -> None: ...


class LineMaker(Protocol):
    """Makes the media side of each leg (`telephony.party_lines.PartyLines`).

    Handed in from above: which carrier speaks how is known to a table of them all, which no carrier may import.
    """

    def __call__(
        self,
        carrier: str,
        caller: Caller,
        exchange: "Telephone",
        *,
        call_id: str,
        account_id: str | None,
        from_number: str,
        to_number: str,
        outbound: AudioFormat | None,
        limit: float,
    ) -> PartyLine: ...


class Telephone:
    """A person's phone from the answer to the end: what they say and press, what they hear, and of whom.

    Driven by the carrier's side of the leg. Streams come and go on it; prompts are played in between, or over them.
    """

    def __init__(
        self,
        carrier: str,
        call_id: str,
        lines: LineMaker,
        caller: Caller,
        owner: LineOwner,
        *,
        from_number: str,
        to_number: str,
        account_id: str | None = None,
        outbound: AudioFormat | None = None,
    ) -> None:
        self.prompts: list[HeardPrompt] = []
        self.outcome: CallOutcome | None = None
        """What the person has to tell, once the call is over."""
        self._owner = owner
        self._call = lines(
            carrier,
            caller,
            self,
            call_id=call_id,
            account_id=account_id,
            from_number=from_number,
            to_number=to_number,
            outbound=outbound,
            limit=_LONGEST_CALL + 60.0,
        )
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Prompt] = deque()
        self._playing: Prompt | None = None
        self._rounds = 0
        self._timer: asyncio.TimerHandle | None = None
        self._begun = self._over = False
        self._open = self._closing = False
        """Whether a socket is up, and whether it is on its way down by our doing."""
        self._following: Callable[[], None] | None = None
        """Opens the stream that waits for the one before to be gone."""
        self._task = self._loop.create_task(self._live())

    @property
    def line(self) -> Line:
        """What is heard on it."""
        return self._call.line

    @property
    def task(self) -> asyncio.Task[None]:
        return self._task

    @property
    def prompting(self) -> bool:
        return self._playing is not None

    # Streams

    def attach(
        self,
        url: str,
        *,
        parameters: Mapping[str, str] | None = None,
        auth_token: str | None = None,
        plays: bool = True,
    ) -> None:
        """Open a stream; `SimulatedCall.attach` says what each option means."""

        def attach() -> None:
            if self._closing:
                self._following = attach
            elif not self._over:
                self._call.attach(url, parameters=parameters, auth_token=auth_token, plays=plays)

        # After `run` has begun, which is at the loop's next turn if the phone was just picked up.
        self._loop.call_soon(attach)

    def detach(self) -> None:
        """End the stream, if there is one, be it on its way up."""
        self._following = None
        if self._begun and not self._over:
            self._closing = self._open
            self._call.detach()

    def hang_up(self) -> None:
        """The call is over, by no doing of the person's."""
        if not self._over:
            self._over = True
            self._stop_all(PromptEnd.HANGUP)
            # A phone that was picked up in this very turn of the loop has not begun to run.
            self._loop.call_soon(self._end_call)

    def _end_call(self) -> None:
        if not self._task.done():
            self._call.hang_up(EndedBy.GATEWAY)

    async def _live(self) -> None:
        self._begun = True
        self.outcome = await self._call.run()
        if not self._over:
            self._over = True
            self._stop_all(PromptEnd.HANGUP)
            self._owner.put_down()

    # What the person does (`simulation.Exchange`)

    def key_pressed(self, digit: str) -> None:
        self._owner.key_pressed(digit)

    def stream_started(self, stream: StreamRecord) -> None:
        self._open = True
        self._owner.stream_started(stream)

    def stream_ended(self, stream: StreamRecord) -> None:
        asked, self._open, self._closing = self._closing, False, False
        if not asked:
            self._owner.stream_ended(stream)
        elif self._following is not None:
            following, self._following = self._following, None
            following()

    def stream_refused(self, url: str, reason: str) -> None:
        self._owner.stream_refused(url, reason)

    # Prompts

    def play(self, prompt: Prompt) -> None:
        """Play after what is being played."""
        if self._over:
            prompt.ended(PromptEnd.HANGUP)
            return
        self._waiting.append(prompt)
        if self._playing is None:
            self._next()

    def stop(self, *, everything: bool = True) -> None:
        """Stop what is being played; with `everything` what waits, too."""
        if everything:
            waiting, self._waiting = self._waiting, deque()
        else:
            waiting = deque()
        if self._playing is not None:
            if self._begun:
                self._call.hush()
            else:
                self._call.line.break_off(self._loop.time())
            self._finish(PromptEnd.CANCELLED)
        for prompt in waiting:
            prompt.ended(PromptEnd.CANCELLED)

    def _next(self) -> None:
        while self._playing is None and self._waiting:
            self._playing = prompt = self._waiting.popleft()
            self._rounds = 0
            self.prompts.append(HeardPrompt(self._loop.time(), prompt.what))
            prompt.started()
            self._round(prompt)

    def _round(self, prompt: Prompt) -> None:
        """Play the prompt once more, or end it."""
        if prompt is not self._playing:
            return
        if prompt.loops is not None and self._rounds >= prompt.loops:
            self._finish(PromptEnd.COMPLETED)
            return
        self._rounds += 1
        now, line = self._loop.time(), self._call.line
        encoding = line.format.encoding
        audio = prompt.audio if encoding is Encoding.PCM16 else g711.encode(prompt.audio, encoding)
        line.queue(audio, now)
        duration = max(line.queued(now) / line.format.rate, 0.001)
        self._timer = self._loop.call_later(duration, self._round, prompt)

    def _finish(self, end: PromptEnd) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        prompt, self._playing = self._playing, None
        if prompt is not None:
            prompt.ended(end)
        if not self._over:
            self._next()

    def _stop_all(self, end: PromptEnd) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._finish(end)
        for prompt in waiting:
            prompt.ended(end)


# Scripted trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer so, and do nothing."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Stall:
    """Wait before anything is done; for ever without a number."""

    duration: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerLate:
    """Do it, and answer so much later; never without a number."""

    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Drop the connection without an answer."""

    done: bool = False
    """Whether what was asked is done all the same."""


Trouble = Refuse | Stall | AnswerLate | Cut
RestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """What a client asked for."""

    operation: str
    path: str
    body: bytes
    headers: Mapping[str, str]


class RestServer:
    """A carrier's HTTP side.

    Driven by aiohttp; each operation has a name, under which trouble can be scripted for its next requests.
    """

    def __init__(self) -> None:
        self.requests: list[RestRequest] = []
        """Everything that was asked, in the order it came."""
        self._troubles: dict[str, deque[Trouble]] = {}
        self._application = web.Application()
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()

    def add(self, method: str, path: str, operation: str, handler: RestHandler) -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(operation, handler, request)

        self._application.router.add_route(method, path, handle)

    def script(self, operation: str, *troubles: Trouble) -> None:
        """Have the next requests for `operation` meet these, one each."""
        self._troubles.setdefault(operation, deque()).extend(troubles)

    def count(self, operation: str) -> int:
        return sum(1 for request in self.requests if request.operation == operation)

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        self._runner = web.AppRunner(self._application, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, operation: str, handler: RestHandler, request: web.Request) -> web.StreamResponse:
        self.requests.append(
            RestRequest(
                operation=operation,
                path=request.path,
                body=await request.read(),
                headers=dict(request.headers),
            )
        )
        scripted = self._troubles.get(operation)
        match scripted.popleft() if scripted else None:
            case Refuse() as refusal:
                return web.Response(
                    status=refusal.status,
                    body=refusal.body,
                    headers=refusal.headers,
                    content_type=refusal.content_type,
                )
            case Stall(duration):
                await self._wait(duration)
                return await handler(request)
            case AnswerLate(duration):
                response = await handler(request)
                await self._wait(duration)
                return response
            case Cut(done):
                if done:
                    await handler(request)
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            case None:
                return await handler(request)

    async def _wait(self, duration: float | None) -> None:
        """Wait for so long, or until the server stops."""
        try:
            async with asyncio.timeout(duration):
                await self._stopping.wait()
        except TimeoutError:
            pass
