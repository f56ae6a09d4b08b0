"""A year of calls, made up: the same for the same seed, and as uneven as real ones.

A few agents have most of the calls, most calls were answered, days are busier than nights, a few words are said all
the time and most hardly ever. `filling` puts them into a database.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from control.call_record import CallRecord
from telephony.causes import CallStatus, Direction, Disposition, EndedReason

TENANT = "tenant_bench"
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
AGENTS = 60
CALLERS = 50_000
LINES = 400
VOCABULARY = 20_000
TURNS = 4
WORDS = 60
CHUNK = 2_000

# How calls end, and how often.
_ENDS = (
    (CallStatus.COMPLETED, Disposition.ANSWERED, EndedReason.CALLER_HANGUP, 0.60),
    (CallStatus.COMPLETED, Disposition.ANSWERED, EndedReason.AGENT_HANGUP, 0.13),
    (CallStatus.COMPLETED, Disposition.TRANSFERRED, EndedReason.TRANSFER, 0.05),
    (CallStatus.COMPLETED, Disposition.VOICEMAIL, EndedReason.AGENT_HANGUP, 0.04),
    (CallStatus.NO_ANSWER, Disposition.NO_ANSWER, None, 0.10),
    (CallStatus.BUSY, Disposition.BUSY, None, 0.05),
    (CallStatus.FAILED, Disposition.FAILED, EndedReason.ERROR, 0.02),
    (CallStatus.CANCELED, Disposition.NO_ANSWER, EndedReason.API, 0.008),
    (CallStatus.REJECTED, Disposition.REJECTED, None, 0.002),
)
_HOURS = np.array(
    [1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 16, 14, 16, 18, 18, 16, 12, 8, 6, 4, 3, 2, 1], dtype=float
)


def agent(number: int) -> str:
    return f"agent_{number:04}"


def word(number: int) -> str:
    """A word that is no other number's; the lower, the more often it is said."""
    return "".join(
        "bdfgklmnprstvz"[digit % 14] + "aeiou"[digit % 5]
        for digit in (number, number // 14, number // 196, number // 2744)
    )


def caller(number: int) -> str:
    return f"+1555{number:07}"


def line(number: int) -> str:
    return f"+1800{number:07}"


def zipf(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Chances by rank."""
    weights = 1 / np.arange(1, count + 1)
    return np.asarray(weights / weights.sum())


def year(count: int, seed: int = 1) -> Iterator[list[CallRecord]]:
    """Make up so many calls, in the order of their beginnings, a chunk at a time."""
    random = np.random.default_rng(seed)
    hours = random.choice(24, size=count, p=_HOURS / _HOURS.sum())
    seconds = np.sort(
        random.integers(0, DAYS, count) * 86_400 + hours * 3600 + random.integers(0, 3600, count)
    )
    for begin in range(0, count, CHUNK):
        yield _chunk(random, seconds[begin : begin + CHUNK], begin)


def _chunk(random: np.random.Generator, seconds: Any, begin: int) -> list[CallRecord]:  # noqa: ANN401  # an array
    size = len(seconds)
    agents = random.choice(AGENTS, size, p=zipf(AGENTS))
    ends = random.choice(len(_ENDS), size, p=[each[3] for each in _ENDS])
    callers, lines = random.integers(0, CALLERS, size), random.choice(LINES, size, p=zipf(LINES))
    inbound, twilio = random.random(size) < 0.6, random.random(size) < 0.3
    lengths = random.gamma(2.0, 60.0, size)
    words = random.choice(VOCABULARY, (size, WORDS), p=zipf(VOCABULARY))
    latencies = random.gamma(6.0, 90.0, (size, TURNS))
    made = []
    for at in range(size):
        status, disposition, reason, _ = _ENDS[ends[at]]
        started = FIRST + timedelta(seconds=int(seconds[at]), microseconds=begin + at)
        answered = started + timedelta(seconds=6) if status is CallStatus.COMPLETED else None
        near, far = line(lines[at]), caller(callers[at])
        made.append(
            CallRecord(
                call_id=f"call_{begin + at:024x}",
                tenant_id=TENANT,
                agent_id=agent(agents[at]),
                agent_version=1,
                direction=Direction.INBOUND if inbound[at] else Direction.OUTBOUND,
                carrier="twilio" if twilio[at] else "telnyx",
                carrier_call_id=f"CA{begin + at:032x}",
                from_number=far if inbound[at] else near,
                to_number=near if inbound[at] else far,
                status=status,
                disposition=disposition,
                ended_reason=reason,
                started_at=started,
                answered_at=answered,
                ended_at=started + timedelta(seconds=6 + float(lengths[at]) * (answered is not None)),
                rate_per_minute=Decimal("0.0125"),
                llm_cost=Decimal(int(lengths[at] * 700)).scaleb(-6),
                turn_count=TURNS if answered else 0,
                metadata={"order": int(begin + at)},
                transcript=tuple(_said(words[at])) if answered else (),
                latency_turns=tuple(_turns(latencies[at])) if answered else (),
            )
        )
    return made


def _said(words: Any) -> Iterator[dict[str, object]]:  # noqa: ANN401  # an array
    for number in range(6):
        text = " ".join(word(int(each)) for each in words[number * 10 : number * 10 + 10])
        yield {"role": ("user", "assistant")[number % 2], "content": text, "timestamp": number * 5.0}


def _turns(latencies: Any) -> Iterator[dict[str, object]]:  # noqa: ANN401  # an array
    for number, latency in enumerate(latencies):
        first = round(float(latency))
        yield {
            "turn": number + 1,
            "ts": number * 12.0,
            "user_speech_ms": first * 3,
            "llm_ttfb_ms": first,
            "tts_start_ms": first + 20,
            "tts_ttfb_ms": first + 40,
            "first_audio_sent_ms": first + 45,
            "first_audio_heard_ms": first + 80,
        }
