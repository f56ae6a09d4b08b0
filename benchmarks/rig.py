"""The rig as the driver sees it: compiled at first use, told to go, heard phase by phase."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, TypeAlias

HERE = Path(__file__).parent
SOURCE = HERE / "rig.c"
# Strict C11 hides epoll and memmem; the program is one file and asks for nothing but the C library.
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")

Report: TypeAlias = dict[str, Any]


class BenchmarkError(Exception):
    """A run that could not be made, or whose figures would mean nothing."""


class CompilerMissing(BenchmarkError):
    """No C compiler: the rig is a C program because a Python one would need more cores than it measures."""


def compiler() -> str:
    """Return the path of the C compiler.

    Raises:
        CompilerMissing: none of cc, gcc and clang is on the path.
    """
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return path
    raise CompilerMissing("the rig needs a C compiler: install cc, gcc or clang (Debian: apt install gcc)")


def build(directory: Path | None = None) -> Path:
    """Compile the rig unless it is newer than its source, and return its path; two may do so at once."""
    program = (directory or HERE / "build") / "rig"
    if program.exists() and program.stat().st_mtime > SOURCE.stat().st_mtime:
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    # Compiled aside and put in place whole: who comes meanwhile must not find half a program.
    with TemporaryDirectory(dir=program.parent) as aside:
        made_aside = Path(aside) / program.name
        command = [compiler(), *FLAGS, "-o", str(made_aside), str(SOURCE), "-lm"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise BenchmarkError(f"the rig does not compile:\n{made.stderr}")
        made_aside.replace(program)
    return program


class Rig:
    """One running rig process; `run` drives it to its report, it ends by itself."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self._process = process
        self._output = output

    def wait_for(self, phase: str) -> None:
        for line in self._lines():
            if line.get("phase") == phase:
                return
        raise BenchmarkError(f"the rig ended (exit {self._process.wait()}) before {phase!r}")

    def run(self, on_phase: Callable[[str], None]) -> Report:
        """Let the calls begin; call `on_phase` at "measuring" and "measured"; return the report."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        for line in self._lines():
            if "report" in line:
                report: Report = line["report"]
                return report
            on_phase(line["phase"])
        raise BenchmarkError(f"the rig ended (exit {self._process.wait()}) without a report")

    def _lines(self) -> Iterator[dict[str, Any]]:
        for text in self._output:
            yield json.loads(text)


@contextmanager
def started(arguments: Sequence[str], *, limit: float, quiet: bool) -> Iterator[Rig]:
    """Start the rig, listening as the model and waiting for `run`; killed after `limit` seconds."""
    process = subprocess.Popen(
        [str(build()), "--wait", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
    )
    watchdog = threading.Timer(limit, process.kill)
    watchdog.start()
    try:
        with process:
            assert process.stdout is not None
            try:
                yield Rig(process, process.stdout)
            finally:
                process.kill()
    finally:
        watchdog.cancel()
