"""The model's calls of the gateway's own tools, read into requests or refused with why."""

from control.agents import AgentConfig
from control.brief import ToolRefused
from control.requests import EndCall, Gather, TransferCall
from control.service.built_in_tools import built_in_of
from control.service.reception import Reception
from tests.control.service_scene import BEGUN, an_agent, house

CONFIG = AgentConfig.model_validate(
    {
        "name": "sales",
        "end_call_enabled": True,
        "transfer_targets": [{"name": "billing", "destination": "+13125550188"}],
        "tools": [{"name": "gather_digits"}],
    }
)
AGENT = Reception(house()).effective(an_agent(CONFIG), {}, customer=None, headers={}, now=BEGUN)
read = built_in_of(AGENT, lambda prefix: f"{prefix}_1")


def test_what_the_model_wants_is_a_request_like_a_users() -> None:
    assert read("end_call", "{}") == EndCall()
    assert read("end_call", "") == EndCall()
    assert read("transfer_call", '{"target": "billing"}') == TransferCall(
        transfer_id="transfer_1", destination="+13125550188"
    )
    gather = read("gather_digits", '{"prompt": "Your number?", "max_digits": 4}')
    assert isinstance(gather, Gather)
    assert (gather.prompt, gather.max_digits) == ("Your number?", 4)


def test_what_does_not_fit_is_refused_with_why() -> None:
    for arguments in ("no json", "[1]", '{"target": "sales"}', '{"target": "billing", "more": 1}'):
        refused = read("transfer_call", arguments)
        assert isinstance(refused, ToolRefused), arguments
        assert refused.detail


def test_a_tool_that_the_agent_does_not_have_is_none_of_the_gateways() -> None:
    assert read("send_dtmf", '{"digits": "1"}') is None
    assert read("look_up_order", "{}") is None
    assert built_in_of(None, str)("end_call", "{}") is None
