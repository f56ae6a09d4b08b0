"""Bodies of which every field may be left out: what is left out stays, what may be null says so by its type."""

from typing import Any

from pydantic import Field


def unless_given(**more: Any) -> Any:  # noqa: ANN401  # as pydantic's `Field`
    """A field that may be left out but is not null; whether it was given, `model_fields_set` tells."""
    return Field(default=None, json_schema_extra=_without_default, **more)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)
