"""What is asked of a carrier again, when, and what never is."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from control.effects import CommandDone, CommandOutcome, CommandRefused
from control.performer import HANGUP_PATIENCE, IDEMPOTENCY_WINDOW, PATIENCE, Pace, perform
from telephony.calls import LegToken
from telephony.capabilities import CAPABILITIES, Capabilities
from telephony.client_errors import CarrierCannot, CommandFailed, Performed, Verdict
from telephony.commands import CallCommand, Dial, Hangup, MediaStream, SendDigits, Transfer
from tests.virtual_time import run_virtual

TOKEN = LegToken("call_1")
DIGITS = SendDigits(command_id="c-1", carrier_call_id="leg", token=TOKEN, digits="1")
HANGUP = Hangup(command_id="c-2", carrier_call_id="leg")
DIAL = Dial(
    command_id="c-3",
    token=TOKEN,
    to="+13125550177",
    from_number="+13125550101",
    stream=MediaStream(url="wss://gateway.test/media/telnyx/t"),
)
TRANSFER = Transfer(
    command_id="c-4",
    carrier_call_id="leg",
    token=LegToken("call_1", "t_1"),
    destination="+13125550177",
    caller_id="+13125550101",
)


class Account:
    """A carrier whose requests end as scripted, then succeed."""

    def __init__(self, carrier: str, endings: Sequence[Verdict | CarrierCannot | float]) -> None:
        self.carrier = carrier
        self.asked: list[tuple[float, CallCommand]] = []
        self._endings = list(endings)

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES[self.carrier]

    async def perform(self, command: CallCommand) -> Performed:
        self.asked.append((asyncio.get_running_loop().time(), command))
        ending = self._endings.pop(0) if self._endings else None
        retry_after: float | None = None
        match ending:
            case None:
                return Performed(carrier_call_id="leg")
            case CarrierCannot():
                raise ending
            case float():
                verdict, retry_after = Verdict.RATE_LIMITED, ending
            case verdict:
                pass
        raise CommandFailed(self.carrier, "c", verdict, "its text", code="10011", retry_after=retry_after)


class Scene:
    def __init__(
        self,
        command: CallCommand,
        *endings: Verdict | CarrierCannot | float,
        carrier: str = "telnyx",
        answered_at: float = 0.0,
    ) -> None:
        self.account = Account(carrier, endings)
        self.outcome = run_virtual(self._perform(command, answered_at))
        self.times = [round(at, 3) for at, _ in self.account.asked]

    async def _perform(self, command: CallCommand, answered_at: float) -> CommandOutcome:
        loop = asyncio.get_running_loop()

        async def answered(patience: float) -> bool:
            await asyncio.sleep(max(0.0, min(answered_at - loop.time(), patience)))
            return loop.time() >= answered_at

        return await perform(self.account, command, Pace(loop.time, asyncio.sleep, answered))


def test_what_the_carrier_accepts_is_asked_once() -> None:
    scene = Scene(DIGITS)
    assert scene.outcome == CommandDone("c-1", Performed(carrier_call_id="leg"))
    assert scene.times == [0.0]


def test_a_refusal_is_final_and_says_the_carriers_own_words() -> None:
    scene = Scene(DIGITS, Verdict.REJECTED)
    assert scene.outcome == CommandRefused("c-1", Verdict.REJECTED, "its text", "10011")
    assert len(scene.times) == 1


def test_what_a_carrier_has_no_request_for_is_a_refusal() -> None:
    scene = Scene(DIGITS, CarrierCannot("twilio", "Refer"))
    assert scene.outcome == CommandRefused("c-1", Verdict.REJECTED, "twilio cannot Refer")


def test_a_rate_limit_is_waited_out_for_as_long_as_the_carrier_asks() -> None:
    assert Scene(DIGITS, 3.0).times == [0.0, 3.0]


def test_a_carrier_that_is_away_is_asked_less_and_less_often() -> None:
    assert Scene(DIGITS, *[Verdict.UNAVAILABLE] * 3).times == [0.0, 0.5, 1.5, 3.5]


def test_a_command_whose_moment_has_passed_is_given_up() -> None:
    scene = Scene(DIGITS, *[Verdict.UNAVAILABLE] * 50)
    assert isinstance(scene.outcome, CommandRefused)
    assert scene.times[-1] < PATIENCE


def test_a_hang_up_is_tried_for_minutes() -> None:
    scene = Scene(HANGUP, *[Verdict.UNAVAILABLE] * 500)
    assert isinstance(scene.outcome, CommandRefused)
    assert HANGUP_PATIENCE - 10.0 <= scene.times[-1] < HANGUP_PATIENCE


def test_what_came_too_early_is_asked_again_once_the_call_is_answered() -> None:
    scene = Scene(DIGITS, *[Verdict.NOT_ANSWERED] * 4, answered_at=6.0)
    assert isinstance(scene.outcome, CommandDone)
    assert scene.times[-1] >= 6.0


def test_a_dial_of_unknown_outcome_is_never_repeated_where_it_could_dial_twice() -> None:
    scene = Scene(DIAL, Verdict.UNKNOWN, carrier="twilio")
    assert scene.outcome == CommandRefused("c-3", Verdict.UNKNOWN, "its text", "10011")
    assert len(scene.times) == 1


def test_a_dial_of_unknown_outcome_goes_out_again_under_the_same_id_where_the_carrier_knows_it_again() -> (
    None
):
    scene = Scene(DIAL, Verdict.UNKNOWN, carrier="telnyx")
    assert isinstance(scene.outcome, CommandDone)
    assert [command for _, command in scene.account.asked] == [DIAL, DIAL]


def test_a_transfer_of_unknown_outcome_is_a_dial_too() -> None:
    assert len(Scene(TRANSFER, Verdict.UNKNOWN, carrier="twilio").times) == 1
    assert len(Scene(TRANSFER, Verdict.UNKNOWN, carrier="telnyx").times) == 2


@given(
    st.sampled_from([DIGITS, HANGUP, DIAL, TRANSFER]),
    st.lists(st.sampled_from(Verdict), max_size=40),
    st.sampled_from(["telnyx", "twilio"]),
)
def test_every_command_comes_to_one_outcome_and_no_dial_outlives_its_window(
    command: CallCommand, endings: list[Verdict], carrier: str
) -> None:
    scene = Scene(command, *endings, carrier=carrier)
    assert isinstance(scene.outcome, CommandDone | CommandRefused)
    final = (Verdict.REJECTED, Verdict.ALREADY_ENDED, Verdict.UNAUTHORISED)
    assert not any(verdict in final for verdict in endings[: len(scene.times) - 1])
    if command in (DIAL, TRANSFER) and Verdict.UNKNOWN in endings[: len(scene.times) - 1]:
        assert carrier == "telnyx"
        assert scene.times[-1] < IDEMPOTENCY_WINDOW
