"""One call's commands: in order, hang-ups first, each with one outcome."""

import asyncio

from control.effects import CommandDone, CommandOutcome, CommandRefused
from control.service.commander import Commander
from telephony.calls import LegToken
from telephony.client_errors import Verdict
from telephony.commands import Hangup, SendDigits, Speak
from tests.conftest import RunAsync
from tests.control.service_scene import Scene

TOKEN = LegToken("call_1")


def digits(number: int) -> SendDigits:
    return SendDigits(command_id=f"d-{number}", carrier_call_id="leg", token=TOKEN, digits="1")


HANGUP = Hangup(command_id="h", carrier_call_id="leg")


class Stage:
    def __init__(self) -> None:
        self.scene = Scene()
        self.outcomes: list[CommandOutcome] = []
        self.commander = Commander(self.scene.account, self.scene.world, self.outcomes.append, name="call_1")

    def ids(self) -> list[str]:
        return [outcome.command_id for outcome in self.outcomes]


def test_commands_go_out_one_after_the_other(virtual: RunAsync) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.scene.account.delay = 1.0
        for number in range(3):
            stage.commander.perform(digits(number))
        await asyncio.sleep(1.5)
        assert [command.command_id for command in stage.scene.account.commands] == ["d-0", "d-1"]
        await asyncio.sleep(10)
        assert stage.ids() == ["d-0", "d-1", "d-2"]
        assert not stage.commander.busy
        await stage.scene.close()

    virtual(scenario())


def test_a_hang_up_waits_for_nobody(virtual: RunAsync) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.scene.account.delay = 1.0
        for number in range(3):
            stage.commander.perform(digits(number))
        stage.commander.perform(HANGUP)
        await asyncio.sleep(0.5)
        assert HANGUP in stage.scene.account.commands
        await stage.scene.close()

    virtual(scenario())


def test_what_was_to_be_done_to_a_call_that_is_over_is_not_asked_for(virtual: RunAsync) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.commander.ended()
        stage.commander.perform(digits(1))
        stage.commander.perform(HANGUP)
        await asyncio.sleep(1)
        assert stage.scene.account.commands == [HANGUP]
        refused = next(each for each in stage.outcomes if isinstance(each, CommandRefused))
        assert (refused.command_id, refused.verdict) == ("d-1", Verdict.ALREADY_ENDED)
        await stage.scene.close()

    virtual(scenario())


def test_what_came_too_early_is_asked_for_again_after_the_answer(virtual: RunAsync) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.scene.account.troubles[SendDigits] = [Verdict.NOT_ANSWERED] * 2
        stage.commander.perform(digits(1))
        await asyncio.sleep(0.1)
        stage.commander.answered()
        await asyncio.sleep(2)
        assert isinstance(stage.outcomes[0], CommandDone)
        await stage.scene.close()

    virtual(scenario())


def test_a_command_that_cannot_be_written_down_is_refused_and_its_call_goes_on(virtual: RunAsync) -> None:
    async def scenario() -> None:
        stage = Stage()

        async def cannot(command: object) -> object:
            raise ValueError("needs the stream that follows it")

        stage.scene.account.perform = cannot  # type: ignore[assignment,method-assign]  # as Twilio's client does
        stage.commander.perform(Speak(command_id="s", carrier_call_id="leg", token=TOKEN, text="hi"))
        await asyncio.sleep(1)
        (refused,) = stage.outcomes
        assert isinstance(refused, CommandRefused)
        assert refused.verdict is Verdict.REJECTED
        await stage.scene.close()

    virtual(scenario())


def test_cancelled_commands_tell_nobody(virtual: RunAsync) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.scene.account.delay = 100.0
        stage.commander.perform(digits(1))
        await asyncio.sleep(1)
        stage.commander.cancel()
        await asyncio.sleep(1)
        assert stage.outcomes == []
        assert not stage.commander.busy
        await stage.scene.close()

    virtual(scenario())
