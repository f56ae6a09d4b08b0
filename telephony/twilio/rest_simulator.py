"""A Twilio that can be run: the calls resource over HTTP, TwiML, signed callbacks and media streams to the gateway.

Theory of operation. Requests are checked as Twilio checks them and change a call on the switch; a call that is up
plays documents, which are fetched from the application's URLs and lead to each other. What becomes of a call is told
by status callbacks, each numbered for its call and none of them waited for.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine, Mapping
from email.utils import format_datetime
from types import MappingProxyType
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import uuid4

from aiohttp import web
from twilio.request_validator import RequestValidator

from telephony.caller import Caller
from telephony.numbers import is_e164
from telephony.simulated_exchange import LineMaker, RestServer, SwitchClock, toned_speech
from telephony.simulated_switch import (
    Answered,
    Bridged,
    Cause,
    Detected,
    Direction,
    Directory,
    Ended,
    FarEnd,
    GreetingEnded,
    Kind,
    Leg,
    Rang,
    Side,
    Switch,
    SwitchEvent,
    Unbridged,
)
from telephony.twilio.simulated_call import TwilioCall
from telephony.twilio.simulated_numbers import SimulatedNumber, SimulatedNumbers
from telephony.twilio.twiml_player import Dial, Document, TwimlRefused, read
from telephony.webhook_sender import Delivery, SignedRequest, Weather, Webhook, WebhookSender, fair

# Of a request's answer: connecting and all (Twilio, "Webhooks connection overrides").
WEBHOOK_TIMEOUT = 15.0
RING_TIMEOUT = 60
LONGEST_CALL = 14_400
LONGEST_TWIML = 4_000
_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})

Form = Mapping[str, list[str]]


class RequestRefused(Exception):
    """The API answers with an error and does nothing."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> bytes:
        return error_body(self.status, self.code, self.message)


def error_body(status: int, code: int, message: str) -> bytes:
    """Return the body of an error as the API writes it."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return json.dumps({"code": code, "message": message, "more_info": more, "status": status}).encode()


def repeats(delivery: Delivery) -> bool:
    """Twilio repeats a request that found no connection, once, and no other, unless the URL's fragment says so."""
    wishes = dict(parse_qsl(urlsplit(delivery.request.url).fragment))
    which = wishes.get("rp", "ct").split(",")
    if delivery.attempt > int(wishes.get("rc", "1")):
        return False
    if delivery.answer is None:
        return "all" in which or ("rt" if delivery.fault == "timeout" else "ct") in which
    kind = f"{delivery.answer.status // 100}xx"
    return kind in ("4xx", "5xx") and ("all" in which or kind in which)


