"""One endpoint, declared once: from the same declaration come its route, its checks and its part of the document.

Theory of operation. A handler is given what was asked, already checked (`Asked`), and returns what is answered
(`Reply`) or raises a `Problem`. It never sees a header; who may ask, how often, and what a repetition means is the
business of `control.api.gate`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from control.api.problem import Problem
from control.stores.keys import ApiKey


class Access(Enum):
    """Which key an endpoint wants."""

    READ = "read"
    FULL = "full"
    ADMIN = "admin"


class Body(BaseModel):
    """What a request's body may be made of: nothing but its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Query(BaseModel):
    """The parameters of a request: nothing but these, each once."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoBody(Body):
    """The request has no body."""


class NoQuery(Query):
    """The request takes no parameters."""


Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class Asked(Generic[Q, B]):
    """A request that was let in and is well-formed."""

    key: ApiKey
    path: Mapping[str, str]
    query: Q
    body: B
    idempotency_key: str | None
    fingerprint: str
    """Of method, path and body: what makes a repetition the same request."""
    http: web.Request
    """For streams, which write their own answer."""

    @property
    def tenant_id(self) -> str:
        return self.key.tenant_id


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    body: BaseModel | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is no JSON."""

    text: str
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Reply | Text | Problem | web.StreamResponse
"""A `Problem` that is returned is what came of carrying the request out; one that is raised, that it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    """A line of the route table."""

    method: str
    path: str
    """With `{names}`, as aiohttp and OpenAPI both write them."""
    summary: str
    tag: str
    handler: Callable[[Asked[Q, B]], Awaitable[Answer]]
    access: Access = Access.READ
    query: type[Q]
    body: type[B]
    answers: Mapping[int, type[BaseModel] | str | None]
    """By status: a model, the media type of a text, or nothing."""
    also: tuple[str, ...] = ()
    """Media types that an answer may have instead, if it is asked for in another form."""
    problems: tuple[str, ...] = ()
    """Codes of `PROBLEM_CODES`, beyond those that every endpoint may answer."""
    once: bool = False
    """Whether it dials or commands: an `Idempotency-Key` makes its repetition harmless."""
    claims: bool = False
    """Whether the handler claims that key itself, in a transaction of its own; what it raises came before that."""
    harmless: bool = False
    """Whether its repetition is harmless without a key, too: then it waits for no database that is to keep one."""
    description: str = ""


AnyEndpoint = Endpoint[Query, Body]
"""An endpoint whose request is not of interest."""


def endpoint(
    method: str,
    path: str,
    handler: Callable[[Asked[Q, B]], Awaitable[Answer]],
    *,
    summary: str,
    tag: str,
    query: type[Q],
    body: type[B],
    answers: Mapping[int, type[BaseModel] | str | None],
    access: Access | None = None,
    also: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
    once: bool = False,
    claims: bool = False,
    harmless: bool = False,
    description: str = "",
) -> Endpoint[Q, B]:
    """Declare an endpoint; whatever changes something wants a full key, unless told otherwise."""
    if access is Access.ADMIN:
        problems = ("admin_key_required", *problems)
    return Endpoint(
        method=method,
        path=path,
        handler=handler,
        summary=summary,
        tag=tag,
        query=query,
        body=body,
        answers=answers,
        access=access or (Access.READ if method == "GET" else Access.FULL),
        also=also,
        problems=problems,
        once=once,
        claims=claims,
        harmless=harmless,
        description=description,
    )


def endpoints_of(tag: str) -> Callable[..., Endpoint[Any, Any]]:
    """Return what declares the endpoints of a tag, which have neither parameters nor body unless they say so."""

    def line(
        method: str,
        path: str,
        handler: Callable[[Asked[Any, Any]], Awaitable[Answer]],
        summary: str,
        answers: Mapping[int, type[BaseModel] | str | None],
        *problems: str,
        **more: Any,  # noqa: ANN401  # whatever `endpoint` takes
    ) -> Endpoint[Any, Any]:
        more = {"tag": tag, "query": NoQuery, "body": NoBody, **more}
        return endpoint(method, path, handler, summary=summary, answers=answers, problems=problems, **more)

    return line
