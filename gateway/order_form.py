"""Media orders as JSON, for the trace: the order's name and its fields, audio as base64."""

from typing import get_args

import msgspec

from control.media_orders import MediaOrder

_KINDS: dict[str, type[MediaOrder]] = {kind.__name__: kind for kind in get_args(MediaOrder)}


def write_order(order: MediaOrder) -> object:
    """Return the fields of an order."""
    return msgspec.to_builtins(order)


def read_order(kind: str, fields: object) -> MediaOrder:
    """Return the order that `write_order` wrote.

    Raises:
        ValueError: there is no order of that name, or the fields are not its own.
    """
    if kind not in _KINDS:
        raise ValueError(f"no order is named {kind}")
    return msgspec.convert(fields, _KINDS[kind])
