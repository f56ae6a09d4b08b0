"""Live control: what a backend asks of a call that is going on."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from control.api.call_endpoints import no_such_call, refusal
from control.api.command_bodies import EndBody, GatherBody, InvalidDestination, SayBody, TransferBody
from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Reply, endpoint
from control.api.ports import AudioUnavailable, CallControl, FetchAudio, FetchedAudio, RecordingRoom
from control.api.problem import Problem
from control.api.shapes import (
    Done,
    GatherAccepted,
    GatherShape,
    SayAccepted,
    TransferAccepted,
    TransferShape,
    gather_shape,
    transfer_shape,
)
from control.recordings import RecordingState
from control.requests import (
    Accepted,
    After,
    CallRequest,
    CancelGather,
    CancelTransfer,
    ControlRecording,
    Hold,
    Inject,
    PlayAudio,
    RecordingAction,
    Refused,
    Resume,
    SendDigits,
    StopPlaying,
)
from control.stores.store import Store
from media.realtime.events import Role

TAG = "Live control"

_ALWAYS = (
    "not_found", "call_not_in_progress", "call_released", "no_control_channel", "call_on_hold", "gather_in_progress",
    "transfer_in_progress", "owner_unreachable",
)  # fmt: skip
_CARRIER = ("carrier_rejected", "carrier_unavailable", "not_supported_by_carrier")

Url = Annotated[str, Field(pattern=r"^https?://", max_length=2048)]


class DigitsBody(Body):
    """Which keys to press."""

    digits: str = Field(pattern=r"^[0-9A-D*#wW]{1,64}$", description="w waits half a second, W a second.")


class PlayBody(Body):
    """What to play."""

    url: Url | None = None
    recording_id: str | None = Field(default=None, max_length=128)
    loop: bool = False
    after: After = After.NOW

    @model_validator(mode="after")
    def _something(self) -> "PlayBody":
        if (self.url is None) == (self.recording_id is None):
            raise ValueError("give either url or recording_id")
        return self


class InjectBody(Body):
    """What to tell the model."""

    role: Literal["system", "user"]
    text: str = Field(min_length=1, max_length=20_000)
    respond: bool = Field(default=False, description="Whether it is to say something at once.")


class HoldBody(Body):
    """What the caller hears meanwhile."""

    audio_url: Url | None = Field(default=None, description="Left out: a built-in tone.")


class ControlEndpoints:
    """Driven by the routes: makes a request of each, asks the call, and answers what it says."""

    def __init__(
        self, calls: CallControl, store: Store, fetch_audio: FetchAudio, recordings: RecordingRoom
    ) -> None:
        self._recordings = recordings
        self._calls = calls
        self._store = store
        self._fetch_audio = fetch_audio

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        return [
            self._command("end", self.end, EndBody, "Hang up", problems=_CARRIER, harmless=True),
            self._command(
                "transfer", self.transfer, TransferBody, "Connect the caller with somebody else",
                answers={200: TransferAccepted},
                problems=(
                    *_CARRIER, "invalid_destination", "no_verbatim_voice", "transfer_in_progress", "gather_in_progress",
                ),
            ),
            endpoint(
                "GET", "/v1/calls/{call_id}/transfer", self.transfer_view,
                summary="The latest transfer", tag=TAG, query=NoQuery, body=NoBody, answers={200: TransferShape},
                problems=("not_found", "no_transfer"),
            ),
            self._command(
                "transfer", self.cancel_transfer, NoBody, "Stop dialling; the agent has the caller back",
                method="DELETE", problems=(*_CARRIER, "no_transfer_in_progress"),
            ),
            self._command(
                "gather", self.gather, GatherBody, "Ask the caller for digits", answers={202: GatherAccepted},
                problems=(*_CARRIER, "gather_in_progress", "no_verbatim_voice", "transfer_in_progress"),
            ),
            endpoint(
                "GET", "/v1/calls/{call_id}/gather", self.gather_view,
                summary="The latest gather", tag=TAG, query=NoQuery, body=NoBody, answers={200: GatherShape},
                problems=("not_found", "no_gather"),
            ),
            self._command(
                "gather", self.cancel_gather, NoBody, "Stop gathering", method="DELETE",
                problems=(*_CARRIER, "no_gather_in_progress"),
            ),
            self._command("dtmf", self.digits, DigitsBody, "Press keys for the far end", problems=_CARRIER),
            self._command(
                "say", self.say, SayBody, "Have the agent say something", answers={200: SayAccepted},
                problems=("no_verbatim_voice",),
            ),
            self._command(
                "play", self.play, PlayBody, "Play audio to the caller",
                problems=("audio_unavailable", "recording_not_available"),
            ),
            self._command("play", self.stop_playing, NoBody, "Stop playing", method="DELETE"),
            self._command("inject", self.inject, InjectBody, "Tell the model something"),
            self._command(
                "hold", self.hold, HoldBody, "Hold audio to the caller, the agent deaf and mute",
                problems=("audio_unavailable",),
            ),
            self._command("resume", self.resume, NoBody, "The caller is off hold"),
            *(
                self._command(
                    f"recording/{action.value}", self._recording(action), NoBody,
                    f"{action.value.capitalize()} the recording",
                    problems=("no_verbatim_voice",) if action is RecordingAction.START else (),
                )
                for action in RecordingAction
            ),
        ]  # fmt: skip

    def _command(
        self,
        path: str,
        handler: Callable[[Asked[NoQuery, Any]], Coroutine[Any, Any, Answer]],
        body: type[Body],
        summary: str,
        *,
        method: str = "POST",
        answers: dict[int, Any] | None = None,
        problems: tuple[str, ...] = (),
        harmless: bool = False,
    ) -> Endpoint[Any, Any]:
        return endpoint(
            method,
            f"/v1/calls/{{call_id}}/{path}",
            handler,
            summary=summary,
            tag=TAG,
            query=NoQuery,
            body=body,
            answers=answers or {200: Done},
            # Whatever a call cannot do now, some command of another kind may be in the way of.
            problems=tuple(dict.fromkeys((*_ALWAYS, *problems))),
            once=method == "POST",
            harmless=harmless,
        )

    async def _ask(self, asked: Asked[NoQuery, Any], request: CallRequest) -> Accepted:
        answer = await self._calls.ask(asked.tenant_id, asked.path["call_id"], request)
        match answer:
            case Accepted():
                return answer
            case Refused():
                raise refusal(answer)
            case None:
                raise no_such_call()

    async def end(self, asked: Asked[NoQuery, EndBody]) -> Answer:
        await self._ask(asked, asked.body.request())
        return Reply(Done())

    async def transfer(self, asked: Asked[NoQuery, TransferBody]) -> Answer:
        try:
            wanted = asked.body.request()
        except InvalidDestination as error:
            raise Problem(400, "invalid_destination", str(error)) from None
        await self._ask(asked, wanted)
        return Reply(TransferAccepted(destination=wanted.destination, transfer_id=wanted.transfer_id))

    async def transfer_view(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        await self._known(asked)
        view = self._calls.transfer_view(asked.tenant_id, asked.path["call_id"])
        if view is None:
            raise Problem(404, "no_transfer", "the call has not been transferred")
        return Reply(transfer_shape(view))

    async def cancel_transfer(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        await self._ask(asked, CancelTransfer())
        return Reply(Done())

    async def gather(self, asked: Asked[NoQuery, GatherBody]) -> Answer:
        wanted = asked.body.request()
        await self._ask(asked, wanted)
        return Reply(GatherAccepted(call_id=asked.path["call_id"], gather_id=wanted.gather_id), 202)

    async def gather_view(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        await self._known(asked)
        view = self._calls.gather_view(asked.tenant_id, asked.path["call_id"])
        if view is None:
            raise Problem(404, "no_gather", "no digits have been gathered on the call")
        return Reply(gather_shape(view))

    async def cancel_gather(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        await self._ask(asked, CancelGather())
        return Reply(Done())

    async def digits(self, asked: Asked[NoQuery, DigitsBody]) -> Answer:
        await self._ask(asked, SendDigits(digits=asked.body.digits))
        return Reply(Done())

    async def say(self, asked: Asked[NoQuery, SayBody]) -> Answer:
        await self._ask(asked, asked.body.request())
        return Reply(SayAccepted(mode="verbatim" if asked.body.verbatim else "instructed"))

    async def play(self, asked: Asked[NoQuery, PlayBody]) -> Answer:
        body = asked.body
        source, fetched = await self._to_play(asked)
        await self._ask(
            asked,
            PlayAudio(
                audio=fetched.audio, rate=fetched.rate, loop=body.loop, after=body.after, source=source
            ),
        )
        return Reply(Done())

    async def _to_play(self, asked: Asked[NoQuery, PlayBody]) -> tuple[str, FetchedAudio]:
        """What the caller is to hear, and where it is from."""
        body = asked.body
        if body.url is not None:
            return body.url, await self._audio(asked, body.url)
        recording_id = body.recording_id or ""
        recording = await self._store.recordings.by_id(asked.tenant_id, recording_id)
        if recording is None or recording.state is not RecordingState.READY:
            raise Problem(404, "recording_not_available", "there is no such recording to play")
        try:
            return f"recording:{recording_id}", await self._recordings.audio(recording)
        except AudioUnavailable as error:
            raise Problem(422, "audio_unavailable", str(error)) from error

    async def stop_playing(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        await self._ask(asked, StopPlaying())
        return Reply(Done())

    async def inject(self, asked: Asked[NoQuery, InjectBody]) -> Answer:
        body = asked.body
        role = Role.SYSTEM if body.role == "system" else Role.CALLER
        await self._ask(asked, Inject(role=role, text=body.text, respond=body.respond))
        return Reply(Done())

    async def hold(self, asked: Asked[NoQuery, HoldBody]) -> Answer:
        url = asked.body.audio_url
        if url is None:
            await self._ask(asked, Hold())
        else:
            fetched = await self._audio(asked, url)
            await self._ask(asked, Hold(audio=fetched.audio, rate=fetched.rate))
        return Reply(Done())

    async def resume(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        await self._ask(asked, Resume())
        return Reply(Done())

    def _recording(
        self, action: RecordingAction
    ) -> Callable[[Asked[NoQuery, Any]], Coroutine[Any, Any, Answer]]:
        async def control(asked: Asked[NoQuery, Any]) -> Answer:
            await self._ask(asked, ControlRecording(action=action))
            return Reply(Done())

        return control

    async def _known(self, asked: Asked[NoQuery, Any]) -> None:
        """A view of a call that is not there is not a view that is empty."""
        tenant_id, call_id = asked.tenant_id, asked.path["call_id"]
        known = self._calls.live_record(tenant_id, call_id)
        if (known is None or not known.live) and await self._store.status(tenant_id, call_id) is None:
            raise no_such_call()

    async def _audio(self, asked: Asked[NoQuery, Any], source: str) -> FetchedAudio:
        """Nothing is fetched for a call that is not there."""
        await self._known(asked)
        try:
            return await self._fetch_audio(source)
        except AudioUnavailable as error:
            raise Problem(422, "audio_unavailable", str(error)) from error
