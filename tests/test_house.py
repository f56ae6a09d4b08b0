"""The house keeps its own rules: modules and tests, imports, locks, commands and recordings agree with each other."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import hot_path

ROOT = Path(__file__).parents[1]
PACKAGES = ("media", "telephony", "control", "gateway")
BIN = Path(sys.executable).parent

# Modules with code and no test file of their name, each with the reason.
TESTED_ELSEWHERE = {
    "media/realtime/events.py": "values without behaviour; every session test is made of them",
    "telephony/events.py": "values without behaviour; every stream test is made of them",
    "media/realtime/configuration.py": "values without behaviour; every session test is made of them",
    "media/realtime/items.py": "a part of the session: tests/media/test_realtime_session.py and _model.py",
    "media/realtime/responses.py": "a part of the session: tests/media/test_realtime_session.py and _model.py",
    "media/realtime/rounds.py": "a part of the session: tests/media/test_realtime_session.py and _model.py",
    "gateway/bridge_driver.py": "the sockets' half of a call: tests/gateway/test_call_runner.py and test_calls.py",
    "gateway/finding.py": "a value without behaviour; every test of findings is made of them",
    "control/requests.py": "values without behaviour; every test of the call's machine is made of them",
    "control/media_orders.py": "values without behaviour; tests of call and bridge are made of them",
    "control/effects.py": "values without behaviour; every test of the call's machine is made of them",
    "control/api/problem.py": "every refusal in tests/gateway/test_server.py is one",
    "control/service/parts.py": "values without behaviour; every test of the service's rooms is made of them",
    "control/service/ports.py": "protocols and values; every test of the service's rooms is made of them",
    # The bridge's rooms.
    "control/announcer.py": "a part of the bridge: tests/control/test_bridge_orders.py",
    "control/background.py": "a part of the bridge: tests/control/test_bridge_orders.py",
    "control/conversation.py": "a part of the bridge: tests/control/test_bridge.py and _orders.py",
    "control/holds.py": "a part of the bridge: tests/control/test_bridge_orders.py",
    "control/keypad.py": "a part of the bridge: tests/control/test_bridge.py and _orders.py",
    "control/last_words.py": "a part of the bridge: tests/control/test_bridge.py and _orders.py",
    "control/media_deadline.py": "names without behaviour; the bridge's tests wait for each",
    "control/prompts.py": "a part of the bridge: tests/control/test_bridge_orders.py",
    "control/redial.py": "a part of the bridge: tests/control/test_bridge.py",
    "control/tool_calls.py": "a part of the bridge: tests/control/test_bridge.py and _orders.py",
    "control/inputs.py": "values without behaviour; every test of the call's machine is made of them",
    "control/dialling.py": "values without behaviour; every test of dialling is made of them",
    # The store's rooms, each on both databases through its public face.
    "control/stores/store.py": "tests/contracts: every call goes through it",
    "control/stores/call_filters.py": "tests/contracts/test_calls.py lists by each filter",
    "control/stores/call_list.py": "tests/contracts/test_calls.py turns pages by every filter and order",
    "control/stores/call_rows.py": "tests/contracts/test_calls.py: calls come back as they were saved",
    "control/stores/columns.py": "tests/contracts/test_calls.py: moments and money come back exactly",
    "control/stores/documents.py": "tests/contracts/test_calls.py: whatever JSON holds comes back",
    "control/stores/errors.py": "values without behaviour; tests/contracts raises each",
    "control/stores/keyset.py": "tests/contracts/test_calls.py turns pages in every order",
    "control/stores/local_time.py": "tests/contracts/test_statistics.py: days and hours of every kind of zone",
    "control/api/tool_log_shapes.py": "tests/control/test_api_tool_log_endpoints.py reads them over HTTP",
    "control/stores/search.py": "tests/contracts/test_calls.py searches",
    "control/stores/tables.py": "tables without behaviour; every contract test runs on them",
    "control/stores/urls.py": "tests/contracts opens both kinds; tests/gateway/test_settings.py refuses others",
    # The API's rooms, asked over HTTP.
    "control/api/endpoint.py": "values without behaviour; tests/control/test_api_routes.py declares some",
    "control/api/problem_codes.py": "tests/control/test_api_document.py holds each against its status",
    "control/api/command_bodies.py": "tests/control/test_api_control_endpoints.py and _server_answers.py write them",
    "control/api/call_table.py": "tests/control/test_api_statistics_endpoints.py reads both kinds of file",
    "control/api/statistics_shapes.py": "tests/control/test_api_statistics_endpoints.py sees each",
    "control/api/rest_api.py": "tests/gateway/test_commands_openapi.py prints it; every test over HTTP asks it",
    "control/api/number_shapes.py": "tests/control/test_api_number_endpoints.py sees each",
    "control/service/number_office.py": "tests/control/test_api_number_endpoints.py has it do everything",
    "control/api/integration_shapes.py": "tests/control/test_api_integration_endpoints.py sees each",
    "gateway/account_desk.py": "tests/control/test_api_integration_endpoints.py tries accounts of every kind",
    "telephony/account_numbers.py": "a value and a protocol; each carrier's own are tested",
    "telephony/telnyx/simulated_numbers.py": "tests/telephony/test_telnyx_account_numbers.py asks for everything",
    "telephony/twilio/simulated_numbers.py": "tests/telephony/test_twilio_account_numbers.py asks for everything",
    "control/api/recording_download.py": "tests/control/test_api_recording_endpoints.py downloads whole and in parts",
    "control/api/recording_shapes.py": "tests/control/test_api_recording_endpoints.py reads every answer",
    "control/agent_book.py": "tests/control/test_api_agent_endpoints.py and its neighbours ask for all it does",
    "control/api/agent_desk.py": "a part of the endpoints of agents: tests/control/test_api_agent_endpoints.py",
    "control/api/agent_shapes.py": "tests/control/test_api_agent_endpoints.py and its neighbours read them over HTTP",
    "control/api/tenant_shapes.py": "tests/control/test_api_tenant_endpoints.py reads them over HTTP",
    "control/api/webhook_shapes.py": "tests/control/test_api_webhook_endpoints.py reads them over HTTP",
    "control/api/ports.py": "protocols and values; every test of the API is made of them",
    "gateway/provider_config.py": "tests/gateway/test_configured_agents.py and test_agent_findings.py write some",
    "gateway/order_form.py": "tests/gateway/test_trace.py and test_replay.py write and read orders",
    "gateway/rest_house.py": "tests/control/test_api_platform_endpoints.py and others ask a whole house",
    "gateway/demo_backend.py": "tests/gateway/test_callback_demo.py is its every use",
    "gateway/commands/examples.py": "two paths; tests/gateway/test_demo.py plays what is there",
    "gateway/commands/store.py": "tests/gateway/test_commands_db.py, _keys.py and _calls.py go through it",
    "gateway/commands/settings.py": "tests/gateway/test_commands_check.py and _serve.py see what it prints",
    "gateway/commands/terminal.py": "every test of a command reads what it prints and how it exits",
    "telephony/party_lines.py": "tests/telephony/test_simulated_exchange.py: every leg is on one of its lines",
    "telephony/link.py": "two protocols without code; gateway.links and the memory link implement them",
}

# Test files of no one module, each with what they are about. Whole calls are in tests/calls.
TESTS_ACROSS: dict[str, str] = {
    "tests/control/test_api_isolation.py": "the whole API: nothing of a tenant's is there for another",
    "tests/control/test_api_contract.py": "the whole API: its document against its answers (schemathesis)",
    "tests/control/test_call_interleavings.py": "the call's machine under any interleaving of everything",
    "tests/media/test_realtime_model.py": "the session against a server that keeps the real rules",
    "tests/gateway/test_barge_in.py": "whole calls: what the model is told was heard",
    "tests/gateway/test_chaos.py": "whole calls: whatever goes wrong, each ends once and leaves nothing behind",
    "tests/gateway/test_command_matrix.py": "whole calls: every live command in every state, on both carriers",
    "tests/gateway/test_erased_recordings.py": "desk and eraser, of a recording that is erased on its way",
    "tests/gateway/test_succession.py": "a process that does not come back, and the others of its database",
    "tests/gateway/test_call_control.py": "whole calls over real sockets: how they begin, go on and end under control",
    "tests/gateway/test_stored_agents.py": "whole calls: agents that users have stored, on both carriers",
    "tests/gateway/test_controlled_calls.py": "whole calls: who hears whom while held, prompted, gathered, broken",
    "tests/gateway/test_recordings.py": "whole calls: recorded as heard, and filed whatever dies",
    "tests/gateway/test_failover.py": "whole calls whose model cannot be had, or is lost",
    "tests/gateway/test_server_url.py": "whole calls whose agent has a server of its own",
    "tests/gateway/test_status_mapping.py": "whole calls: every row of the carriers' status mapping",
    "tests/contracts/test_killed_migration.py": "control/stores/migrating.py, killed at any of its statements",
    "tests/gateway/test_kills.py": "whole calls: what a process owes that was killed, and does when it is back",
    "tests/gateway/test_left_calls.py": "whole calls: what the record says of one whose process was killed",
    "tests/gateway/test_outages.py": "whole calls over real sockets while databases, receivers and tools are gone",
    "tests/gateway/test_traps.py": "whole calls: the races and traps that others fell into, by number",
    "tests/control/test_bridge_orders.py": "the bridge under orders of a call's machine",
    "tests/gateway/test_demo.py": "the demo's call, on virtual time",
    "tests/gateway/test_claimed_numbers.py": "whole calls of a tenant with a carrier account and a number of its own",
    "tests/gateway/test_interop.py": "a carrier that is none of ours",
}

# Modules that are imported only where an extra is installed.
EXTRAS = {"gateway.agent.local": "local"}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (path.relative_to(ROOT) for path in sorted((ROOT / package).rglob("*.py")))


def has_code(module: Path) -> bool:
    """More than a docstring, imports and `__all__`: a package that only re-exports is tested by its modules."""
    for statement in ast.parse((ROOT / module).read_text()).body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                pass
            case _:
                return True
    return False


def own_tests(module: Path) -> list[Path]:
    """Where a module's tests may be: `tests/telephony/test_twilio_wire.py` or `tests/telephony/twilio/test_wire.py`;
    just `test_wire.py` beside the package's others if no second module of the package has that name. A part named
    after its whole (`server_input` of `server`) may be tested through the whole.
    """
    package, *inner, name = module.with_suffix("").parts
    if name == "__init__":
        name = inner.pop() if inner else package
    elif name == "__main__":
        name = "main"
    whole = name.partition("_")[0]
    part = whole != name and (ROOT / module).with_stem(whole).is_file()
    places = []
    for stem in (name, whole) if part else (name,):
        places.append(ROOT / "tests" / package / f"test_{'_'.join([*inner, stem])}.py")
        places.append(ROOT / "tests" / package / Path(*inner) / f"test_{stem}.py")
        if sum(1 for other in modules() if other.parts[0] == package and other.stem == stem) == 1:
            places.append(ROOT / "tests" / package / f"test_{stem}.py")
        if module.parent.name == "versions":
            places.append(ROOT / "tests" / "contracts" / "test_migrating.py")
        if module.parts[:2] == ("control", "stores"):  # every one of them on each database
            places.append(ROOT / "tests" / "contracts" / f"test_{stem}.py")
    return places


def tracked_files() -> list[Path]:
    """What git knows of and has not been told to ignore; without git, what is not generated."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = [ROOT / name for name in listing.stdout.split("\0") if name]
        return [path for path in names if path.is_file()]
    generated = re.compile(
        r"/(\.venv|\.git|\.\w+_cache|\.hypothesis|__pycache__|build|dist|htmlcov|data)/|/\.(env|coverage)"
    )
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and not generated.search(f"/{path.relative_to(ROOT)}")
    ]


