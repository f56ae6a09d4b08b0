"""What the texts of an agent may name: what the caller of the API gives for one call, and what is always there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from control.templates import TextFault, TextsUnfilled

Variables = Mapping[str, object]

# As much as a long prompt, and never more than one level deep: what is put into a text, not a document.
LARGEST_VALUE = 4_000
MOST_VALUES = 200
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

ALWAYS = frozenset({"now", "date", "time", "weekday", "customer.number"})
"""There in every call, whatever is given."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """What a call brings along by itself."""

    now: datetime
    """Aware."""
    timezone: str = "UTC"
    """IANA name: in which `now`, `date`, `time` and `weekday` are told."""
    customer_number: str | None = None
    """The far end's; None where it is withheld."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Custom SIP headers and stream parameters."""


def check_variables(given: Variables) -> list[TextFault]:
    """Why these variables cannot be used; the pointers lead into them."""
    found = list(_faults(given))
    if _count(given) > MOST_VALUES:
        found.append(TextFault("", f"has more than {MOST_VALUES} values"))
    return found


def variables(given: Variables, context: CallContext) -> dict[str, object]:
    """Return everything that the texts of this call may name.

    Raises:
        TextsUnfilled: a variable has a name or a value that it cannot have.
    """
    if found := check_variables(given):
        raise TextsUnfilled([TextFault(f"/variables{fault.pointer}", fault.detail) for fault in found])
    local = context.now.astimezone(ZoneInfo(context.timezone))
    customer = given.get("customer")
    return {
        **given,
        "now": local.isoformat(timespec="seconds"),
        "date": local.date().isoformat(),
        "time": f"{local:%H:%M}",
        "weekday": _WEEKDAYS[local.weekday()],
        "customer": {
            **(customer if isinstance(customer, Mapping) else {}),
            "number": context.customer_number or "unknown",
        },
        "headers": {header_variable(name): value for name, value in context.headers.items()},
    }


def header_variable(name: str) -> str:
    """What a header is called in a text: `X-Account-Id` is `headers.x_account_id`."""
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _faults(given: Variables) -> Iterator[TextFault]:
    for name, value in given.items():
        pointer = f"/{name}"
        if not _NAME.fullmatch(name):
            yield TextFault(pointer, "a name is a letter or _, then letters, digits and _, up to 64")
        elif name in ("now", "date", "time", "weekday", "headers"):
            yield TextFault(pointer, "is always there and cannot be given")
        elif name == "customer" and not isinstance(value, Mapping):
            yield TextFault(pointer, "has parts: customer.number is always there")
        elif isinstance(value, Mapping):
            yield from _parts(name, value)
        else:
            yield from _value(pointer, value)


def _parts(name: str, parts: Mapping[object, object]) -> Iterator[TextFault]:
    for part, value in parts.items():
        pointer = f"/{name}/{part}"
        if not isinstance(part, str) or not _NAME.fullmatch(part):
            yield TextFault(pointer, "a name is a letter or _, then letters, digits and _, up to 64")
        elif (name, part) == ("customer", "number"):
            yield TextFault(pointer, "is always there and cannot be given")
        elif isinstance(value, Mapping):
            yield TextFault(pointer, "is nested too deeply")
        else:
            yield from _value(pointer, value)


def _value(pointer: str, value: object) -> Iterator[TextFault]:
    if value is not None and not isinstance(value, str | int | float | bool):
        yield TextFault(pointer, "is no text, number, true, false or null")
    elif isinstance(value, str) and len(value) > LARGEST_VALUE:
        yield TextFault(pointer, f"is longer than {LARGEST_VALUE} characters")
    elif isinstance(value, int) and abs(value) > 1 << 63:
        yield TextFault(pointer, "is too large a number")


def _count(given: Variables) -> int:
    return sum(len(value) if isinstance(value, Mapping) else 1 for value in given.values())
