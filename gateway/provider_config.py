"""A realtime provider beside the default one, as the settings file describes it: `[providers.<name>]`."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from control.configuration import Part, Word

Format = Literal["auto", "pcmu", "pcma", "pcm16"]
DialectName = Literal["openai", "beta", "azure", "xai", "speaches", "hf", "vllm-omni", "vllm-omni-duplex"]


def websocket_url(url: str) -> str:
    """Return the URL of a websocket.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError("is a websocket URL: ws://... or wss://...")
    return url


class ProviderConfig(Part):
    """Where a provider's sessions are opened, and what its model is asked for. What is left out is as of the default
    provider, but for the key."""

    url: Annotated[str, AfterValidator(websocket_url)] = Field(
        description="Full websocket URL of a server of the OpenAI Realtime wire; `?model=` is added if absent."
    )
    api_key: SecretStr | None = Field(default=None, description="The key that server wants.")
    dialect: DialectName = Field(default="openai", description="How that server spells the wire.")
    model: Word = Field(description="The model's name, unless an agent of this provider says another.")
    voice: Word | None = Field(default=None, description="The voice, likewise.")
    input_format: Format | None = Field(default=None, description="Caller's audio as asked of the model.")
    output_format: Format | None = Field(default=None, description="The model's audio, likewise.")
    transcription_model: Word | None = Field(default=None, description="Model that transcribes the caller.")
