"""Runs a recorded call through the machines again and compares what they say with what they said.

The inputs of a trace carry their times, so nothing here waits and nothing depends on this machine: a difference means
that the code behaves differently from the one that took the call.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from control.bridge import Bridge
from control.outputs import UseProvider
from gateway.order_form import read_order
from gateway.trace import POLICY, SESSION, VERSION, reports
from media.audio import AudioFormat, Encoding
from media.realtime.configuration import SessionConfig
from media.realtime.dialects import DIALECTS, Dialect
from media.realtime.session import RealtimeSession
from telephony.carrier import WIRES
from telephony.stream import CarrierStream

# Differences shown before the rest is only counted: after the first, most follow from it.
_SHOWN = 10


class TraceError(Exception):
    """The file is no trace we can replay."""


@dataclass(slots=True)
class Replayed:
    """What a replay came to."""

    bridge: Bridge
    inputs: int = 0
    outputs: int = 0
    differences: list[str] = field(default_factory=list)
    more: int = 0
    """Differences beyond those listed."""

    @property
    def same(self) -> bool:
        return not self.differences

    def differs(self, text: str) -> None:
        if len(self.differences) < _SHOWN:
            self.differences.append(text)
        else:
            self.more += 1


Line = dict[str, object]


def replay(path: Path) -> Replayed:
    """Replay the trace at `path`.

    Raises:
        TraceError: not a trace, or of another version.
        OSError: not readable.
    """
    with path.open(encoding="utf-8") as file:
        lines = _lines(file)
        header = next(lines, None)
        if header is None or header.get("trace") != VERSION:
            raise TraceError(f"{path} does not begin with the header of a version {VERSION} trace")
        return _Replay(header).run(lines)


def _lines(file: Iterator[str]) -> Iterator[Line]:
    for number, text in enumerate(file, 1):
        try:
            line = json.loads(text)
        except ValueError:
            # The last line of a process that was killed.
            if text.endswith("\n"):
                raise TraceError(f"line {number} is not JSON") from None
            return
        if not isinstance(line, dict):
            raise TraceError(f"line {number} is not an object")
        yield line


class _Replay:
    def __init__(self, header: Line) -> None:
        self._policy = POLICY.validate_python(header["policy"])
        self._providers = [
            _session_of(header),
            *[_session_of(each) for each in _lines_of(header, "fallbacks")],
        ]
        self._provider = 0
        self._carrier = str(header["carrier"])
        self._outbound = _format(header.get("outbound"))
        bridge = Bridge(self._policy, float(str(header["began"])))
        self._result = Replayed(bridge)
        self._bridge = bridge
        self._expected: list[str] = []
        self._at = ""

    def run(self, lines: Iterator[Line]) -> Replayed:
        for line in lines:
            said = line.get("out", line.get("action", line.get("report")))
            if said is not None:
                self._expected.append(str(said))
                continue
            self._compare()
            self._at = f"{float(str(line['t'])):.6f} {line.get('leg', line.get('event'))}"
            self._result.inputs += 1
            self._feed(line, float(str(line["t"])))
        self._compare()
        return self._result

    def _feed(self, line: Line, now: float) -> None:
        bridge = self._bridge
        message = line.get("in")
        if isinstance(message, str):
            received = bridge.carrier_received if line["leg"] == "carrier" else bridge.agent_received
            received(message.encode("utf-8", "surrogateescape"), now)
            return
        match line.get("event"):
            case "attach":
                bridge.carrier_attached(CarrierStream(WIRES[self._carrier], outbound=self._outbound), now)
            case "agent_opened":
                session = RealtimeSession(*self._providers[self._provider])
                bridge.agent_opened(session, now, float(str(line["wall"])))
            case "agent_lost":
                bridge.agent_lost(_code(line), str(line["reason"]), now, retry=bool(line["retry"]))
            case "carrier_lost":
                bridge.carrier_lost(_code(line), str(line["reason"]), now)
            case "carrier_pressure":
                bridge.carrier_pressure(bool(line["paused"]), now)
            case "agent_pressure":
                bridge.agent_pressure(bool(line["paused"]))
            case "end":
                bridge.end(str(line["reason"]), now, after_playout=bool(line["after_playout"]))
            case "order":
                bridge.order(read_order(str(line["kind"]), line["order"]), now)
            case "prompt_ready":
                bridge.prompt_ready(
                    str(line["ticket"]), b64decode(str(line["audio"])), _int(line["rate"]), now
                )
            case "prompt_failed":
                bridge.prompt_failed(str(line["ticket"]), str(line["why"]), now)
            case "poll":
                bridge.poll(now)
            case unknown:
                raise TraceError(f"the trace has an input this version does not know: {unknown}")

    def _compare(self) -> None:
        outputs = self._bridge.outputs
        said = [message.decode() for message in (*outputs.carrier, *outputs.agent)]
        said += [repr(action) for action in outputs.actions]
        for action in outputs.actions:
            if isinstance(action, UseProvider):
                self._provider = action.index
        said += reports(outputs)
        for queue in (outputs.carrier, outputs.agent, outputs.recording, outputs.actions, outputs.news):
            queue.clear()
        self._result.outputs += len(said)
        if said != self._expected:
            self._result.differs(f"after {self._at}: said {_short(said)}, had said {_short(self._expected)}")
        self._expected = []


def _session_of(line: Line) -> tuple[SessionConfig, Dialect]:
    return SESSION.validate_python(line["session"]), DIALECTS[str(line["dialect"])]


def _lines_of(line: Line, name: str) -> list[Line]:
    found = line.get(name)
    return found if isinstance(found, list) else []  # traces of an earlier release have none


def _code(line: Line) -> int | None:
    code = line["code"]
    return code if isinstance(code, int) else None


def _int(value: object) -> int:
    return int(str(value))


def _format(text: object) -> AudioFormat | None:
    if not isinstance(text, str):
        return None
    encoding, _, rate = text.partition("/")
    return AudioFormat(Encoding(encoding), int(rate))


def _short(messages: list[str]) -> str:
    return "nothing" if not messages else " + ".join(message[:160] for message in messages)
