"""`offhook replay`: same, different, or no trace at all."""

from pathlib import Path

from typer.testing import CliRunner

from gateway.__main__ import app

cli = CliRunner()
GOLDEN = Path(__file__).parents[1] / "calls" / "twilio-barge-in.jsonl"


def test_a_golden_call_is_the_same() -> None:
    result = cli.invoke(app, ["replay", str(GOLDEN), "--timeline"])
    assert result.exit_code == 0
    assert "the same" in result.output
    assert "barge_in" in result.output


def test_another_answer_is_a_difference(tmp_path: Path) -> None:
    changed = tmp_path / "changed.jsonl"
    changed.write_text(GOLDEN.read_text().replace('\\"event\\":\\"clear\\"', '\\"event\\":\\"cleer\\"'))
    result = cli.invoke(app, ["replay", str(changed)])
    assert result.exit_code == 1
    assert "differs" in result.output


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"hello": 1}\n')
    for path in (other, tmp_path / "missing.jsonl"):
        assert cli.invoke(app, ["replay", str(path)]).exit_code == 2
