"""The configuration of a server-side session: GA `session.update` checked and applied key by key.

Only keys present change; `null` switches turn detection, transcription and noise reduction off. The flat
beta shape is refused the way the service refuses it since 2026-05: `beta_api_shape_disabled`, close 4000.
"""

import copy
from collections.abc import Callable, Mapping

from media.audio import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.realtime.server_wire import Rejected, invalid_value, wrong_type

FORMATS: Mapping[str, AudioFormat] = {
    "audio/pcm": PCM16_24K,
    "audio/pcmu": PCMU_8K,
    "audio/pcma": PCMA_8K,
}
WIRE_NAMES = {audio_format: name for name, audio_format in FORMATS.items()}

# Fields that only the beta shape has at the top of a session.
BETA_FIELDS = frozenset(
    {
        "modalities",
        "input_audio_format",
        "output_audio_format",
        "voice",
        "speed",
        "input_audio_transcription",
        "input_audio_noise_reduction",
        "turn_detection",
        "max_response_output_tokens",
        "temperature",
    }
)

SERVER_VAD: Mapping[str, object] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD: Mapping[str, object] = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
# No model judges here whether a sentence is finished, so eagerness becomes a length of silence (ms).
EAGERNESS_SILENCE = {"low": 1200, "medium": 800, "auto": 800, "high": 400}

Check = Callable[[object, str], object]


def beta_shape_disabled() -> Rejected:
    """Return the refusal of the beta shape, by header or by session fields."""
    message = "The Realtime Beta API is no longer supported. Please use /v1/realtime with the GA shape."
    return Rejected("beta_api_shape_disabled", message, fatal=4000)


def audio_format(value: object, path: str) -> dict[str, object]:
    """Check a GA format object and return it as the service echoes it."""
    given = _object(value, path)
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in FORMATS:
        raise invalid_value(f"{path}.type", kind, tuple(FORMATS))
    for name in given:
        # G.711 has one rate, and the service refuses to be told it.
        if name != "type" and not (name == "rate" and kind == "audio/pcm"):
            raise unknown(f"{path}.{name}")
    if given.get("rate", 24_000) != 24_000:
        raise invalid_value(f"{path}.rate", given["rate"], ("24000",))
    return format_object(FORMATS[kind])


def format_object(wanted: AudioFormat) -> dict[str, object]:
    name = WIRE_NAMES[wanted]
    return {"type": name, "rate": wanted.rate} if name == "audio/pcm" else {"type": name}


def unknown(path: str) -> Rejected:
    return Rejected("unknown_parameter", f"Unknown parameter: '{path}'.", path)


class SessionSettings:
    """One session's configuration as the wire shows it; changed only by `apply`."""

    def __init__(self, session_id: str, model: str) -> None:
        self.shown: dict[str, object] = {
            "id": session_id,
            "object": "realtime.session",
            "type": "realtime",
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": None,
        }
        self._input: dict[str, object] = {
            "format": format_object(PCM16_24K),
            "noise_reduction": None,
            "transcription": None,
            "turn_detection": dict(SERVER_VAD),
        }
        self._output: dict[str, object] = {
            "format": format_object(PCM16_24K),
            "voice": "marin",
            "speed": 1.0,
        }
        self.shown["audio"] = {"input": self._input, "output": self._output}
        self.spoken = False
        """Whether audio was generated yet: from then on the voice is fixed."""

    def apply(self, update: Mapping[str, object], refused_formats: frozenset[str] = frozenset()) -> None:
        """Apply a session.update in whole, or raise `Rejected` and change nothing.

        `refused_formats`: wire names this server is told not to know.
        """
        if BETA_FIELDS & update.keys():
            raise beta_shape_disabled()
        kind = update.get("type")
        if kind is None:
            raise Rejected(
                "missing_required_parameter", "Missing required parameter: 'session.type'.", "session.type"
            )
        if kind != "realtime":
            raise invalid_value("session.type", kind, ("realtime",))
        top = {name: _checked(_TOP, name, value, "session") for name, value in update.items()}
        audio = top.pop("audio", None)
        if isinstance(audio, dict):
            _refuse_formats(audio, refused_formats)
            self._check_voice(audio.get("output"))
            self._input.update(audio.get("input") or {})
            self._output.update(audio.get("output") or {})
        top.pop("model", None)  # set by the connection, never by an update
        self.shown.update(top)

    def _check_voice(self, output: object) -> None:
        if isinstance(output, dict) and self.spoken and output.get("voice", self.voice) != self.voice:
            raise Rejected(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )

    def force_format(self, wanted: AudioFormat) -> None:
        self._input["format"] = self._output["format"] = format_object(wanted)

    def snapshot(self) -> dict[str, object]:
        return copy.deepcopy(self.shown)

    @property
    def input_format(self) -> AudioFormat:
        return _format_of(self._input)

    @property
    def output_format(self) -> AudioFormat:
        return _format_of(self._output)

    @property
    def voice(self) -> object:
        return self._output["voice"]

    @property
    def turn_detection(self) -> Mapping[str, object] | None:
        found = self._input["turn_detection"]
        return found if isinstance(found, dict) else None

    @property
    def transcribes(self) -> bool:
        return self._input["transcription"] is not None

    @property
    def instructions(self) -> str:
        return str(self.shown["instructions"])

    @property
    def modalities(self) -> list[str]:
        found = self.shown["output_modalities"]
        return list(found) if isinstance(found, list) else ["audio"]

    @property
    def max_output_tokens(self) -> int | str:
        found = self.shown["max_output_tokens"]
        return found if isinstance(found, int) else "inf"


