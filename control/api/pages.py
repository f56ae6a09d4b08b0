"""The document for people and programs: `/openapi.json`, and two readers of it that need nobody else's server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

_ASSETS = Path(__file__).parent / "assets"
_TYPES = {".js": "text/javascript", ".css": "text/css"}
# ReDoc works in a blob; both write their styles into the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; child-src blob:; font-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SAFE = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_SWAGGER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Offhook API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/assets/swagger-start.js"></script>
</body></html>
"""
_REDOC = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Offhook API</title></head>
<body style="margin:0"><div id="redoc"></div>
<script src="/docs/assets/redoc.standalone.js"></script><script src="/docs/assets/redoc-start.js"></script>
</body></html>
"""


class Pages:
    """Serves the document as it was when the gateway started."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.dumps(document, ensure_ascii=False).encode()
        self._assets = {path.name: path for path in _ASSETS.iterdir() if path.suffix in _TYPES}

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_get("/docs", self._swagger)
        app.router.add_get("/redoc", self._redoc)
        app.router.add_get("/docs/assets/{name}", self._asset)

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json", headers=_SAFE)

    async def _swagger(self, _: web.Request) -> web.Response:
        return web.Response(text=_SWAGGER, content_type="text/html", headers=_SAFE)

    async def _redoc(self, _: web.Request) -> web.Response:
        return web.Response(text=_REDOC, content_type="text/html", headers=_SAFE)

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        path = self._assets.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        headers = {**_SAFE, "Content-Type": _TYPES[path.suffix], "Cache-Control": "max-age=86400"}
        return web.FileResponse(path, headers=headers)
