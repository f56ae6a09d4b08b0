"""The composition root: settings become policies, and a gateway runs, takes a socket and drains."""

from pathlib import Path

import pytest
import websockets

from gateway.app import call_defaults, running
from gateway.settings import Settings
from media.audio import PCM16_24K, PCMA_8K, PCMU_8K
from tests.conftest import RunAsync


def settings(tmp_path: Path, **more: object) -> Settings:
    values: dict[str, object] = {"data_dir": tmp_path, "host": "127.0.0.1", "port": 0, "metrics_port": None}
    return Settings.model_validate({**values, "realtime_url": "ws://127.0.0.1:9/v1/realtime", **more})


@pytest.mark.parametrize(("name", "fmt"), [("auto", PCMU_8K), ("pcma", PCMA_8K), ("pcm16", PCM16_24K)])
def test_formats_by_name(tmp_path: Path, name: str, fmt: object) -> None:
    chosen = settings(tmp_path, realtime_input_format=name)
    assert call_defaults(chosen).provider.config.input_format == fmt


@pytest.mark.sockets
def test_a_gateway_runs_takes_a_call_and_leaves_its_record(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(settings(tmp_path, media_auth="none", drain_s=1)) as gateway:
            async with websockets.connect(gateway.media_url("twilio", "any")) as carrier:
                await carrier.send(
                    '{"event":"start","streamSid":"MZ1","start":{"streamSid":"MZ1","callSid":"CA1"}}'
                )
                await carrier.send('{"event":"stop","streamSid":"MZ1"}')
                await carrier.wait_closed()
            await gateway.calls.idle()
            assert gateway.calls.counts.ended == 1
        assert gateway.calls.unready() == ["draining"]

    real(scenario())
    (record,) = (tmp_path / "calls").iterdir()
    assert '"caller-hangup"' in record.read_text()
