"""What the gateway is told by its environment, a `.env` file and a TOML file, typed, each default with its reason.

Later ones give way to earlier ones: arguments, `OFFHOOK_*` variables, `.env` in the working directory, the TOML
file (`OFFHOOK_CONFIG`, else `offhook.toml` in the working directory if there is one), defaults. In TOML a table
is a prefix, `[realtime] url = "..."` is `realtime_url`, except for `[agents.<name>]`, `[providers.<name>]`,
`[numbers]` and `[prices]`. Secrets are
never printed. `gateway.findings` explains.
"""

import os
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from control.agents import AgentConfig
from control.api.client_address import TrustedProxies
from control.configuration import Money, Number
from control.costs import ModelPrice
from control.directory import NumberConfig
from control.egress_policy import EgressPolicy
from control.secrets import SecretKeys
from control.stores.urls import database_url
from control.templates import check_text
from control.webhook_message import check_webhook_secret
from gateway.media_auth import shared_secret
from gateway.provider_config import DialectName, Format, ProviderConfig, websocket_url
from telephony.telnyx.webhooks import verify_key

PREFIX = "OFFHOOK_"
CONFIG = f"{PREFIX}CONFIG"
DEFAULT_CONFIG = Path("offhook.toml")
_STORES = ("s3", "gs", "az", "file")
"""Kinds of stores that recordings may be kept in."""


class ConfigUnreadable(Exception):
    """The TOML file is missing or is no TOML; the message says which and where."""


def _web_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is an http or https URL without a query")
    return url.rstrip("/")


def _egress_allow(exceptions: str) -> str:
    EgressPolicy.allowing(exceptions)
    return exceptions


def _secret_keys(keys: SecretStr) -> SecretStr:
    SecretKeys.read(keys.get_secret_value())
    return keys


def _webhook_secret(secret: SecretStr) -> SecretStr:
    check_webhook_secret(secret.get_secret_value())
    return secret


def _networks(text: str) -> str:
    TrustedProxies(networks_of(text))
    return text


