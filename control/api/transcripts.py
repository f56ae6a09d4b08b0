"""A transcript as people read it, and as players show it (WebVTT, W3C)."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

# An utterance is shown until the next one begins, at most for as long as it takes to read: milliseconds, at 15
# characters a second.
_PER_CHARACTER = 1000 / 15
_SHORTEST = 1000

Said = Sequence[Mapping[str, object]]


def as_text(said: Said) -> str:
    """Return one line per utterance: when, who, what, and whether it was cut short."""
    return "".join(f"[{_clock(_millis(each))}] {each['role']}: {_words(each)}\n" for each in said)


def as_vtt(said: Said) -> str:
    """Return a WebVTT file whose cues begin with the call's answer."""
    # A cue begins no earlier than the one before (WebVTT, 3.2): what was announced late keeps its place.
    beginnings = list(accumulate((_millis(each) for each in said), max))
    cues = ["WEBVTT\n"]
    for start, each in zip(beginnings, said, strict=True):
        end = start + max(_SHORTEST, round(len(str(each["content"])) * _PER_CHARACTER))
        following = bisect_right(beginnings, start)
        if following < len(beginnings):
            end = min(end, beginnings[following])
        cues.append(f"{_clock(start)} --> {_clock(end)}\n<v {each['role']}>{_escaped(_words(each))}\n")
    return "\n".join(cues)


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _millis(each: Mapping[str, object]) -> int:
    at = each.get("timestamp")
    return round(max(0.0, float(at)) * 1000) if isinstance(at, int | float) else 0


def _words(each: Mapping[str, object]) -> str:
    """In one line: an empty one would end a cue."""
    line = " ".join(str(each["content"]).split())
    if not each.get("interrupted"):
        return line
    return f"{line} (cut short: {each.get('heard_ms') or 0} ms heard)"


def _clock(millis: int) -> str:
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}.{millis % 1000:03}"
