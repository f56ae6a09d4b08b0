"""What is wrong, or will surprise, in the gateway's settings: each finding with its remedy, for `offhook check`."""

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import SettingsError

from control.egress_policy import METADATA, EgressPolicy
from gateway.account_findings import account_findings
from gateway.agent_findings import agent_findings, invalid_entries
from gateway.finding import Finding
from gateway.media_auth import is_loopback, shared_secret
from gateway.recording_findings import recording_findings
from gateway.settings import CONFIG, PREFIX, ConfigUnreadable, Settings, read_config


def check() -> tuple[Settings | None, list[Finding]]:
    """Read the settings and explain them; None where they cannot be used at all."""
    try:
        names = list(_unknown_names())
        settings = Settings()
    except ConfigUnreadable as error:
        return None, [Finding("error", CONFIG, str(error), "correct the file, or unset the variable")]
    except SettingsError as error:  # a table in a variable that is no JSON
        return None, [_not_json(error), *names]
    except ValidationError as error:
        return None, [*_invalid(error), *names]
    return settings, [*names, *explain(settings)]


def explain(settings: Settings) -> list[Finding]:
    """What a valid combination of settings will do that its owner may not want."""
    return [
        *_reachability(settings),
        *_media_auth(settings),
        *_tls(settings),
        *account_findings(settings),
        *agent_findings(settings),
        *_realtime(settings),
        *_calls(settings),
        *_egress(settings),
        *recording_findings(settings),
    ]


def _tls(settings: Settings) -> Iterator[Finding]:
    """Half of a certificate is none, and the port would speak plain HTTP without a word."""
    files = {"TLS_CERT": settings.tls_cert, "TLS_KEY": settings.tls_key}
    given = [name for name, path in files.items() if path is not None]
    for name, path in files.items():
        if path is None and given:
            yield Finding(
                "error",
                f"{PREFIX}{name}",
                f"is not set, but {PREFIX}{given[0]} is: the public port does not speak TLS",
                "set both, or neither",
            )
        elif path is not None and not path.is_file():
            yield Finding("error", f"{PREFIX}{name}", f"{path} is no file", "correct the path")


def _reachability(settings: Settings) -> Iterator[Finding]:
    name = f"{PREFIX}PUBLIC_URL"
    if settings.public_url is None:
        yield Finding(
            "note",
            name,
            "is not set: no carrier can find this gateway",
            "set it to the https URL of your tunnel or ingress, once carriers shall call",
        )
        return
    host = urlsplit(settings.public_url).hostname or ""
    if not settings.public_url.startswith("https://") and not is_loopback(host):
        yield Finding(
            "error",
            name,
            "is not https: carriers open media sockets by wss only, and audio would travel in the clear",
            "put TLS in front and write https://",
        )


def _media_auth(settings: Settings) -> Iterator[Finding]:
    name, mode = f"{PREFIX}MEDIA_AUTH", settings.media_auth.get_secret_value()
    public = settings.public_url
    if mode == "none" and not is_loopback(settings.host):
        yield Finding(
            "error",
            name,
            f"is none, but {settings.host} is reachable from elsewhere: nobody will be let in",
            f"set {PREFIX}HOST=127.0.0.1, or {name}=shared:<secret>",
        )
    elif mode == "none" and public is not None and not is_loopback(urlsplit(public).hostname or ""):
        yield Finding(
            "error",
            name,
            f"is none, but {public} is public: nobody will be let in",
            f"unset {PREFIX}PUBLIC_URL, or {name}",
        )
    elif mode == "none":
        yield Finding(
            "warning", name, "is none: any program on this machine may open media sockets", "unset it"
        )
    elif shared_secret(mode) is not None:
        yield Finding(
            "warning",
            name,
            "is a shared secret: whoever knows it may talk to your agent",
            "unset it after use",
        )


