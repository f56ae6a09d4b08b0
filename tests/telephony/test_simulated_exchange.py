"""The person on a line between two streams: prompts, keys, and an orderly end."""

from telephony.caller import Caller, HangUp, Press, Wait
from telephony.link import LinkRefused
from telephony.outcome import EndedBy, StreamRecord
from telephony.party_lines import PartyLines
from telephony.simulated_exchange import Prompt, PromptEnd, Telephone, toned_speech
from tests.conftest import RunAsync


class Owner:
    def __init__(self) -> None:
        self.said: list[str] = []

    def key_pressed(self, digit: str) -> None:
        self.said.append(f"key {digit}")

    def stream_started(self, stream: StreamRecord) -> None:
        self.said.append("started")

    def stream_ended(self, stream: StreamRecord) -> None:
        self.said.append("ended")

    def stream_refused(self, url: str, reason: str) -> None:
        self.said.append(f"refused {reason}")

    def put_down(self) -> None:
        self.said.append("put down")


async def refusing(*_: object, **__: object) -> None:
    raise LinkRefused(403)


def telephone(owner: Owner, *script: Press | Wait | HangUp) -> Telephone:
    return Telephone(
        "telnyx",
        "v3:x",
        PartyLines(refusing),  # type: ignore[arg-type]  # it never returns
        Caller([*script]),
        owner,
        from_number="+13125550100",
        to_number="+13125550101",
    )


def test_prompts_are_heard_one_after_the_other(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ends: list[PromptEnd] = []
        phone = telephone(Owner(), Wait(0.5), HangUp())
        for what in "ab":
            phone.play(Prompt(what=what, audio=bytes(1_600), ended=ends.append))
        phone.play(Prompt(what="c", audio=bytes(1_600), loops=None, ended=ends.append))
        await phone.task
        assert [(round(heard.at, 2), heard.what) for heard in phone.prompts] == [
            (0.0, "a"),
            (0.1, "b"),
            (0.2, "c"),
        ]
        assert ends == [PromptEnd.COMPLETED, PromptEnd.COMPLETED, PromptEnd.HANGUP]
        assert phone.line.received >= 3_200

    virtual(scenario())


def test_a_prompt_that_is_stopped_is_not_heard_on(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ends: list[PromptEnd] = []
        phone = telephone(Owner(), Wait(0.2), HangUp())
        phone.play(Prompt(what="a", audio=bytes(16_000), ended=ends.append))
        phone.play(Prompt(what="b", audio=bytes(16_000), ended=ends.append))
        phone.stop()
        assert not phone.prompting
        await phone.task
        assert ends == [PromptEnd.CANCELLED] * 2
        assert phone.line.played(1.0) == 0

    virtual(scenario())


def test_the_owner_hears_of_keys_refused_streams_and_the_end(virtual: RunAsync) -> None:
    async def scenario() -> None:
        owner = Owner()
        phone = telephone(owner, Wait(0.1), Press("7", on=0.02, gap=0.02), HangUp())
        phone.attach("ws://nowhere")
        await phone.task
        assert owner.said == ["refused HTTP 403", "key 7", "put down"]
        assert phone.outcome is not None
        assert phone.outcome.ended_by is EndedBy.CALLER

    virtual(scenario())


def test_a_phone_that_the_carrier_hangs_up_never_puts_itself_down(virtual: RunAsync) -> None:
    async def scenario() -> None:
        owner = Owner()
        phone = telephone(owner)
        phone.detach()  # even before it has begun to run
        phone.hang_up()
        ends: list[PromptEnd] = []
        phone.play(Prompt(what="late", audio=b"", ended=ends.append))
        await phone.task
        assert owner.said == []
        assert ends == [PromptEnd.HANGUP]

    virtual(scenario())


def test_speech_is_as_long_as_its_text() -> None:
    assert len(toned_speech("Hello you")) == 9 * 520 * 2
    assert toned_speech("a") == toned_speech("a")
    assert not any(toned_speech(" "))
