"""A request's query and body, read into their models."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from multidict import MultiDict
from pydantic import Field

from control.api.endpoint import Body, NoBody, NoQuery, Query
from control.api.problem import Problem
from control.api.reading import LARGEST_BODY, PATIENCE, read_body, read_query, validated
from tests.conftest import RunAsync


class Page(Query):
    limit: int = Field(default=50, ge=1, le=100)
    search: str | None = None


class Note(Body):
    notes: str
    tags: list[str] = Field(default_factory=list)


class Wish(Body):
    """With nothing that must be there."""

    loud: bool = False


def connected_reader(loop: asyncio.AbstractEventLoop) -> StreamReader:
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return StreamReader(protocol, limit=2**21, loop=loop)


def body_of(
    virtual: RunAsync,
    model: type[Body],
    *parts: bytes,
    content_type: str | None = "application/json",
    ended: bool = True,
    cut_off_by: Exception | None = None,
) -> Any:
    """What is read of a body that comes in these parts."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        payload = connected_reader(loop)
        for part in parts:
            payload.feed_data(part)
        if cut_off_by is not None:
            payload.set_exception(cut_off_by)
        elif ended:
            payload.feed_eof()
        headers = {} if content_type is None else {"Content-Type": content_type}
        request = make_mocked_request("POST", "/", headers=headers, payload=payload)
        before = loop.time()
        try:
            return await read_body(model, request)
        except Problem as problem:
            return problem.status, problem.code, loop.time() - before

    return virtual(main())


def test_a_body_is_read_into_its_model_and_kept_as_it_came(virtual: RunAsync) -> None:
    note, raw = body_of(virtual, Note, b'{"notes": ', b'"rude"}')
    assert (note, raw) == (Note(notes="rude"), b'{"notes": "rude"}')


@pytest.mark.parametrize("content_type", ["application/json", None])
def test_no_body_is_a_body_without_fields(virtual: RunAsync, content_type: str | None) -> None:
    assert body_of(virtual, Wish, content_type=content_type) == (Wish(), b"")
    assert body_of(virtual, NoBody, content_type=content_type) == (NoBody(), b"")


@pytest.mark.parametrize(
    ("parts", "content_type", "refused"),
    [
        ([b"notes=rude"], "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        ([b"{}"], None, (415, "unsupported_media_type")),
        ([b"{}"], "text/json", (415, "unsupported_media_type")),
        ([b"{"], "application/json", (400, "invalid_json")),
        ([b"[]"], "application/json", (422, "invalid_body")),
        ([b'{"notes": 1}'], "application/json", (422, "invalid_body")),
        ([b"x" * 65_536] * 17, "application/json", (413, "content_too_large")),
    ],
)
def test_what_is_no_such_body_is_refused(
    virtual: RunAsync, parts: list[bytes], content_type: str | None, refused: tuple[int, str]
) -> None:
    assert body_of(virtual, Note, *parts, content_type=content_type)[:2] == refused


@pytest.mark.parametrize("value", [[], None, "notes", 1])
def test_what_is_no_object_is_told_in_words_of_json(value: object) -> None:
    with pytest.raises(Problem) as refused:
        validated(Note, value)
    assert [(fault.pointer, fault.detail) for fault in refused.value.errors] == [
        ("", "must be a JSON object")
    ]


def test_a_body_of_the_largest_size_is_read(virtual: RunAsync) -> None:
    head, tail = b'{"notes": "', b'"}'
    filling = b"x" * (LARGEST_BODY - len(head) - len(tail))
    note, _ = body_of(virtual, Note, head, filling, tail)
    assert len(note.notes) == len(filling)
    assert body_of(virtual, Note, head, filling, b"x", tail)[:2] == (413, "content_too_large")


def test_a_body_that_never_ends_is_given_up(virtual: RunAsync) -> None:
    assert body_of(virtual, Note, b'{"notes": ', ended=False) == (408, "request_timeout", PATIENCE)


@pytest.mark.parametrize("fault", [ConnectionResetError(), web.RequestPayloadError()])
def test_a_body_that_breaks_off_is_no_fault_of_ours(virtual: RunAsync, fault: Exception) -> None:
    assert body_of(virtual, Note, b'{"notes": ', cut_off_by=fault)[:2] == (400, "incomplete_body")


def problem_of(act: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as caught:
        act()
    return caught.value


def test_parameters_are_read_into_their_model() -> None:
    assert read_query(Page, MultiDict(limit="7", search="tea")) == Page(limit=7, search="tea")
    assert read_query(NoQuery, MultiDict()) == NoQuery()


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        (MultiDict(limt="7"), "limt: unknown field"),
        (MultiDict([("limit", "7"), ("limit", "8")]), "limit is given more than once"),
        (MultiDict(limit="0"), "limit: Input should be greater than or equal to 1"),
        (MultiDict(search="\0"), "a parameter holds U+0000"),
    ],
)
def test_a_typo_widens_no_filter(given: MultiDict[str], detail: str) -> None:
    problem = problem_of(lambda: read_query(Page, given))
    assert (problem.status, problem.code, problem.detail) == (400, "invalid_query", detail)


def test_faults_do_not_repeat_what_was_sent(virtual: RunAsync) -> None:
    """It may be a secret, in the wrong place."""

    async def main() -> Problem:
        loop = asyncio.get_running_loop()
        payload = connected_reader(loop)
        payload.feed_data(b'{"notes": {"secret": "4242"}, "tags": ["a", 4242]}')
        payload.feed_eof()
        headers = {"Content-Type": "application/json"}
        with pytest.raises(Problem) as caught:
            await read_body(Note, make_mocked_request("POST", "/", headers=headers, payload=payload))
        return caught.value

    problem = virtual(main())
    assert [fault.pointer for fault in problem.errors] == ["/notes", "/tags/1"]
    assert "4242" not in str(problem.errors) + problem.detail