def _format_of(side: Mapping[str, object]) -> AudioFormat:
    shown = side["format"]
    assert isinstance(shown, dict)
    return FORMATS[str(shown["type"])]


def _refuse_formats(audio: Mapping[str, dict[str, object]], refused: frozenset[str]) -> None:
    for side, part in audio.items():
        shown = part.get("format")
        if isinstance(shown, dict) and shown["type"] in refused:
            known = tuple(name for name in FORMATS if name not in refused)
            raise invalid_value(f"session.audio.{side}.format.type", shown["type"], known or ("none",))


# --- checks, one per key ----------------------------------------------------------------------------


def _checked(table: Mapping[str, Check], name: str, value: object, path: str) -> object:
    check = table.get(name)
    if check is None:
        raise unknown(f"{path}.{name}")
    return check(value, f"{path}.{name}")


def _anything(value: object, path: str) -> object:
    return value


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise wrong_type(path, dict, value)
    return value


def _text(value: object, path: str) -> object:
    if not isinstance(value, str):
        raise wrong_type(path, str, value)
    return value


def _flag(value: object, path: str) -> object:
    if not isinstance(value, bool):
        raise wrong_type(path, bool, value)
    return value


def _number(low: float, high: float, kind: type[int] | type[float] = int) -> Check:
    name = "integer" if kind is int else "decimal"

    def check(value: object, path: str) -> object:
        if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
            raise wrong_type(path, int, value)
        if value > high:
            message = f"Invalid '{path}': {name} above maximum value. Expected a value <= {high:g}."
            raise Rejected(f"{name}_above_max_value", message, path)
        if value < low:
            message = f"Invalid '{path}': {name} below minimum value. Expected a value >= {low:g}."
            raise Rejected(f"{name}_below_min_value", message, path)
        return value

    return check


def _modalities(value: object, path: str) -> object:
    if value not in (["audio"], ["text"]):
        raise Rejected(
            "invalid_value",
            f"Invalid modalities: {str(value)[:80]}. Supported: ['text'] and ['audio'].",
            path,
        )
    return value


def _tools(value: object, path: str) -> object:
    if not isinstance(value, list):
        raise wrong_type(path, list, value)
    for index, tool in enumerate(value):
        given = _object(tool, f"{path}[{index}]")
        if given.get("type") not in ("function", "mcp"):
            raise invalid_value(f"{path}[{index}].type", given.get("type"), ("function", "mcp"))
        if given["type"] == "function" and not isinstance(given.get("name"), str):
            where = f"{path}[{index}].name"
            raise Rejected("missing_required_parameter", f"Missing required parameter: '{where}'.", where)
    return value


def _tool_choice(value: object, path: str) -> object:
    if not isinstance(value, dict) and value not in ("auto", "none", "required"):
        raise invalid_value(path, value, ("none", "auto", "required"))
    return value


def _max_tokens(value: object, path: str) -> object:
    return value if value == "inf" else _number(1, 4096)(value, path)


def _voice(value: object, path: str) -> object:
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        return value
    return _text(value, path)


def _nullable(check: Check) -> Check:
    return lambda value, path: None if value is None else check(value, path)


def _part(table: Mapping[str, Check]) -> Callable[[object, str], dict[str, object]]:
    def check(value: object, path: str) -> dict[str, object]:
        return {name: _checked(table, name, part, path) for name, part in _object(value, path).items()}

    return check


def _turn_detection(value: object, path: str) -> object:
    given = _object(value, path)
    kind = given.get("type")
    if kind == "server_vad":
        return {**SERVER_VAD, **_part(_SERVER_VAD)(given, path)}
    if kind == "semantic_vad":
        return {**SEMANTIC_VAD, **_part(_SEMANTIC_VAD)(given, path)}
    raise invalid_value(f"{path}.type", kind, ("server_vad", "semantic_vad"))


def _eagerness(value: object, path: str) -> object:
    if not isinstance(value, str) or value not in EAGERNESS_SILENCE:
        raise invalid_value(path, value, tuple(EAGERNESS_SILENCE))
    return value


_SERVER_VAD: Mapping[str, Check] = {
    "type": _anything,
    "threshold": _number(0, 1, float),
    "prefix_padding_ms": _number(0, 5_000),
    "silence_duration_ms": _number(0, 10_000),
    # The service documents no range; 5 to 30 s is what its users report.
    "idle_timeout_ms": _nullable(_number(5_000, 30_000)),
    "create_response": _flag,
    "interrupt_response": _flag,
}
_SEMANTIC_VAD: Mapping[str, Check] = {
    "type": _anything,
    "eagerness": _eagerness,
    "create_response": _flag,
    "interrupt_response": _flag,
}
_INPUT: Mapping[str, Check] = {
    "format": audio_format,
    "noise_reduction": _nullable(_object),
    "transcription": _nullable(_object),
    "turn_detection": _nullable(_turn_detection),
}
_OUTPUT: Mapping[str, Check] = {
    "format": audio_format,
    "voice": _voice,
    "speed": _number(0.25, 1.5, float),
}
_TOP: Mapping[str, Check] = {
    "type": _anything,
    "model": _text,
    "instructions": _text,
    "output_modalities": _modalities,
    "audio": _part({"input": _part(_INPUT), "output": _part(_OUTPUT)}),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _flag,
    "reasoning": _nullable(_object),
    "max_output_tokens": _max_tokens,
    "truncation": _anything,
    "prompt": _nullable(_object),
    "tracing": _anything,
    "include": _anything,
}