def text_of(path: Path) -> str:
    """The file as text; nothing if it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


# Modules and their tests


@pytest.mark.parametrize("module", [str(module) for module in modules() if has_code(module)])
def test_every_module_with_code_has_tests_of_its_name_or_a_reason(module: str) -> None:
    tested = any(place.is_file() for place in own_tests(Path(module)))
    if module in TESTED_ELSEWHERE:
        assert not tested, f"{module} has tests of its own now; take it off the list"
    else:
        assert tested, f"{module} has no tests; expected {own_tests(Path(module))[0].relative_to(ROOT)}"


def test_every_reason_names_a_module_that_exists() -> None:
    assert [name for name in TESTED_ELSEWHERE if not (ROOT / name).is_file()] == []


def test_every_test_file_is_of_a_module_or_of_the_tests_own_tools() -> None:
    expected = {place for module in modules() for place in own_tests(module)}
    tools = {f"test_{path.name}" for path in (ROOT / "tests").glob("*.py")}
    strays = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / "tests" / package).rglob("test_*.py"))
        if path not in expected and path.name not in tools and str(path.relative_to(ROOT)) not in TESTS_ACROSS
    ]
    assert strays == [], "name the module it tests, or list it with what it is about"


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(module) for module in modules() if not ast.get_docstring(ast.parse((ROOT / module).read_text()))
    ]
    assert silent == []


# Imports


@pytest.mark.parametrize("module", [".".join(module.with_suffix("").parts) for module in modules()])
def test_every_module_can_be_imported(module: str) -> None:
    name = module.removesuffix(".__init__")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if name not in EXTRAS:
            raise
        pytest.skip(f"{name} needs the extra `{EXTRAS[name]}` ({missing.name} is not installed)")


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(directory), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_import_contracts_hold() -> None:
    report = lint_imports(ROOT)
    assert report.returncode == 0, report.stdout + report.stderr


# What breaks each contract, and no other.
BREACHES = {
    "Imports point down": {"media/upward.py": "import telephony.link"},
    "The core owns no socket, clock or loop": {"telephony/clock.py": "import asyncio"},
    "Carriers never import each other": {"telephony/twilio/sideways.py": "import telephony.telnyx"},
    "No cycles inside a package": {"media/egg.py": "import media.hen", "media/hen.py": "import media.egg"},
}


def test_every_import_contract_has_a_breach_to_catch() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]} == set(BREACHES)


def test_planted_breaches_are_caught_even_among_type_imports(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for breach in BREACHES.values():
        for name, statement in breach.items():
            (tmp_path / name).write_text(
                f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {statement}\n"
            )
    report = lint_imports(tmp_path)
    assert report.returncode != 0
    assert set(re.findall(r"^(.*) BROKEN", report.stdout, re.MULTILINE)) == set(BREACHES)
    files = [Path(name).stem for breach in BREACHES.values() for name in breach]
    assert [name for name in files if name not in report.stdout] == []


# What must not be in the repository


def test_no_file_names_a_package_index_or_a_path_of_one_machine() -> None:
    # Spelled so that this file does not match itself.
    machine = re.compile(r"(?:file://|(?<![\w.$}/-]))/(?:root|work|home/\w+|Users/\w+|opt/\w*pypi)/")
    index = re.compile(
        r"pypi\.o[r]g|pythonhosted\.o[r]g|--(?:extra-)?index-url[ =]|--find-links|--trusted-host"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in tracked_files()
        if path != Path(__file__)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if machine.search(line) or index.search(line)
    ]
    assert found == []


def test_no_file_is_large() -> None:
    limit = 1_500_000
    # What the API's pages are read with, as its makers publish it.
    assets = ROOT / "control" / "api" / "assets"
    ours = [path for path in tracked_files() if path.parent != assets]
    assert [str(path) for path in ours if path.stat().st_size > limit] == []


# Locks

PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9][\w.\[\], -]*)==(?P<version>[^\s;\\]+)(?P<rest>.*(?:\n    --hash=.*)*)",
    re.MULTILINE,
)
LOCKS = ("run", "local", "dev", "build")


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return {canonicalize_name(pin["name"].split("[")[0]): pin["version"] for pin in PIN.finditer(text)}


def project() -> dict[str, dict[str, list[Requirement]]]:
    """The requirements of `pyproject.toml`, by the lock that must hold them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {
        "run": settings["project"]["dependencies"],
        "local": settings["project"]["dependencies"] + settings["project"]["optional-dependencies"]["local"],
        "dev": settings["project"]["dependencies"] + settings["dependency-groups"]["dev"],
        "build": settings["build-system"]["requires"],
    }
    return {lock: {"requirements": [Requirement(text) for text in texts]} for lock, texts in wanted.items()}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_hashed(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    starts = [line for line in text.splitlines() if line and line[0] not in "# "]
    hashed = [pin for pin in PIN.finditer(text) if "--hash=sha256:" in pin["rest"]]
    assert len(hashed) == len(starts) > 0


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_of_the_project_is_pinned_inside_its_range(lock: str) -> None:
    pinned = pins(lock)
    wrong = [
        str(requirement)
        for requirement in project()[lock]["requirements"]
        if (version := pinned.get(canonicalize_name(requirement.name))) is None
        or version not in requirement.specifier
    ]
    assert wrong == [], "run `make lock`"


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != "dev"])
def test_what_is_tested_is_what_runs(lock: str) -> None:
    tested = pins("dev")
    other = {name: version for name, version in pins(lock).items() if tested.get(name, version) != version}
    assert other == {}


