"""Our commands as Twilio's calls resource and documents, through its SDK: one request for one command, never repeated.

Theory of operation. Twilio knows no command ids: a request that dials and is sent twice makes two calls, so nothing
is repeated here. Whatever changes a call in progress replaces its document, which ends the media stream; the
documents (`telephony.twilio.twiml`) open it again, or ask the URLs that are made here from the leg's token.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
)
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from telephony.client_errors import (
    TWILIO,
    CarrierCannot,
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
    Play,
    Refer,
    Reject,
    SendDigits,
    Speak,
    StartStream,
    StopGather,
    StopPlay,
    StopStream,
    Transfer,
    UpdateClientState,
)
from telephony.twilio import twiml
from telephony.twilio.documents import Documents
from telephony.twilio.webhooks import Endpoint

CARRIER = "twilio"
# The SDK's own is to wait for ever (F 33).
TIMEOUT = 5.0
_CONNECT_TIMEOUT = 2.0
# Twilio's bound for ringing.
_LONGEST_RING = 600
_STATUS_EVENTS = ["initiated", "ringing", "answered", "completed"]
# Statuses of calls that are not over.
_LIVE = ("queued", "ringing", "in-progress")


class BoundedHttpClient(AsyncHttpClient):  # type: ignore[misc]  # the SDK has no types
    """What the SDK sends its requests with: bounded in time, without repetitions, and to where it is told.

    Driven by the SDK. The SDK itself knows no other host than Twilio's and, in its own client, no list of values.
    """

    def __init__(self, *, timeout: float = TIMEOUT, base_url: str | None = None) -> None:
        super().__init__(_NoLog(), True, timeout)
        self.last_headers: Mapping[str, str] = {}
        """Of the latest answer: the SDK's errors leave them out."""
        self._timeout = ClientTimeout(total=timeout, connect=min(timeout, _CONNECT_TIMEOUT))
        self._base_url = base_url
        self._session: ClientSession | None = None

    async def request(  # the SDK's signature
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        if self._session is None:
            self._session = ClientSession()
        async with self._session.request(
            method,
            self._rebased(uri),
            params=parse_qsl(_encoded(params) or "", keep_blank_values=True),
            data=_encoded(data),
            headers={**(headers or {}), **_form_type(data), **_authorisation(auth)},
            timeout=self._timeout,
            allow_redirects=allow_redirects,
        ) as response:
            self.last_headers = dict(response.headers)
            return Response(response.status, await response.text(), response.headers)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _rebased(self, uri: str) -> str:
        if self._base_url is None:
            return uri
        parts = urlsplit(uri)
        return f"{self._base_url.rstrip('/')}{parts.path}{'?' + parts.query if parts.query else ''}"


class _NoLog:
    """The SDK would log each request at INFO, numbers and all."""

    def info(self, *_: object) -> None: ...


def _encoded(values: Mapping[str, object] | None) -> str | None:
    """Repeat the key of a list of values, as Twilio wants it (`StatusCallbackEvent`)."""
    return urlencode(dict(values), doseq=True) if values else None


def _form_type(data: Mapping[str, object] | None) -> dict[str, str]:
    return {"Content-Type": "application/x-www-form-urlencoded"} if data else {}


def _authorisation(auth: tuple[str, str] | None) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(':'.join(auth).encode()).decode()}"} if auth else {}


