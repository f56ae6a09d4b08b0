"""What came of a tool, as the model is told: always JSON, never too long, errors included."""

import json
from dataclasses import dataclass, field

import msgspec

from control.egress import EgressFailed, EgressFault, OutgoingAnswer
from control.inputs import ToolStatus
from control.json_schema import SchemaFault

# Characters: some 4,000 tokens. What a model is told it pays for in every turn that follows.
LONGEST_OUTPUT = 16_000
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """How one call of a tool ended."""

    status: ToolStatus
    output: str = field(repr=False)
    """JSON, for the model."""
    http_status: int | None = None
    detail: str = ""
    """For whoever runs the tool, not for the model: may name a host. Nothing that was said."""
    attempts: int = 0


def answered(answer: OutgoingAnswer) -> ToolOutcome:
    """What a server's answer means."""
    text = _text(answer)
    if text is None:
        return failed("unreadable", "the answer is not text", http_status=answer.status)
    if not answer.ok:
        detail = {"status": answer.status, "detail": text[:_LONGEST_REASON]}
        return ToolOutcome(
            status=ToolStatus.FAILED,
            output=_json({"error": "the tool answered with an error", **detail}),
            http_status=answer.status,
            detail=f"HTTP {answer.status}",
        )
    return ToolOutcome(
        status=ToolStatus.COMPLETED, output=_output(text, answer.truncated), http_status=answer.status
    )


def _text(answer: OutgoingAnswer) -> str | None:
    """The body as text; what was cut off may end in half a letter."""
    try:
        return answer.body.decode("utf-8", "ignore" if answer.truncated else "strict")
    except UnicodeDecodeError:
        return None


def _output(text: str, truncated: bool) -> str:
    if not text.strip():
        return _json({"result": "done"})
    if truncated or len(text) > LONGEST_OUTPUT:
        cut = text[: LONGEST_OUTPUT // 2]  # escaped, it may become longer
        return _json({"truncated": True, "result": cut})
    try:
        return _json(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return _json({"result": text})


def unanswered(failure: EgressFailed, seconds: float) -> ToolOutcome:
    """What it means that there was no answer; the model is not told where we asked."""
    if failure.fault is EgressFault.TIMEOUT:
        return timed_out(seconds)
    said = {
        EgressFault.REFUSED: "the tool's address is not allowed",
        EgressFault.UNREACHABLE: "the tool cannot be reached",
        EgressFault.TLS: "the tool cannot be reached securely",
        EgressFault.GARBAGE: "the tool gave no proper answer",
        EgressFault.REDIRECTS: "the tool gave no proper answer",
    }[failure.fault]
    return failed(said, failure.detail)


def timed_out(seconds: float) -> ToolOutcome:
    return ToolOutcome(
        status=ToolStatus.TIMEOUT,
        output=_json({"error": f"the tool did not answer within {seconds:g} s"}),
        detail=f"no answer within {seconds:g} s",
    )


def failed(said: str, detail: str = "", *, http_status: int | None = None) -> ToolOutcome:
    """Something went wrong; `said` is for the model."""
    return ToolOutcome(
        status=ToolStatus.FAILED,
        output=_json({"error": said}),
        http_status=http_status,
        detail=detail or said,
    )


def refused_arguments(found: list[SchemaFault]) -> ToolOutcome:
    """The model can do better: it is told what was wrong and where."""
    wrong = [{"at": fault.pointer, "problem": fault.detail} for fault in found]
    return ToolOutcome(
        status=ToolStatus.FAILED,
        output=_json({"error": "the arguments do not fit the tool", "problems": wrong}),
        detail=f"arguments refused at {', '.join(fault.pointer for fault in found)}"[:_LONGEST_REASON],
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
