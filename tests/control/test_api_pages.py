"""The document and its readers, served by us alone."""

import hashlib
import re
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

import control.api.pages
from control.api.pages import Pages
from control.api.problem import problems
from gateway.server import serving
from tests.conftest import RunAsync
from tests.served_api import Said, Users

pytestmark = pytest.mark.sockets

ASSETS = Path(control.api.pages.__file__).parent / "assets"
DOCUMENT = {"openapi": "3.1.0", "info": {"title": "Größe", "version": "1"}, "paths": {}}


def got(each_loop: RunAsync, *paths: str) -> list[Said]:
    async def main() -> list[Said]:
        app = web.Application(middlewares=[problems])
        Pages(DOCUMENT).add_to(app)
        async with serving(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
            return [await Users(session, port).ask("GET", path) for path in paths]

    return each_loop(main())


def test_the_document_is_served_as_it_is(each_loop: RunAsync) -> None:
    (said,) = got(each_loop, "/openapi.json")
    assert (said.status, said.json) == (200, DOCUMENT)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_asks_nobody_but_us(each_loop: RunAsync, page: str) -> None:
    (said,) = got(each_loop, page)
    assert said.headers["Content-Type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="([^"]+)"', said.body.decode())
    assert named
    assert all(name.startswith("/docs/assets/") for name in named)
    assert [each.status for each in got(each_loop, *named)] == [200] * len(named)
    policy = dict(part.split(" ", 1) for part in said.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("swagger-ui.css", "text/css"),
        ("swagger-start.js", "text/javascript"),
        ("redoc.standalone.js", "text/javascript"),
    ],
)
def test_an_asset_is_what_it_is_said_to_be(each_loop: RunAsync, name: str, kind: str) -> None:
    (said,) = got(each_loop, f"/docs/assets/{name}")
    assert said.headers["Content-Type"].split(";")[0] == kind
    assert said.headers["X-Content-Type-Options"] == "nosniff"
    assert said.body == (ASSETS / name).read_bytes()


@pytest.mark.parametrize("name", ["nothing.js", "SHA256SUMS", "..%2fpages.py", "LICENSE.redoc"])
def test_nothing_else_is_served(each_loop: RunAsync, name: str) -> None:
    (said,) = got(each_loop, f"/docs/assets/{name}")
    assert (said.status, said.code) == (404, "not_found")


def test_what_we_did_not_write_is_what_make_assets_wrote() -> None:
    """It writes the sums, too."""
    sums = dict(line.split()[::-1] for line in (ASSETS / "SHA256SUMS").read_text().splitlines())
    ours = {"swagger-start.js", "redoc-start.js"}
    assert set(sums) | ours == {path.name for path in ASSETS.iterdir() if path.suffix in (".js", ".css")}
    assert sums == {name: hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() for name in sums}


def test_no_asset_shows_a_picture_of_somebody_elses() -> None:
    scripts = b"".join(path.read_bytes() for path in ASSETS.glob("*.js"))
    assert re.findall(rb"""src[:=]["']https?://[^"']+""", scripts) == []


def test_every_licence_lies_beside_its_work() -> None:
    assert "Apache License" in (ASSETS / "LICENSE.swagger-ui").read_text()
    assert "MIT License" in (ASSETS / "LICENSE.redoc").read_text()
    for name in ("swagger-ui-bundle.js", "redoc.standalone.js"):
        assert f"{name}.LICENSE.txt" in (ASSETS / name).read_text()[:200]
        assert (ASSETS / f"{name}.LICENSE.txt").is_file()
