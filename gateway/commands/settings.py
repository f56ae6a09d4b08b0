"""The settings as a command gets them: read, explained where they are wrong, the log set up."""

from typing import Any

from rich.markup import escape

from gateway.commands.terminal import err, fail
from gateway.finding import Finding
from gateway.findings import check
from gateway.settings import Settings
from gateway.telemetry import configure_logging

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def usable_settings(**given: Any) -> Settings:  # noqa: ANN401  # any of the settings' own fields
    """Return the settings, or leave with what is wrong with them."""
    settings, findings = check()
    errors = [finding for finding in findings if finding.level == "error"]
    if settings is None or errors:
        for finding in errors:
            err.print(line(finding))
        fail("the settings cannot be used; `offhook check` explains them", 2)
    settings = settings.model_copy(update=given)
    configure_logging(settings.log_level, settings.log_format)
    return settings


def line(finding: Finding) -> str:
    colour = _COLOURS[finding.level]
    said = escape(f"{finding.setting}: {finding.problem}; {finding.remedy}")
    return f"[{colour}]{finding.level:8}[/] {said}"
