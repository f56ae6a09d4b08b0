"""The servers that speak the OpenAI Realtime wire, each with its spelling and its gaps, as a table.

The machine asks a `Dialect` what may be sent and how it is written, never which vendor it talks to.
Event names are mapped to the GA ones whatever the dialect: servers mix both generations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from media.audio import AudioFormat, Encoding

# Server event names of the beta -> GA. OpenAI itself stopped speaking the beta on 2026-05-12 (close 4000).
BETA_NAMES: Mapping[str, str] = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "conversation.item.created": "conversation.item.added",
}

GA_G711: Mapping[Encoding, str] = {Encoding.PCMU: "audio/pcmu", Encoding.PCMA: "audio/pcma"}


class Nesting(Enum):
    """Where a session object keeps its fields."""

    GA = "ga"
    """Under `audio.input` and `audio.output`."""
    FLAT = "flat"
    """The beta: everything at the top, formats as one word."""
    TOP = "top"
    """xAI: formats under `audio`, `voice` and `turn_detection` at the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    name: str
    nesting: Nesting = Nesting.GA
    g711: Mapping[Encoding, str] = field(default_factory=lambda: GA_G711)
    pcm_rate: int = 24_000
    """The rate of PCM16 this server speaks natively; the fall-back when G.711 is refused."""
    pcm_rates: frozenset[int] = frozenset({24_000})
    supports_g711: bool = True
    supports_cancel: bool = True
    supports_truncate: bool = True
    supports_delete: bool = True
    switches_turns: bool = True
    """Whether `create_response` and `interrupt_response` exist; without them the server does both."""
    assistant_content: str = "output_text"
    """The content type of an assistant's text in `conversation.item.create`."""
    names: Mapping[str, str] = field(default_factory=lambda: BETA_NAMES)
    session_seconds: float | None = None
    """After how long the server ends any session, where that is known."""
    key_header: str = "Authorization"


OPENAI = Dialect(name="openai", session_seconds=3600.0)
BETA = Dialect(
    name="beta",
    nesting=Nesting.FLAT,
    g711={Encoding.PCMU: "g711_ulaw", Encoding.PCMA: "g711_alaw"},
    assistant_content="text",
)

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OPENAI,
        BETA,
        Dialect(name="azure", session_seconds=3600.0, key_header="api-key"),
        # Truncation is claimed and denied in public; an error for it is recoverable, silence about what
        # was heard is not: it is sent.
        Dialect(
            name="xai",
            nesting=Nesting.TOP,
            pcm_rates=frozenset({8_000, 16_000, 24_000, 48_000}),
            switches_turns=False,
        ),
        # append always reads PCM16 at 24 kHz; cancel and truncate answer "not implemented".
        Dialect(
            name="speaches",
            nesting=Nesting.FLAT,
            g711=BETA.g711,
            assistant_content="text",
            supports_g711=False,
            supports_cancel=False,
            supports_truncate=False,
        ),
        Dialect(name="hf", pcm_rates=frozenset({16_000, 24_000}), supports_g711=False),
        Dialect(name="vllm-omni", supports_g711=False),
        # `?duplex=1`: G.711 under other names.
        Dialect(
            name="vllm-omni-duplex",
            g711={Encoding.PCMU: "audio/g711_ulaw", Encoding.PCMA: "audio/g711_alaw"},
        ),
    )
}

# Every word a server may answer for a format -> encoding and, where the word fixes it, rate.
FORMAT_WORDS: Mapping[str, tuple[Encoding, int | None]] = {
    "audio/pcmu": (Encoding.PCMU, 8_000),
    "audio/g711_ulaw": (Encoding.PCMU, 8_000),
    "g711_ulaw": (Encoding.PCMU, 8_000),
    "audio/pcma": (Encoding.PCMA, 8_000),
    "audio/g711_alaw": (Encoding.PCMA, 8_000),
    "g711_alaw": (Encoding.PCMA, 8_000),
    "audio/pcm": (Encoding.PCM16, None),
    "audio/pcm16": (Encoding.PCM16, None),
    "pcm16": (Encoding.PCM16, None),
    "pcm": (Encoding.PCM16, None),
    "pcm16_8000hz": (Encoding.PCM16, 8_000),
    "pcm16_16000hz": (Encoding.PCM16, 16_000),
}
# What media.transcode can turn into any carrier's format.
PCM_RATES = frozenset({8_000, 16_000, 24_000, 48_000})


def askable(wanted: AudioFormat, dialect: Dialect) -> AudioFormat:
    """Return the format to ask this server for where the carrier speaks `wanted`."""
    if wanted.encoding is Encoding.PCM16:
        return wanted if wanted.rate in dialect.pcm_rates else native_pcm(dialect)
    return wanted if dialect.supports_g711 else native_pcm(dialect)


def native_pcm(dialect: Dialect) -> AudioFormat:
    return AudioFormat(Encoding.PCM16, dialect.pcm_rate)


def spell(audio: AudioFormat, dialect: Dialect) -> object:
    """Write a format as this server expects it. G.711 carries no `rate`: OpenAI refuses one."""
    flat = dialect.nesting is Nesting.FLAT
    if audio.encoding is Encoding.PCM16:
        return "pcm16" if flat else {"type": "audio/pcm", "rate": audio.rate}
    word = dialect.g711[audio.encoding]
    return word if flat else {"type": word}


def read_format(spelt: object, dialect: Dialect) -> AudioFormat | None:
    """Read a format however it is written; None for one we could only turn into noise."""
    rate: object = None
    if isinstance(spelt, Mapping):
        rate, spelt = spelt.get("rate"), spelt.get("type")
    known = FORMAT_WORDS.get(spelt.lower()) if isinstance(spelt, str) else None
    if known is None:
        return None
    encoding, fixed = known
    if rate is None:
        rate = fixed or dialect.pcm_rate
    if not isinstance(rate, int) or (fixed is not None and rate != fixed) or rate not in PCM_RATES:
        return None
    return AudioFormat(encoding, rate)


def connection(url: str, api_key: str, model: str, dialect: Dialect = OPENAI) -> tuple[str, dict[str, str]]:
    """Return the address and headers of a session: `?model=` is added unless the address says what it is.

    No `OpenAI-Beta` header, ever: OpenAI closes such a socket with 4000.
    """
    parts = urlsplit(url)
    present = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    query = parts.query
    if model and not present & {"model", "call_id", "deployment"}:
        query = f"{query}&model={quote(model, safe='')}" if query else f"model={quote(model, safe='')}"
    headers = {}
    if api_key:
        headers[dialect.key_header] = api_key if dialect.key_header == "api-key" else f"Bearer {api_key}"
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")), headers