# Commands

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
READ_BY_PEOPLE = ("README.md", "CONTRIBUTING.md")


def code_in(name: str) -> str:
    """What a file tells its reader to type: of prose, the fenced and the quoted; of anything else, all."""
    path = ROOT / name
    text = path.read_text() if path.is_file() else ""
    if not name.endswith(".md"):
        return text
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*fenced, *quoted])


@pytest.mark.parametrize("name", READ_BY_PEOPLE)
def test_every_make_command_a_reader_is_told_is_a_target(name: str) -> None:
    told = set(re.findall(r"(?:^|&& |; )make ([a-z-]+)", code_in(name), re.MULTILINE))
    assert told
    assert told <= TARGETS


def test_the_readme_names_the_two_commands_that_do_everything() -> None:
    assert {"make demo", "make test"} <= set(re.findall(r"make [a-z]+", code_in("README.md")))


def test_what_is_compiled_is_there() -> None:
    compiled = hot_path.modules()
    assert compiled
    assert {name for name in compiled if not (ROOT / f"{name.replace('.', '/')}.py").is_file()} == set()


def test_every_target_is_phony_and_explained() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS
    assert set(re.findall(r"^([a-z-]+):[^#\n]*## \S", MAKEFILE, re.MULTILINE)) == TARGETS