def _realtime(settings: Settings) -> Iterator[Finding]:
    url = urlsplit(settings.realtime_url)
    local = is_loopback(url.hostname or "")
    if not local and url.scheme == "ws":
        yield Finding(
            "warning",
            f"{PREFIX}REALTIME_URL",
            f"is ws, not wss: the key and all audio travel to {url.hostname} in the clear",
            "write wss://, unless that is your own network",
        )
    if not local and settings.realtime_api_key is None:
        yield Finding(
            "error" if url.scheme == "wss" else "warning",
            f"{PREFIX}REALTIME_API_KEY",
            f"is not set, and {url.hostname} will want one",
            "set it to a key of that provider",
        )
    if (url.hostname or "").endswith("openai.com") and settings.realtime_dialect == "beta":
        yield Finding(
            "error",
            f"{PREFIX}REALTIME_DIALECT",
            "is beta, which api.openai.com closes with code 4000",
            "unset it",
        )
    if settings.realtime_transcription_model is None:
        yield Finding(
            "note",
            f"{PREFIX}REALTIME_TRANSCRIPTION_MODEL",
            "is not set: transcripts will hold the agent's words only",
            "set it to a transcription model of your provider",
        )


def _calls(settings: Settings) -> Iterator[Finding]:
    ours = settings.barge_in_min_speech_ms or settings.barge_in_protect_greeting
    if not settings.barge_in and ours:
        yield Finding(
            "warning",
            f"{PREFIX}BARGE_IN",
            "is off: the other barge-in settings do nothing",
            "turn it on, or unset them",
        )
    if settings.metrics_port is not None and settings.metrics_port == settings.port != 0:
        yield Finding(
            "error",
            f"{PREFIX}METRICS_PORT",
            "is the public port",
            "choose another: figures are not for the public",
        )
    if settings.data_dir.exists() and not (
        settings.data_dir.is_dir() and os.access(settings.data_dir, os.W_OK)
    ):
        yield Finding(
            "error",
            f"{PREFIX}DATA_DIR",
            f"{settings.data_dir} is not a folder we may write to",
            "choose another, or change its owner",
        )


def _egress(settings: Settings) -> Iterator[Finding]:
    if settings.egress_allow_http:
        yield Finding(
            "warning",
            f"{PREFIX}EGRESS_ALLOW_HTTP",
            "is on: what calls say may travel in the clear, to whoever answers",
            "unset it outside development",
        )
    policy = EgressPolicy.allowing(settings.egress_allow or "")
    wide = [str(network) for network in policy.networks if network.prefixlen == 0]
    if wide or any(policy.permits(address) for address in METADATA):
        yield Finding(
            "warning",
            f"{PREFIX}EGRESS_ALLOW",
            f"allows {wide[0] if wide else 'the metadata service of clouds'}: whoever may give us a URL can read "
            "this machine's credentials there",
            "name the hosts that are meant",
        )


def _unknown_names() -> Iterator[Finding]:
    """A misspelt setting is silent otherwise: its default rules."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {CONFIG}
    spelt = {
        name.upper() for name in (*os.environ, *dotenv_values(".env")) if name.upper().startswith(PREFIX)
    }
    spelt |= {f"{PREFIX}{name}".upper() for name in read_config()}
    for name in sorted(spelt - known):
        close = get_close_matches(name, known, n=1, cutoff=0.75)
        yield Finding(
            "error",
            name,
            "is no setting of this gateway",
            f"did you mean {close[0]}?" if close else "remove it",
        )


def _not_json(error: SettingsError) -> Finding:
    named = re.search(r'field "(\w+)"', str(error))
    name = f"{PREFIX}{named[1] if named else ''}".upper()
    return Finding("error", name, "is not JSON", "correct it, or write the table in the TOML file")


def _invalid(error: ValidationError) -> Iterator[Finding]:
    entries, others = invalid_entries(error)
    yield from entries
    for fault in others:
        name = "_".join(str(part) for part in fault["loc"])
        field = Settings.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
        yield Finding(
            "error",
            f"{PREFIX}{name}".upper(),
            fault["msg"].removeprefix("Value error, "),
            (field.description or "") if field is not None else "",
        )
