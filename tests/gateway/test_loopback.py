"""`gateway.loopback`: which media URLs are opened in the clear."""

import pytest

from gateway.loopback import plain_on_loopback, plain_url
from telephony.link import LinkListener
from tests.conftest import RunAsync
from tests.memory_link import Dialled, MemoryLink, MemoryNetwork


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("wss://127.0.0.1:8080/media/twilio/t", "ws://127.0.0.1:8080/media/twilio/t"),
        ("wss://localhost/media/telnyx/t", "ws://localhost/media/telnyx/t"),
        ("wss://[::1]:8080/media/telnyx/t", "ws://[::1]:8080/media/telnyx/t"),
        ("wss://gateway.example.com/media/twilio/t", "wss://gateway.example.com/media/twilio/t"),
        ("wss://10.0.0.7/media/twilio/t", "wss://10.0.0.7/media/twilio/t"),
        ("ws://127.0.0.1:8080/media/twilio/t", "ws://127.0.0.1:8080/media/twilio/t"),
    ],
)
def test_only_this_machine_is_reached_without_tls(url: str, opened: str) -> None:
    assert plain_url(url) == opened


def test_the_headers_go_with_it(virtual: RunAsync) -> None:
    class Ear:
        def message_received(self, message: bytes) -> None: ...
        def pressure(self, paused: bool) -> None: ...
        def link_lost(self, code: int | None, reason: str) -> None: ...

    async def scenario() -> tuple[str, dict[str, str]]:
        network = MemoryNetwork()
        asked: list[tuple[str, dict[str, str]]] = []

        def accept(_: MemoryLink, dialled: Dialled) -> LinkListener:
            asked.append((dialled.url, dict(dialled.headers)))
            return Ear()

        network.serve("ws://127.0.0.1/", accept)
        connect = plain_on_loopback(network)
        await connect("wss://127.0.0.1/media/twilio/t", Ear(), headers={"x-twilio-signature": "s"})
        return asked[0]

    assert virtual(scenario()) == ("ws://127.0.0.1/media/twilio/t", {"x-twilio-signature": "s"})
