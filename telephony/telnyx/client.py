"""Our commands as Telnyx's call control, through its SDK: one request for one command, in bounded time.

Theory of operation. Every command carries its `command_id`, which Telnyx knows again for 60 seconds, so repeating one
is harmless; commands that dial are all the same never repeated here, but by the owner of the call, with the same
id and while the window lasts. What a 200 means is "accepted": everything else comes by webhook.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import httpx
import telnyx
from telnyx import AsyncTelnyx

from telephony.calls import LegToken
from telephony.client_errors import (
    TELNYX,
    CommandFailed,
    LiveCall,
    Performed,
    Verdict,
    back_off,
    dials,
    is_satisfied_by_the_end,
    verdict_of,
)
from telephony.commands import (
    Answer,
    CallCommand,
    CancelTransfer,
    Dial,
    GatherDigits,
    Hangup,
    MachineDetection,
    MediaStream,
    Play,
    Refer,
    Reject,
    RejectReason,
    SendDigits,
    Speak,
    StartStream,
    StopGather,
    StopPlay,
    StopStream,
    Transfer,
    UpdateClientState,
)
from telephony.telnyx.webhooks import client_state, leg_token

CARRIER = "telnyx"
# A command that takes longer is as good as lost; the sheet of F 33: without a bound a teardown hangs.
TIMEOUT = 5.0
_CONNECT_TIMEOUT = 2.0
# Of commands whose repetition does nothing (their `command_id`).
_RETRIES = 1

_CAUSES = {
    RejectReason.BUSY: "USER_BUSY",
    RejectReason.REJECTED: "CALL_REJECTED",
    RejectReason.NOT_FOUND: "NOT_FOUND",
    RejectReason.UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
}
# Of Telnyx's bounds (5 to 600 s) for ringing; a shorter wish is the shortest it takes.
_SHORTEST_RING, _LONGEST_RING = 5, 600

Request = dict[str, Any]
"""Arguments of one of the SDK's methods."""


