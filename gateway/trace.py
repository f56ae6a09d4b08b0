"""A call as a file: one JSON line for everything that reached the bridge, and for everything it answered.

    {"t": 12.34, "leg": "carrier", "in": "{\\"event\\":\\"media\\",...}"}
    {"t": 12.34, "leg": "agent", "out": "{\\"type\\":\\"input_audio_buffer.append\\",...}"}

The first line tells the configuration. `offhook replay` feeds the inputs through the same machines and compares what
comes out: every call, and so every fault seen in production, is a test.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from pydantic import TypeAdapter

from control.media_orders import DigitReported
from control.outputs import Outputs
from control.policy import CallPolicy
from control.timeline import TimelineEvent
from media.realtime.configuration import SessionConfig
from media.realtime.dialects import Dialect

VERSION = 1
# What a carrier's message says of the caller: the keys, and the audio.
_DIGIT = re.compile(rb'("digit"\s*:\s*")[^"]*(")')
_PAYLOAD = re.compile(rb'("payload"\s*:\s*")([^"]*)(")')
POLICY = TypeAdapter(CallPolicy)
SESSION = TypeAdapter(SessionConfig)


def configuration(policy: CallPolicy, session: SessionConfig) -> dict[str, object]:
    """Return what a replay must know of the call's configuration, as JSON."""
    return {
        "policy": POLICY.dump_python(policy, mode="json"),
        "session": SESSION.dump_python(session, mode="json"),
    }


def session_form(session: SessionConfig, dialect: Dialect) -> dict[str, object]:
    """Return how sessions with another provider are opened, as JSON."""
    return {"session": SESSION.dump_python(session, mode="json"), "dialect": dialect.name}


def reports(outputs: Outputs) -> list[str]:
    """Return what the call's machine is told, but for keys: what was pressed is nobody else's business."""
    return [repr(each) for each in outputs.news if not isinstance(each, TimelineEvent | DigitReported)]


class Trace:
    """Writes one call's trace. Buffered by the file: a trace is a tool for finding faults, not a record."""

    def __init__(self, path: Path, header: Mapping[str, object]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._line({"trace": VERSION, **header})

    def secret(self, message: bytes, silence: bytes, now: float) -> None:
        """A carrier's message while the caller enters a secret: what it says of the caller is blanked.

        `silence` is one sample. Nothing the bridge does then depends on what was blanked, so a replay still agrees.
        """
        self.message("carrier", _blanked(message, silence), now)

    def message(self, leg: str, message: bytes, now: float) -> None:
        self._line({"t": now, "leg": leg, "in": message.decode("utf-8", "surrogateescape")})

    def event(self, name: str, now: float, **fields: object) -> None:
        """An input that is not a socket's message: an attach, a loss, a deadline."""
        self._line({"t": now, "event": name, **fields})

    def outputs(self, outputs: Outputs, now: float) -> None:
        for leg, messages in (("carrier", outputs.carrier), ("agent", outputs.agent)):
            for message in messages:
                self._line({"t": now, "leg": leg, "out": message.decode()})
        for action in outputs.actions:
            self._line({"t": now, "action": repr(action)})
        for text in reports(outputs):
            self._line({"t": now, "report": text})

    def close(self) -> None:
        self._file.close()

    def _line(self, fields: Mapping[str, object]) -> None:
        # Bytes that are no UTF-8 came in by surrogates and leave as their escapes: ASCII throughout.
        self._file.write(json.dumps(fields) + "\n")


def _blanked(message: bytes, silence: bytes) -> bytes:
    def silent(found: re.Match[bytes]) -> bytes:
        try:
            size = len(b64decode(found[2].replace(rb"\/", b"/"), validate=True))
        except ValueError:
            return found[1] + found[3]
        return found[1] + b64encode(silence * size) + found[3]

    return _PAYLOAD.sub(silent, _DIGIT.sub(rb"\g<1>0\g<2>", message))
