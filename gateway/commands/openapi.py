"""`offhook openapi`: the API's document, as the gateway of this release serves it."""

import json
from dataclasses import fields
from typing import Any, NoReturn

import typer

from control.api.rest_api import ApiParts, RestApi
from gateway.server import our_version


def openapi() -> None:
    """Print the OpenAPI 3.1 document of the REST API."""
    typer.echo(json.dumps(document(), indent=2))


def document() -> dict[str, Any]:
    """Return the document: it is made of what endpoints declare, so nobody has to be there to serve them."""
    parts: dict[str, Any] = {part.name: _Absent() for part in fields(ApiParts)}
    return RestApi(ApiParts(**{**parts, "version": our_version(), "trusted_proxies": ()})).document()


class _Absent:
    """A part of the gateway, and whatever belongs to it, of which no request will be served."""

    def __getattr__(self, name: str) -> "_Absent":
        return _Absent()

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError("a document is made without asking anybody")
