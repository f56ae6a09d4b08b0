"""The kinds of columns that differ between the databases and must not be seen to: instants, money, text, JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias

from sqlalchemy import JSON, BigInteger, ColumnElement, Integer, Numeric, RowMapping
from sqlalchemy import Text as PlainText
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from control.stores.documents import storable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICRO = Decimal("0.000001")

Values: TypeAlias = Mapping[str, Any] | RowMapping
"""A row, by the names of its columns."""

Identity = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives; SQLite counts only what is called INTEGER."""

Document: TypeEngine[Any] = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def micros_of(moment: datetime) -> int:
    """Return the microseconds since 1970.

    Raises:
        ValueError: the time has no zone: nobody can know when it is.
    """
    if moment.tzinfo is None:
        raise ValueError("a stored time is aware")
    return (moment - EPOCH) // _MICROSECOND


def moment_of(micros: int) -> datetime:
    return EPOCH + micros * _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """A moment to the microsecond: `timestamptz`, or an integer of microseconds since 1970. Always read as UTC."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        native = TIMESTAMP(timezone=True) if dialect.name == "postgresql" else BigInteger()
        return dialect.type_descriptor(native)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        if value is None:
            return None
        micros = micros_of(value)
        return value.astimezone(UTC) if dialect.name == "postgresql" else micros

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401  # the driver's
        if value is None:
            return None
        return value.astimezone(UTC) if isinstance(value, datetime) else moment_of(value)


class Money(TypeDecorator[Decimal]):
    """An exact amount to the millionth: `numeric`, or an integer of millionths. Finer is rounded half up."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        native = Numeric(20, 6) if dialect.name == "postgresql" else BigInteger()
        return dialect.type_descriptor(native)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | None:
        if value is None:
            return None
        exact = value.quantize(_MICRO, ROUND_HALF_UP)
        return exact if dialect.name == "postgresql" else int(exact.scaleb(6))

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:  # noqa: ANN401  # the driver's
        if value is None:
            return None
        return value if isinstance(value, Decimal) else Decimal(value).scaleb(-6)


class Text(TypeDecorator[str]):
    """Text, without what PostgreSQL refuses."""

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class micros(FunctionElement[int]):  # reads as the SQL function that it is
    """An instant as microseconds since 1970, for arithmetic in the database."""

    type = BigInteger()
    inherit_cache = True

    def __init__(self, moment: ColumnElement[Any]) -> None:
        super().__init__(moment)


@compiles(micros)
def _as_kept(element: micros, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  # the compiler's
    return compiler.process(element.clauses, **options)


@compiles(micros, "postgresql")
def _from_timestamp(element: micros, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  # the compiler's
    return f"CAST(extract(epoch FROM {compiler.process(element.clauses, **options)}) * 1000000 AS BIGINT)"
