"""The OpenAPI 3.1 document: made of the route table, so that what is published is what is checked."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from control.api.endpoint import Access, Endpoint, NoBody, NoQuery
from control.api.problem_codes import PROBLEM_CODES
from control.api.published_events import Envelope, Told, webhook_models
from control.api.repetition import HEADER
from control.api.shapes import ProblemShape

_REF = "#/components/schemas/{model}"
# What any request with a key may be answered, whatever its endpoint.
_EVERYWHERE = (
    "missing_api_key", "invalid_api_key", "tenant_disabled", "auth_rate_limited", "rate_limited", "invalid_query",
    "internal_error", "store_unavailable",
)  # fmt: skip
# Any request may come with a body, where none is wanted, too.
_BODY = (
    "invalid_json", "incomplete_body", "request_timeout", "content_too_large", "unsupported_media_type", "invalid_body",
)  # fmt: skip
_ONCE = ("invalid_header", "idempotency_conflict", "idempotency_in_progress")
_MEANINGS = {200: "Done.", 201: "Made.", 202: "Accepted.", 204: "Gone.", 206: "A part of it."}

_INTRODUCTION = """\
Control of live calls, their records and their events.

Every answer that is an error is a problem (RFC 9457) with a stable `code` and a `trace_id`. A field that is unknown is
an error, too. Commands take an `Idempotency-Key`: the same key and body within a day are answered as they were the
first time.
"""


class Document:
    """Collects endpoints into one document."""

    def __init__(self, version: str, endpoints: Sequence[Endpoint[Any, Any]]) -> None:
        self._version = version
        self._endpoints = endpoints
        events = webhook_models()
        inputs = {(e.body, "validation") for e in endpoints if e.body is not NoBody}
        outputs: set[tuple[type[BaseModel], str]] = {
            (model, "serialization")
            for e in endpoints
            for model in e.answers.values()
            if model is not None and not isinstance(model, str)
        }
        published: list[type[BaseModel]] = [ProblemShape, Told, Envelope, *events.values()]
        outputs |= {(model, "serialization") for model in published}
        wanted: list[Any] = sorted(inputs | outputs, key=lambda each: (each[0].__name__, each[1]))
        self._refs, schemas = models_json_schema(wanted, ref_template=_REF)
        self._schemas: dict[str, Any] = schemas.get("$defs", {})
        self._events = events

    def as_dict(self) -> dict[str, Any]:
        paths: dict[str, dict[str, Any]] = {}
        for each in self._endpoints:
            paths.setdefault(each.path, {})[each.method.lower()] = self._operation(each)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Offhook",
                "version": self._version,
                "description": _INTRODUCTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"bearer": []}, {"api_key": []}],
            "paths": paths,
            "webhooks": {name: self._webhook(name) for name in sorted(self._events)},
            "components": {
                "schemas": self._schemas,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "ok_live_..."},
                    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                },
            },
        }

    def _operation(self, each: Endpoint[Any, Any]) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": _operation_id(each),
            "summary": each.summary,
            "tags": [each.tag],
            "parameters": self._parameters(each),
            "responses": self._responses(each),
        }
        if each.description:
            operation["description"] = each.description
        if each.body is not NoBody:
            required = any(field.is_required() for field in each.body.model_fields.values())
            schema = self._refs[(each.body, "validation")]
            operation["requestBody"] = {
                "required": required,
                "content": {"application/json": {"schema": schema}},
            }
        return operation

    def _parameters(self, each: Endpoint[Any, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in re.findall(r"{(\w+)}", each.path)
        ]
        if each.query is not NoQuery:
            schema = each.query.model_json_schema(ref_template=_REF)
            self._schemas |= schema.pop("$defs", {})
            for name, field in schema["properties"].items():
                parameter = {"name": name, "in": "query", "required": False, "schema": _without_null(field)}
                if "description" in field:
                    parameter["description"] = field["description"]
                found.append(parameter)
        if each.once:
            found.append(
                {
                    "name": HEADER,
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
                }
            )
        return found

    def _responses(self, each: Endpoint[Any, Any]) -> dict[str, Any]:
        responses: dict[str, Any] = {}
        for status, model in each.answers.items():
            content: dict[str, Any] = {}
            if isinstance(model, str):
                content = {model: {"schema": {"type": "string"}}}
            elif model is not None:
                content = {"application/json": {"schema": self._refs[(model, "serialization")]}}
            content |= {kind: {"schema": {"type": "string"}} for kind in each.also}
            responses[str(status)] = {
                "description": _MEANINGS[status],
                **({"content": content} if content else {}),
            }
        for problem_status, codes in sorted(_by_status(codes_of(each)).items()):
            responses[str(problem_status)] = self._problem(codes)
        return responses

    def _problem(self, codes: Sequence[str]) -> dict[str, Any]:
        return {
            "description": "\n".join(f"- `{code}`: {PROBLEM_CODES[code].meaning}" for code in codes),
            "content": {"application/problem+json": {"schema": self._refs[(ProblemShape, "serialization")]}},
        }

    def _webhook(self, name: str) -> dict[str, Any]:
        data = self._refs[(self._events[name], "serialization")]
        told, envelope = [self._refs[(model, "serialization")] for model in (Told, Envelope)]
        this = {"type": "object", "properties": {"event": {"const": name}}}
        schema = {
            "anyOf": [
                {"title": "envelope", "allOf": [envelope, this, {"properties": {"data": data}}]},
                {"title": "flat", "allOf": [told, this, data]},
            ]
        }
        return {
            "post": {
                "operationId": f"on_{name.replace('.', '_')}",
                "summary": name,
                "tags": ["Webhooks"],
                "security": [],
                "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
                "responses": {"2XX": {"description": "Received."}},
            }
        }


def codes_of(each: Endpoint[Any, Any]) -> list[str]:
    """Return every code that an endpoint may answer."""
    codes = [*_EVERYWHERE, *_BODY, *each.problems]
    if each.access is Access.FULL:
        codes.append("read_only_key")
    if each.once:
        codes += _ONCE
    return list(dict.fromkeys(codes))


def _by_status(codes: Sequence[str]) -> Mapping[int, list[str]]:
    statuses: dict[int, list[str]] = {}
    for code in codes:
        statuses.setdefault(PROBLEM_CODES[code].status, []).append(code)
    return statuses


def _without_null(field: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is not null: there is no null in a URL."""
    schema = {name: value for name, value in field.items() if name not in ("title", "description")}
    choices = [choice for choice in schema.pop("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema |= choices[0]
    if schema.get("default", "") is None:
        del schema["default"]
    return schema


def _operation_id(each: Endpoint[Any, Any]) -> str:
    words = re.sub(r"[{}]", "", each.path).removeprefix("/v1/").replace("/", "_").replace("-", "_")
    return f"{each.method.lower()}_{words}"