def offhook_commands() -> set[str]:
    """Every `offhook …` that the Makefile, the instructions and the compose file run, as words and long options."""
    lines = [line for name in ("Makefile", *READ_BY_PEOPLE) for line in code_in(name).splitlines()]
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"].values()
    lines += [
        f"offhook {' '.join(service['command'])}" for service in services if service["image"] == "offhook"
    ]
    found = set()
    for line in lines:
        for command in re.findall(r"(?:^|[\s/])offhook((?: [^\s#|&;]+)+)", line):
            words = command.split()
            subcommand = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
            found.add(
                " ".join([*subcommand, *(word.partition("=")[0] for word in words if word.startswith("--"))])
            )
    return found - {""}


@pytest.mark.parametrize("command", sorted(offhook_commands()))
def test_every_offhook_command_told_or_run_exists_with_its_options(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in command.split() if not word.startswith("--")]
    options = [word for word in command.split() if word.startswith("--")]
    monkeypatch.setattr(sys, "argv", ["offhook", *words, "--help"])
    # The width of the help, wherever the tests run: options are not cut short.
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module("gateway.__main__").main()
    told = capsys.readouterr()
    assert stopped.value.code == 0, told.err
    assert [option for option in options if option not in told.out] == []


# The demo's voices

AUDIO = ROOT / "examples" / "audio"


