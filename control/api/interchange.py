"""JSON that every reader understands alike (I-JSON, RFC 7493), and that we can keep: what bodies are written in.

Theory of operation. What is let in here is stored, told to models and webhooks, and given back. A half surrogate
pair, U+0000, a number beyond a double or a name that stands twice would be refused, replaced or misread by one of
these, long after the request was answered; so the request is refused instead.
"""

import json
import re
from collections.abc import Iterator

# Deeper than anything that has a meaning here, and far from any reader's own limit.
DEEPEST = 64

# RFC 7493 section 2.1: no surrogates. U+0000 is what PostgreSQL keeps in no text.
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


def read_json(raw: bytes) -> object:
    """Return the value.

    Raises:
        ValueError: it is no JSON, or not of this kind; the message may be shown.
    """
    try:
        value: object = json.loads(
            raw.decode(), parse_constant=_no_constant, parse_float=_number, object_pairs_hook=_object
        )
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    for text in _texts(value):
        if _UNKEEPABLE.search(text):
            raise ValueError("a text holds U+0000 or half of a surrogate pair")
    return value


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a value, names too."""
    level = [value]
    for _ in range(DEEPEST):
        below: list[object] = []
        for each in level:
            match each:
                case str():
                    yield each
                case dict():
                    yield from each
                    below += each.values()
                case list():
                    below += each
                case _:  # a number, true, false or null
                    pass
        if not below:
            return
        level = below
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested deeper than {DEEPEST}")


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON number")


def _number(text: str) -> float:
    number = float(text)
    if number - number != 0:  # an infinity
        raise ValueError(f"{text[:20]} is beyond the numbers that JSON's readers know")
    return number


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:40]!r} is there twice in one object")
    return found
