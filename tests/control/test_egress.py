"""Requests and failures say what they may and keep the rest to themselves."""

import pytest

from control.egress import EgressFailed, EgressFault, EgressRefused, OutgoingAnswer, OutgoingRequest


def test_a_request_shows_nothing_that_may_be_secret() -> None:
    request = OutgoingRequest(url="https://h/secret", headers={"x": "secret"}, body=b"secret")
    assert "secret" not in repr(request)
    assert "secret" not in repr(OutgoingAnswer(status=200, headers={"set-cookie": "secret"}, body=b"secret"))


def test_a_refusal_is_a_failure_that_says_so() -> None:
    refused = EgressRefused("it is private")
    assert isinstance(refused, EgressFailed)
    assert (refused.fault, refused.detail, str(refused)) == (
        EgressFault.REFUSED,
        "it is private",
        "refused: it is private",
    )


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (299, True), (300, False)])
def test_success_is_any_status_of_200(status: int, ok: bool) -> None:
    assert OutgoingAnswer(status=status).ok is ok
