"""TwiML documents, read back with an XML parser that is not the one that wrote them."""

from collections.abc import Callable
from xml.dom.minidom import Element, parseString

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.calls import LegToken
from telephony.commands import GatherDigits, MediaStream, RejectReason, Transfer, Voice
from telephony.twilio.twiml import (
    LONGEST_INLINE,
    Attachment,
    connect,
    gather,
    hangup,
    pause,
    play,
    play_digits,
    redirect,
    reject,
    say,
    transfer,
)

AFTER = "https://gw.example.com/carriers/twilio/default/after-stream/call_1"
STATUS = "https://gw.example.com/carriers/twilio/default/stream?token=call_1&x=1"
ATTACHMENT = Attachment(
    stream=MediaStream(url="wss://gw.example.com/media/twilio/token", parameters={"from": "+1", "b": '<"&>'}),
    after=AFTER,
    status=STATUS,
)
ACTION = "https://gw.example.com/carriers/twilio/default/gather/call_1~gather_1"
GATHER = GatherDigits(command_id="1", carrier_call_id="CA1", token=LegToken("call_1"), prompt="Your PIN?")
TRANSFER = Transfer(
    command_id="1",
    carrier_call_id="CA1",
    token=LegToken("call_1", "xfer_1"),
    destination="+13125550102",
    caller_id="+13125550101",
    ring_timeout=25,
    time_limit=3600,
)


def verbs(document: str) -> list[Element]:
    root = parseString(document).documentElement
    assert root is not None
    assert root.tagName == "Response"
    return [node for node in root.childNodes if isinstance(node, Element)]


def shown(element: Element) -> tuple[str, dict[str, str]]:
    return element.tagName, dict(element.attributes.items())


def only(element: Element, name: str) -> Element:
    (found,) = element.getElementsByTagName(name)
    return found


def text_of(element: Element) -> str:
    return "".join(child.data for child in element.childNodes if hasattr(child, "data"))


def transfer_to(destination: str) -> str:
    wanted = Transfer(
        command_id="1",
        carrier_call_id="CA1",
        token=LegToken("call_1", "xfer_1"),
        destination=destination,
        caller_id="+13125550101",
    )
    return transfer(wanted, action=ACTION, leg_status=STATUS)


def test_a_stream_is_connected_and_asked_after() -> None:
    connecting, redirecting = verbs(connect(ATTACHMENT))
    assert shown(connecting) == ("Connect", {"action": AFTER, "method": "POST"})
    assert shown(only(connecting, "Stream")) == (
        "Stream",
        {"url": "wss://gw.example.com/media/twilio/token", "statusCallback": STATUS},
    )
    parameters = [shown(element)[1] for element in connecting.getElementsByTagName("Parameter")]
    assert parameters == [{"name": "from", "value": "+1"}, {"name": "b", "value": '<"&>'}]
    assert (shown(redirecting), text_of(redirecting)) == (("Redirect", {"method": "POST"}), AFTER)


def test_a_stream_need_not_report() -> None:
    quiet = Attachment(stream=MediaStream(url="wss://gw.example.com/m/t"), after=AFTER)
    assert "statusCallback" not in connect(quiet)


def test_the_streams_undocumented_attributes_are_left_out() -> None:
    document = connect(ATTACHMENT)
    assert "audioFormat" not in document
    assert "sampleRate" not in document


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (RejectReason.BUSY, "busy"),
        (RejectReason.REJECTED, "rejected"),
        (RejectReason.NOT_FOUND, "rejected"),
        (RejectReason.UNAVAILABLE, "rejected"),
    ],
)
def test_a_reject_is_the_only_verb(reason: RejectReason, word: str) -> None:
    (verb,) = verbs(reject(reason))
    assert shown(verb) == ("Reject", {"reason": word})


def test_a_hangup_is_one_verb() -> None:
    (verb,) = verbs(hangup())
    assert shown(verb) == ("Hangup", {})


def test_a_redirect_is_one_verb() -> None:
    (verb,) = verbs(redirect("https://gw.example.com/a?b=1&c=2"))
    assert (shown(verb), text_of(verb)) == (
        ("Redirect", {"method": "POST"}),
        "https://gw.example.com/a?b=1&c=2",
    )


def test_a_gather_asks_and_is_asked_after_with_and_without_digits() -> None:
    gathering, redirecting = verbs(gather(GATHER, ACTION))
    assert shown(gathering) == (
        "Gather",
        {
            "input": "dtmf",
            "numDigits": "10",
            "finishOnKey": "#",
            "timeout": "15",
            "action": ACTION,
            "method": "POST",
            "actionOnEmptyResult": "true",
        },
    )
    prompt = only(gathering, "Say")
    assert (shown(prompt), text_of(prompt)) == (("Say", {"voice": "woman", "language": "en-US"}), "Your PIN?")
    assert (shown(redirecting)[0], text_of(redirecting)) == ("Redirect", ACTION)


def test_no_terminator_is_said_as_such() -> None:
    asked = GatherDigits(
        command_id="1",
        carrier_call_id="CA1",
        token=LegToken("call_1"),
        prompt="?",
        terminator="",
        timeout=5,
        inter_digit_timeout=8,
        voice=Voice.MALE,
        language="de-DE",
    )
    gathering, _ = verbs(gather(asked, ACTION))
    assert (gathering.getAttribute("finishOnKey"), gathering.hasAttribute("finishOnKey")) == ("", True)
    assert gathering.getAttribute("timeout") == "8"
    assert shown(only(gathering, "Say"))[1] == {"voice": "man", "language": "de-DE"}


