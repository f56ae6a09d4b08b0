"""What is wrong, or will surprise, in the settings of recordings."""

import shutil
from collections.abc import Iterator

from gateway.finding import Finding
from gateway.media_auth import is_loopback
from gateway.recording_house import recording_store
from gateway.settings import PREFIX, Settings
from gateway.speech_espeak import EspeakVoice


def recording_findings(settings: Settings) -> list[Finding]:
    """What recordings lack."""
    return [*_store(settings), *_format(settings), *_consent(settings), *_transcription(settings)]


def _store(settings: Settings) -> Iterator[Finding]:
    url = settings.recording_store
    halves = {
        "RECORDING_STORE_KEY_ID": settings.recording_store_key_id,
        "RECORDING_STORE_SECRET": settings.recording_store_secret,
    }
    half = [name for name, given in halves.items() if given is None and any(halves.values())]
    for name in half:
        yield Finding("error", f"{PREFIX}{name}", "is not set, but the other half of the key is", "set both")
    if half or url is None or url.startswith("file:"):
        return
    try:
        recording_store(settings)
    except ValueError as fault:
        yield Finding(
            "error",
            f"{PREFIX}RECORDING_STORE",
            str(fault),
            "correct it, and what belongs to it in the environment",
        )
    endpoint = settings.recording_store_endpoint or ""
    if endpoint.startswith("http://") and not is_loopback(endpoint.removeprefix("http://").partition(":")[0]):
        yield Finding(
            "warning",
            f"{PREFIX}RECORDING_STORE_ENDPOINT",
            "is http: recordings travel in the clear",
            "write https://, unless that is your own network",
        )


def _format(settings: Settings) -> Iterator[Finding]:
    if settings.recording_format != "wav" and shutil.which("ffmpeg") is None:
        yield Finding(
            "warning",
            f"{PREFIX}RECORDING_FORMAT",
            f"is {settings.recording_format}, and there is no ffmpeg: recordings stay WAV",
            "install ffmpeg, or unset it",
        )


def _consent(settings: Settings) -> Iterator[Finding]:
    """A prompt that nobody can say is never heard, and then nothing is recorded."""
    if settings.speech_url is not None or EspeakVoice().available:
        return
    for key, agent in settings.agents.items():
        if agent.recording_consent_prompt is not None:
            yield Finding(
                "error",
                f"{PREFIX}AGENTS.{key}.recording_consent_prompt",
                "has no voice to be said in: calls of this agent are not recorded",
                f"set {PREFIX}SPEECH_URL, or install espeak-ng",
            )


def _transcription(settings: Settings) -> Iterator[Finding]:
    if settings.transcription_url is None and settings.transcription_api_key is not None:
        yield Finding(
            "warning",
            f"{PREFIX}TRANSCRIPTION_API_KEY",
            "is of no use: there is no endpoint to show it to",
            f"set {PREFIX}TRANSCRIPTION_URL",
        )
