"""A store of objects on this machine that speaks S3: moto's server, asked over real HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

from gateway.recording_store import S3Account

BUCKET = "calls"


@dataclass(slots=True)
class S3Server:
    """Where it is; `stop` and `start` take it away and bring it back, empty."""

    port: int
    _server: ThreadedMotoServer

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/recordings"

    @property
    def account(self) -> S3Account:
        return S3Account(key_id="key", secret="secret", region="us-east-1", endpoint=self.endpoint)

    def settings(self) -> dict[str, Any]:
        """What the gateway is told."""
        return {
            "recording_store": self.url,
            "recording_store_endpoint": self.endpoint,
            "recording_store_region": "us-east-1",
            "recording_store_key_id": "key",
            "recording_store_secret": "secret",
        }

    def make_bucket(self) -> None:
        _ask(f"{self.endpoint}/{BUCKET}", "PUT")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        """Start again, at the same address."""
        self._server = _started(self.port)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with one bucket."""
    server = _started(0)
    _, port = server.get_host_and_port()
    found = S3Server(port, server)
    _ask(f"{found.endpoint}/moto-api/reset", "POST")
    found.make_bucket()
    try:
        yield found
    finally:
        found.stop()


def _started(port: int) -> ThreadedMotoServer:
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    return server


def _ask(url: str, method: str) -> None:
    with urlopen(Request(url, method=method, data=b"")) as answer:
        assert answer.status == 200
