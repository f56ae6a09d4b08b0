"""What the simulated call control refuses before it looks at the call."""

import json

import pytest

from telephony.telnyx.rest_requests import ACTIONS, DIAL, Parameters, RequestRefused, Rule, check


def refused(rule: Rule, body: bytes) -> tuple[int, str, str | None]:
    with pytest.raises(RequestRefused) as refusal:
        check(rule, Parameters(body))
    error = json.loads(refusal.value.body())["errors"][0]
    assert error["code"] == refusal.value.code
    assert error["title"]
    return refusal.value.status, refusal.value.code, refusal.value.pointer


@pytest.mark.parametrize(
    ("action", "body", "code", "pointer"),
    [
        ("speak", b"{", "10015", None),
        ("speak", b"[]", "10015", None),
        ("speak", b'{"payload": "x"}', "10004", "/voice"),
        ("speak", b'{"payload": 1, "voice": "female"}', "10015", "/payload"),
        ("speak", b'{"payload": "x", "voice": "Alice"}', "90012", "/voice"),
        ("playback_start", b"{}", "10004", "/audio_url"),
        ("reject", b'{"cause": "BORED"}', "10032", "/cause"),
        ("send_dtmf", b'{"digits": "1x"}', "10015", "/digits"),
        ("send_dtmf", b'{"digits": "1", "duration_millis": 50}', "10033", "/duration_millis"),
        ("gather", b'{"maximum_digits": "4"}', "10015", "/maximum_digits"),
        ("transfer", b'{"to": "911"}', "10016", "/to"),
        ("hangup", b'{"client_state": "no base64!"}', "10015", "/client_state"),
    ],
)
def test_a_command_is_refused_with_code_and_pointer(
    action: str, body: bytes, code: str, pointer: str | None
) -> None:
    assert refused(ACTIONS[action], body)[1:] == (code, pointer)


def test_too_long_a_text_is_refused() -> None:
    body = json.dumps({"payload": "x" * 3_001, "voice": "Telnyx.KokoroTTS.af"}).encode()
    assert refused(ACTIONS["speak"], body)[1] == "10033"


def test_a_dial_takes_numbers_sip_addresses_and_lists_of_them() -> None:
    for to in ('"+13125550177"', '"sip:a@example.com"', '["+13125550177"]'):
        body = f'{{"connection_id": "1", "from": "+13125550101", "to": {to}}}'.encode()
        check(DIAL, Parameters(body))


def test_parameters_are_read_as_what_they_are() -> None:
    given = Parameters(
        b'{"loop": "infinity", "overlay": true, "timeout_millis": 1500,'
        b' "custom_headers": [{"name": "a", "value": "b"}],'
        b' "webhook_retries_policies": {"call.hangup": {"retries_ms": [1000, 2000]}}}'
    )
    assert given.loops() is None
    assert given.flag("overlay")
    assert given.seconds("timeout_millis", 0) == 1.5
    assert given.pairs("custom_headers") == {"a": "b"}
    assert given.retries("call.hangup") == (1.0, 2.0)
    assert given.retries("call.answered") is None
    assert Parameters(b"").loops() == 1