class SimulatedTwilio:
    """One account of a simulated Twilio, whose numbers all ask one voice URL unless they are told otherwise.

    Driven by HTTP requests from `start` to `stop`, and by tests: callers who ring, far ends that are scripted, trouble
    that is asked for. Audio is PCMU; recordings, conferences, queues and unidirectional streams are not simulated.
    """

    def __init__(
        self,
        lines: LineMaker,
        voice_url: str,
        *,
        account_sid: str = "AC" + "5" * 32,
        auth_token: str = "simulated-token",
        status_callback: str = "",
        fallback_url: str = "",
        far_end: FarEnd = FarEnd(),  # noqa: B008  # a value
        voice: Callable[[str], bytes] = toned_speech,
        weather: Weather = fair,
        webhook_timeout: float = WEBHOOK_TIMEOUT,
        duplicates_voice: bool = False,
        numbers: Mapping[str, bool] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            lines: make the media side of each call (`party_lines.PartyLines` of a connector, which is given the URL of
                the document: the signature it carries is over that).
            voice_url: asked for the document of an inbound call.
            status_callback: told of the end of inbound calls.
            fallback_url: asked where `voice_url` fails.
            far_end: who answers under numbers that `far_ends` does not script.
            duplicates_voice: the voice URL is asked twice, and the second answer is played too (seen live).
            numbers: of the account, each with whether it asks `voice_url` from the start; a number that is not listed
                does, too.
        """
        self.rest = RestServer()
        self.webhooks = WebhookSender(
            timeout=webhook_timeout, retries=(0.0,) * 5, retry=repeats, weather=weather
        )
        self.far_ends = Directory(far_end)
        self.calls: dict[str, TwilioCall] = {}
        """By `CallSid`, every one there ever was, legs of `<Dial>` among them."""
        self.alerts: list[tuple[str, str]] = []
        """What Twilio's debugger would show: code and text."""
        self.account_sid = account_sid
        self.numbers = SimulatedNumbers(numbers, voice_url=voice_url, status_callback=status_callback)
        self.voice_url = voice_url
        self.status_callback = status_callback
        self.fallback_url = fallback_url
        self.auth_token = auth_token
        self._lines = lines
        self._voice = voice
        self._duplicates_voice = duplicates_voice
        self._signer = RequestValidator(auth_token)
        self._switch = Switch()
        self._clock = SwitchClock(self._switch, self._follow)
        self._plans: dict[str, _Plan] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._base_url = ""
        self._routes()

    @property
    def base_url(self) -> str:
        """Stands in for https://api.twilio.com, once started."""
        return self._base_url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve; return the port."""
        await self.webhooks.open()
        bound = await self.rest.start(host, port)
        self._base_url = f"http://{host}:{bound}"
        return bound

    async def stop(self) -> None:
        """Drop every call. What broke in one is raised here."""
        self._clock.close()
        tasks = [*self._tasks, *(task for call in self.calls.values() for task in call.tasks)]
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await self.rest.stop()
        await self.webhooks.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    # What tests and scenarios do

    def place_call(
        self,
        to_number: str,
        from_number: str = "+13125550100",
        *,
        caller: Caller | None = None,
        patience: float | None = None,
    ) -> TwilioCall:
        """A caller rings one of our numbers; gives up after `patience` seconds without an answer."""
        call = self._new_call("inbound", from_number, to_number, FarEnd(), caller=caller)
        held = self.numbers.called(to_number)
        call.status_callback = self.status_callback if held is None else held.setting("status_callback")
        url = self.voice_url if held is None else held.rings
        self._switch.arrive(call.leg, patience=patience)
        self._clock.pump()
        if not url:  # asks nobody: Twilio says so to the caller, and that was the call
            self.end(call, Cause.NOT_FOUND, Side.CARRIER)
            return call
        fallback = self.fallback_url if held is None else held.setting("voice_fallback_url")
        for _ in range(2 if self._duplicates_voice else 1):
            self._spawn(self._begin(call, _Plan(url=url, fallback=fallback)))
        return call

    def hang_up_by_person(self, call: TwilioCall) -> None:
        """The person on the call hangs up."""
        self.hang_up(call, Side.PARTY)

    def call_to(self, number: str) -> TwilioCall:
        """The latest call that was dialled to a number."""
        return next(call for call in reversed(self.calls.values()) if call.leg.to_number == number)

    # The switch speaks

    def _follow(self, event: SwitchEvent) -> None:
        call = self.calls[event.leg.leg_id]
        match event:
            case Rang():
                if call.direction != "inbound":
                    call.report("ringing")
            case Answered():
                self._answered(call)
            case Detected(_, kind):
                self._detected(call, kind)
            case GreetingEnded(_, beep):
                self._greeting_ended(call, beep)
            case Bridged() | Unbridged():
                pass
            case Ended():
                call.ended()

    def _answered(self, call: TwilioCall) -> None:
        call.answered()
        plan = self._plans.get(call.sid)
        if plan is not None and not plan.waits_for_detection:
            self._spawn(self._begin(call, plan))
        if call.parent is not None:
            parent = call.parent
            if parent.leg.answered_at is None:
                self.answer(parent)  # answerOnBridge
            parent.leg.parks = True  # its document goes on
            self._switch.bridge(parent.leg, call.leg)

    def _detected(self, call: TwilioCall, kind: Kind) -> None:
        plan = self._plans[call.sid]
        if kind is Kind.MACHINE and plan.until_greeting_ends:
            return
        call.detected(kind)
        self._tell_detection(call, plan)

    def _greeting_ended(self, call: TwilioCall, beep: bool) -> None:
        plan = self._plans[call.sid]
        if plan.until_greeting_ends:
            call.detected(Kind.MACHINE, greeting="machine_end_beep" if beep else "machine_end_silence")
            self._tell_detection(call, plan)

    def _tell_detection(self, call: TwilioCall, plan: "_Plan") -> None:
        if plan.waits_for_detection:
            self._spawn(self._begin(call, plan))
        elif plan.detection_callback:
            self._send(
                call,
                "amd",
                plan.detection_callback,
                "POST",
                {
                    "CallSid": call.sid,
                    "AccountSid": self.account_sid,
                    "AnsweredBy": call.answered_by,
                    "MachineDetectionDuration": str(call.detection_millis),
                },
            )

    # What calls ask of their account (`Desk`)

    def callback(self, call: TwilioCall, name: str, url: str, method: str, told: Mapping[str, str]) -> None:
        own = {} if "StreamEvent" in told else call.parameters()
        self._send(call, name, url, method, {**own, **told})

    async def fetch(
        self, call: TwilioCall, url: str, method: str, told: Mapping[str, str]
    ) -> Document | None:
        """Ask the application for a document; a call whose application fails is over."""
        webhook = self._webhook(call, "document", url, method, {**call.parameters(), **told})
        delivery = await self.webhooks.request(webhook)
        if not call.leg.alive:
            return None  # asked for the record only
        try:
            if delivery.answer is None:
                raise TwimlRefused("11205", f"no connection to {url}: {delivery.fault}")
            if not delivery.accepted:
                raise TwimlRefused("11200", f"HTTP {delivery.answer.status} from {url}")
            return read(delivery.answer.body or b"<Response/>", url)
        except TwimlRefused as refusal:
            self.alert(refusal.code, refusal.detail)
            return None

    def answer(self, call: TwilioCall) -> None:
        self._switch.answer(call.leg, self._now())
        self._clock.pump()

    def end(self, call: TwilioCall, cause: Cause, by: Side) -> None:
        self._switch.end(call.leg, cause, by, self._now())
        self._clock.pump()

    def hang_up(self, call: TwilioCall, by: Side) -> None:
        self._switch.hang_up(call.leg, by, self._now())
        self._clock.pump()

    def dial_from(self, call: TwilioCall, dial: Dial) -> TwilioCall:
        child = self._new_call(
            "outbound-dial",
            dial.caller_id or call.leg.from_number,
            dial.to,
            self.far_ends.take(dial.to),
            parent=call,
            ring_timeout=dial.timeout,
            time_limit=dial.time_limit,
        )
        child.status_callback, child.status_method = dial.status_callback, dial.status_method
        child.status_events = dial.status_events
        self._place(child)
        return child

    def alert(self, code: str, detail: str) -> None:
        self.alerts.append((code, detail))

    # Webhooks

    async def _begin(self, call: TwilioCall, plan: "_Plan") -> None:
        """Fetch a call's first document, and play it."""
        document: Document | None
        if plan.twiml:
            try:
                document = read(plan.twiml)
            except TwimlRefused as refusal:
                self.alert(refusal.code, refusal.detail)
                document = None
        else:
            document = await self.fetch(call, plan.url, plan.method, {})
            if document is None and plan.fallback and call.leg.alive:
                code, _ = self.alerts[-1]
                told = {"ErrorCode": code, "ErrorUrl": plan.url}
                document = await self.fetch(call, plan.fallback, "POST", told)
        if document is not None:
            call.play(document)
        elif call.leg.alive:
            self.hang_up(call, Side.APPLICATION)

    def _send(self, call: TwilioCall, name: str, url: str, method: str, told: Mapping[str, str]) -> None:
        self.webhooks.send(self._webhook(call, name, url, method, told))

    def _webhook(
        self, call: TwilioCall, name: str, url: str, method: str, told: Mapping[str, str]
    ) -> Webhook:
        idempotency = str(uuid4())
        form = dict(told)

        def render(_: int) -> SignedRequest:
            headers = {"user-agent": "TwilioProxy/1.1", "i-twilio-idempotency-token": idempotency}
            if method == "GET":
                full = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(form)}"
                signature = self._signer.compute_signature(full, {})
                return SignedRequest(
                    url=full, body=b"", method="GET", headers={**headers, "x-twilio-signature": signature}
                )
            headers |= {
                "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
                "x-twilio-signature": self._signer.compute_signature(url.partition("#")[0], form),
            }
            return SignedRequest(url=url, body=urlencode(form).encode(), headers=headers)

        return Webhook(key=call.sid, name=name, render=render)

    # HTTP

    def _routes(self) -> None:
        def add(
            method: str, path: str, operation: str, answer: Callable[[web.Request, Form], object]
        ) -> None:
            async def handle(request: web.Request) -> web.Response:
                return await self._answer(request, answer)

            self.rest.add(method, f"/2010-04-01/Accounts/{{account}}{path}", operation, handle)

        add("POST", "/Calls.json", "create", self._create)
        add("GET", "/Calls.json", "list", self._list)
        add("GET", "/Calls/{sid}.json", "fetch", self._describe)
        add("POST", "/Calls/{sid}.json", "update", self._update)
        add("GET", ".json", "account", self._describe_account)
        add("GET", "/IncomingPhoneNumbers.json", "numbers", self._list_numbers)
        add("GET", "/IncomingPhoneNumbers/{sid}.json", "number", self._describe_number)
        add("POST", "/IncomingPhoneNumbers/{sid}.json", "number_update", self._update_number)

    async def _answer(
        self, request: web.Request, answer: Callable[[web.Request, Form], object]
    ) -> web.Response:
        try:
            self._authenticate(request)
            form = parse_qs((await request.read()).decode(), keep_blank_values=True)
            status = 201 if request.method == "POST" and "sid" not in request.match_info else 200
            return web.json_response(answer(request, form), status=status)
        except RequestRefused as refusal:
            return web.Response(status=refusal.status, body=refusal.body(), content_type="application/json")

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(credentials).decode()
        except ValueError:
            given = ""
        if scheme != "Basic" or given != f"{self.account_sid}:{self.auth_token}":
            raise RequestRefused(401, 20003, "Authenticate")
        if request.match_info["account"] != self.account_sid:
            raise _not_found(request)

    def _create(self, request: web.Request, form: Form) -> object:
        to_number, from_number = _one(form, "To"), _one(form, "From")
        if not to_number:
            raise RequestRefused(400, 21201, "No 'To' number is specified")
        if not from_number:
            raise RequestRefused(400, 21213, "No 'From' number is specified")
        if not (is_e164(to_number) or to_number.startswith("sip:")):
            raise RequestRefused(
                400, 21211, f"The phone number you are attempting to call, {to_number}, is not valid."
            )
        if not is_e164(from_number):
            raise RequestRefused(
                400, 21212, f"The source phone number provided, {from_number}, is not valid."
            )
        plan = _Plan.of(form)
        call = self._new_call(
            "outbound-api",
            from_number,
            to_number,
            self.far_ends.take(to_number),
            ring_timeout=_number(form, "Timeout", RING_TIMEOUT, 600),
            time_limit=_number(form, "TimeLimit", LONGEST_CALL, LONGEST_CALL),
            # `SendDigits` disables it (Twilio, "Answering Machine Detection").
            detection=bool(_one(form, "MachineDetection")) and not _one(form, "SendDigits"),
        )
        plan.waits_for_detection = plan.waits_for_detection and call.leg.detection
        self._plans[call.sid] = plan
        call.status_callback = _one(form, "StatusCallback")
        call.status_method = _one(form, "StatusCallbackMethod") or "POST"
        events = form.get("StatusCallbackEvent", ["completed"])
        if _EVENTS.issuperset(events):
            call.status_events = tuple(events)
        else:
            # Seen live: the call is made all the same, and no callback ever comes.
            self.alert("21626", f"invalid StatusCallbackEvent {events}")
            call.status_events = ()
        answer = self._resource(call)
        self._place(call)
        return answer

    def _update(self, request: web.Request, form: Form) -> object:
        call = self._call(request)
        status, url, twiml = (_one(form, name) for name in ("Status", "Url", "Twiml"))
        if sum(map(bool, (status, url, twiml))) != 1:
            raise RequestRefused(400, 20001, "Exactly one of Status, Url and Twiml is to be given")
        if status:
            self._set_status(call, status)
        elif not call.leg.answered:
            raise RequestRefused(400, 21220, "Call is not in-progress. Cannot redirect.")
        elif twiml:
            if len(twiml) > LONGEST_TWIML:
                raise RequestRefused(400, 21605, f"Twiml is longer than {LONGEST_TWIML} characters")
            try:
                document = read(twiml)
            except TwimlRefused as refusal:
                raise RequestRefused(400, int(refusal.code), refusal.detail) from refusal
            call.play(document)
        else:
            self._spawn(self._begin(call, _Plan(url=url, method=_one(form, "Method") or "POST")))
        return self._resource(call)

    def _set_status(self, call: TwilioCall, status: str) -> None:
        if status not in ("completed", "canceled"):
            raise RequestRefused(400, 20001, f"Status {status} is not allowed")
        if not call.leg.alive or (status == "canceled" and call.leg.answered):
            raise RequestRefused(400, 21220, f"Unable to set the call to {status}: it is {call.status}.")
        self.hang_up(call, Side.APPLICATION)

    def _describe(self, request: web.Request, _: Form) -> object:
        return self._resource(self._call(request))

    def _list(self, request: web.Request, _: Form) -> object:
        wanted = request.query
        calls = [
            self._resource(call)
            for call in reversed(self.calls.values())
            if wanted.get("To", call.leg.to_number) == call.leg.to_number
            and wanted.get("From", call.leg.from_number) == call.leg.from_number
            and wanted.get("Status", call.status) == call.status
        ]
        return {"calls": calls, "page": 0, "page_size": 1_000, "next_page_uri": None, "uri": request.path_qs}

    # The account and its numbers

    def _describe_account(self, request: web.Request, _: Form) -> object:
        return {
            "sid": self.account_sid,
            "friendly_name": "simulated account",
            "status": "active",
            "type": "Full",
            "owner_account_sid": self.account_sid,
            "date_created": "Wed, 15 Jan 2025 09:00:00 +0000",
            "date_updated": "Wed, 15 Jan 2025 09:00:00 +0000",
            "subresource_uris": {},
            "uri": request.path,
        }

    def _list_numbers(self, request: web.Request, _: Form) -> object:
        return self.numbers.page(self.account_sid, request.path, request.query)

    def _describe_number(self, request: web.Request, _: Form) -> object:
        return self._number(request).resource(self.account_sid)

    def _update_number(self, request: web.Request, form: Form) -> object:
        for name in ("VoiceUrl", "StatusCallback", "VoiceFallbackUrl"):
            url = _one(form, name)
            if url and not url.startswith(("http://", "https://")):
                raise RequestRefused(400, 21502, f"{name} is not a valid URL: {url}")
        held = self._number(request)
        self.numbers.change(held, form)
        return held.resource(self.account_sid)

    def _number(self, request: web.Request) -> SimulatedNumber:
        held = self.numbers.get(request.match_info["sid"])
        if held is None:
            raise _not_found(request)
        return held

    # Calls

    def _call(self, request: web.Request) -> TwilioCall:
        call = self.calls.get(request.match_info["sid"])
        if call is None:
            raise _not_found(request)
        return call

    def _resource(self, call: TwilioCall) -> dict[str, object]:
        leg = call.leg
        ended = not leg.alive
        return {
            "sid": call.sid,
            "account_sid": self.account_sid,
            "parent_call_sid": call.parent.sid if call.parent else None,
            "status": call.status,
            "direction": call.direction,
            "from": leg.from_number,
            "from_formatted": leg.from_number,
            "to": leg.to_number,
            "to_formatted": leg.to_number,
            "answered_by": call.answered_by or None,
            "api_version": "2010-04-01",
            "date_created": format_datetime(call.created),
            "date_updated": format_datetime(call.created),
            "start_time": format_datetime(call.created) if leg.answered_at is not None else None,
            "end_time": format_datetime(call.created) if ended else None,
            "duration": str(round(leg.duration(self._now()))) if ended else None,
            "price": None,
            "price_unit": "USD",
            "queue_time": "0",
            "annotation": None,
            "caller_name": None,
            "forwarded_from": None,
            "group_sid": None,
            "phone_number_sid": None,
            "trunk_sid": "",
            "subresource_uris": {},
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/Calls/{call.sid}.json",
        }

    def _place(self, call: TwilioCall) -> None:
        call.report("initiated")
        self._switch.dial(call.leg)
        self._clock.pump()

    def _new_call(
        self,
        direction: str,
        from_number: str,
        to_number: str,
        far_end: FarEnd,
        *,
        caller: Caller | None = None,
        parent: TwilioCall | None = None,
        ring_timeout: int = RING_TIMEOUT,
        time_limit: int = LONGEST_CALL,
        detection: bool = False,
    ) -> TwilioCall:
        leg = Leg(
            leg_id="CA" + uuid4().hex,
            direction=Direction.INBOUND if direction == "inbound" else Direction.OUTBOUND,
            from_number=from_number,
            to_number=to_number,
            far_end=far_end,
            placed_at=self._now(),
            ring_timeout=ring_timeout,
            time_limit=time_limit,
            detection=detection,
        )
        call = TwilioCall(
            leg,
            account_sid=self.account_sid,
            auth_token=self.auth_token,
            direction=direction,
            desk=self,
            lines=self._lines,
            voice=self._voice,
            caller=caller,
            parent=parent,
        )
        self.calls[call.sid] = call
        return call

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class _Plan:
    """What a call plays first, and whether it waits to hear who answered."""

    def __init__(
        self,
        *,
        url: str = "",
        method: str = "POST",
        twiml: str = "",
        fallback: str = "",
        detection: str = "",
        asynchronous: bool = False,
        detection_callback: str = "",
    ) -> None:
        self.url, self.method, self.twiml, self.fallback = url, method, twiml, fallback
        self.until_greeting_ends = detection == "DetectMessageEnd"
        self.waits_for_detection = bool(detection) and not asynchronous
        self.detection_callback = detection_callback

    @classmethod
    def of(cls, form: Form) -> "_Plan":
        url, twiml = _one(form, "Url"), _one(form, "Twiml")
        if bool(url) == bool(twiml):
            raise RequestRefused(400, 21205, "Url parameter is required.")
        if url and not url.startswith(("http://", "https://")):
            raise RequestRefused(400, 21205, f"Url is not a valid URL: {url}")
        if len(twiml) > LONGEST_TWIML:
            raise RequestRefused(400, 21605, f"Twiml is longer than {LONGEST_TWIML} characters")
        detection = _one(form, "MachineDetection")
        if detection not in ("", "Enable", "DetectMessageEnd"):
            raise RequestRefused(400, 20001, f"MachineDetection is not valid: {detection}")
        return cls(
            url=url,
            method=_one(form, "Method") or "POST",
            twiml=twiml,
            fallback=_one(form, "FallbackUrl"),
            detection=detection,
            asynchronous=_one(form, "AsyncAmd").lower() == "true",
            detection_callback=_one(form, "AsyncAmdStatusCallback"),
        )


def _one(form: Form, name: str) -> str:
    return form.get(name, [""])[0]


def _number(form: Form, name: str, default: int, most: int) -> int:
    text = _one(form, name)
    if not text:
        return default
    if not text.isdigit() or not 0 < int(text) <= most:
        raise RequestRefused(400, 20001, f"{name} is not valid: {text}")
    return int(text)


def _not_found(request: web.Request) -> RequestRefused:
    return RequestRefused(404, 20404, f"The requested resource {request.path} was not found")