class TelnyxClient:
    """One Telnyx account and call control application.

    Driven by whoever owns the calls (`perform`). Keeps nothing of a call; decides nothing but how an error is read.
    """

    def __init__(
        self,
        *,
        api_key: str,
        connection_id: str,
        base_url: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self.connection_id = connection_id
        self.sdk = AsyncTelnyx(
            api_key=api_key,
            base_url=base_url,
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
            max_retries=_RETRIES,
        )
        # The SDK imports each resource on its first use, which takes seconds: here, not in a call.
        self._calls = self.sdk.calls
        self._actions = self._calls.actions
        self._connections = self.sdk.connections
        self._dialling = self.sdk.with_options(max_retries=0).calls

    async def close(self) -> None:
        await self.sdk.close()

    async def perform(self, command: CallCommand) -> Performed:
        """Ask Telnyx to do it.

        Raises:
            CommandFailed: with its verdict, except that a call which is over is what some commands want.
        """
        try:
            return await self._perform(command)
        except telnyx.APIStatusError as error:
            failure = self._refused(error, type(command).__name__, dials(command))
            if failure.verdict is Verdict.ALREADY_ENDED and is_satisfied_by_the_end(command):
                return Performed(already=True)
            raise failure from error
        except telnyx.APIConnectionError as error:
            self._unreached(error, type(command).__name__, dials(command))

    async def is_alive(self, carrier_call_id: str) -> bool:
        """Whether the carrier says the call is up; a call it does not know is not.

        Raises:
            CommandFailed: the carrier does not answer the question.
        """
        try:
            answer = await self._calls.retrieve_status(carrier_call_id)
        except telnyx.APIStatusError as error:
            failure = self._refused(error, "is_alive", False)
            if failure.verdict is Verdict.ALREADY_ENDED or failure.status == 404:
                return False
            raise failure from error
        except telnyx.APIConnectionError as error:
            self._unreached(error, "is_alive", False)
        return answer.data is not None and answer.data.is_alive

    async def live_calls(self) -> list[LiveCall]:
        """Return every call of the application that is up: how a dial of unknown outcome is settled.

        Raises:
            CommandFailed: the carrier does not answer the question.
        """
        found: dict[str, LiveCall] = {}
        with self.asking("live_calls"):
            async for call in self._connections.list_active_calls(self.connection_id):
                if call.call_control_id in found:
                    break  # an API that knows no page numbers answers its first page to each: the SDK never ends
                found[call.call_control_id] = LiveCall(
                    carrier_call_id=call.call_control_id,
                    leg_id=call.call_leg_id,
                    session_id=call.call_session_id,
                    token=leg_token(call.client_state),
                )
        return list(found.values())

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Whatever fails of a question in here, or of a change that may be made twice, is a `CommandFailed`."""
        try:
            yield
        except telnyx.APIStatusError as error:
            raise self._refused(error, what, False) from error
        except telnyx.APIError as error:  # no connection, or an answer that is none of Telnyx's
            self._unreached(error, what, False)

    # Commands

    async def _perform(self, command: CallCommand) -> Performed:  # one row for each command
        actions, call_id = self._actions, "" if isinstance(command, Dial) else command.carrier_call_id
        request: Request = {"command_id": command.command_id}
        match command:
            case Dial():
                return await self._dial(command)
            case Answer(token=token, stream=stream, headers=headers):
                request |= {**_named(token), **_stream(stream), **_headers(headers)}
                await actions.answer(call_id, **request)
            case Reject(reason=reason):
                await actions.reject(call_id, **request | {"cause": _CAUSES[reason]})
            case Hangup():
                await actions.hangup(call_id, **request)
            case StartStream(token=token, stream=stream):
                request |= {**_named(token), **_stream(stream), **_authorised(stream)}
                if stream.parameters:
                    request["custom_parameters"] = _pairs(stream.parameters)
                await actions.start_streaming(call_id, **request)
            case StopStream(stream_id=stream_id):
                if stream_id is not None:
                    request["stream_id"] = stream_id
                await actions.stop_streaming(call_id, **request)
            case SendDigits(token=token, digits=digits, tone=tone):
                request |= {**_named(token), "digits": digits, "duration_millis": round(tone * 1_000)}
                await actions.send_dtmf(call_id, **request)
            case GatherDigits():
                await actions.gather_using_speak(call_id, **request | _gather(command))
            case StopGather(token=token):
                await actions.stop_gather(call_id, **request | _named(token))
            case Speak(token=token, text=text, voice=voice, language=language):
                request |= {**_named(token), "payload": text, "voice": voice.value, "language": language}
                await actions.speak(call_id, **request)
            case Play(token=token, url=url, loop=loop):
                request |= {**_named(token), "audio_url": url, "loop": "infinity" if loop is None else loop}
                await actions.start_playback(call_id, **request)
            case StopPlay(token=token):
                await actions.stop_playback(call_id, **request | {**_named(token), "stop": "all"})
            case Transfer():
                await self._dialling.actions.transfer(call_id, **request | _transfer(command))
            case CancelTransfer(transfer_call_id=transfer_call_id):
                await actions.hangup(transfer_call_id, **request)
            case Refer(token=token, sip_address=address, headers=headers):
                request |= {**_named(token), "sip_address": address, **_headers(headers)}
                await actions.refer(call_id, **request)
            case UpdateClientState(token=token):  # the one command without a command_id
                await actions.update_client_state(call_id, client_state=client_state(token))
        return Performed()

    async def _dial(self, command: Dial) -> Performed:
        request: Request = {
            "command_id": command.command_id,
            "connection_id": self.connection_id,
            "to": command.to,
            "from_": command.from_number,
            "timeout_secs": _ring(command.ring_timeout),
            "time_limit_secs": command.max_duration,
            **_named(command.token),
            **_stream(command.stream),
            **_authorised(command.stream),
            **_headers(command.headers),
        }
        if command.machine_detection is not MachineDetection.OFF:
            # Premium alone tells a fax; both kinds are asynchronous here: waiting for the result is ours.
            request["answering_machine_detection"] = "premium"
        if command.caller_name is not None:
            request["from_display_name"] = command.caller_name
        answer = await self._dialling.dial(**request)
        if answer.data is None:
            return Performed()  # accepted, without a name: the webhooks bring it
        return Performed(
            carrier_call_id=answer.data.call_control_id,
            leg_id=answer.data.call_leg_id,
            session_id=answer.data.call_session_id,
        )

    # Errors

    def _refused(self, error: telnyx.APIStatusError, command: str, may_dial: bool) -> CommandFailed:
        code, detail = _first_error(error.body)
        verdict = verdict_of(TELNYX, error.status_code, code, dials=may_dial)
        return CommandFailed(
            CARRIER,
            command,
            verdict,
            detail or f"HTTP {error.status_code}",
            status=error.status_code,
            code=code,
            retry_after=back_off(error.response.headers) if verdict is Verdict.RATE_LIMITED else None,
        )

    def _unreached(self, error: telnyx.APIError, command: str, may_dial: bool) -> NoReturn:
        """No answer: nothing was done if there was no connection, else nobody knows."""
        never_left = isinstance(
            error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout
        )
        verdict = Verdict.UNKNOWN if may_dial and not never_left else Verdict.UNAVAILABLE
        detail = str(error.__cause__ or error) or type(error.__cause__ or error).__name__
        raise CommandFailed(CARRIER, command, verdict, detail) from error


def _first_error(body: object) -> tuple[str | None, str]:
    """The code and text of the first error; a proxy's HTML has neither."""
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return None, ""
    code = first.get("code")
    return None if code is None else str(code), str(first.get("detail") or first.get("title") or "")


def _named(token: LegToken) -> Request:
    return {"client_state": client_state(token)}


def _stream(stream: MediaStream | None) -> Request:
    """What every command takes that opens a stream; without the mode the caller would hear nothing (trap 2)."""
    if stream is None:
        return {}
    return {
        "stream_url": stream.url,
        "stream_track": "inbound_track",
        "stream_codec": "default" if stream.inbound is None else stream.inbound.value,
        "stream_bidirectional_mode": "rtp",
        "stream_bidirectional_codec": stream.outbound.value,
    }


def _authorised(stream: MediaStream) -> Request:
    """Not with `answer`, whose type has no such field."""
    return {} if stream.auth_token is None else {"stream_auth_token": stream.auth_token}


def _headers(headers: Mapping[str, str]) -> Request:
    return {"custom_headers": _pairs(headers)} if headers else {}


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _gather(command: GatherDigits) -> Request:
    request = {
        **_named(command.token),
        "payload": command.prompt,
        "voice": command.voice.value,
        "language": command.language,
        "minimum_digits": 1,
        "maximum_digits": command.max_digits,
        "maximum_tries": 1,
        "terminating_digit": command.terminator,
        "timeout_millis": command.timeout * 1_000,
        "inter_digit_timeout_millis": command.inter_digit_timeout * 1_000,
    }
    if command.valid_digits is not None:
        request["valid_digits"] = command.valid_digits
    return request


def _transfer(command: Transfer) -> Request:
    return {
        "to": command.destination,
        "from_": command.caller_id,
        "timeout_secs": _ring(command.ring_timeout),
        "time_limit_secs": command.time_limit,
        "target_leg_client_state": client_state(command.token),
        **_headers(command.headers),
    }


def _ring(seconds: int) -> int:
    return min(max(seconds, _SHORTEST_RING), _LONGEST_RING)
