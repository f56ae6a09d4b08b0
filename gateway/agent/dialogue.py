"""What the local pipeline answers: a few rules, or any OpenAI-compatible chat completions URL."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# A phone call's patience; the caller hears silence meanwhile.
CHAT_TIMEOUT = 15.0
NO_ANSWER = "I am sorry, I cannot answer at the moment."
NOT_HEARD = "I am sorry, I did not hear you. Could you say that again?"
WELCOME = "Hello. How can I help you?"

RULES: Sequence[tuple[str, str]] = (
    (r"\b(bye|goodbye|that'?s all)\b", "Thank you for calling. Goodbye."),
    (r"\b(hello|hi|good (morning|afternoon|evening))\b", WELCOME),
    (r"\b(open|hours|close)\b", "We are open from nine to five, Monday to Friday."),
    (r"\b(human|agent|person|operator|representative)\b", "I will see who is free. Please hold on."),
    (r"\b(thank you|thanks)\b", "You are welcome. Is there anything else?"),
    (r"\bwho are you\b|\ba robot\b", "I am a local test agent, made of rules and a speech synthesiser."),
)


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the conversation so far."""

    role: str
    text: str


class Dialogue(Protocol):
    async def answer(self, said: Sequence[Said], instructions: str) -> str:
        """Answer the last thing said; an empty conversation wants a greeting."""
        ...


class Rules:
    """Answers by keyword; anything else is repeated, so that a tester hears what was understood."""

    async def answer(self, said: Sequence[Said], instructions: str) -> str:
        text = said[-1].text.strip() if said and said[-1].role == "user" else None
        if text is None:
            return quoted(instructions) or WELCOME
        if not text:
            return NOT_HEARD
        for pattern, answer in RULES:
            if re.search(pattern, text, re.IGNORECASE):
                return answer
        return f"You said: {text}"


class Chat:
    """Answers by a chat completions endpoint."""

    def __init__(self, base_url: str, model: str, *, api_key: str | None = None) -> None:
        # Here: the openai SDK takes most of a second to import, which every command would wait for.
        import openai

        self._failures = openai.OpenAIError
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=CHAT_TIMEOUT, max_retries=0
        )
        self._model = model

    async def answer(self, said: Sequence[Said], instructions: str) -> str:
        system = f"{instructions}\nYou are on the phone: answer in one or two short spoken sentences.".strip()
        turns = [{"role": each.role, "content": each.text} for each in said if each.text]
        try:
            completion = await self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": "system", "content": system}, *turns],  # type: ignore[list-item]  # roles are ours
                max_tokens=120,
            )
        except self._failures:
            return NO_ANSWER
        answer = completion.choices[0].message.content if completion.choices else None
        return (answer or "").strip() or NO_ANSWER

    async def close(self) -> None:
        await self._client.close()


def quoted(instructions: str) -> str | None:
    """Return the words between quotation marks: `Say exactly: "Welcome."`"""
    found = re.search(r"[\"“]([^\"”]{2,})[\"”]", instructions)
    return found.group(1) if found else None
