"""The outputs: empty lists for each direction, and actions that compare by what they say."""

from control.outputs import CloseAgent, CloseCarrier, ConnectAgent, Finish, Outputs


def test_each_bridge_has_outputs_of_its_own() -> None:
    one, other = Outputs(), Outputs()
    one.carrier.append(b"x")
    one.actions.append(Finish("api"))
    assert (other.carrier, other.agent, other.recording, other.actions) == ([], [], [], [])


def test_an_action_is_what_it_says() -> None:
    """A replay compares actions by their words."""
    assert repr(CloseCarrier(1002)) == "CloseCarrier(code=1002)"
    assert repr(CloseAgent()) == "CloseAgent()"
    assert repr(ConnectAgent(0.5, "lost")) == "ConnectAgent(delay=0.5, reason='lost')"
    assert repr(Finish("api")) == "Finish(ended_reason='api')"
