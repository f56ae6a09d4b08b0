"""The log tells no secrets; the figures are read only when asked for."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from gateway.telemetry import REDACTED, Figure, FigureCollector, configure_logging, redact


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(form: str = "json", level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, form, stream)  # type: ignore[arg-type]  # a literal, by parametrisation
    return stream


def test_personal_data_and_secrets_are_redacted_at_any_depth() -> None:
    event = {
        "event": "call started",
        "pii.from_number": "+15551234567",
        "pii.nothing": None,
        "api_key": "sk-1",
        "stream_token": "t",
        "tokens": 12,
        "token_count": 5,
        "headers": {"Authorization": "Bearer k", "x-twilio-signature": "s", "Host": "h"},
        "legs": [{"pii.to_number": "+1"}, {"codec": "pcmu"}],
        "path": "/media/twilio/abcDEF?x=1",
        "url": "wss://x/v1?model=m&key=sk-1",
    }
    assert redact(None, "info", event) == {
        "event": "call started",
        "pii.from_number": REDACTED,
        "pii.nothing": None,
        "api_key": REDACTED,
        "stream_token": REDACTED,
        "tokens": 12,
        "token_count": 5,
        "headers": {"Authorization": REDACTED, "x-twilio-signature": REDACTED, "Host": "h"},
        "legs": [{"pii.to_number": REDACTED}, {"codec": "pcmu"}],
        "path": f"/media/twilio/{REDACTED}?x=1",
        "url": f"wss://x/v1?model=m&key={REDACTED}",
    }


@given(st.text(st.characters(categories=["L", "N"]), min_size=8, max_size=40))
def test_no_stream_token_survives_in_any_text(token: str) -> None:
    secret = f"Q{token}Q"
    said = redact(None, "info", {"event": f"GET /media/telnyx/{secret} failed"})
    assert secret not in said["event"]


def test_the_log_is_one_json_object_per_event() -> None:
    stream = logged()
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(call_id="call_1"):
        log.info("turn ended", heard_ms=1200, **{"pii.text": "hello"})
        log.debug("< media 160")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "turn ended",
        "level": "info",
        "call_id": "call_1",
        "heard_ms": 1200,
        "pii.text": REDACTED,
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_libraries_log_the_same_way_from_warnings_on(form: str) -> None:
    stream = logged(form)
    library = logging.getLogger("aiohttp.server")
    library.info("New connection accepted")
    library.warning("bad request to %s", "/media/twilio/secret-token")
    said = stream.getvalue()
    assert "New connection" not in said
    assert "bad request" in said
    assert "secret-token" not in said


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_logged_with_its_trace_but_not_its_locals(form: str) -> None:
    stream = logged(form)
    local = "hunter" + "2"
    try:
        raise ZeroDivisionError("/media/twilio/secret-token")
    except ZeroDivisionError:
        structlog.get_logger().exception("call failed")
    said = stream.getvalue()
    assert "ZeroDivisionError" in said
    assert "test_telemetry.py" in said
    assert "secret-token" not in said
    assert local not in said


def test_figures_are_gathered_when_they_are_asked_for() -> None:
    asked = 0

    def calls() -> list[Figure]:
        nonlocal asked
        asked += 1
        return [
            Figure("calls", "counter", "Calls ended.", 7, {"reason": "caller-hangup"}),
            Figure("calls", "counter", "Calls ended.", 2, {"reason": "error"}),
        ]

    def loop() -> list[Figure]:
        return [Figure("loop_lag_seconds", "gauge", "Loop lag.", 0.004)]

    registry = CollectorRegistry()
    registry.register(FigureCollector(calls, loop))
    assert asked == 0
    text = generate_latest(registry).decode()
    assert asked == 1
    assert 'offhook_calls_total{reason="caller-hangup"} 7.0' in text
    assert 'offhook_calls_total{reason="error"} 2.0' in text
    assert "# TYPE offhook_calls_total counter" in text
    assert "offhook_loop_lag_seconds 0.004" in text