def networks_of(text: str | None) -> list[str]:
    """Return the networks of a list."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _recording_store(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _STORES or parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError(f"is a URL with one of {', '.join(_STORES)}, and without credentials")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("names a folder as file:///folder")
    if parts.scheme != "file" and not parts.netloc:
        raise ValueError("names no bucket")
    return url


def _database(url: SecretStr) -> SecretStr:
    database_url(url.get_secret_value())
    return url


def _redis(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path.strip("/")):
        raise ValueError("is a URL of Redis: redis://host/0, rediss://... or unix:///path")
    return url


def _media_auth(mode: SecretStr) -> SecretStr:
    shared_secret(mode.get_secret_value())
    return mode


def _telnyx_public_key(key: str) -> str:
    verify_key(key)
    return key


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("is an IANA time zone, such as Europe/Vienna") from error
    return name


def _agents(tables: object) -> object:
    """An agent of the settings is called as its table is."""
    if not isinstance(tables, dict):
        return tables
    return {key: _named(str(key), table) for key, table in tables.items()}


def _named(key: str, table: object) -> object:
    if not isinstance(table, dict):
        return table
    if table.get("name", key) != key:
        raise ValueError(f"[agents.{key}] is called {key}; leave out its name")
    return {**table, "name": key}


def _numbers(tables: object) -> object:
    """`"+13125550100" = "reception"` stands for a table with that agent."""
    if not isinstance(tables, dict):
        return tables
    return {number: {"agent": entry} if isinstance(entry, str) else entry for number, entry in tables.items()}


AgentKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """The gateway's settings. Read once, when the process starts; never changed."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # it may be a secret
    )

    # Where we are.
    host: str = Field(
        default="127.0.0.1", description="Address to listen on. Loopback, until you say otherwise."
    )
    port: Port = Field(
        default=8080, description="The one public port: media, webhooks, health. 0 takes any free one."
    )
    public_url: Annotated[str, AfterValidator(_web_url)] | None = Field(
        default=None,
        description="How carriers reach us, https://... Signatures and TwiML use it and never what a proxy says.",
    )
    tls_cert: Path | None = Field(
        default=None,
        description="Certificate chain (PEM): the public port speaks TLS itself. Read anew on SIGHUP.",
    )
    tls_key: Path | None = Field(default=None, description="Its private key (PEM), without a passphrase.")
    metrics_host: str = Field(
        default="127.0.0.1", description="Address of the metrics port; figures are not public."
    )
    metrics_port: Port | None = Field(
        default=None, description="Port of /metrics for Prometheus. Off by default."
    )
    data_dir: Path = Field(
        default=Path("offhook-data"), description="Folder of records, recordings and traces; made if missing."
    )
    database_url: Annotated[SecretStr, AfterValidator(_database)] | None = Field(
        default=None,
        description="Where calls are kept: sqlite:///path or postgresql://user:password@host/name. Unset: "
        "`offhook.db` in the data folder.",
    )
    migrate: bool = Field(
        default=True,
        description="Whether the database's tables are brought to this release at the start; else "
        "`offhook db upgrade` does it.",
    )
    redis_url: Annotated[SecretStr, AfterValidator(_redis)] | None = Field(
        default=None,
        description="Where the processes of one gateway count together, redis://, rediss:// or unix://: requests per "
        "minute, failed attempts, calls of a tenant at a time. Unset, or while it does not answer: each process counts "
        "for itself.",
    )
    max_calls: int = Field(
        default=250,
        ge=1,
        description="Calls of this process at a time; more are refused. What one core holds with everything on.",
    )

    # Who is let in.
    media_auth: Annotated[SecretStr, AfterValidator(_media_auth)] = Field(
        default=SecretStr("tokens"),
        description="Who may open a media socket: `tokens` minted by us; `shared:<secret>` also lets "
        "/media/{carrier}/<secret> in from anywhere; `none` anyone on this machine.",
    )

    # The carriers' accounts.
    telnyx_api_key: SecretStr | None = Field(
        default=None, description="API key of the Telnyx account that calls are dialled and answered with."
    )
    telnyx_public_key: Annotated[str, AfterValidator(_telnyx_public_key)] | None = Field(
        default=None,
        description="That account's public key, in base64; checks the signature of its webhooks.",
    )
    telnyx_connection_id: str | None = Field(
        default=None,
        min_length=1,
        description="Id of the Call Control application (connection) that calls are dialled through.",
    )
    telnyx_base_url: Annotated[str, AfterValidator(_web_url)] | None = Field(
        default=None, description="Another address of Telnyx's API, such as a simulated carrier's."
    )
    telnyx_outbound_codec: Literal["auto", "pcmu", "pcma"] = Field(
        default="pcmu",
        description="What Telnyx was told to expect of us (`stream_bidirectional_codec`, PCMU unless told); "
        "`auto` answers in the caller's codec.",
    )
    twilio_account_sid: str | None = Field(
        default=None, min_length=1, description="SID of the Twilio account, `AC...`."
    )
    twilio_auth_token: SecretStr | None = Field(
        default=None,
        description="Twilio's primary account auth token; checks the signature of its webhooks and media upgrades.",
    )
    twilio_api_key_sid: str | None = Field(
        default=None,
        min_length=1,
        description="SID of an API key, `SK...`, to ask Twilio with instead of the auth token; signatures need the "
        "token all the same.",
    )
    twilio_api_key_secret: SecretStr | None = Field(default=None, description="That API key's secret.")
    twilio_base_url: Annotated[str, AfterValidator(_web_url)] | None = Field(
        default=None, description="Another address of Twilio's API, such as a simulated carrier's."
    )
    answer_wait_s: float = Field(
        default=2.0,
        ge=0,
        le=10,
        description="Seconds an inbound call rings at most while the agent's session opens: no dead air after the "
        "answer.",
    )

    # The speech model.
    realtime_url: Annotated[str, AfterValidator(websocket_url)] = Field(
        default="ws://127.0.0.1:8090/v1/realtime",
        description="Full websocket URL of any server of the OpenAI Realtime wire, such as "
        "wss://api.openai.com/v1/realtime; `?model=` is added if absent. The default is `offhook agent`.",
    )
    realtime_api_key: SecretStr | None = Field(default=None, description="The key that server wants.")
    realtime_dialect: DialectName = Field(default="openai", description="How that server spells the wire.")
    realtime_model: str = Field(default="gpt-realtime-2.1", min_length=1, description="The model's name.")
    realtime_voice: str = Field(
        default="marin", min_length=1, description="The voice; fixed once it has spoken."
    )
    realtime_instructions: Annotated[str, AfterValidator(check_text)] = Field(
        default="You are on a phone call. Be brief and friendly. Speak the caller's language.",
        description="What the model is told before the call; may hold `{{variables}}`.",
    )
    realtime_greeting: Annotated[str, AfterValidator(check_text)] | None = Field(
        default=None,
        description="What the model is asked to say first; unset lets the caller speak first. May hold "
        "`{{variables}}`.",
    )
    realtime_input_format: Format = Field(
        default="auto",
        description="Caller's audio as asked of the model; `auto` is PCMU: what most calls bring is not touched then.",
    )
    realtime_output_format: Format = Field(default="auto", description="The model's audio, likewise.")
    realtime_transcription_model: str | None = Field(
        default=None,
        description="Model that transcribes the caller; unset leaves the caller out of the transcript.",
    )
    realtime_language: str | None = Field(
        default=None, description="ISO 639-1 hint for that model, such as `en`."
    )

    providers: dict[AgentKey, ProviderConfig] = Field(
        default={},
        max_length=50,
        description="Other providers by name, `[providers.<name>]` with `url`, `api_key`, `dialect`, `model`, `voice`, "
        "`input_format`, `output_format`, `transcription_model`: for agents' `provider` and `fallback_providers`.",
    )

    # Fixed texts: prompts, announcements, fillers.
    speech_url: Annotated[str, AfterValidator(_web_url)] | None = Field(
        default=None,
        description="Base URL of an OpenAI-compatible speech endpoint, such as https://api.openai.com/v1, that gives "
        "fixed texts a voice; unset uses espeak-ng where it is installed.",
    )
    speech_api_key: SecretStr | None = Field(default=None, description="The key that endpoint wants.")
    speech_model: str = Field(default="gpt-4o-mini-tts", min_length=1, description="Its model.")
    speech_voice: str = Field(
        default="marin", min_length=1, description="Its voice, where a prompt names none of its own."
    )

    # After the call.
    extraction_url: Annotated[str, AfterValidator(_web_url)] | None = Field(
        default=None,
        description="Base URL of an OpenAI-compatible chat endpoint, such as https://api.openai.com/v1, that is asked "
        "after a call for what its agent wants extracted (`extraction_schema`); unset extracts nothing.",
    )
    extraction_api_key: SecretStr | None = Field(default=None, description="The key that endpoint wants.")
    extraction_model: str = Field(default="gpt-5-mini", min_length=1, description="Its model.")

    # Turns.
    turn_detection: Literal["server_vad", "semantic_vad"] = Field(
        default="server_vad",
        description="How the model finds turns; on phone lines `semantic_vad` is known to miss speech.",
    )
    vad_threshold: float = Field(
        default=0.5, ge=0, le=1, description="Loudness that is speech; more for noisy lines."
    )
    vad_prefix_ms: int = Field(
        default=300, ge=0, le=5000, description="Milliseconds kept from before the speech."
    )
    vad_silence_ms: int = Field(
        default=500, ge=0, le=10_000, description="Milliseconds of silence that end a turn."
    )
    vad_eagerness: Literal["low", "medium", "high", "auto"] = Field(
        default="auto",
        description="How soon semantic_vad takes the turn: at most 8, 4 or 2 s; auto is medium.",
    )
    barge_in: bool = Field(default=True, description="Whether the caller's speech cuts the agent off.")
    barge_in_min_speech_ms: int = Field(
        default=0,
        ge=0,
        le=5000,
        description="Milliseconds of speech before it counts; 0 leaves it to the model.",
    )
    barge_in_protect_greeting: bool = Field(
        default=False, description="Whether the greeting is heard to its end."
    )
    dtmf_to_model: bool = Field(
        default=True, description="Whether pressed digits are told to the model, as text."
    )
    dtmf_in_band: bool = Field(
        default=False,
        description="Whether tones in the caller's audio count as digits, for a carrier that reports none: costs "
        "23 us per frame, and every digit twice where the carrier reports it too.",
    )
    dtmf_interrupts: bool = Field(
        default=False, description="Whether a group of pressed digits cuts the agent off."
    )

    # Agents and numbers.
    agents: Annotated[dict[AgentKey, AgentConfig], BeforeValidator(_agents)] = Field(
        default={},
        max_length=500,
        description="Agents by name, `[agents.<name>]`; in the environment, JSON. `[agents.default]` adds to the "
        "default agent, which the settings above describe.",
    )
    numbers: Annotated[dict[Number, NumberConfig], BeforeValidator(_numbers)] = Field(
        default={},
        max_length=5_000,
        description='Who answers which number, `"+13125550100" = "reception"`, or a table `{agent, carrier, '
        "integration}`.",
    )
    inbound_default: Literal["auto", "default-agent", "reject"] = Field(
        default="auto",
        description="Who answers a call to a number that has no agent: the default agent, or nobody. `auto`: the "
        "default agent while no number is listed at all, else nobody.",
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        default="UTC", description="IANA time zone in which `{{now}}`, `{{date}}` and `{{time}}` are told."
    )

    # What calls cost.
    currency: str = Field(
        default="USD",
        pattern=r"^[A-Z]{3}$",
        description="ISO 4217. The gateway knows OpenAI's prices, in USD; with another currency only `prices` count.",
    )
    rate_per_minute: Money = Field(
        default=Decimal(0),
        description="What a minute of a call costs with the carrier, unless its agent says.",
    )
    transfer_rate_per_minute: Money = Field(
        default=Decimal(0), description="What a minute with whom a caller was transferred to costs besides."
    )
    recording_rate_per_minute: Money = Field(
        default=Decimal(0), description="What a recorded minute costs: storage, for instance."
    )
    llm_discount_percent: Money = Field(
        default=Decimal(0), le=100, description="What your provider takes off its list prices."
    )
    prices: dict[str, ModelPrice] = Field(
        default={},
        max_length=200,
        description='What models cost per million tokens, `[prices."my-model"]` with `text_in`, `audio_in`, '
        "`cached_text_in`, `cached_audio_in`, `text_out`, `audio_out`, or `minute`; before the prices that the gateway "
        "knows.",
    )

    # Audio.
    lead_ms: int = Field(
        default=200,
        ge=40,
        le=2000,
        description="Milliseconds of audio the carrier holds ahead of the caller's ear: rides out a stalled "
        "loop; more makes a barge-in depend on the carrier's clear.",
    )
    uplink_ms: Annotated[Literal[20, 40], BeforeValidator(int)] = Field(
        default=20, description="Milliseconds per message to the model; 40 saves CPU and costs 20 ms."
    )
    heard_offset_ms: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Milliseconds from the carrier's mark to the caller's ear, if you know.",
    )

    # How long things may last.
    start_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=600,
        description="Seconds for a socket's `start`; unset takes the carrier's own (10 s).",
    )
    close_grace_s: float = Field(
        default=2.0, ge=0, le=60, description="Seconds in which a lost carrier socket may be replaced."
    )
    media_watchdog_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds without caller audio after which the stream is dead.",
    )
    silence_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="Seconds in which nobody speaks before the call ends; unset: never.",
    )
    max_duration_s: float = Field(
        default=14_400.0,
        gt=0,
        le=86_400,
        description="Seconds a call may last: four hours, as the carriers allow.",
    )
    goodbye_s: float = Field(
        default=10.0, ge=0, le=60, description="Seconds for what is being said to be heard."
    )
    drain_s: float = Field(
        default=30.0, ge=0, le=86_400, description="Seconds after SIGTERM for calls to end by themselves."
    )

    # Where we go for users.
    # The REST API.
    api_requests_per_minute: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="Requests that a tenant may make in a minute, unless it has a limit of its own.",
    )
    trusted_proxies: Annotated[str, AfterValidator(_networks)] | None = Field(
        default=None,
        description="Addresses and networks of your own proxies, separated by commas: only they may say whose request "
        "it is (`X-Forwarded-For`).",
    )

    egress_allow: Annotated[str, AfterValidator(_egress_allow)] | None = Field(
        default=None,
        description="Addresses, networks and host names, separated by commas, that webhooks, tools and audio may be "
        "fetched from although they are not public, such as `127.0.0.1,10.0.0.0/8,hooks.internal`; and which tenants' "
        "accounts may name instead of their vendor's own.",
    )
    egress_allow_http: bool = Field(
        default=False,
        description="Whether those URLs may be http: for receivers on your own machine or network.",
    )

    webhook_secret: Annotated[SecretStr, AfterValidator(_webhook_secret)] | None = Field(
        default=None,
        description="Signs the webhooks that go to the URL of a call or of its agent, `whsec_...` as of Standard "
        "Webhooks. Unset: one is made in the data folder's file `webhook.secret`.",
    )

    # What is kept, what is told.
    secret_keys: Annotated[SecretStr, AfterValidator(_secret_keys)] | None = Field(
        default=None,
        description="Fernet keys to the secrets in the database, separated by commas: the first encrypts, all "
        "decrypt. Unset: one is made in the data folder's file `secret.keys`.",
    )
    recording: bool = Field(
        default=True, description="Stereo recording of every call: caller left, agent right."
    )
    recording_format: Literal["wav", "flac", "mp3", "opus"] = Field(
        default="wav",
        description="What recordings are kept as. All but `wav` need ffmpeg; a minute is 1.9 MB as wav, at most "
        "0.24 MB as mp3, 0.18 MB as opus.",
    )
    recording_store: Annotated[str, AfterValidator(_recording_store)] | None = Field(
        default=None,
        description="Where recordings are kept: `s3://bucket/prefix` (any S3-compatible store), `gs://...`, `az://...` "
        "or `file:///folder`. Unset: the folder `recordings` of the data folder.",
    )
    recording_store_endpoint: Annotated[str, AfterValidator(_web_url)] | None = Field(
        default=None, description="Where an S3-compatible store is that is not Amazon's."
    )
    recording_store_region: str | None = Field(default=None, min_length=1, description="Its region.")
    recording_store_key_id: str | None = Field(
        default=None,
        min_length=1,
        description="The access key's id. Unset: the environment's, the machine's or the cloud's own credentials.",
    )
    recording_store_secret: SecretStr | None = Field(default=None, description="That key's secret.")
    transcription_url: Annotated[str, AfterValidator(_web_url)] | None = Field(
        default=None,
        description="Base URL of an OpenAI-compatible transcription endpoint, such as https://api.openai.com/v1, by "
        "which recordings are transcribed when that is asked for.",
    )
    transcription_api_key: SecretStr | None = Field(default=None, description="The key that endpoint wants.")
    transcription_model: str = Field(
        default="whisper-1",
        min_length=1,
        description="Its model. One that tells no times gives a sentence per ten minutes of a track.",
    )
    recording_retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Days after which a recording is erased; unset: kept until somebody erases it.",
    )
    event_retention_days: int = Field(
        default=400,  # a year, and time to look back at it
        ge=0,
        le=36_500,
        description="Days after which events of ended calls, but for `call.ended`, and deliveries that are over are "
        "let go of, with their attempts; 0: kept for as long as their calls.",
    )
    trace: bool = Field(
        default=False, description="A JSONL trace of every call for `offhook replay`: holds all audio."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is JSON lines, or columns on a terminal."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, _TomlSource(settings_cls)


class _TomlSource(PydanticBaseSettingsSource):
    """The TOML file, its tables flattened."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401  # as the base
        return None, field_name, False  # the values come all at once

    def __call__(self) -> dict[str, Any]:
        return read_config()


def read_config() -> dict[str, Any]:
    """The TOML file's settings by name; nothing where there is no file.

    Raises:
        ConfigUnreadable: it was named and is not there, or it is no TOML.
    """
    named = os.environ.get(CONFIG)
    path = Path(named) if named else DEFAULT_CONFIG
    try:
        with path.open("rb") as file:
            return _flat(tomllib.load(file))
    except FileNotFoundError as error:
        if not named:
            return {}
        raise ConfigUnreadable(f"{path}, named by {CONFIG}, is not there") from error
    except OSError as error:
        raise ConfigUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigUnreadable(f"{path} is not TOML: {error}") from error


# Tables that are settings as they stand, not prefixes.
_TABLES = frozenset({"agents", "numbers", "prices", "providers"})


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in _TABLES:
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            flat[f"{prefix}{name}".lower()] = value
    return flat
