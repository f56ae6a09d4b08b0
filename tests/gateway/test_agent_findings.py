"""`offhook check` and the agents of the settings file: every fault by its name in the file, with a remedy."""

from pathlib import Path

import pytest

from gateway.finding import Finding
from gateway.findings import check
from gateway.settings import Settings
from tests.gateway.test_settings import nowhere

__all__ = ["nowhere"]  # the fixture, for every test here

NUMBER = '"+13125550100"'


def found_in(folder: Path, toml: str) -> tuple[Settings | None, list[Finding]]:
    (folder / "offhook.toml").write_text(toml)
    return check()


def test_agents_and_numbers_of_the_file_are_read(nowhere: Path) -> None:
    settings, findings = found_in(
        nowhere,
        f"""
        [agents.reception]
        instructions = "You work for Acme."
        barge_in = {{min_speech_ms = 200}}

        [[agents.reception.tools]]
        name = "look_up"
        url = "https://example.com/look-up"

        [numbers]
        {NUMBER} = "reception"
        "+1 312 555 0101" = {{agent = "default"}}
        """,
    )
    assert [each for each in findings if each.level != "note"] == []
    assert settings is not None
    assert settings.agents["reception"].name == "reception"
    assert settings.agents["reception"].barge_in.min_speech_ms == 200
    assert {number: entry.agent for number, entry in settings.numbers.items()} == {
        "+13125550100": "reception",
        "+13125550101": "default",
    }


def test_agents_may_come_as_json_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFHOOK_AGENTS", '{"sales": {"voice": "cedar"}}')
    assert Settings().agents["sales"].voice == "cedar"


def test_a_table_in_a_variable_that_is_no_json_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFHOOK_NUMBERS", "+13125550100=sales")
    settings, (finding, *_) = check()
    assert settings is None
    assert (finding.setting, finding.problem) == ("OFFHOOK_NUMBERS", "is not JSON")


