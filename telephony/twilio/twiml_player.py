"""Plays TwiML as Twilio does: reads a document into verbs, and performs them one after the other on a call.

Theory of operation. One task plays one document after another: a verb with an `action`, and `<Redirect>`, fetch the
next one; a document that runs out ends the call. An update by REST cancels the task wherever it stands. Reading
is pure; what a verb does on a call is the business of a `Stage`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urljoin
from xml.etree import ElementTree

from telephony.simulated_switch import DigitCollector

# Twilio, "Gather": without `numDigits` there is no limit.
_NO_LIMIT = 10_000


class TwimlRefused(Exception):
    """Twilio cannot play a document; the code is its error directory's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Say:
    text: str
    loops: int | None = 1


@dataclass(frozen=True, slots=True)
class Play:
    url: str = ""
    digits: str = ""
    loops: int | None = 1


@dataclass(frozen=True, slots=True)
class Pause:
    length: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    prompts: tuple[Say | Play | Pause, ...]
    action: str
    """Empty: the document's own URL."""
    method: str
    num_digits: int
    finish_on_key: str
    timeout: float
    action_on_empty_result: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A bidirectional one, inside `<Connect>`."""

    url: str
    action: str
    method: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    status_callback: str = ""
    status_method: str = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    to: str
    action: str
    method: str
    timeout: int
    time_limit: int
    caller_id: str
    answer_on_bridge: bool
    status_callback: str = ""
    status_method: str = "POST"
    status_events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    method: str


@dataclass(frozen=True, slots=True)
class Reject:
    busy: bool


@dataclass(frozen=True, slots=True)
class Hangup:
    pass


Verb = Say | Play | Pause | Gather | Stream | Dial | Redirect | Reject | Hangup


@dataclass(frozen=True, slots=True)
class Document:
    """What a URL, or a request, gave Twilio to play."""

    verbs: tuple[Verb, ...]
    url: str
    """Where it came from: relative URLs in it are relative to this. Empty for one sent inline."""


# Reading


def read(text: str | bytes, url: str = "") -> Document:
    """Return the document.

    Raises:
        TwimlRefused: 12100 not XML or not a `<Response>`; 12200 a verb or noun that is not simulated, or a value that
            is none; 31922 and 31920 a stream's URL that Twilio does not take.
    """
    try:
        root = ElementTree.fromstring(text)  # whoever runs this wrote the document
    except ElementTree.ParseError as error:
        raise TwimlRefused("12100", f"Document parse failure: {error}") from error
    if root.tag != "Response":
        raise TwimlRefused("12100", f"the root is <{root.tag}>, not <Response>")
    try:
        return Document(tuple(_verb(element) for element in root), url)
    except ValueError as error:
        raise TwimlRefused("12200", str(error)) from error


def _verb(element: ElementTree.Element) -> Verb:
    text = (element.text or "").strip()
    match element.tag:
        case "Say":
            return Say("".join(element.itertext()).strip(), _loops(element))
        case "Play":
            return Play(text, element.get("digits", ""), _loops(element))
        case "Pause":
            return Pause(float(element.get("length", "1")))
        case "Gather":
            return _gather(element)
        case "Connect":
            return _stream(element)
        case "Dial":
            return _dial(element, text)
        case "Redirect":
            return Redirect(text, _method(element))
        case "Reject":
            return Reject(element.get("reason", "rejected") == "busy")
        case "Hangup":
            return Hangup()
        case tag:
            raise ValueError(f"<{tag}> is not simulated")


def _loops(element: ElementTree.Element) -> int | None:
    return int(element.get("loop", "1")) or None


def _method(element: ElementTree.Element, name: str = "method") -> str:
    method = element.get(name, "POST").upper()
    if method not in ("GET", "POST"):
        raise ValueError(f"{name} is {method}")
    return method


def _flag(element: ElementTree.Element, name: str) -> bool:
    return element.get(name, "false").lower() == "true"


def _gather(element: ElementTree.Element) -> Gather:
    prompts = []
    for child in element:
        verb = _verb(child)
        if not isinstance(verb, Say | Play | Pause):
            raise ValueError(f"<{child.tag}> cannot stand in <Gather>")
        prompts.append(verb)
    return Gather(
        prompts=tuple(prompts),
        action=element.get("action", ""),
        method=_method(element),
        num_digits=int(element.get("numDigits", _NO_LIMIT)),
        finish_on_key=element.get("finishOnKey", "#"),
        timeout=float(element.get("timeout", "5")),
        action_on_empty_result=_flag(element, "actionOnEmptyResult"),
    )


def _stream(element: ElementTree.Element) -> Stream:
    streams = element.findall("Stream")
    if len(streams) != 1 or len(element) != 1:
        raise ValueError("<Connect> without exactly one <Stream> is not simulated")
    stream = streams[0]
    url = stream.get("url", "")
    scheme, _, rest = url.partition("://")
    if scheme not in ("wss", "ws"):
        raise TwimlRefused("31922", f"a stream's URL begins with wss, not {scheme[:16]!r}")
    if "?" in rest:
        raise TwimlRefused("31920", "a stream's URL has no query")
    return Stream(
        url=url,
        action=element.get("action", ""),
        method=_method(element),
        parameters={each.get("name", ""): each.get("value", "") for each in stream.findall("Parameter")},
        status_callback=stream.get("statusCallback", ""),
        status_method=_method(stream, "statusCallbackMethod"),
    )


def _dial(element: ElementTree.Element, text: str) -> Dial:
    nouns = list(element)
    if len(nouns) > 1 or any(noun.tag not in ("Number", "Sip") for noun in nouns):
        raise ValueError("<Dial> of anything but one <Number> or <Sip> is not simulated")
    noun = nouns[0] if nouns else element
    to = (noun.text or "").strip() or text
    if not to:
        raise ValueError("<Dial> without a destination")
    return Dial(
        to=to,
        action=element.get("action", ""),
        method=_method(element),
        timeout=int(element.get("timeout", "30")),
        time_limit=int(element.get("timeLimit", "14400")),
        caller_id=element.get("callerId", ""),
        answer_on_bridge=_flag(element, "answerOnBridge"),
        status_callback=noun.get("statusCallback", ""),
        status_method=_method(noun, "statusCallbackMethod"),
        status_events=tuple(noun.get("statusCallbackEvent", "completed").split()),
    )


# Performing


class Stage(Protocol):
    """A call on which documents are played."""

    def answer(self) -> None:
        """Answer the call, if that is still to be done."""
        ...

    def reject(self, *, busy: bool) -> None: ...
    def hang_up(self) -> None: ...

    async def say(self, text: str, loops: int | None) -> None: ...
    async def play_file(self, url: str, loops: int | None) -> None: ...
    async def play_digits(self, digits: str) -> None: ...
    def hush(self) -> None: ...

    async def key(self) -> str:
        """Return the next key that is pressed."""
        ...

    async def stream(self, stream: Stream) -> None:
        """Stream until the other end closes."""
        ...

    async def dial(self, dial: Dial) -> Mapping[str, str]:
        """Dial and stay connected; return what the action is told."""
        ...

    async def fetch(self, url: str, method: str, told: Mapping[str, str]) -> Document | None:
        """Ask for the next document; None: there is none to be had, and the call ends."""
        ...


class TwimlPlayer:
    """Plays documents on one call until one runs out, hangs up or is replaced.

    Driven by its task alone; `play` returns when the call is to end, or has.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._document = Document((), "")

    async def play(self, document: Document) -> None:
        """Play `document` and all that follow from it; the call is then hung up."""
        following: Document | None = document
        while following is not None:
            self._document = following
            following = await self._play_document(following)
        self._stage.hang_up()

    async def _play_document(self, document: Document) -> Document | None:
        for verb in document.verbs:
            if isinstance(verb, Hangup):
                self._stage.answer()
                return None
            if isinstance(verb, Reject):
                # Only as the first verb it keeps the call from being answered.
                self._stage.reject(busy=verb.busy)
                return None
            if isinstance(verb, Redirect):
                return await self._fetch(verb.url, verb.method, {})
            goes_on, following = await self._perform(verb)
            if not goes_on:
                return following
        return None

    async def _perform(
        self, verb: Say | Play | Pause | Gather | Stream | Dial
    ) -> tuple[bool, Document | None]:
        """Perform one verb; return whether the document goes on, and else what follows it."""
        if not (isinstance(verb, Pause) or (isinstance(verb, Dial) and verb.answer_on_bridge)):
            self._stage.answer()
        match verb:
            case Say() | Play() | Pause():
                await self._prompt(verb)
                return True, None
            case Gather():
                digits, key = await self._gather(verb)
                if not digits and not key and not verb.action_on_empty_result:
                    return True, None
                told = {"Digits": digits, "msg": "Gather End"}
                if key:
                    told["FinishedOnKey"] = key
                return False, await self._fetch(verb.action or self._document.url, verb.method, told)
            case Stream():
                await self._stage.stream(verb)
                if not verb.action:
                    return True, None
                return False, await self._fetch(verb.action, verb.method, {})
            case Dial():
                outcome = await self._stage.dial(verb)
                if not verb.action:
                    return True, None
                return False, await self._fetch(verb.action, verb.method, outcome)

    async def _fetch(self, url: str, method: str, told: Mapping[str, str]) -> Document | None:
        return await self._stage.fetch(urljoin(self._document.url, url), method, told)

    async def _prompt(self, verb: Say | Play | Pause) -> None:
        match verb:
            case Say(text, loops):
                await self._stage.say(text, loops)
            case Play(digits=digits) if digits:
                await self._stage.play_digits(digits)
            case Play(url, _, loops):
                await self._stage.play_file(url, loops)
            case Pause(length):
                await asyncio.sleep(length)

    async def _gather(self, gather: Gather) -> tuple[str, str]:
        """Return the digits and the key that finished them, if one did."""
        clock = asyncio.get_running_loop().time
        collector = DigitCollector(
            maximum=gather.num_digits,
            terminator=gather.finish_on_key,
            first_timeout=gather.timeout,
            digit_timeout=gather.timeout,
        )
        key = await self._key_during(gather.prompts)
        while True:
            if key is None:
                collector.start(clock())
            else:
                collector.press(key, clock())
            if collector.ended is not None:
                return collector.digits, collector.terminator
            try:
                async with asyncio.timeout_at(collector.next_deadline()):
                    key = await self._stage.key()
            except TimeoutError:
                return collector.digits, ""

    async def _key_during(self, prompts: tuple[Say | Play | Pause, ...]) -> str | None:
        """Return the key that cut the prompts short; None when they were heard to the end."""
        asking = asyncio.ensure_future(self._prompts(prompts))
        pressing = asyncio.ensure_future(self._stage.key())
        try:
            await asyncio.wait((asking, pressing), return_when=asyncio.FIRST_COMPLETED)
            if pressing.done():
                self._stage.hush()
                return pressing.result()
            asking.result()
            return None
        finally:
            asking.cancel()
            pressing.cancel()

    async def _prompts(self, prompts: tuple[Say | Play | Pause, ...]) -> None:
        for prompt in prompts:
            await self._prompt(prompt)
