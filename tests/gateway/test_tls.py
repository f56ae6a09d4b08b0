"""The public port's certificate, and what a reload does."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.server import serving
from gateway.tls import Certificate
from tests.conftest import RunAsync

pytestmark = pytest.mark.sockets


def write_pair(folder: Path, name: str) -> None:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def shown(port: int) -> str:
    """The name in the certificate that a new connection is shown."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


def test_new_connections_see_the_certificate_as_it_was_last_reloaded(real: RunAsync, tmp_path: Path) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def scenario() -> None:
        write_pair(tmp_path, "first")
        certificate = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
        app = web.Application()
        app.router.add_get("/", hello)
        async with serving(app, "127.0.0.1", 0, tls=certificate.context) as port:
            look = asyncio.to_thread
            assert await look(shown, port) == "CN=first"
            trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
            trusting.check_hostname = False
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"https://127.0.0.1:{port}/", ssl=trusting) as answer,
            ):
                assert await answer.text() == "hello"
            write_pair(tmp_path, "second")
            certificate.reload()
            assert await look(shown, port) == "CN=second"
            (tmp_path / "cert.pem").write_text("no certificate")
            certificate.reload()
            assert await look(shown, port) == "CN=second"

    real(scenario())


def test_files_that_are_none_keep_the_gateway_from_starting(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    write_pair(tmp_path, "first")
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(ssl.SSLError):
        Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
