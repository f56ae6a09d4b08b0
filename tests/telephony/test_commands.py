"""Call commands: what all of them have in common."""

import dataclasses
from typing import get_args

import pytest

from telephony import commands
from telephony.calls import LegToken
from telephony.commands import CallCommand, Dial, GatherDigits, SendDigits

# Twilio ends the stream for these; a transfer and a gather are followed by a request that is asked for the next.
BREAKS_THE_STREAM = {"SendDigits", "StopGather", "Speak", "Play", "StopPlay"}


@pytest.mark.parametrize("command", get_args(CallCommand))
def test_every_command_can_be_repeated_and_is_addressed(command: type) -> None:
    assert command.__doc__
    fields = {field.name: field for field in dataclasses.fields(command)}
    assert fields["command_id"].kw_only
    assert ("carrier_call_id" in fields) == (command is not Dial)
    assert command.__dataclass_params__.frozen  # type: ignore[attr-defined]  # no public way to ask


def test_the_union_lists_every_command_of_the_module() -> None:
    named = {
        value
        for value in vars(commands).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and "command_id" in {field.name for field in dataclasses.fields(value)}
    }
    assert named == set(get_args(CallCommand))


def test_commands_that_break_a_stream_say_what_to_open_afterwards() -> None:
    with_reattach = {
        command.__name__
        for command in get_args(CallCommand)
        if "reattach" in {field.name for field in dataclasses.fields(command)}
    }
    assert with_reattach == BREAKS_THE_STREAM


def test_digits_stay_out_of_logs() -> None:
    command = SendDigits(command_id="1", carrier_call_id="CA1", token=LegToken("call_1"), digits="4711")
    assert "4711" not in repr(command)


def test_a_gather_has_the_defaults_of_the_api() -> None:
    asked = GatherDigits(command_id="1", carrier_call_id="CA1", token=LegToken("call_1"), prompt="PIN?")
    assert (asked.max_digits, asked.terminator, asked.timeout, asked.inter_digit_timeout, asked.language) == (
        10,
        "#",
        15,
        5,
        "en-US",
    )
