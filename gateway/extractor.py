"""Asks a chat model what a call was about, after its end: an OpenAI-compatible endpoint, asked again if it fails.

Nobody waits for it: the call is over, its record is kept, and what comes of this is added to it or is not.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI

from control.extraction import (
    MOST_TOKENS,
    AnswerRefused,
    Message,
    corrected,
    question,
    read_answer,
    response_format,
)
from control.json_schema import JsonSchema

log = structlog.get_logger()

# Seconds for one answer: a model that thinks takes its time, and nobody is on the line.
TIMEOUT = 60.0
# Waits before each repetition, in seconds.
PAUSES = (1.0, 5.0, 30.0)
# At a time; the others wait their turn. A burst of calls that end together is not a burst at the provider.
AT_ONCE = 4

_PASSING = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same question may fare better."""
_FORMAT_UNKNOWN = frozenset({400, 404, 422})
"""How servers refuse a `response_format` that they do not know."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What came of asking."""

    data: Mapping[str, object] | None = field(repr=False)
    """None where nothing could be extracted."""
    error: str | None = None
    """Why not; nothing of what was said."""
    attempts: int = 1
    passing: bool = False
    """Whether asking again, much later, may do better."""


class _Unanswered(Exception):
    """The endpoint gave no answer."""

    def __init__(self, why: str, *, again: bool, format_unknown: bool = False) -> None:
        super().__init__(why)
        self.again = again
        self.format_unknown = format_unknown


class Extractor:
    """Driven once per call that has ended. Owns its connections, until `close`."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        model: str,
        timeout: float = TIMEOUT,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._model = model
        self._pauses = tuple(pauses)
        self._client = AsyncOpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=0
        )
        self._room = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        await self._client.close()

    async def extract(
        self, call_id: str, transcript: Sequence[Mapping[str, object]], schema: JsonSchema
    ) -> Extraction:
        """Ask, and ask again; never raises for what the model or its server does wrong."""
        async with self._room:
            extraction = await self._extract(transcript, schema)
        log.info("call extracted", call_id=call_id, attempts=extraction.attempts, error=extraction.error)
        return extraction

    async def _extract(self, transcript: Sequence[Mapping[str, object]], schema: JsonSchema) -> Extraction:
        asked = first = question(transcript, schema)
        constrained, error, attempts, passing = True, "", 0, False
        for pause in (0.0, *self._pauses):
            await asyncio.sleep(pause)
            attempts += 1
            try:
                answer = await self._ask(asked, schema if constrained else None)
                return Extraction(read_answer(answer, schema), attempts=attempts)
            except AnswerRefused as refused:
                error, asked = "the model's answer does not fit the schema", corrected(first, answer, refused)
                passing = False
            except _Unanswered as failure:
                error, passing = str(failure), failure.again
                if failure.format_unknown and constrained:
                    constrained = False  # the question holds the schema in words, too
                elif not failure.again:
                    break
        return Extraction(None, error, attempts, passing)

    async def _ask(self, asked: Sequence[Message], schema: JsonSchema | None) -> str:
        # The SDK's types want a literal per role; ours are checked where they are made.
        messages: Any = [{"role": message.role, "content": message.content} for message in asked]
        more: Any = {} if schema is None else {"response_format": response_format(schema)}
        try:
            completion = await self._client.chat.completions.create(
                model=self._model, messages=messages, max_completion_tokens=MOST_TOKENS, **more
            )
        except APIStatusError as error:
            status = error.status_code
            raise _Unanswered(
                f"the endpoint answered {status}",
                again=status in _PASSING,
                format_unknown=status in _FORMAT_UNKNOWN,
            ) from error
        except APIConnectionError as error:  # a timeout is one
            raise _Unanswered("the endpoint was not reached in time", again=True) from error
        except (APIError, ValueError) as error:
            raise _Unanswered("the endpoint answered what is not JSON", again=True) from error
        return _content(completion)


def _content(completion: Any) -> str:  # noqa: ANN401  # the SDK believes whatever a server sends
    """The text of the first choice; servers of one's own send less than the SDK's types promise."""
    choices = getattr(completion, "choices", None)
    message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
    content = getattr(message, "content", None)
    return content if isinstance(content, str) else ""