class TwilioClient:
    """One Twilio account.

    Driven by whoever owns the calls (`perform`). Keeps nothing of a call; decides nothing but how an error is read.
    """

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        public_url: str,
        integration_id: str,
        base_url: str | None = None,
        timeout: float = TIMEOUT,
        username: str | None = None,
    ) -> None:
        """
        Args:
            auth_token: of the account, or an API key's secret with its sid as `username`.
            public_url: where Twilio reaches us; every callback lies below it.
            base_url: stands in for https://api.twilio.com.
        """
        self._documents = Documents(public_url, integration_id)
        self._http = BoundedHttpClient(timeout=timeout, base_url=base_url)
        self.account_sid = account_sid
        self.sdk = Client(username or account_sid, auth_token, account_sid, http_client=self._http)
        # The SDK imports each resource on its first use: here, not in a call.
        self._calls = self.sdk.calls

    async def close(self) -> None:
        await self._http.close()

    async def perform(self, command: CallCommand) -> Performed:
        """Ask Twilio to do it.

        Raises:
            CommandFailed: with its verdict, except that a call which is over is what some commands want.
            CarrierCannot: Twilio has no such request.
        """
        try:
            return await self._perform(command)
        except (TwilioRestException, TwilioServiceException) as error:
            failure = self._refused(error, type(command).__name__, dials(command))
            if failure.verdict is Verdict.ALREADY_ENDED and is_satisfied_by_the_end(command):
                return Performed(already=True)
            raise failure from error
        except (ClientError, OSError, TimeoutError, TwilioException, ValueError) as error:
            if isinstance(error, ValueError) and not isinstance(error, ClientError):
                raise  # ours
            self._unreached(error, type(command).__name__, isinstance(command, Dial))

    async def is_alive(self, carrier_call_id: str) -> bool:
        """Whether the carrier says the call is up; a call it does not know is not.

        Raises:
            CommandFailed: the carrier does not answer the question.
        """
        try:
            call = await self._calls(carrier_call_id).fetch_async()
        except (TwilioRestException, TwilioServiceException) as error:
            failure = self._refused(error, "is_alive", False)
            if failure.verdict is Verdict.ALREADY_ENDED:
                return False
            raise failure from error
        except (ClientError, OSError, TimeoutError) as error:
            self._unreached(error, "is_alive", False)
        return str(call.status) in _LIVE

    async def live_calls(self, *, to_number: str | None = None, limit: int = 1_000) -> list[LiveCall]:
        """Return the account's calls that are up; Twilio repeats no name of ours, so numbers and times must tell them.

        Raises:
            CommandFailed: the carrier does not answer the question.
        """
        found: list[LiveCall] = []
        wanted = {} if to_number is None else {"to": to_number}
        with self.asking("live_calls"):
            for status in _LIVE:
                found += [
                    LiveCall(
                        carrier_call_id=call.sid,
                        leg_id=call.sid,
                        from_number=call._from,
                        to_number=call.to,
                        started_at=None if call.date_created is None else call.date_created.isoformat(),
                    )
                    for call in await self._calls.list_async(status=status, limit=limit, **wanted)
                ]
        return found

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Whatever fails of a question in here, or of a change that may be made twice, is a `CommandFailed`."""
        try:
            yield
        except (TwilioRestException, TwilioServiceException) as error:
            raise self._refused(error, what, False) from error
        except (ClientError, OSError, TimeoutError, TwilioException, JSONDecodeError) as error:
            self._unreached(error, what, False)

    # Commands

    async def _perform(self, command: CallCommand) -> Performed:  # one row for each command
        match command:
            case Dial():
                return await self._dial(command)
            case Hangup(carrier_call_id=call_id, ringing=ringing):
                await self._hang_up(call_id, ringing)
            case CancelTransfer(transfer_call_id=call_id):
                # A leg that rings inside <Dial> counts as in progress.
                await self._update(call_id, status="completed")
            case StartStream(token=token, stream=stream):
                await self._update(command.carrier_call_id, twiml=self._documents.attach(stream, token))
            case (
                SendDigits() | GatherDigits() | StopGather() | Speak() | Play() | StopPlay() | Transfer()
            ) as shown:
                await self._update(shown.carrier_call_id, twiml=self._documents.of(shown))
            case Answer() | Reject():
                raise CarrierCannot(CARRIER, type(command).__name__, "the voice webhook's document does it")
            case StopStream():
                raise CarrierCannot(CARRIER, "StopStream", "the next document does it")
            case Refer() | UpdateClientState():
                raise CarrierCannot(CARRIER, type(command).__name__)
        return Performed()

    async def _dial(self, command: Dial) -> Performed:
        token, detection = command.token, command.machine_detection
        request: dict[str, Any] = {
            "to": command.to,
            "from_": command.from_number,
            "timeout": min(command.ring_timeout, _LONGEST_RING),
            "time_limit": command.max_duration,
            "status_callback": self._documents.url(Endpoint.STATUS, token),
            "status_callback_event": _STATUS_EVENTS,
            "status_callback_method": "POST",
        }
        if detection is not MachineDetection.OFF:
            request["machine_detection"] = "DetectMessageEnd"  # a message may be left when the result comes
        if detection is MachineDetection.ASYNC:
            request["async_amd"] = "true"
            request["async_amd_status_callback"] = self._documents.url(Endpoint.AMD, token)
        document = self._documents.attach(command.stream, token)
        if detection is MachineDetection.SYNC or len(document) > twiml.LONGEST_INLINE:
            # A document that is asked for is asked with the result (`AnsweredBy`), and may be of any length.
            request["url"] = self._documents.url(Endpoint.VOICE, token)
        else:
            request["twiml"] = document
        call = await self._calls.create_async(**request)
        return Performed(carrier_call_id=call.sid, leg_id=call.sid)

    async def _hang_up(self, call_id: str, ringing: bool) -> None:
        if ringing:
            try:
                await self._update(call_id, status="canceled")
                return
            except TwilioRestException as error:
                if str(error.code) != "21220":
                    raise
        # Answered in the meantime, or over: this works in any state that is not final.
        await self._update(call_id, status="completed")

    async def _update(self, call_id: str, **changes: str) -> None:
        await self._calls(call_id).update_async(**changes)

    # Errors

    def _refused(
        self, error: TwilioRestException | TwilioServiceException, command: str, may_dial: bool
    ) -> CommandFailed:
        status = int(error.status)
        # The SDK puts the status where Twilio gave no code.
        code = None if error.code in (None, status) else str(error.code)
        verdict = verdict_of(TWILIO, status, code, dials=may_dial)
        detail = error.msg if isinstance(error, TwilioRestException) else (error.detail or error.title)
        return CommandFailed(
            CARRIER,
            command,
            verdict,
            str(detail),
            status=status,
            code=code,
            retry_after=back_off(self._http.last_headers) if verdict is Verdict.RATE_LIMITED else None,
        )

    def _unreached(self, error: Exception, command: str, may_dial: bool) -> NoReturn:
        """No answer: nothing was done if there was no connection, else nobody knows."""
        never_left = isinstance(error, ClientConnectorError | ConnectionTimeoutError)
        verdict = Verdict.UNKNOWN if may_dial and not never_left else Verdict.UNAVAILABLE
        raise CommandFailed(CARRIER, command, verdict, str(error) or type(error).__name__) from error
