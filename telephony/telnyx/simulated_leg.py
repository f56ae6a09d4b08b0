"""One leg of a simulated Telnyx call: what its commands do on the line, and the webhooks that come of it.

Source of the events, their payloads and their order: Telnyx's webhook types and its call control guides.
"""

import asyncio
from base64 import b64decode
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from media.audio import PCMA_8K, PCMU_8K, AudioFormat
from media.dtmf import tones
from telephony.caller import Caller
from telephony.outcome import StreamRecord
from telephony.simulated_exchange import FileNotPlayable, LineMaker, Prompt, PromptEnd, Telephone, fetch_audio
from telephony.simulated_switch import (
    SIP_STATUS,
    Cause,
    DigitCollector,
    Direction,
    Gathered,
    Kind,
    Leg,
    Side,
)
from telephony.telnyx.rest_requests import Parameters, RequestRefused

Tell = Callable[["TelnyxLeg", str, Mapping[str, object]], None]
"""Sends a webhook of the leg: its event type, and its payload beyond the common keys."""

FORMATS: Mapping[str, AudioFormat] = {"PCMU": PCMU_8K, "PCMA": PCMA_8K}
"""The codecs this simulator speaks."""

_CAUSES = {
    Cause.NORMAL: "normal_clearing",
    Cause.CANCEL: "originator_cancel",
    Cause.TIMEOUT: "timeout",
    Cause.BUSY: "user_busy",
    Cause.REJECTED: "call_rejected",
    Cause.NOT_FOUND: "not_found",
    Cause.UNAVAILABLE: "unspecified",
    Cause.FAILED: "unspecified",
    Cause.TIME_LIMIT: "time_limit",
}
_PREMIUM_RESULTS = {
    Kind.HUMAN: "human_residence",
    Kind.MACHINE: "machine",
    Kind.FAX: "fax_detected",
    Kind.UNSURE: "not_sure",
}
_RESULTS = {Kind.HUMAN: "human", Kind.MACHINE: "machine", Kind.FAX: "not_sure", Kind.UNSURE: "not_sure"}
_PROMPT_ENDS = {
    PromptEnd.COMPLETED: "completed",
    PromptEnd.CANCELLED: "cancelled",
    PromptEnd.HANGUP: "call_hangup",
}


def wall_clock() -> str:
    """The present time as Telnyx writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a command asks for a media stream."""

    url: str
    parameters: Mapping[str, str]
    auth_token: str | None
    codec: str
    """What the gateway is sent; "default" leaves it to the leg."""
    outbound_codec: str
    rtp: bool
    """Telnyx's own default is not RTP but mp3: the gateway's raw audio is then dropped without a word."""

    @classmethod
    def of(cls, parameters: Parameters) -> "StreamOptions | None":
        if "stream_url" not in parameters:
            return None
        return cls(
            url=parameters.text("stream_url"),
            parameters=parameters.pairs("custom_parameters"),
            auth_token=parameters.text("stream_auth_token") or None,
            codec=parameters.text("stream_codec", "default"),
            outbound_codec=parameters.text("stream_bidirectional_codec", "PCMU"),
            rtp=parameters.text("stream_bidirectional_mode", "mp3") == "rtp",
        )


@dataclass(slots=True, kw_only=True)
class Recording:
    """A recording that Telnyx makes."""

    recording_id: str
    channels: str
    started_at: str
    since: float
    ended_at: str = ""
    duration_millis: int = 0
    audio: bytes = b""
    """G.711 of what the person heard; this simulator keeps nothing else."""


@dataclass(slots=True, kw_only=True)
class _Gather:
    parameters: Parameters
    prompt: bytes | None
    again: bytes | None
    """What is said before a further try."""
    what: str
    tries: int
    collector: DigitCollector | None = None
    timer: asyncio.TimerHandle | None = None


