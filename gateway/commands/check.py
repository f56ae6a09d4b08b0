"""`offhook check`: what is wrong with the settings, or will surprise."""

from gateway.commands.settings import line
from gateway.commands.terminal import out
from gateway.findings import check as check_settings


def check() -> None:
    """Read the settings, explain each fault and what to do about it. Exit code 1 if one is an error."""
    settings, findings = check_settings()
    for finding in findings:
        out.print(line(finding))
    if settings is None or any(finding.level == "error" for finding in findings):
        raise SystemExit(1)
    out.print(
        f"[green]usable[/]   listening on {settings.host}:{settings.port}, "
        f"agent at {settings.realtime_url} ({settings.realtime_model}), data in {settings.data_dir}"
    )
