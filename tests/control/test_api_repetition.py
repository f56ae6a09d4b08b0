"""What an `Idempotency-Key` may be, and what a repetition is answered."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.problem import Problem
from control.api.repetition import fingerprint, idempotency_key, repeated
from control.stores.idempotency import Answered, Conflict, InProgress

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("key", ["a", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "x" * 255, "order:1/2"])
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert idempotency_key({"Idempotency-Key": key}) == key


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel", "a\n", "\0"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(Problem) as caught:
        idempotency_key({"Idempotency-Key": key})
    assert (caught.value.status, caught.value.code) == (400, "invalid_header")


def test_without_the_header_there_is_no_key() -> None:
    assert idempotency_key({}) is None


PARTS = st.tuples(st.sampled_from(["POST", "DELETE"]), st.text(st.characters(codec="ascii")), st.binary())


@given(PARTS, PARTS)
def test_only_the_same_request_has_the_same_fingerprint(
    one: tuple[str, str, bytes], other: tuple[str, str, bytes]
) -> None:
    paths_without_nul = "\0" not in one[1] + other[1]
    if paths_without_nul:
        assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(201, "application/json"), (422, "application/problem+json"), (204, "application/json")],
)
def test_an_answer_is_replayed_byte_for_byte(status: int, kind: str) -> None:
    response = repeated(Answered(status, b'{"a":1}'))
    assert (response.status, response.body, response.content_type) == (status, b'{"a":1}', kind)
    assert response.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("location", [None, "/v1/calls/call_1"])
def test_a_replayed_answer_points_where_the_first_one_did(location: str | None) -> None:
    response = repeated(Answered(201, b"{}", location))
    assert response.headers.get("Location") == location


def test_another_request_is_a_conflict() -> None:
    with pytest.raises(Problem) as caught:
        repeated(Conflict())
    assert (caught.value.status, caught.value.code) == (409, "idempotency_conflict")


@pytest.mark.parametrize("call_id", [None, "call_1"])
def test_a_request_that_still_runs_names_the_call_it_made(call_id: str | None) -> None:
    with pytest.raises(Problem) as caught:
        repeated(InProgress(NOON, call_id))
    assert (caught.value.status, caught.value.code) == (409, "idempotency_in_progress")
    assert caught.value.headers == {"Retry-After": "1"}
    assert ("call_1" in caught.value.detail) == (call_id is not None)