def test_every_line_of_the_demo_has_its_recording_and_no_recording_is_without_text() -> None:
    texts = yaml.safe_load((AUDIO / "texts.yaml").read_text())
    assert set(texts) == {path.stem for path in AUDIO.glob("*.wav")}


@pytest.mark.parametrize("path", sorted(AUDIO.glob("*.wav")), ids=lambda path: path.stem)
def test_a_recording_is_telephone_audio(path: Path) -> None:
    with wave.open(str(path)) as recording:
        assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (8000, 1, 2)
        assert 1 <= recording.getnframes() / 8000 <= 20


def test_the_answer_that_is_interrupted_is_long_enough_to_be() -> None:
    with wave.open(str(AUDIO / "agent-parcel-status.wav")) as recording:
        assert recording.getnframes() >= 8 * 8000


def test_the_recordings_are_small() -> None:
    assert sum(path.stat().st_size for path in AUDIO.iterdir()) < 1_500_000


@pytest.mark.sockets
@pytest.mark.skipif(
    shutil.which("espeak-ng") is None or shutil.which("sox") is None,
    reason="espeak-ng and sox make the recordings (apt-get install espeak-ng sox)",
)
def test_the_committed_command_makes_the_recordings(tmp_path: Path) -> None:
    for name in ("make.sh", "texts.yaml"):
        shutil.copy(AUDIO / name, tmp_path)
    subprocess.run([tmp_path / "make.sh"], check=True, capture_output=True)
    for path in sorted(AUDIO.glob("*.wav")):
        with wave.open(str(path)) as ours, wave.open(str(tmp_path / path.name)) as made:
            # Another version of the synthesiser speaks a little faster or slower.
            assert made.getparams()[:3] == ours.getparams()[:3]
            assert made.getnframes() == pytest.approx(ours.getnframes(), rel=0.2)
