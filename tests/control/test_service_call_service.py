"""The service: which call is meant, whether a new one may begin, and what becomes of words that belong to none."""

import asyncio
from typing import Any

import pytest

from control.agents import AgentConfig
from control.call import Call
from control.dialling import DialFailed, Dialled, DialRequest
from control.directory import Unlisted
from control.effects import Attach, PutDown
from control.requests import Accepted, After, EndCall, Refused, SendDigits
from control.service.call_service import REMEMBERED
from control.stores.idempotency import Claim, Conflict
from telephony.calls import Initiated, LegToken, TwimlPurpose, TwimlRequested
from telephony.causes import CallStatus, Direction, EndedReason
from telephony.client_errors import Verdict
from telephony.commands import Answer, Dial, Hangup, Reject, RejectReason
from tests.conftest import RunAsync
from tests.control.service_scene import OURS, THEIRS, Scene

TENANT = "default"


async def dial(scene: Scene, **options: Any) -> Any:
    return await scene.service.dial(TENANT, DialRequest(**{"to": THEIRS, "from_number": OURS, **options}))


async def talking(scene: Scene) -> str:
    """A dialled call that talks."""
    outcome = await dial(scene)
    assert isinstance(outcome, Dialled)
    call_id = outcome.record.call_id
    scene.answered("leg-1")
    scene.talks(call_id)
    await scene.settles()
    return call_id