class TelnyxLeg:
    """A leg as Telnyx's call control sees it.

    Driven by commands that have been checked, by the switch and by the person on the leg (`LineOwner`). Says
    everything by webhooks; never refuses for the state of the call, save where only it can know.
    """

    def __init__(
        self,
        leg: Leg,
        *,
        session_id: str,
        control_id: str,
        connection_id: str,
        lines: LineMaker,
        voice: Callable[[str], bytes],
        codec: str,
        tell: Tell,
        put_down: Callable[["TelnyxLeg"], None],
        caller: Caller | None = None,
    ) -> None:
        self.leg = leg
        self.session_id = session_id
        self.control_id = control_id
        self.connection_id = connection_id
        self.client_state: str | None = None
        self.webhook_url: str | None = None
        self.policies: Parameters | None = None
        """The command that brought retry policies for the leg's webhooks."""
        self.detection = "disabled"
        self.times_out_as = "timeout"
        self.started_at = wall_clock()
        self.ended_wall = ""
        self.stream: StreamOptions | None = None
        """What is opened with the answer, then what is open."""
        self.streaming = False
        self.phone: Telephone | None = None
        self.keys = ""
        """What the person has pressed so far."""
        self.recordings: list[Recording] = []
        self.transfer_of: TelnyxLeg | None = None
        """The leg that wants to be bridged with this one when it is answered."""
        self._caller = caller
        self._lines = lines
        self._voice = voice
        self._codec = codec
        self._tell = tell
        self._put_down = put_down
        self._gather: _Gather | None = None
        self._recording: Recording | None = None
        self._loop = asyncio.get_running_loop()
        self._fetches: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        own = list(self._fetches)
        return own if self.phone is None else [*own, self.phone.task]

    # The leg's own life, told by the switch

    def mute(self) -> None:
        """Tell nobody of this leg: nobody is told of a call that no connection takes."""
        self._tell = lambda *_: None

    def initiated(self) -> None:
        incoming = self.leg.direction is Direction.INBOUND
        self._say(
            "call.initiated",
            direction="incoming" if incoming else "outgoing",
            state="parked" if incoming else "bridging",
            caller_id_name=self.leg.from_number,
            connection_codecs="PCMU,PCMA",
            offered_codecs="PCMU,PCMA",
            custom_headers=[],
            shaken_stir_validated=False,
            start_time=self.started_at,
            tags=[],
        )

    def answered(self) -> None:
        caller = self._caller or Caller(self.leg.far_end.script, self._line_format())
        self.phone = Telephone(
            "telnyx",
            self.control_id,
            self._lines,
            caller,
            self,
            from_number=self.leg.from_number,
            to_number=self.leg.to_number,
            outbound=FORMATS.get(self.stream.outbound_codec) if self.stream else caller.format,
        )
        self._say("call.answered", state="answered", start_time=self.started_at, custom_headers=[], tags=[])
        if self.detection.startswith("premium") and self.leg.detection:
            self._say("call.machine.premium.detection.started")
        if self.stream is not None:
            self._open_stream(self.stream)

    def detected(self, kind: Kind) -> None:
        premium = self.detection.startswith("premium")
        name = "call.machine.premium.detection.ended" if premium else "call.machine.detection.ended"
        self._say(name, result=(_PREMIUM_RESULTS if premium else _RESULTS)[kind])

    def greeting_ended(self, beep: bool) -> None:
        if self.detection.startswith("premium"):
            result = "beep_detected" if beep else "no_beep_detected"
            self._say("call.machine.premium.greeting.ended", result=result)
        elif self.detection != "detect":
            plain = "ended" if self.detection == "greeting_end" else "not_sure"
            self._say("call.machine.greeting.ended", result="beep_detected" if beep else plain)

    def bridged(self) -> None:
        self._say("call.bridged")

    def ended(self) -> None:
        """Telnyx's own order: what was played, gathered and streamed ends first, recordings come last."""
        self.ended_wall = wall_clock()
        if self._recording is not None:
            self._end_recording(self._recording)
        if self.phone is not None:
            self.phone.hang_up()
        self._end_gather("call_hangup")
        if self.streaming:
            self._stream_gone()
        for fetch in self._fetches:
            fetch.cancel()
        self._say(
            "call.hangup",
            state="hangup",
            start_time=self.started_at,
            end_time=self.ended_wall,
            tags=[],
            hangup_cause=self._hangup_cause(),
            hangup_source=self._hangup_source(),
            sip_hangup_cause=str(SIP_STATUS[self.leg.cause or Cause.NORMAL]),
            call_quality_stats=_quality(self.leg.duration(self._loop.time())),
        )
        for recording in self.recordings:
            if recording is self._recording:
                self._tell_recording(recording)

    def _hangup_cause(self) -> str:
        cause = self.leg.cause or Cause.NORMAL
        return self.times_out_as if cause is Cause.TIMEOUT else _CAUSES[cause]

    def _hangup_source(self) -> str:
        """`caller` and `callee` are the roles of this leg, not ours."""
        if self.leg.ended_by is Side.CARRIER or self.leg.ended_by is None:
            return "unknown"
        by_party = self.leg.ended_by is Side.PARTY
        return "caller" if by_party == (self.leg.direction is Direction.INBOUND) else "callee"

    # What the person does (`LineOwner`)

    def key_pressed(self, digit: str) -> None:
        self.keys += digit
        self._say("call.dtmf.received", digit=digit)
        gather = self._gather
        if gather is None:
            return
        if gather.collector is not None and self.phone is not None and self.phone.prompting:
            collector, gather.collector = gather.collector, None  # the end of the prompt is not to begin anew
            self.phone.stop()
            gather.collector = collector
        if gather.collector is not None:
            gather.collector.press(digit, self._loop.time())
            self._watch_gather()

    def stream_started(self, stream: StreamRecord) -> None:
        self.streaming = True
        self._say("streaming.started", stream_url=stream.url, stream_id=stream.stream_id)

    def stream_ended(self, stream: StreamRecord) -> None:
        if self.streaming:
            self._stream_gone()

    def stream_refused(self, url: str, reason: str) -> None:
        self.stream = None
        self._stream_failed(url, reason)

    def put_down(self) -> None:
        self._put_down(self)

    # Streams

    def start_stream(self, options: StreamOptions) -> None:
        if self.stream is not None:
            raise RequestRefused(422, "90045", "Media Streaming is already used on this call.")
        self.stream = options
        self._open_stream(options)

    def stop_stream(self) -> None:
        if self.stream is not None and self.phone is not None:
            self.phone.detach()
            if self.streaming:
                self._stream_gone()
            self.stream = None

    def _open_stream(self, options: StreamOptions) -> None:
        phone = self.phone
        if phone is None:
            return
        if not options.url.startswith(("ws://", "wss://")):
            self.stream_refused(options.url, "invalid stream_url")
        elif FORMATS.get(options.outbound_codec) != phone.line.format or options.codec not in {
            "default",
            *FORMATS,
        }:
            self.stream_refused(options.url, "not simulated: a codec other than the one the leg began with")
        else:
            phone.attach(
                options.url,
                parameters=options.parameters,
                auth_token=options.auth_token,
                plays=options.rtp,
            )

    def _stream_gone(self) -> None:
        self.streaming = False
        url = self.stream.url if self.stream else ""
        self.stream = None
        self._say("streaming.stopped", stream_url=url)

    def _stream_failed(self, url: str, reason: str) -> None:
        self._say(
            "streaming.failed",
            failure_reason=reason,
            stream_id=str(uuid4()),
            stream_params={"stream_url": url, "track": "inbound_track"},
            stream_type="websocket",
        )

    def _line_format(self) -> AudioFormat:
        wanted = self.stream.codec if self.stream else "default"
        return FORMATS.get(wanted, FORMATS[self._codec])

    # Prompts

    def speak(self, parameters: Parameters) -> None:
        if "stop" in parameters:
            self.stop_playback(everything=parameters.text("stop") == "all")
        text = parameters.text("payload")
        self._play(
            Prompt(
                what=text,
                audio=self._voice(text),
                started=lambda: self._say("call.speak.started"),
                ended=lambda end: self._say("call.speak.ended", status=_speak_status(end)),
            )
        )

    def play_file(self, parameters: Parameters) -> None:
        url, name = parameters.text("audio_url"), parameters.text("media_name")
        self._fetch(self._play_fetched(url, name, parameters.loops(), parameters))

    async def _play_fetched(self, url: str, name: str, loops: int | None, parameters: Parameters) -> None:
        about = {"media_url": url, "media_name": name, "overlay": parameters.flag("overlay")}
        try:
            audio = await self._audio(parameters)
        except FileNotPlayable as reason:
            self._say("call.playback.ended", **about, status="file_not_found", status_detail=str(reason))
            return
        self._play(
            Prompt(
                what=url or name,
                audio=audio,
                loops=loops,
                started=lambda: self._say("call.playback.started", **about),
                ended=lambda end: self._say("call.playback.ended", **about, status=_PROMPT_ENDS[end]),
            )
        )

    async def _audio(self, parameters: Parameters) -> bytes:
        if "playback_content" in parameters:
            try:
                return b64decode(parameters.text("playback_content"))
            except ValueError:
                raise FileNotPlayable("playback_content is not Base64") from None
        if "audio_url" in parameters:
            return await fetch_audio(parameters.text("audio_url"))
        return self._voice(parameters.text("media_name"))  # stored at the carrier: any sound will do

    def stop_playback(self, *, everything: bool = True) -> None:
        if self.phone is not None:
            self.phone.stop(everything=everything)

    def send_digits(self, digits: str, on: float) -> None:
        """Play tones; `w` and `W` are pauses. Nothing is said of it."""
        audio = b""
        for key in digits:
            pause = {"w": 0.5, "W": 1.0}.get(key)
            audio += bytes(round(pause * 8_000) * 2) if pause else tones(key.upper(), on=on, off=0.1)
        self._play(Prompt(what=f"digits {digits}", audio=audio))

    def _play(self, prompt: Prompt) -> None:
        if self.phone is not None:
            self.phone.play(prompt)

    # Gathers

    def gather(self, parameters: Parameters) -> None:
        self._begin_gather(_Gather(parameters=parameters, prompt=None, again=None, what="", tries=1))

    def gather_using_speak(self, parameters: Parameters) -> None:
        text = parameters.text("payload")
        prompt, again = self._voice(text), self._voice(parameters.text("invalid_payload") or text)
        tries = parameters.number("maximum_tries", 3)
        self._begin_gather(_Gather(parameters=parameters, prompt=prompt, again=again, what=text, tries=tries))

    def gather_using_audio(self, parameters: Parameters) -> None:
        async def fetch() -> None:
            try:
                audio = await self._audio(parameters)
            except FileNotPlayable:
                audio = b""
            what = parameters.text("audio_url") or parameters.text("media_name")
            tries = parameters.number("maximum_tries", 3)
            self._begin_gather(
                _Gather(parameters=parameters, prompt=audio, again=audio, what=what, tries=tries)
            )

        self._fetch(fetch())

    def stop_gather(self) -> None:
        self._end_gather("cancelled")

    def _begin_gather(self, gather: _Gather) -> None:
        self._end_gather("cancelled")
        self._gather = gather
        self._try_gather(gather)

    def _try_gather(self, gather: _Gather) -> None:
        parameters = gather.parameters
        asks = gather.prompt is not None
        # With a prompt the whole timeout counts from its end to the first key; without one from the command.
        gather.collector = DigitCollector(
            maximum=parameters.number("maximum_digits", 128),
            terminator=parameters.text("terminating_digit", "#"),
            valid=parameters.text("valid_digits", "0123456789#*"),
            first_timeout=parameters.seconds(*_first_timeout(asks)),
            digit_timeout=parameters.seconds("inter_digit_timeout_millis", 5_000),
            timeout=None if asks else parameters.seconds("timeout_millis", 60_000),
        )
        if gather.prompt is None:
            self._prompt_over(gather)
            return
        audio, gather.prompt = gather.prompt, gather.again
        self._play(Prompt(what=gather.what, audio=audio, ended=lambda _: self._prompt_over(gather)))

    def _prompt_over(self, gather: _Gather) -> None:
        if gather is self._gather and gather.collector is not None:
            gather.collector.start(self._loop.time())
            self._watch_gather()

    def _watch_gather(self) -> None:
        """Look whether the gather has ended, now and at its next deadline."""
        gather = self._gather
        if gather is None or gather.collector is None:
            return
        if gather.timer is not None:
            gather.timer.cancel()
        ended = gather.collector.poll(self._loop.time())
        if ended is not None:
            self._judge_gather(gather, gather.collector, ended)
        elif (deadline := gather.collector.next_deadline()) is not None:
            gather.timer = self._loop.call_at(deadline, self._watch_gather)

    def _judge_gather(self, gather: _Gather, collector: DigitCollector, ended: Gathered) -> None:
        enough = len(collector.digits) >= gather.parameters.number("minimum_digits", 1)
        if enough and not collector.invalid:
            self._end_gather("valid")
            return
        gather.tries -= 1
        if gather.tries > 0:
            self._try_gather(gather)
        else:
            nothing = ended is Gathered.TIMEOUT and not collector.digits and not collector.invalid
            self._end_gather("timeout" if nothing else "invalid")

    def _end_gather(self, status: str) -> None:
        gather, self._gather = self._gather, None
        if gather is None:
            return
        if gather.timer is not None:
            gather.timer.cancel()
        digits = gather.collector.digits if gather.collector else ""
        if status == "cancelled" and gather.what and self.phone is not None:
            self.phone.stop()
        self._say("call.gather.ended", digits=digits, status=status)

    # Recordings

    def start_recording(self, channels: str) -> str:
        recording = Recording(
            recording_id=str(uuid4()),
            channels=channels,
            started_at=wall_clock(),
            since=self._loop.time(),
        )
        self.recordings.append(recording)
        self._recording = recording
        return recording.recording_id

    def stop_recording(self) -> None:
        recording = self._recording
        if recording is not None:
            self._end_recording(recording)
            self._recording = None
            self._tell_recording(recording)

    def _end_recording(self, recording: Recording) -> None:
        now = self._loop.time()
        recording.ended_at = wall_clock()
        recording.duration_millis = round((now - recording.since) * 1_000)
        if self.phone is not None:
            recording.audio = self.phone.line.recording(recording.since, now)

    def _tell_recording(self, recording: Recording) -> None:
        self._say(
            "call.recording.saved",
            channels=recording.channels,
            recording_id=recording.recording_id,
            recording_started_at=recording.started_at,
            recording_ended_at=recording.ended_at,
        )

    # Referrals

    def refer(self, accepted: bool) -> None:
        self._say("call.refer.started")
        if accepted:
            self._say("call.refer.completed", sip_notify_response=200)
        else:
            self._say("call.refer.failed", sip_notify_response=603)

    # Speech to the application

    def _say(self, event_type: str, **payload: object) -> None:
        self._tell(self, event_type, payload)

    def _fetch(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)


def _first_timeout(asks: bool) -> tuple[str, int]:
    return ("timeout_millis", 60_000) if asks else ("initial_timeout_millis", 5_000)


def _speak_status(end: PromptEnd) -> str:
    """A speech that was stopped is `completed` too: the type knows no other word for it."""
    return "call_hangup" if end is PromptEnd.HANGUP else "completed"


def _quality(duration: float) -> dict[str, object]:
    packets = str(round(duration / 0.020))
    return {
        "inbound": {
            "mos": "4.50",
            "packet_count": packets,
            "jitter_packet_count": "0",
            "jitter_max_variance": "0.00",
            "skip_packet_count": "0",
        },
        "outbound": {"packet_count": packets, "skip_packet_count": "0"},
    }