def test_a_transfer_dials_bounded_and_is_asked_after() -> None:
    (dial,) = verbs(transfer(TRANSFER, action=ACTION, leg_status=STATUS))
    assert shown(dial) == (
        "Dial",
        {
            "action": ACTION,
            "method": "POST",
            "timeout": "25",
            "timeLimit": "3600",
            "callerId": "+13125550101",
            "answerOnBridge": "true",
        },
    )
    number = only(dial, "Number")
    assert shown(number) == (
        "Number",
        {
            "statusCallback": STATUS,
            "statusCallbackEvent": "initiated ringing answered completed",
            "statusCallbackMethod": "POST",
        },
    )
    assert text_of(number) == "+13125550102"


@pytest.mark.parametrize("destination", ["sip:ann@example.com", "SIPS:ann@example.com;transport=tls"])
def test_a_transfer_takes_sip_addresses(destination: str) -> None:
    (dial,) = verbs(transfer_to(destination))
    sip = only(dial, "Sip")
    assert text_of(sip) == destination
    assert sip.getAttribute("statusCallback") == STATUS


def test_digits_are_pressed_before_the_stream_comes_back() -> None:
    playing, connecting, _ = verbs(play_digits("1wW2#", ATTACHMENT))
    assert shown(playing) == ("Play", {"digits": "1www2#"})
    assert connecting.tagName == "Connect"


@pytest.mark.parametrize(("loop", "attribute"), [(1, "1"), (3, "3"), (None, "0")])
def test_a_file_is_played_as_often_as_asked(loop: int | None, attribute: str) -> None:
    playing, connecting, _ = verbs(play("https://gw.example.com/a.wav?x=1&y=2", ATTACHMENT, loop=loop))
    assert (shown(playing), text_of(playing)) == (
        ("Play", {"loop": attribute}),
        "https://gw.example.com/a.wav?x=1&y=2",
    )
    assert connecting.tagName == "Connect"


def test_words_are_said_before_the_stream_comes_back() -> None:
    saying, connecting, _ = verbs(say("Hello", ATTACHMENT, voice=Voice.MALE, language="fr-FR"))
    assert (shown(saying), text_of(saying)) == (("Say", {"voice": "man", "language": "fr-FR"}), "Hello")
    assert connecting.tagName == "Connect"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "connect": lambda: connect(ATTACHMENT),
    "say": lambda: say("Hello", ATTACHMENT),
    "play": lambda: play("https://gw.example.com/a.wav", ATTACHMENT),
    "play_digits": lambda: play_digits("1", ATTACHMENT),
    "pause": lambda: pause(1, ATTACHMENT),
    "gather": lambda: gather(GATHER, ACTION),
    "transfer": lambda: transfer(TRANSFER, action=ACTION, leg_status=STATUS),
    "redirect": lambda: redirect(AFTER),
    "hangup": hangup,
    "reject": lambda: reject(RejectReason.BUSY),
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_traps_13_and_27_every_document_ends_in_something_that_decides(document: Callable[[], str]) -> None:
    last = verbs(document())[-1]
    assert last.tagName in ("Redirect", "Hangup", "Reject", "Dial")
    assert last.tagName != "Dial" or last.getAttribute("action")


@pytest.mark.parametrize("name", ["say", "play", "play_digits", "pause"])
def test_trap_28_what_breaks_the_stream_opens_it_again(name: str) -> None:
    assert "Stream" in DOCUMENTS[name]()


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_documents_fit_into_a_rest_request(document: Callable[[], str]) -> None:
    assert len(document()) <= LONGEST_INLINE


@pytest.mark.parametrize(
    "url",
    [
        "wss://gw.example.com/media?token=t",
        "wss://gw.example.com/media#t",
        "https://gw.example.com/media",
        "ws://gw.example.com/media",
        "wss:///media",
        "/media",
    ],
)
def test_trap_21_a_stream_url_whose_token_twilio_would_lose_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="without a query"):
        connect(Attachment(stream=MediaStream(url=url), after=AFTER))


@pytest.mark.parametrize(("length", "fits"), [(495, True), (496, False)])
def test_a_parameter_longer_than_twilio_takes_is_refused(length: int, fits: bool) -> None:
    attachment = Attachment(
        stream=MediaStream(url="wss://gw.example.com/m", parameters={"name": "v" * length}), after=AFTER
    )
    if fits:
        assert "v" * length in connect(attachment)
    else:
        with pytest.raises(ValueError, match="longer than Twilio takes"):
            connect(attachment)


# Without the line ends that XML itself turns into others.
SPOKEN = st.text(st.characters(exclude_characters="\r"))


def legible(text: str) -> str:
    """XML 1.0 section 2.2, written another way than in the code."""
    return "".join(
        sign
        for sign in text
        if sign in "\t\n" or 0x20 <= ord(sign) < 0xD800 or 0xE000 <= ord(sign) < 0xFFFE or ord(sign) > 0xFFFF
    )


@given(SPOKEN)
def test_any_words_are_said_as_they_are_but_for_what_xml_cannot_hold(text: str) -> None:
    saying, *_ = verbs(say(text, ATTACHMENT))
    assert text_of(saying) == legible(text)


@given(st.text(max_size=100))
def test_no_words_can_become_a_verb(text: str) -> None:
    document = say(f"</Say><Hangup/>{text}]]><Dial>+1</Dial>", ATTACHMENT)
    assert [verb.tagName for verb in verbs(document)] == ["Say", "Connect", "Redirect"]
