"""A Telnyx that can be run: call control over HTTP, signed webhooks, and media streams to the gateway.

Theory of operation. Requests are checked as Telnyx checks them, then change a leg on the switch; everything else
follows from what the switch and the person on the leg do, and is told by webhooks. 200 means accepted, never done.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from types import MappingProxyType
from urllib.parse import unquote
from uuid import uuid4

import msgspec
from aiohttp import web
from nacl.signing import SigningKey

from media.audio import Encoding
from media.wav import WavHeader
from telephony.caller import Caller
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
    Leg,
    Rang,
    Side,
    Switch,
    SwitchEvent,
    Unbridged,
)
from telephony.telnyx.rest_requests import (
    ACTIONS,
    DIAL,
    Needs,
    Parameters,
    RequestRefused,
    check,
    error_body,
)
from telephony.telnyx.simulated_leg import Recording, StreamOptions, TelnyxLeg, wall_clock
from telephony.telnyx.simulated_numbers import SimulatedNumbers
from telephony.webhook_sender import Delivery, SignedRequest, Weather, Webhook, WebhookSender, fair

# A repeated `command_id` is ignored for so long (Telnyx, command idempotency).
IDEMPOTENCY_WINDOW = 60.0
# What Telnyx rings for unless told otherwise.
RING_TIMEOUT = 30
LONGEST_CALL = 14_400

_REJECTIONS = {
    "CALL_REJECTED": Cause.REJECTED,
    "USER_BUSY": Cause.BUSY,
    "NOT_FOUND": Cause.NOT_FOUND,
    "TEMPORARILY_UNAVAILABLE": Cause.UNAVAILABLE,
}
# Streams and recordings name fewer numbers than calls do.
_WITHOUT_NUMBERS = ("streaming.", "call.speak.", "call.playback.", "call.recording.")


def repeats(delivery: Delivery) -> bool:
    """408, 429, 5xx and silence are repeated; any other answer is the end of it (Telnyx, webhook delivery)."""
    if delivery.answer is None:
        return True
    status = delivery.answer.status
    return status in (408, 429) or status >= 500


class SimulatedTelnyx:
    """One account of a simulated Telnyx with one call control application.

    Driven by HTTP requests from `start` to `stop`, and by tests: callers who ring, far ends that are scripted, trouble
    that is asked for. Audio is G.711; conferences, queues, transcription and fax are not simulated.
    """

    def __init__(
        self,
        lines: LineMaker,
        webhook_url: str,
        *,
        api_key: str = "KEY_SIMULATED",
        connection_id: str = "1494404757140276705",
        signing_seed: bytes = bytes(range(32)),
        far_end: FarEnd = FarEnd(),  # noqa: B008  # a value
        codec: str = "PCMU",
        voice: Callable[[str], bytes] = toned_speech,
        weather: Weather = fair,
        webhook_timeout: float = 10.0,
        webhook_retries: tuple[float, ...] = (1.0, 2.0, 4.0),
        failover_url: str | None = None,
        changes_ids: bool = False,
        costs: bool = False,
        numbers: Mapping[str, bool] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            lines: make the media side of each leg (`party_lines.PartyLines` of a connector).
            webhook_url: the application's; commands may name others.
            signing_seed: of the key that signs the webhooks; `public_key` is its other half.
            far_end: who answers under numbers that `far_ends` does not script.
            codec: of the legs, PCMU or PCMA, unless a stream asks for another one.
            voice: says texts, as PCM16 at 8 kHz.
            webhook_retries: seconds before each repetition; Telnyx does not document its own.
            changes_ids: webhooks name another `call_control_id` than the answer to the dial did, and both work.
            costs: `call.cost` follows each call.
            numbers: of the account, each with whether it is connected to the application from the start; a number that
                is not listed rings there, too.
        """
        self.rest = RestServer()
        self.webhooks = WebhookSender(
            timeout=webhook_timeout,
            retries=webhook_retries,
            retry=repeats,
            max_redirects=3,
            weather=weather,
        )
        self.far_ends = Directory(far_end)
        self.legs: dict[str, TelnyxLeg] = {}
        """By `call_control_id`, every one there ever was."""
        self.connection_id = connection_id
        self.numbers = SimulatedNumbers(numbers, connection_id=connection_id, webhook_url=webhook_url)
        self.failover_url = failover_url
        self.refers_to: dict[str, bool] = {}
        """Whether an address takes a referred caller; addresses not listed do."""
        self._lines = lines
        self.api_key = api_key
        self._codec = codec
        self._voice = voice
        self._changes_ids = changes_ids
        self._costs = costs
        self._key = SigningKey(signing_seed)
        self._switch = Switch()
        self._clock = SwitchClock(self._switch, self._follow)
        self._by_leg: dict[str, TelnyxLeg] = {}
        self._done: dict[tuple[str, str], tuple[float, bytes]] = {}
        self._base_url = ""
        self._routes()

    @property
    def public_key(self) -> str:
        """What verifies the webhooks, as the portal shows it."""
        return b64encode(bytes(self._key.verify_key)).decode()

    @property
    def webhook_url(self) -> str:
        """The application's."""
        return self.numbers.webhook_url

    @property
    def base_url(self) -> str:
        """For `AsyncTelnyx(base_url=...)`, once started."""
        return self._base_url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve; return the port."""
        await self.webhooks.open()
        bound = await self.rest.start(host, port)
        self._base_url = f"http://{host}:{bound}/v2"
        return bound

    async def stop(self) -> None:
        """Drop every call. What broke in one is raised here."""
        self._clock.close()
        tasks = [task for leg in self._legs() for task in leg.tasks]
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
    ) -> TelnyxLeg:
        """A caller rings one of our numbers; gives up after `patience` seconds without an answer."""
        leg = self._new_leg(Direction.INBOUND, from_number, to_number, FarEnd(), caller=caller)
        self._switch.arrive(leg.leg, patience=patience)
        if self.numbers.rings(to_number):
            leg.initiated()
        else:  # connected to nothing: Telnyx refuses the call, and tells nobody
            leg.mute()
            self._switch.end(leg.leg, Cause.NOT_FOUND, Side.CARRIER, self._now())
        self._clock.pump()
        return leg

    def hang_up(self, leg: TelnyxLeg) -> None:
        """The person on the leg hangs up."""
        self._switch.hang_up(leg.leg, Side.PARTY, self._now())
        self._clock.pump()

    def leg_to(self, number: str) -> TelnyxLeg:
        """The latest leg that was dialled to a number."""
        return next(leg for leg in reversed(self._legs()) if leg.leg.to_number == number)

    # The switch speaks

    def _follow(self, event: SwitchEvent) -> None:
        leg = self._by_leg[event.leg.leg_id]
        match event:
            case Rang():
                pass  # `call.ringing` is in no list of Telnyx's events
            case Answered():
                leg.answered()
                if leg.transfer_of is not None:
                    self._switch.bridge(leg.transfer_of.leg, leg.leg)
            case Detected(_, kind):
                leg.detected(kind)
            case GreetingEnded(_, beep):
                leg.greeting_ended(beep)
            case Bridged(_, peer):
                leg.bridged()
                self._by_leg[peer.leg_id].bridged()
            case Unbridged():
                pass
            case Ended():
                leg.ended()
                self._cancel_transfers(leg)
                if self._costs:
                    self._tell_cost(leg)

    def _cancel_transfers(self, leg: TelnyxLeg) -> None:
        """Nobody is left to be connected with what still rings."""
        for other in self._legs():
            if other.transfer_of is leg and other.leg.answered_at is None:
                self._switch.hang_up(other.leg, Side.CARRIER, self._now())

    def _tell_cost(self, leg: TelnyxLeg) -> None:
        billed = -int(-leg.leg.duration(self._now()) // 60) * 60
        cost = f"{billed / 60 * 0.007:.4f}"
        part = {"call_part": "call-control", "cost": cost, "currency": "USD", "rate": "0.007"}
        self._tell(
            leg,
            "call.cost",
            {
                "total_cost": cost,
                "billed_duration_secs": billed,
                "status": "success",
                "cost_parts": [{**part, "billed_duration_secs": billed}],
            },
        )

    # Webhooks

    def _tell(self, leg: TelnyxLeg, event_type: str, payload: Mapping[str, object]) -> None:
        common: dict[str, object] = {
            "call_control_id": leg.control_id,
            "call_leg_id": leg.leg.leg_id,
            "call_session_id": leg.session_id,
            "connection_id": leg.connection_id,
            "client_state": leg.client_state,
        }
        if not event_type.startswith(_WITHOUT_NUMBERS):
            common |= {"from": leg.leg.from_number, "to": leg.leg.to_number}
        if event_type == "call.recording.saved":
            del common["call_control_id"]
            url = f"{self._base_url}/recordings/{payload['recording_id']}.wav"
            payload = {**payload, "recording_urls": {"wav": url}, "public_recording_urls": {}}
        data = {
            "record_type": "event",
            "event_type": event_type,
            "id": str(uuid4()),
            "occurred_at": wall_clock(),
            "payload": {**common, **payload},
        }
        target = leg.webhook_url or self.webhook_url
        retries = leg.policies.retries(event_type) if leg.policies is not None else None
        self.webhooks.send(
            Webhook(
                key=leg.session_id,
                name=event_type,
                render=lambda attempt: self._signed(data, target, attempt),
                retries=retries,
            )
        )

    def _signed(self, data: Mapping[str, object], target: str, attempt: int) -> SignedRequest:
        url = self.failover_url if attempt > 1 and self.failover_url is not None else target
        body = msgspec.json.encode({"data": data, "meta": {"attempt": attempt, "delivered_to": url}})
        timestamp = str(int(datetime.now(UTC).timestamp()))
        signature = self._key.sign(timestamp.encode() + b"|" + body).signature
        return SignedRequest(
            url=url,
            body=body,
            headers={
                "content-type": "application/json",
                "user-agent": "telnyx-webhooks",
                "telnyx-signature-ed25519": b64encode(signature).decode(),
                "telnyx-timestamp": timestamp,
            },
        )

    # HTTP

    def _routes(self) -> None:
        def add(
            method: str, path: str, operation: str, answer: Callable[[web.Request, bytes], bytes]
        ) -> None:
            async def handle(request: web.Request) -> web.Response:
                return await self._answer(request, answer)

            self.rest.add(method, f"/v2{path}", operation, handle)

        add("POST", "/calls", "dial", self._dial)
        add("GET", "/calls/{id}", "status", self._status)
        for action in ACTIONS:
            method = "PUT" if action == "client_state_update" else "POST"
            add(method, f"/calls/{{id}}/actions/{action}", action, self._action(action))
        add("GET", "/connections/{id}/active_calls", "active_calls", self._active_calls)
        numbers = self.numbers
        add("GET", "/phone_numbers", "numbers", lambda request, _: numbers.page(request.query))
        add("GET", "/phone_numbers/{id}", "number", lambda request, _: numbers.show(_id(request)))
        add(
            "PATCH",
            "/phone_numbers/{id}",
            "number_update",
            lambda request, body: numbers.change(_id(request), body),
        )
        path = "/call_control_applications/{id}"
        add("GET", path, "application", lambda request, _: numbers.show_application(_id(request)))
        add(
            "PATCH", path, "application_update",
            lambda request, body: numbers.change_application(_id(request), body),
        )  # fmt: skip
        self.rest.add("GET", "/v2/recordings/{id}.wav", "recording_audio", self._recording_audio)
        add("GET", "/recordings/{id}", "recording", self._recording)

    async def _answer(
        self, request: web.Request, answer: Callable[[web.Request, bytes], bytes]
    ) -> web.Response:
        try:
            if request.headers.get("Authorization") != f"Bearer {self.api_key}":
                raise RequestRefused(
                    401,
                    "10009",
                    "The required authentication headers were either invalid or not included in the request.",
                )
            return web.Response(body=answer(request, await request.read()), content_type="application/json")
        except RequestRefused as refusal:
            return web.Response(status=refusal.status, body=refusal.body(), content_type="application/json")

    # Commands

    def _dial(self, request: web.Request, body: bytes) -> bytes:
        parameters = Parameters(body)
        return self._once("dial", parameters, lambda: self._place(parameters))

    def _place(self, parameters: Parameters) -> bytes:
        check(DIAL, parameters)
        if parameters.text("connection_id") != self.connection_id:
            raise RequestRefused(
                422,
                "10015",
                "The requested connection_id (Call Control App ID) is invalid.",
                "/connection_id",
            )
        session = None
        linked: TelnyxLeg | None = None
        if "link_to" in parameters:
            linked = self._leg(parameters.text("link_to"))
            session = linked.session_id
        to_number = parameters.first("to")
        leg = self._new_leg(
            Direction.OUTBOUND,
            parameters.text("from"),
            to_number,
            self.far_ends.take(to_number),
            parameters=parameters,
            session=session,
        )
        leg.stream = StreamOptions.of(parameters)
        if linked is not None and parameters.flag("bridge_on_answer"):
            leg.transfer_of = linked
        alias = f"v3:{uuid4()}" if self._changes_ids else leg.control_id
        self.legs[alias] = leg
        self._dialled(leg, parameters)
        return _data(
            call_control_id=alias,
            call_leg_id=leg.leg.leg_id,
            call_session_id=leg.session_id,
            is_alive=False,
            record_type="call",
            client_state=leg.client_state,
        )

    def _dialled(self, leg: TelnyxLeg, parameters: Parameters) -> None:
        leg.webhook_url = parameters.text("webhook_url") or None
        leg.policies = parameters
        leg.initiated()
        self._switch.dial(leg.leg)
        self._clock.pump()

    def _action(self, action: str) -> Callable[[web.Request, bytes], bytes]:
        def perform(request: web.Request, body: bytes) -> bytes:
            leg = self._leg(unquote(request.match_info["id"]))
            parameters = Parameters(body)
            return self._once(leg.control_id, parameters, lambda: self._perform(leg, action, parameters))

        return perform

    def _once(self, scope: str, parameters: Parameters, perform: Callable[[], bytes]) -> bytes:
        """Do it, unless the same `command_id` was accepted a moment ago: then answer as then."""
        now, key = self._now(), (scope, parameters.text("command_id"))
        done = self._done.get(key)
        if key[1] and done is not None and now - done[0] < IDEMPOTENCY_WINDOW:
            return done[1]
        answer = perform()
        if key[1]:
            self._done[key] = now, answer
        return answer

    def _perform(self, leg: TelnyxLeg, action: str, parameters: Parameters) -> bytes:
        rule = ACTIONS[action]
        check(rule, parameters)
        _check_state(leg.leg, rule.needs)
        if "client_state" in parameters:
            leg.client_state = parameters.text("client_state")
        if "webhook_url" in parameters and action == "answer":
            leg.webhook_url = parameters.text("webhook_url")
        extra = self._do(leg, action, parameters)
        self._clock.pump()
        return _data(result="ok", **extra)

    def _do(self, leg: TelnyxLeg, action: str, parameters: Parameters) -> dict[str, str]:
        now = self._now()
        match action:
            case "answer":
                leg.stream = StreamOptions.of(parameters)
                self._switch.answer(leg.leg, now)
            case "hangup":
                self._switch.hang_up(leg.leg, Side.APPLICATION, now)
            case "reject":
                cause = _REJECTIONS[parameters.text("cause")]
                self._switch.end(leg.leg, cause, Side.APPLICATION, now)
            case "transfer":
                self._transfer(leg, parameters)
            case "bridge":
                self._bridge(leg, parameters)
            case "gather":
                leg.gather(parameters)
            case "gather_using_speak":
                leg.gather_using_speak(parameters)
            case "gather_using_audio":
                leg.gather_using_audio(parameters)
            case "gather_stop":
                leg.stop_gather()
            case "send_dtmf":
                leg.send_digits(parameters.text("digits"), parameters.seconds("duration_millis", 250))
            case "speak":
                leg.speak(parameters)
            case "playback_start":
                leg.play_file(parameters)
            case "playback_stop":
                leg.stop_playback(everything=parameters.text("stop", "all") == "all")
            case "record_start":
                return {"recording_id": leg.start_recording(parameters.text("channels"))}
            case "record_stop":
                leg.stop_recording()
            case "streaming_start":
                options = StreamOptions.of(parameters)
                if options is not None:
                    leg.start_stream(options)
            case "streaming_stop":
                leg.stop_stream()
            case "refer":
                leg.refer(self.refers_to.get(parameters.text("sip_address"), True))
            case _:
                pass  # client_state_update has been done; pausing a recording changes nothing that is told
        return {}

    def _transfer(self, leg: TelnyxLeg, parameters: Parameters) -> None:
        to_number = parameters.text("to")
        target = self._new_leg(
            Direction.OUTBOUND,
            parameters.text("from") or leg.leg.to_number,
            to_number,
            self.far_ends.take(to_number),
            parameters=parameters,
            session=leg.session_id,
        )
        target.client_state = parameters.text("target_leg_client_state") or None
        target.transfer_of = leg
        leg.leg.parks = parameters.text("park_after_unbridge") == "self"
        self._dialled(target, parameters)

    def _bridge(self, leg: TelnyxLeg, parameters: Parameters) -> None:
        other = self._leg(parameters.text("call_control_id"))
        for each in (leg, other):
            _check_state(each.leg, Needs.ANSWERED)
        leg.leg.parks = parameters.text("park_after_unbridge") == "self"
        self._switch.bridge(leg.leg, other.leg)

    # Lookups

    def _status(self, request: web.Request, _: bytes) -> bytes:
        leg = self._leg(unquote(request.match_info["id"]))
        return _data(**_described(leg, self._now()))

    def _active_calls(self, request: web.Request, _: bytes) -> bytes:
        if request.match_info["id"] != self.connection_id:
            raise RequestRefused(404, "10005", "The requested resource or URL could not be found.")
        calls = [_described(leg, self._now()) for leg in self._legs() if leg.leg.alive]
        meta = {"total_results": len(calls), "total_pages": 1, "page_number": 1, "page_size": len(calls)}
        return msgspec.json.encode({"data": calls, "meta": meta})

    def _recording(self, request: web.Request, _: bytes) -> bytes:
        leg, recording = self._find_recording(request.match_info["id"])
        return _data(
            id=recording.recording_id,
            record_type="recording",
            call_control_id=leg.control_id,
            call_leg_id=leg.leg.leg_id,
            call_session_id=leg.session_id,
            connection_id=leg.connection_id,
            channels=recording.channels,
            duration_millis=recording.duration_millis,
            status="completed",
            source="call",
            recording_started_at=recording.started_at,
            recording_ended_at=recording.ended_at,
            download_urls={"wav": f"{self._base_url}/recordings/{recording.recording_id}.wav"},
        )

    async def _recording_audio(self, request: web.Request) -> web.Response:
        """Signed and short-lived at Telnyx; here anybody who knows the id may have it."""
        try:
            leg, recording = self._find_recording(request.match_info["id"])
        except RequestRefused as refusal:
            return web.Response(status=refusal.status, body=refusal.body(), content_type="application/json")
        encoding = leg.phone.line.format.encoding if leg.phone else Encoding.PCMU
        header = WavHeader(rate=8_000, channels=1, encoding=encoding).bytes(len(recording.audio))
        return web.Response(body=BytesIO(header + recording.audio), content_type="audio/wav")

    def _find_recording(self, recording_id: str) -> tuple[TelnyxLeg, Recording]:
        for leg in self._legs():
            for recording in leg.recordings:
                if recording.recording_id == recording_id and recording.ended_at:
                    return leg, recording
        raise RequestRefused(404, "10005", "The requested resource or URL could not be found.")

    # Legs

    def _leg(self, control_id: str) -> TelnyxLeg:
        leg = self.legs.get(control_id)
        if leg is None:
            raise RequestRefused(
                422, "90015", "The call_control_id provided was not valid.", "/call_control_id"
            )
        return leg

    def _legs(self) -> list[TelnyxLeg]:
        return list(self._by_leg.values())

    def _new_leg(
        self,
        direction: Direction,
        from_number: str,
        to_number: str,
        far_end: FarEnd,
        *,
        parameters: Parameters | None = None,
        session: str | None = None,
        caller: Caller | None = None,
    ) -> TelnyxLeg:
        wishes = parameters or Parameters(b"")
        detection = wishes.text("answering_machine_detection", "disabled")
        leg = Leg(
            leg_id=str(uuid4()),
            direction=direction,
            from_number=from_number,
            to_number=to_number,
            far_end=far_end,
            placed_at=self._now(),
            ring_timeout=wishes.number("timeout_secs", RING_TIMEOUT),
            time_limit=wishes.number("time_limit_secs", LONGEST_CALL),
            detection=detection != "disabled",
        )
        own_session = session or str(uuid4())
        made = TelnyxLeg(
            leg,
            session_id=own_session,
            # The stream's `start` names the session too, as this simulator's first leg does.
            control_id=f"v3:{own_session if session is None else uuid4()}",
            connection_id=self.connection_id,
            lines=self._lines,
            voice=self._voice,
            codec=self._codec,
            tell=self._tell,
            put_down=self.hang_up,
            caller=caller,
        )
        made.detection = detection
        made.client_state = wishes.text("client_state") or None
        if "retry_on_timeout" in wishes:
            made.times_out_as = "timeout" if wishes.flag("retry_on_timeout") else "no_answer"
        self.legs[made.control_id] = self._by_leg[leg.leg_id] = made
        return made

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def too_many_requests(reset: int = 1) -> bytes:
    """The body of a 429, for `rest.script(..., Refuse(status=429, ...))`."""
    return error_body("10011", f"You have exceeded the maximum number of allowed requests; wait {reset} s.")


def _check_state(leg: Leg, needs: Needs) -> None:
    if not leg.alive:
        raise RequestRefused(422, "90018", "This call is no longer active and can't receive commands.")
    match needs:
        case Needs.ALIVE:
            pass
        case Needs.INCOMING:
            if leg.direction is Direction.OUTBOUND:
                raise RequestRefused(422, "90102", "This call is outbound and can't be answered.")
        case Needs.ANSWERED | Needs.AUDIO:
            if not leg.answered:
                code = "90020" if needs is Needs.AUDIO else "90034"
                raise RequestRefused(422, code, "This call has not been answered yet.")


def _described(leg: TelnyxLeg, now: float) -> dict[str, object]:
    described: dict[str, object] = {
        "call_control_id": leg.control_id,
        "call_leg_id": leg.leg.leg_id,
        "call_session_id": leg.session_id,
        "record_type": "call",
        "is_alive": leg.leg.alive,
        "call_duration": int(leg.leg.duration(now)),
        "client_state": leg.client_state or "",
        "start_time": leg.started_at,
    }
    if leg.ended_wall:
        described["end_time"] = leg.ended_wall
    return described


def _id(request: web.Request) -> str:
    return request.match_info["id"]


def _data(**values: object) -> bytes:
    return msgspec.json.encode({"data": values})
