"""JSON as both databases take it.

What comes from a caller's mouth or a model's keyboard may hold what PostgreSQL keeps nowhere (U+0000, half a
surrogate pair) and JSON has no word for (NaN). A call whose record cannot be stored is worse than a replaced
character: both become U+FFFD, and NaN and the infinities null.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """Return the text with what no database takes replaced."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def dumps(value: object) -> str:
    """Return the JSON of a value: times as RFC 3339, decimals as numbers."""
    try:
        text = _encode(value)
    except ValueError:  # NaN or an infinity
        return _encode(_cleaned(value))
    if "\\u0000" in text or _UNSTORABLE.search(text):
        return _encode(_cleaned(value))
    return text


def loads(text: str | bytes) -> object:
    return json.loads(text)


def _encode(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Decimal():
            # Six places of money fit a double exactly as written, up to a billion.
            return float(value)
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value)
        case _:
            raise TypeError(f"no JSON for {type(value).__name__}")


def _cleaned(value: object) -> object:
    match value:
        case str():
            return storable(value)
        case float():
            return value if value - value == 0 else None
        case Mapping():
            return {storable(str(key)): _cleaned(each) for key, each in value.items()}
        case bytes() | bytearray():
            return value
        case Iterable():
            return [_cleaned(each) for each in value]
        case _:
            return value
