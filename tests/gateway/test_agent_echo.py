"""The echo behaviour has nothing to say of its own."""

from gateway.agent.echo import EchoBehaviour
from media.realtime.server import AgentServerSession


def test_a_session_that_echoes_is_told_to_by_its_behaviour() -> None:
    behaviour = EchoBehaviour()
    session = AgentServerSession(behaviour)
    session.opened(0.0)
    session.receive(b'{"type":"input_audio_buffer.append","audio":"AAAA"}', 0.0)
    assert behaviour.echo
    assert b'"delta":"AAAA"' in session.outgoing()[-1]
