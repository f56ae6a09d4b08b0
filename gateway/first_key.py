"""The first API key of a new database: made once, kept in a file for its owner alone, shown to whoever watches.

Logs are copied and searched; a secret is shown on a terminal and nowhere else.
"""

import os
import sys
from datetime import datetime
from pathlib import Path

import structlog

from control.stores.keys import Keys

log = structlog.get_logger()

FILE = "first-api.key"


async def ensure_first_key(keys: Keys, folder: Path, now: datetime) -> None:
    """Make the first key, if there is none.

    Raises:
        OSError: the file cannot be written.
        StoreUnavailable: the database does not answer.
    """
    new = await keys.ensure_bootstrap(now)
    if new is None:
        return
    path = folder / FILE
    _write(path, f"{new.secret}\n")
    log.warning("first API key made: move it to a safe place and delete the file", path=str(path))
    if sys.stderr.isatty():
        print(f"\nThe first API key, shown this once: {new.secret}\n", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    """For its owner's eyes alone, whatever was there before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
