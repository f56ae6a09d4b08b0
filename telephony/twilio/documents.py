"""The documents of one account's calls: what a command shows, with the URLs that Twilio asks and tells in return.

Pure: every URL is made of the public URL, the account's id and the leg's token.
"""

from telephony.calls import LegToken
from telephony.commands import (
    GatherDigits,
    MediaStream,
    Play,
    SendDigits,
    Speak,
    StopGather,
    StopPlay,
    Transfer,
)
from telephony.twilio import twiml
from telephony.twilio.twiml import Attachment
from telephony.twilio.webhooks import Endpoint, callback_url

Shown = SendDigits | GatherDigits | StopGather | Speak | Play | StopPlay | Transfer
"""Commands that put a document in place of the running one."""


class Documents:
    """Driven by whoever tells Twilio what to do: by REST (`client`), or in the answer to a request."""

    def __init__(self, public_url: str, integration_id: str) -> None:
        self._public_url = public_url
        self._integration_id = integration_id

    def url(self, endpoint: Endpoint, token: LegToken) -> str:
        return callback_url(self._public_url, self._integration_id, endpoint, token)

    def attach(self, stream: MediaStream, token: LegToken) -> str:
        """Open the media stream; when it ends, ask."""
        return twiml.connect(self._attachment(stream, token))

    def of(self, command: Shown) -> str:
        """Do as the command says; then open the stream that follows, or ask.

        Raises:
            ValueError: the command needs a stream that follows it, and has none.
        """
        match command:
            case SendDigits(digits=digits):
                return twiml.play_digits(digits, self._reattached(command))
            case GatherDigits(token=token):
                return twiml.gather(command, self.url(Endpoint.GATHER, token))
            case StopGather() | StopPlay():
                return twiml.connect(self._reattached(command))
            case Speak(text=text, voice=voice, language=language):
                return twiml.say(text, self._reattached(command), voice=voice, language=language)
            case Play(url=url, loop=loop):
                return twiml.play(url, self._reattached(command), loop=loop)
            case Transfer(token=token):
                action, leg = self.url(Endpoint.DIAL, token), self.url(Endpoint.LEG, token)
                return twiml.transfer(command, action=action, leg_status=leg)

    def _attachment(self, stream: MediaStream, token: LegToken) -> Attachment:
        return Attachment(
            stream=stream,
            after=self.url(Endpoint.AFTER_STREAM, token),
            status=self.url(Endpoint.STREAM, token),
        )

    def _reattached(self, command: SendDigits | StopGather | StopPlay | Speak | Play) -> Attachment:
        if command.reattach is None:
            raise ValueError(f"{type(command).__name__} on Twilio needs the stream that follows it")
        return self._attachment(command.reattach, command.token)
