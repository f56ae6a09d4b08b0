"""What the Makefile compiles: the modules that every 20 ms of a call run through (docs/adr/0012)."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def modules() -> list[str]:
    """Return their names, as they are imported."""
    rule = re.search(r"^HOT := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    return [
        (folder + each).removesuffix(".py").replace("/", ".")
        for folder, names in re.findall(r"\$\(addprefix ([a-z/]+),([^)]+)\)", rule[1])
        for each in names.split()
    ]
