"""The echo behaviour: every frame appended comes straight back as agent audio. The load profile."""

from media.realtime.server_behaviour import (
    CallerTurn,
    Reply,
    ResponseRequest,
    SessionFaults,
    Transcription,
)


class EchoBehaviour:
    """Nothing to decide: the session answers frames by itself while `echo` is true."""

    name = "echo"
    note = "Returns the caller's own audio frame by frame; no model is involved."
    echo = True
    keeps_audio = False
    faults = SessionFaults()

    def heard(self, turn: CallerTurn) -> Transcription | None:
        return Transcription(text="")

    def reply(self, request: ResponseRequest) -> Reply | None:
        return Reply(items=())

    def cancelled(self, response_id: str) -> None:
        """Nothing is owed."""
