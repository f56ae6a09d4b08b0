"""A transcript as people read it, and as players show it (WebVTT, W3C)."""

from collections.abc import Mapping, Sequence

# An utterance is shown until the next one; the last one for as long as it takes to read, at 15 characters a second.
_PER_CHARACTER = 1 / 15
_SHORTEST = 1.0

Said = Sequence[Mapping[str, object]]


def as_text(said: Said) -> str:
    """Return one line per utterance: when, who, what, and whether it was cut short."""
    return "".join(f"[{_clock(_at(each))}] {each['role']}: {_words(each)}\n" for each in said)


def as_vtt(said: Said) -> str:
    """Return a WebVTT file whose cues begin with the call's answer."""
    cues = ["WEBVTT\n"]
    for number, each in enumerate(said):
        start = _at(each)
        following = [_at(later) for later in said[number + 1 :] if _at(later) > start]
        shown = max(_SHORTEST, len(str(each["content"])) * _PER_CHARACTER)
        end = min([start + shown, *following])
        words = (
            _words(each).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
        )
        cues.append(f"{_clock(start)} --> {_clock(end)}\n<v {each['role']}>{words}\n")
    return "\n".join(cues)


def _at(each: Mapping[str, object]) -> float:
    at = each.get("timestamp")
    return max(0.0, float(at)) if isinstance(at, int | float) else 0.0


def _words(each: Mapping[str, object]) -> str:
    if not each.get("interrupted"):
        return str(each["content"])
    return f"{each['content']} (cut short: {each.get('heard_ms') or 0} ms heard)"


def _clock(seconds: float) -> str:
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}.{millis % 1000:03}"
