"""A finding: one thing to know about the settings, and what to do about it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about the settings."""

    level: Literal["error", "warning", "note"]
    setting: str
    """The variable's name, OFFHOOK_..."""
    problem: str
    remedy: str
