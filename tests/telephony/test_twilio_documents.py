"""What each command shows a call, and the URLs that are asked and told for it."""

from xml.etree.ElementTree import fromstring

import pytest

from telephony.calls import LegToken
from telephony.commands import GatherDigits, MediaStream, SendDigits, Speak, StopGather, Transfer
from telephony.twilio.documents import Documents

DOCUMENTS = Documents("https://gw.example.com/", "main")
BASE = "https://gw.example.com/carriers/twilio/main"
TOKEN = LegToken("call_1")
STREAM = MediaStream(url="wss://gw.example.com/media/twilio/t")


def test_an_attached_stream_tells_and_asks_by_the_legs_name() -> None:
    connect, redirect = fromstring(DOCUMENTS.attach(STREAM, TOKEN))
    assert connect.get("action") == f"{BASE}/after-stream/call_1"
    assert connect[0].get("url") == STREAM.url
    assert connect[0].get("statusCallback") == f"{BASE}/stream?token=call_1"
    assert redirect.text == f"{BASE}/after-stream/call_1"


def test_a_gather_asks_under_its_own_name() -> None:
    asked = GatherDigits(
        command_id="1", carrier_call_id="CA1", token=LegToken("call_1", operation="g_1"), prompt="PIN?"
    )
    gather = fromstring(DOCUMENTS.of(asked))[0]
    assert gather.get("action") == f"{BASE}/gather/call_1~g_1"


def test_a_transfer_tells_of_both_legs() -> None:
    wanted = Transfer(
        command_id="1",
        carrier_call_id="CA1",
        token=LegToken("call_1", "t_1"),
        destination="+13125550102",
        caller_id="+13125550101",
    )
    dial = fromstring(DOCUMENTS.of(wanted))[0]
    assert dial.get("action") == f"{BASE}/dial/call_1.t_1"
    assert dial[0].get("statusCallback") == f"{BASE}/leg/call_1.t_1"


def test_what_breaks_a_stream_opens_the_next() -> None:
    for command in (
        SendDigits(command_id="1", carrier_call_id="CA1", token=TOKEN, digits="1w2", reattach=STREAM),
        Speak(command_id="1", carrier_call_id="CA1", token=TOKEN, text="Hello", reattach=STREAM),
        StopGather(command_id="1", carrier_call_id="CA1", token=TOKEN, reattach=STREAM),
    ):
        assert fromstring(DOCUMENTS.of(command)).find("Connect/Stream") is not None


def test_without_a_stream_that_follows_there_would_be_dead_air() -> None:
    with pytest.raises(ValueError, match="stream that follows"):
        DOCUMENTS.of(SendDigits(command_id="1", carrier_call_id="CA1", token=TOKEN, digits="1"))
