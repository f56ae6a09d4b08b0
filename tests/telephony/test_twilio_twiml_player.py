"""Documents as Twilio reads them: those our own builder writes, and those it must refuse."""

import pytest
from twilio.twiml.voice_response import Dial as SdkDial
from twilio.twiml.voice_response import Gather as SdkGather
from twilio.twiml.voice_response import VoiceResponse

from telephony.calls import LegToken
from telephony.commands import GatherDigits, MediaStream, RejectReason, Transfer
from telephony.twilio import twiml
from telephony.twilio.twiml_player import (
    Dial,
    Gather,
    Hangup,
    Pause,
    Play,
    Redirect,
    Reject,
    Say,
    Stream,
    TwimlRefused,
    read,
)

AFTER = "https://gw.example.com/after"
ATTACHED = twiml.Attachment(
    stream=MediaStream(url="wss://gw.example.com/media/t", parameters={"k": "v & w"}),
    after=AFTER,
    status=AFTER,
)
STREAM = Stream(
    url="wss://gw.example.com/media/t",
    action=AFTER,
    method="POST",
    parameters={"k": "v & w"},
    status_callback=AFTER,
)


def test_every_document_of_our_builder_is_read_as_it_was_meant() -> None:
    then = (STREAM, Redirect(AFTER, "POST"))
    assert read(twiml.connect(ATTACHED)).verbs == then
    assert read(twiml.say("Hi <you>", ATTACHED)).verbs == (Say("Hi <you>"), *then)
    assert read(twiml.play("https://a/b.wav", ATTACHED, loop=None)).verbs[0] == Play(
        "https://a/b.wav", loops=None
    )
    assert read(twiml.play_digits("1W", ATTACHED)).verbs[0] == Play(digits="1ww")
    assert read(twiml.pause(2, ATTACHED)).verbs[0] == Pause(2.0)
    assert read(twiml.redirect(AFTER)).verbs == (Redirect(AFTER, "POST"),)
    assert read(twiml.hangup()).verbs == (Hangup(),)
    assert read(twiml.reject(RejectReason.BUSY)).verbs == (Reject(True),)


def test_a_gather_and_a_transfer_are_read_with_all_they_ask_for() -> None:
    asked = GatherDigits(
        command_id="c",
        carrier_call_id="CA",
        token=LegToken("a"),
        prompt="Number?",
        max_digits=4,
        terminator="",
    )
    gather = read(twiml.gather(asked, AFTER)).verbs[0]
    assert gather == Gather(
        prompts=(Say("Number?"),),
        action=AFTER,
        method="POST",
        num_digits=4,
        finish_on_key="",
        timeout=15.0,
        action_on_empty_result=True,
    )
    wanted = Transfer(
        command_id="c",
        carrier_call_id="CA",
        token=LegToken("a", "t"),
        destination="+13125550177",
        caller_id="+13125550101",
    )
    dial = read(twiml.transfer(wanted, action=AFTER, leg_status=AFTER)).verbs[0]
    assert isinstance(dial, Dial)
    assert (dial.to, dial.timeout, dial.caller_id) == ("+13125550177", 30, "+13125550101")
    assert dial.status_events == ("initiated", "ringing", "answered", "completed")
    assert dial.answer_on_bridge


def test_twilios_own_defaults_hold_where_a_document_says_nothing() -> None:
    response = VoiceResponse()
    response.append(SdkGather())
    response.append(SdkDial("+13125550177"))
    gather, dial = read(str(response)).verbs
    assert isinstance(gather, Gather)
    assert (gather.timeout, gather.finish_on_key, gather.action_on_empty_result) == (5.0, "#", False)
    assert isinstance(dial, Dial)
    assert (dial.to, dial.timeout, dial.status_events) == ("+13125550177", 30, ("completed",))


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("", "12100"),
        ("<Response>", "12100"),
        ("<Say/>", "12100"),
        ("<Response><Sing/></Response>", "12200"),
        ("<Response><Pause length='long'/></Response>", "12200"),
        ("<Response><Redirect method='PUT'>/x</Redirect></Response>", "12200"),
        ("<Response><Gather><Hangup/></Gather></Response>", "12200"),
        ("<Response><Dial/></Response>", "12200"),
        ("<Response><Dial><Conference>a</Conference></Dial></Response>", "12200"),
        ("<Response><Connect/></Response>", "12200"),
        ("<Response><Connect><Stream url='wss://a/b?c'/></Connect></Response>", "31920"),
        ("<Response><Connect><Stream url='http://a'/></Connect></Response>", "31922"),
    ],
)
def test_what_twilio_would_not_play_is_refused_with_its_code(document: str, code: str) -> None:
    with pytest.raises(TwimlRefused) as refused:
        read(document)
    assert refused.value.code == code
