"""Answers of agents' servers, whatever they are: what they want, or why that cannot be understood."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.server_answers import MOST_ACTIONS, AnswerUnreadable, read_commands, read_started
from control.requests import After, EndCall, Gather, OnFailure, Say, TransferCall
from control.server_answer import ServerAnswer


def test_an_answer_changes_the_call_and_commands_it() -> None:
    answer = read_started(
        json.dumps(
            {
                "instructions": "Help.",
                "actions": [
                    {"type": "say", "text": "One moment.", "verbatim": True},
                    {"type": "transfer", "destination": "+13125550122", "on_failure": "hangup"},
                    {"type": "gather", "prompt": "Your number?", "sensitive": True},
                    {"type": "end", "after": "now"},
                ],
            }
        ).encode()
    )
    assert answer.changes.named() == ["instructions"]
    say, transfer, gather, end = answer.actions
    assert say == Say(text="One moment.", verbatim=True)
    assert isinstance(transfer, TransferCall)
    assert (transfer.destination, transfer.on_failure) == ("+13125550122", OnFailure.HANGUP)
    assert isinstance(gather, Gather)
    assert (gather.prompt, gather.sensitive) == ("Your number?", True)
    assert end == EndCall(after=After.NOW)


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"actions": []}', b'{"greeting": null}'])
def test_an_answer_may_want_nothing(body: bytes) -> None:
    assert read_started(body) == ServerAnswer()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "the answer is not JSON"),
        (b"[1]", "the answer is not an object"),
        (b'{"greetings": "Hi"}', "/greetings: unknown field"),
        (b'{"instructions": 7}', "/instructions: "),
        (b'{"actions": {"type": "end"}}', "/actions: "),
        (b'{"actions": [{"type": "dance"}]}', "/actions/0: "),
        (b'{"actions": [{"type": "end", "when": "now"}]}', "/actions/0/end/when: unknown field"),
        (
            b'{"actions": [{"type": "transfer", "destination": "nobody"}]}',
            "destination must be a valid E.164",
        ),
    ],
)
def test_what_cannot_be_understood_is_said_with_its_place(body: bytes, why: str) -> None:
    with pytest.raises(AnswerUnreadable, match=f"^{why}"):
        read_started(body)


def test_a_secret_in_an_answer_is_not_repeated() -> None:
    with pytest.raises(AnswerUnreadable) as caught:
        read_started(b'{"instructions": {"key": "s3cret"}}')
    assert "s3cret" not in str(caught.value)


def test_an_answer_has_so_many_actions_at_most() -> None:
    body = json.dumps({"actions": [{"type": "end"}] * (MOST_ACTIONS + 1)}).encode()
    with pytest.raises(AnswerUnreadable, match=r"^/actions"):
        read_started(body)


@pytest.mark.parametrize("body", [b"ok", b"[]", b'{"seen": true}', b""])
def test_whatever_else_an_answer_says_is_of_no_interest_where_only_commands_count(body: bytes) -> None:
    assert read_commands(body) == ServerAnswer()


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["actions", "type", "text", "tools", "greeting", "x"]), inner, max_size=3
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_an_answer_or_unreadable(body: bytes) -> None:
    for read in (read_started, read_commands):
        with suppress(AnswerUnreadable):
            assert isinstance(read(body), ServerAnswer)
