"""What the gateway tells of itself: a timeline in the log, and figures for Prometheus.

The log has static messages and fields. Numbers, words and digits of callers stand under keys that begin with
`pii.`, secrets under names that say so: both are redacted here, wherever they come from. Figures are read when
they are asked for, from counters that the machines keep anyway: nothing is done for them while a call runs.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(
    r"(^|[._-])(token|secret|password|authorization|api[_-]?key|signature)$", re.IGNORECASE
)
# A stream token or shared secret in a media path; a key in a query.
_SECRET_TEXT = re.compile(
    r"(/media/[a-z0-9_-]+/)[^\s/?\"']+|([?&](?:token|key|api[_-]?key|secret)=)[^\s&\"']+", re.IGNORECASE
)


def redact(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take personal data and secrets out of a log event; a structlog processor."""
    return {key: _redacted(str(key), value) for key, value in event.items()}


def _redacted(key: str, value: Any) -> Any:  # noqa: ANN401  # whatever is logged
    if key.startswith("pii.") or _SECRET_KEY.search(key):
        return REDACTED if value is not None else None
    if isinstance(value, str):
        return _SECRET_TEXT.sub(lambda match: f"{match[1] or match[2]}{REDACTED}", value)
    if isinstance(value, Mapping):
        return {inner: _redacted(str(inner), below) for inner, below in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", item) for item in value]
    return value


def configure_logging(
    level: str = "info", form: Literal["auto", "json", "console"] = "auto", stream: TextIO | None = None
) -> None:
    """Send the log of the gateway and of its libraries to `stream` (standard error), redacted."""
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Traces are text before they are redacted; a pretty one would print every local, secrets too.
    plain = structlog.dev.plain_traceback
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    finish: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, redact, renderer]
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


@dataclass(frozen=True, slots=True)
class Figure:
    """One number at the time it is asked for."""

    name: str
    """As Prometheus spells it, with its unit, without `offhook_`; a counter without `_total`."""
    kind: Literal["counter", "gauge"]
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


class FigureCollector(Collector):
    """Gathers the figures of whoever has some. Driven by a scrape; never by a call."""

    def __init__(self, *sources: Callable[[], Iterable[Figure]]) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for source in self._sources:
            for figure in source():
                name = f"offhook_{figure.name}"
                family = families.get(name)
                if family is None:
                    kind = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
                    family = families[name] = kind(name, figure.help, labels=list(figure.labels))
                suffix = "_total" if figure.kind == "counter" else ""
                family.add_sample(f"{name}{suffix}", dict(figure.labels), figure.value)
        return families.values()

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: what there is to tell depends on what has happened."""
        return ()
