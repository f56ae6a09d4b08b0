"""What the API needs of the rest of the house."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from control.agent_run import EffectiveAgent
from control.agents import Agent
from control.call_gather import GatherView
from control.call_record import CallRecord
from control.call_transfer import TransferView
from control.dialling import DialOutcome, DialRequest
from control.integrations import Vendor
from control.recording_check import Found, Remedy
from control.recordings import Recording
from control.requests import Answer, CallRequest


class CallControl(Protocol):
    """Live calls (`control.service`). Another tenant's call is a call that is not there."""

    async def dial(self, tenant_id: str, request: DialRequest) -> DialOutcome:
        """Call somebody. Returns when the carrier has answered, or will not in time."""
        ...

    async def ask(self, tenant_id: str, call_id: str, request: CallRequest) -> Answer | None:
        """Ask something of a call; None if the tenant has no such call. One that is over answers like any other."""
        ...

    def live_record(self, tenant_id: str, call_id: str) -> CallRecord | None:
        """Return a call of this process as it is now, while it lives and for a while after its end."""
        ...

    def transfer_view(self, tenant_id: str, call_id: str) -> TransferView | None:
        """Return the latest transfer of a live call."""
        ...

    def gather_view(self, tenant_id: str, call_id: str) -> GatherView | None:
        """Return the latest gather of a live call."""
        ...

    def drain(self, on: bool) -> None:
        """Take no new calls, or take them again; those that live go on."""
        ...

    @property
    def draining(self) -> bool: ...


class Effective(Protocol):
    """Completes an agent for a call (`control.service.reception.Reception.effective`)."""

    def __call__(
        self,
        agent: Agent,
        given: Mapping[str, object],
        *,
        customer: str | None,
        headers: Mapping[str, str],
        now: datetime,
    ) -> EffectiveAgent:
        """
        Raises:
            TextsUnfilled: a text of the agent names a variable that is not there.
        """
        ...


class WebhookSending(Protocol):
    """Sends webhooks that are asked for by hand (`control.deliveries.DeliveryWorker`)."""

    async def send_test(self, tenant_id: str, webhook_id: str) -> str | None:
        """Send a `webhook.test` to an endpoint; return the delivery's id, None if there is no such endpoint."""
        ...

    async def retry(self, tenant_id: str, delivery_id: str) -> bool:
        """Deliver once more; False if there is no such delivery, or its endpoint is disabled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How something that we depend on is."""

    ok: bool
    latency: float | None = None
    """Seconds."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """How the process is that answers."""

    node: str
    started_at: datetime
    live_calls: int
    max_calls: int
    unready: list[str]
    """Why no call can be taken."""
    degraded: list[str]
    """What does not work as it should, though calls are taken."""


class HealthChecks(Protocol):
    """Asks everything that the gateway depends on."""

    async def __call__(self, tenant_id: str) -> Mapping[str, Health]:
        """Return the health of each dependency that a tenant's calls have, by name; bounded in time."""
        ...


@dataclass(frozen=True, slots=True)
class FetchedAudio:
    """Audio from somewhere else: PCM16, mono."""

    audio: bytes
    rate: int


class RecordingStoreAway(Exception):
    """The store of the recordings does not answer, or not us; the message says what it says."""


@dataclass(frozen=True, slots=True)
class RecordingLink:
    """Where a recording can be had for a while, by whoever knows the URL."""

    url: str
    expires_at: datetime


class RecordingRoom(Protocol):
    """The files of recordings (`gateway.recording_room`). Everything may raise `RecordingStoreAway`."""

    @property
    def transcribes(self) -> bool:
        """Whether there is a provider of transcriptions."""
        ...

    async def link(self, recording: Recording, seconds: int) -> RecordingLink:
        """Make a link that is good for so many seconds."""
        ...

    def check_link(self, call_id: str, expires: str, signature: str) -> None:
        """
        Raises:
            LinkInvalid: the link is none of ours, or its time is over.
        """
        ...

    async def size(self, recording: Recording) -> int | None:
        """Return the bytes of its file; None: it is not there."""
        ...

    def read(self, recording: Recording, begin: int, end: int) -> AsyncIterator[bytes]:
        """Return the bytes from `begin` to before `end`, a block at a time.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    async def audio(self, recording: Recording) -> FetchedAudio:
        """Return it as a caller can be played it.

        Raises:
            AudioUnavailable: it is not there, or too long.
        """
        ...

    async def find(self, record: CallRecord, recording: Recording | None) -> Found:
        """Return whatever there is of a call's recording."""
        ...

    async def put_right(
        self, record: CallRecord, recording: Recording | None, found: Found, remedy: Remedy
    ) -> list[str]:
        """Do what makes row and file agree; return what was changed."""
        ...

    def erase_soon(self) -> None:
        """Something was erased in the database: its files are to go."""
        ...

    def transcribe_soon(self) -> None:
        """A transcription was asked for."""
        ...


class FetchAudio(Protocol):
    """Fetches and decodes audio for the caller; the URL is a user's."""

    async def __call__(self, url: str) -> FetchedAudio:
        """
        Raises:
            AudioUnavailable: the URL may not be fetched, or is no audio; the message may be shown.
        """
        ...


class AudioUnavailable(Exception):
    """The audio cannot be had; the message says why, and holds nothing that the user did not send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsAccount:
    """An account that the gateway's settings describe."""

    vendor: Vendor
    settings: Mapping[str, str]
    """What may be shown of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of trying an account."""

    latency: float
    """Seconds."""
    problem: str | None = None
    """None: it works."""


class AccountDesk(Protocol):
    """Accounts with carriers and providers, as the gateway uses them (`gateway.account_desk`)."""

    def of_settings(self, tenant_id: str) -> Sequence[SettingsAccount]:
        """Return the accounts of the settings, if they are the tenant's."""
        ...

    def webhook_urls(self, vendor: Vendor, integration_id: str) -> Mapping[str, str]:
        """Return where a carrier is to tell us of an account's calls; nothing for a provider."""
        ...

    def allowed(self, url: str) -> bool:
        """Whether the operator lets tenants name this address, which is no vendor's own."""
        ...

    def changed(self, integration_id: str) -> None:
        """A stored account was changed, or is gone: what is known of it is not to be used any more."""
        ...

    async def tried(self, tenant_id: str, vendor: Vendor, integration_id: str) -> Trial:
        """Ask the vendor whether the account works; bounded in time.

        Raises:
            StoreUnavailable: the account cannot be read.
        """
        ...