def test_a_call_that_comes_in_is_on_record_before_it_is_answered(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await scene.rings()
        assert call_id in scene.room.media  # the agent connects while it rings
        scene.talks(call_id)
        assert scene.account.commands == []
        await scene.settles()
        (answer,) = scene.account.of(Answer)
        assert answer.token == LegToken(call_id)
        assert scene.kept(call_id).agent_id == "agent_default"
        await scene.close()

    virtual(scenario())


def test_what_the_agent_says_of_every_call_is_said_of_one_that_comes_in(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(
            default=AgentConfig(name="default", webhook_url="https://b.test/", metadata={"team": 7})
        )
        record = scene.service.live_record(TENANT, await scene.rings())
        assert record is not None
        assert (record.webhook_url, record.metadata) == ("https://b.test/", {"team": 7})
        await scene.close()

    virtual(scenario())


def test_words_find_their_call_by_any_of_its_names(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await scene.rings("leg-a")
        scene.talks(call_id)
        scene.answered("leg-a")
        scene.hung_up("leg-a")
        await scene.settles()
        record = scene.kept(call_id)
        assert (record.status, record.ended_reason) == (CallStatus.COMPLETED, EndedReason.CALLER_HANGUP)
        assert record.turn_count == 2
        assert record.transcript[0]["content"] == "Hello."
        assert [name for _, name in scene.shelf.published(call_id)] == [
            "call.ringing",
            "call.answered",
            "call.started",
            "call.ended",
        ]
        assert [number for number, _ in scene.shelf.published(call_id)] == [1, 2, 3, 4]
        await scene.close()

    virtual(scenario())


def test_another_accounts_words_are_not_believed_of_a_call(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await scene.rings("leg-a")
        event = Initiated(
            origin=scene.origin("leg-a", "x", LegToken(call_id)),
            direction=Direction.OUTBOUND,
            from_number="",
            to_number="",
        )
        scene.service.carrier_event("telnyx", "other", event)
        await scene.settles()
        assert "carrier.initiated" not in scene.shelf.names(call_id)[1:]
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize("trouble", ["full", "draining", "store", "overloaded"])
def test_a_house_that_cannot_take_a_call_says_busy_and_dials_nobody(virtual: RunAsync, trouble: str) -> None:
    async def scenario() -> None:
        scene = Scene(places=0 if trouble == "full" else 5)
        if trouble == "draining":
            scene.service.drain(True)
        elif trouble == "store":
            scene.shelf.away = True
            call_id = await scene.rings("leg-z")
            await scene.settles()
            assert scene.keeper.is_failing()
        elif trouble == "overloaded":
            scene.room.trouble = "overloaded: late"
        assert len(scene.service.unready()) == 1
        call_id = await scene.rings("leg-a")
        await scene.settles()
        reject = scene.account.of(Reject)[-1]
        assert (reject.carrier_call_id, reject.reason) == ("leg-a", RejectReason.BUSY)
        assert call_id not in scene.room.media
        refused = await dial(scene)
        assert isinstance(refused, Refused)
        assert refused.code in ("concurrent_call_limit", "draining", "store_unavailable", "overloaded")
        assert scene.account.of(Dial) == []
        await scene.close()

    virtual(scenario())


def test_a_tenant_at_its_limit_has_no_more_calls_until_one_is_over(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.tenants.put(max_calls=1)
        first = await scene.rings("leg-a")
        refused = await dial(scene)
        assert isinstance(refused, Refused)
        assert (refused.status, refused.code) == (429, "concurrent_call_limit")
        assert scene.account.of(Dial) == []
        await scene.rings("leg-b")
        await scene.settles()
        (reject,) = scene.account.of(Reject)
        assert (reject.carrier_call_id, reject.reason) == ("leg-b", RejectReason.BUSY)
        scene.hung_up("leg-a")
        await scene.settles()
        assert not scene.kept(first).live
        assert isinstance(await dial(scene), Dialled)
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize(
    ("named", "place"),
    [
        ({"provider": "nobody"}, "agent/provider"),
        ({"fallback_providers": ("spare", "nobody")}, "agent/fallback_providers/1"),
    ],
)
def test_an_agent_that_comes_with_a_dial_names_providers_that_there_are(
    virtual: RunAsync, named: dict[str, Any], place: str
) -> None:
    async def scenario() -> None:
        scene = Scene()
        refused = await dial(scene, agent=AgentConfig(name="adhoc", **named))
        assert isinstance(refused, Refused)
        assert (refused.status, refused.code) == (422, "provider_not_found")
        assert refused.detail.startswith(f"{place}: ")
        assert scene.account.commands == []
        known = AgentConfig(name="adhoc", provider="spare", fallback_providers=("default",))
        assert isinstance(await dial(scene, agent=known), Dialled)
        await scene.close()

    virtual(scenario())


def test_the_last_place_is_nobody_elses_while_a_dials_agent_is_looked_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(places=1)
        scene.tenants.put(TENANT, max_calls=10)
        scene.books.has("agent_1", tenant=TENANT)
        scene.books.delay = 0.5
        outcomes = await asyncio.gather(dial(scene, agent_id="agent_1"), dial(scene, agent_id="agent_1"))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Dialled", "Refused"]
        assert len(scene.account.of(Dial)) == 1
        await scene.close()

    virtual(scenario())


def test_a_drain_waits_for_a_dial_whose_agent_is_being_looked_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.has("agent_1", tenant=TENANT)
        scene.books.delay = 0.5
        dialled = asyncio.ensure_future(dial(scene, agent_id="agent_1"))
        await asyncio.sleep(0.1)
        finished = asyncio.ensure_future(scene.service.finish(0.0))
        await asyncio.sleep(0.1)
        assert not finished.done()
        assert isinstance(await dialled, Dialled)
        await asyncio.wait_for(finished, 60)
        assert not scene.service.live()
        await scene.close()

    virtual(scenario())


def test_another_tenants_calls_take_none_of_its_slots(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        for tenant in (TENANT, "acme"):
            scene.tenants.put(tenant, max_calls=1)
        await scene.rings("leg-a")
        scene.books.has("agent_1", tenant="acme")
        options: dict[str, Any] = {"to": THEIRS, "from_number": OURS, "agent_id": "agent_1"}
        assert isinstance(await scene.service.dial("acme", DialRequest(**options)), Dialled)
        assert isinstance(await scene.service.dial("acme", DialRequest(**options)), Refused)
        await scene.close()

    virtual(scenario())


def test_a_disabled_tenant_has_no_new_calls(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.tenants.put(disabled_at=scene.world.wall())
        refused = await dial(scene)
        assert isinstance(refused, Refused)
        assert (refused.status, refused.code) == (403, "tenant_disabled")
        await scene.rings("leg-a")
        await scene.settles()
        assert len(scene.account.of(Reject)) == 1
        await scene.close()

    virtual(scenario())


def test_a_call_that_does_not_come_about_leaves_its_slot(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.tenants.put(max_calls=1)
        scene.shelf.claims["k"] = Conflict()
        assert await dial(scene, claim=Claim(key="k", fingerprint="f")) == Conflict()
        await scene.settles()
        scene.room.trouble = "overloaded: late"
        await scene.rings("leg-a")
        await scene.settles()
        scene.room.trouble = None
        assert isinstance(await dial(scene), Dialled)
        await scene.close()

    virtual(scenario())


def test_a_number_that_nobody_has_is_not_found(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(unlisted=Unlisted.REJECT)
        call_id = await scene.rings()
        await scene.settles()
        (reject,) = scene.account.of(Reject)
        assert reject.reason is RejectReason.NOT_FOUND
        assert scene.kept(call_id).agent_id is None
        await scene.close()

    virtual(scenario())


def test_an_agent_whose_texts_lack_a_variable_takes_no_call(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(agents=[AgentConfig(name="sales", instructions="Ask for {{ order }}.")])
        refused = await dial(scene, agent_id="sales")
        assert isinstance(refused, Refused)
        assert refused.status == 422
        assert "order" in refused.detail
        fine = await dial(scene, agent_id="sales", variables={"order": "A7"})
        assert isinstance(fine, Dialled)
        assert fine.record.agent_id == "agent_sales"
        await scene.close()

    virtual(scenario())


def test_a_dial_is_on_record_before_the_carrier_is_asked(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.delay = 0.1
        outcome = asyncio.create_task(dial(scene))
        await asyncio.sleep(0.05)
        assert scene.account.commands == []
        done = await outcome
        assert isinstance(done, Dialled)
        assert done.certain
        assert done.record.carrier_call_id == "leg-1"
        (command,) = scene.account.of(Dial)
        assert command.token == LegToken(done.record.call_id)
        await scene.close()

    virtual(scenario())


def test_the_token_of_a_dialled_stream_lasts_as_long_as_it_may_ring(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await dial(scene, ring_timeout=120)
        assert scene.room.minted[0][1:] == (1, 130.0)
        await scene.close()

    virtual(scenario())


def test_a_key_that_was_used_before_dials_nobody(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.claims["k"] = Conflict()
        assert await dial(scene, claim=Claim(key="k", fingerprint="f")) == Conflict()
        assert scene.account.commands == []
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize(
    ("verdict", "status", "code"),
    [(Verdict.REJECTED, 422, "carrier_rejected"), (Verdict.UNAUTHORISED, 502, "carrier_unavailable")],
)
def test_a_refused_dial_is_answered_with_why_and_leaves_a_failed_call(
    virtual: RunAsync, verdict: Verdict, status: int, code: str
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.account.troubles[Dial] = [verdict]
        failed = await dial(scene)
        assert isinstance(failed, DialFailed)
        assert (failed.refused.status, failed.refused.code) == (status, code)
        (record,) = scene.shelf.records.values()
        assert record.status is CallStatus.FAILED
        await scene.close()

    virtual(scenario())


def test_a_dial_of_which_nothing_is_known_is_told_as_such(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene("twilio")
        scene.account.troubles[Dial] = [Verdict.UNKNOWN]
        outcome = await dial(scene)
        assert isinstance(outcome, Dialled)
        assert (outcome.certain, outcome.record.status) == (False, CallStatus.RINGING)
        assert len(scene.account.of(Dial)) == 1
        await scene.close()

    virtual(scenario())


def test_a_carrier_that_does_not_answer_the_dial_is_not_waited_for_for_ever(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.account.delay = 60.0
        outcome = await dial(scene)
        assert isinstance(outcome, Dialled)
        assert not outcome.certain
        await scene.close()

    virtual(scenario())


def test_without_a_number_or_an_account_nothing_can_be_dialled(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(agents=[AgentConfig(name="mute")])
        refused = await dial(scene, agent_id="mute", from_number=None)
        assert isinstance(refused, Refused)
        assert (refused.status, refused.code) == (422, "from_number_missing")
        refused = await dial(scene, carrier="twilio")
        assert isinstance(refused, Refused)
        assert refused.status == 422
        refused = await dial(scene, agent_id="nobody")
        assert isinstance(refused, Refused)
        assert refused.code == "agent_not_found"
        await scene.close()

    virtual(scenario())


def test_what_a_user_asks_is_answered_once_it_is_on_record(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        scene.shelf.delay = 0.1
        answer = asyncio.create_task(scene.service.ask(TENANT, call_id, EndCall(after=After.NOW)))
        await asyncio.sleep(0.05)
        assert scene.account.of(Hangup) == []
        assert await answer == Accepted()
        assert scene.kept(call_id).intent is EndedReason.API
        await scene.settles()
        assert len(scene.account.of(Hangup)) == 1
        await scene.close()

    virtual(scenario())


def test_a_hang_up_waits_for_no_database(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        scene.shelf.delay = 1_000.0
        began = scene.world.now()
        assert await scene.service.ask(TENANT, call_id, EndCall(after=After.NOW)) == Accepted()
        await asyncio.sleep(0)
        assert scene.world.now() - began <= 0.3
        assert len(scene.account.of(Hangup)) == 1
        assert scene.notebook.entries[0][0].intent is EndedReason.API
        await scene.close()

    virtual(scenario())


def test_another_tenants_call_is_not_there(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        assert await scene.service.ask("other", call_id, EndCall()) is None
        assert scene.service.live_record("other", call_id) is None
        assert scene.service.live_record(TENANT, call_id) is not None
        assert scene.service.gather_view("other", call_id) is None
        assert scene.service.transfer_view("other", call_id) is None
        await scene.close()

    virtual(scenario())


def test_a_call_that_is_over_and_forgotten_still_answers(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        scene.hung_up("leg-1")
        await asyncio.sleep(REMEMBERED + 1)
        assert scene.service.live_record(TENANT, call_id) is None
        assert await scene.service.ask(TENANT, call_id, EndCall()) == Accepted()
        refused = await scene.service.ask(TENANT, call_id, SendDigits(digits="1"))
        assert isinstance(refused, Refused)
        assert refused.code == "call_not_in_progress"
        assert scene.tasks.tasks == set()
        await scene.close()

    virtual(scenario())


def test_a_leg_of_ours_that_nobody_has_is_hung_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.say(
            Initiated(
                origin=scene.origin("leg-x", "initiated", LegToken("call_lost")),
                direction=Direction.OUTBOUND,
                from_number=OURS,
                to_number=THEIRS,
            )
        )
        await scene.settles()
        (hangup,) = scene.account.of(Hangup)
        assert hangup.carrier_call_id == "leg-x"
        await scene.close()

    virtual(scenario())


def test_a_question_about_a_call_that_is_not_here_ends_it(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene("twilio")
        asked = TwimlRequested(origin=scene.origin("CA9", "document"), purpose=TwimlPurpose.AFTER_STREAM)
        instruction, _ = await scene.service.document("twilio", "default", asked)
        assert instruction == PutDown()
        await scene.close()

    virtual(scenario())


def test_a_question_waits_for_the_agent_and_no_longer_than_it_may(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene("twilio")
        await scene.rings("CA1")
        asked = TwimlRequested(origin=scene.origin("CA1", "document"), purpose=TwimlPurpose.VOICE)
        began = scene.world.now()
        instruction, token = await scene.service.document("twilio", "default", asked)
        assert isinstance(instruction, Attach)
        assert token.call_id == scene.service.live()[0].call_id
        assert 1.0 <= scene.world.now() - began < 1.5
        await scene.close()

    virtual(scenario())


def test_a_drain_waits_for_calls_then_ends_them_politely(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        ending = asyncio.create_task(scene.service.finish(20.0))
        await asyncio.sleep(10)
        assert not ending.done()
        assert scene.kept(call_id).live
        await asyncio.sleep(30)
        assert ending.done()
        record = scene.kept(call_id)
        assert (record.live, record.drain_forced) == (False, True)
        await scene.close()

    virtual(scenario())


def test_a_second_signal_waits_for_nothing(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await talking(scene)
        ending = asyncio.create_task(scene.service.finish(1_000.0))
        await asyncio.sleep(1)
        scene.service.drain_within(0.0)
        await asyncio.sleep(20)
        assert ending.done()
        await scene.close()

    virtual(scenario())


def test_a_call_that_cannot_be_hung_up_is_not_forgotten(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        scene.account.troubles[Hangup] = [Verdict.UNAVAILABLE] * 20
        assert await scene.service.ask(TENANT, call_id, EndCall(after=After.NOW)) == Accepted()
        await asyncio.sleep(REMEMBERED + 60)
        assert not scene.kept(call_id).live
        tries = len(scene.account.of(Hangup))
        assert tries > 10
        assert scene.service.has(call_id)
        await asyncio.sleep(200)
        assert len(scene.account.of(Hangup)) == 21
        assert not scene.service.has(call_id)
        await scene.close()

    virtual(scenario())


def test_a_request_that_nobody_answers_is_answered_all_the_same(
    virtual: RunAsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        with monkeypatch.context() as patch:
            patch.setattr(Call, "handle", lambda *_: [])
            answer = await scene.service.ask(TENANT, call_id, SendDigits(digits="1"))
        assert isinstance(answer, Refused)
        assert answer.code == "carrier_unavailable"
        await scene.close()

    virtual(scenario())
