"""What is made of a recording's transcription: who said what when, from what a model heard on each track. Pure.

The tracks are transcribed apart: who speaks is known by the track, and neither voice covers the other. A long track
goes in pieces, since endpoints take files up to a size (OpenAI: 25 MB).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PIECE = 600
"""Seconds of a track that are sent at once: 9.6 MB at 8 kHz."""
ROLES = ("user", "assistant")
"""Of the left and the right track."""

# Below this a track is silent, which models fill with words of their own: -50 dBFS.
_SILENT = 104


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one track: PCM16, mono."""

    role: str
    begin: float
    """Seconds from the recording's beginning."""
    audio: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """A sentence that a model heard."""

    at: float
    """Seconds from the beginning of what it was given."""
    text: str


def pieces(stereo: bytes, rate: int, begin: float) -> list[Piece]:
    """Return what is worth listening to of a stretch of a recording: its tracks, unless they are silent."""
    samples: npt.NDArray[np.int16] = np.frombuffer(stereo, "<i2").reshape(-1, len(ROLES))
    found = []
    for channel, role in enumerate(ROLES):
        track = samples[:, channel]
        loud = np.flatnonzero(np.abs(track.astype(np.int32)) > _SILENT)
        if loud.size:
            # Leading silence, too, is filled with words; half a second of it is kept for the first one's sake.
            first = max(0, int(loud[0]) - rate // 2)
            found.append(Piece(role, begin + first / rate, track[first:].astype("<i2").tobytes()))
    return found


def heard_of(answer: Mapping[str, object]) -> list[Heard]:
    """Return the sentences of an endpoint's answer: its segments, else its text as one.

    Raises:
        ValueError: there is no text in it.
    """
    segments = answer.get("segments")
    if isinstance(segments, Sequence) and not isinstance(segments, str) and segments:
        return [each for each in map(_sentence, segments) if each.text]
    text = answer.get("text")
    if not isinstance(text, str):
        raise ValueError("there is no text in the answer")
    return [Heard(0.0, text.strip())] if text.strip() else []


def _sentence(segment: object) -> Heard:
    if not isinstance(segment, Mapping) or not isinstance(text := segment.get("text"), str):
        raise ValueError("a segment has no text")
    start = segment.get("start")
    return Heard(float(start) if isinstance(start, int | float) else 0.0, text.strip())


def utterances(heard: Iterable[tuple[Piece, Sequence[Heard]]]) -> list[dict[str, object]]:
    """Return what was said, in order; sentences of one speaker that follow each other stay apart."""
    said = [
        {"role": piece.role, "content": sentence.text, "timestamp": round(piece.begin + sentence.at, 2)}
        for piece, sentences in heard
        for sentence in sentences
    ]
    return sorted(said, key=lambda each: float(str(each["timestamp"])))
