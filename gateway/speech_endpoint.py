"""A voice behind an OpenAI-compatible speech endpoint: `POST {base_url}/audio/speech`, answered with WAV."""

from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI

from gateway.speech import NO_NAMES, Speech, SpeechFailed, read_speech

# OpenAI renders a sentence in about a second; whoever waits longer hears silence.
TIMEOUT = 10.0


class SpeechEndpoint:
    """Asks the endpoint. WAV, because it tells its rate: servers of this wire speak at 16, 22.05 or 24 kHz."""

    available = True

    def __init__(
        self, base_url: str, *, api_key: str, model: str, voice: str, timeout: float = TIMEOUT
    ) -> None:
        self._model = model
        self._voice = voice
        # A prompt that is late is of no use: one attempt.
        self._client = AsyncOpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=0
        )

    async def close(self) -> None:
        await self._client.close()

    async def say(self, text: str, voice: str | None, language: str | None) -> Speech:
        """Return what the endpoint answers; it finds the language in the text itself.

        Raises:
            SpeechFailed: it is not reached in time, refuses, or answers something else.
        """
        try:
            answer = await self._client.audio.speech.create(
                model=self._model,
                voice=self._voice if voice is None or voice in NO_NAMES else voice,
                input=text,
                response_format="wav",
            )
            body = await answer.aread()
        except APITimeoutError as fault:
            raise SpeechFailed("the speech endpoint did not answer in time") from fault
        except APIConnectionError as fault:
            raise SpeechFailed("the speech endpoint was not reached") from fault
        except APIStatusError as fault:
            raise SpeechFailed(f"the speech endpoint answered {fault.status_code}") from fault
        return read_speech(body)