@pytest.mark.parametrize(
    ("toml", "place", "problem", "remedy"),
    [
        ('[agents.a]\ngreting = "x"', "agents.a.greting", "no field of an agent", "did you mean greeting?"),
        (
            "[agents.a]\nbarge_in = {min_speech = 5}",
            "agents.a.barge_in.min_speech",
            "no field",
            "min_speech_ms",
        ),
        (
            "[agents.a]\nbarge_in = {min_speech_ms = 9000}",
            "agents.a.barge_in.min_speech_ms",
            "5000",
            "Milliseconds",
        ),
        (
            '[[agents.a.tools]]\nname = "t"\nurl = "ftp://x"',
            "agents.a.tools.0.url",
            "http or https",
            "Where it is run",
        ),
        ('[agents.a]\ngreeting = "{{"', "agents.a.greeting", "line 1", "asked to say first"),
        ('[agents.a]\nname = "b"', "OFFHOOK_AGENTS", "[agents.a] is called a", "Agents by name"),
        ('[agents."a b"]\nvoice = "v"', "agents.a b", "pattern", ""),
        (f'[numbers]\n{NUMBER} = "nobody"', f"numbers.{NUMBER}", "not there", "[agents.nobody]"),
        (
            f'[agents.sales]\n[numbers]\n{NUMBER} = "sale"',
            f"numbers.{NUMBER}",
            "not there",
            "did you mean sales?",
        ),
        ('[numbers]\n"3125550100" = "default"', "numbers.3125550100", "E.164", ""),
        (f'[numbers]\n{NUMBER} = {{carrier = "acme"}}', f"numbers.{NUMBER}", "no carrier", "telnyx"),
        (
            f'[numbers]\n{NUMBER} = {{carier = "telnyx"}}',
            f"numbers.{NUMBER}.carier",
            "no field of a number",
            "carrier?",
        ),
        (
            f'[numbers]\n{NUMBER} = {{carrier = "telnyx"}}',
            f"numbers.{NUMBER}",
            "no account",
            "OFFHOOK_TELNYX",
        ),
        ('[agents.a]\nprovider = "acme"', "agents.a.provider", "does not know", "default"),
        (
            '[agents.a]\nfallback_providers = ["acme"]',
            "agents.a.fallback_providers",
            "does not know",
            "default",
        ),
        ('[providers.spare]\nmodel = "m"', "providers.spare.url", "required", "websocket URL"),
        ('[providers.spare]\nurl = "http://x"\nmodel = "m"', "providers.spare.url", "ws://", "websocket URL"),
        (
            '[providers.spare]\nurl = "ws://x"\nmodel = "m"\nmodle = "m"',
            "providers.spare.modle",
            "no field of a provider",
            "did you mean model?",
        ),
        (
            '[providers.default]\nurl = "ws://x"\nmodel = "m"',
            "providers.default",
            "OFFHOOK_REALTIME_URL",
            "another name",
        ),
        ('[agents.default]\ngreeting = "{{name}}"', "agents.default.greeting", "wants {{name}}", "default("),
        (
            f'[agents.a]\ngreeting = "{{{{headers.x}}}}"\n[numbers]\n{NUMBER} = "a"',
            "agents.a.greeting",
            "wants {{headers.x}}",
            "default(",
        ),
        ('realtime_greeting = "{{name}}"', "OFFHOOK_REALTIME_GREETING", "wants {{name}}", "default("),
        ('realtime_instructions = "{{"', "OFFHOOK_REALTIME_INSTRUCTIONS", "line 1", "before the call"),
        (
            "[prices.my-model]\naudio = 5",
            "prices.my-model.audio",
            "no field of a price",
            "did you mean audio_",
        ),
        ('timezone = "Vienna"', "OFFHOOK_TIMEZONE", "IANA", "time zone"),
    ],
)
def test_each_fault_is_named_as_it_stands_in_the_file(
    nowhere: Path, toml: str, place: str, problem: str, remedy: str
) -> None:
    _, findings = found_in(nowhere, toml)
    (finding,) = (each for each in findings if each.level != "note")
    assert finding.setting == place
    assert problem in finding.problem
    assert remedy in finding.remedy
    assert finding.remedy


def test_an_agent_that_only_dials_may_want_what_it_likes(nowhere: Path) -> None:
    _, findings = found_in(nowhere, '[agents.a]\ngreeting = "Hello {{name}}, it is {{time}}."')
    assert [each for each in findings if each.level == "error"] == []


def test_a_number_to_call_from_needs_a_carrier_where_there_are_two(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFHOOK_TELNYX_API_KEY", "k")
    monkeypatch.setenv("OFFHOOK_TWILIO_ACCOUNT_SID", "AC" + "0" * 32)
    _, findings = found_in(nowhere, f"[agents.a]\nfrom_number = {NUMBER}")
    assert "agents.a.from_number" in {each.setting for each in findings}
    _, findings = found_in(
        nowhere, f'[agents.a]\nfrom_number = {NUMBER}\n[numbers]\n{NUMBER} = {{carrier = "telnyx"}}'
    )
    assert "agents.a.from_number" not in {each.setting for each in findings}


def test_secrets_of_tools_are_not_repeated(nowhere: Path) -> None:
    _, findings = found_in(
        nowhere,
        '[[agents.a.tools]]\nname = "t"\nurl = "https://x.example"\n'
        'headers = {A = "very-secret\\n"}\nmethd = "very-secret"',
    )
    assert findings
    assert "very-secret" not in repr(findings)


def test_a_model_without_a_price_is_noted(nowhere: Path) -> None:
    (nowhere / "offhook.toml").write_text('realtime_model = "my-model"')
    assert "prices.my-model" in {each.setting for each in check()[1]}
    (nowhere / "offhook.toml").write_text('realtime_model = "my-model"\n[prices.my-model]\naudio_in = 1.5')
    settings, findings = check()
    assert settings is not None
    assert "prices.my-model" not in {each.setting for each in findings}
