"""What a store refuses, and why it cannot answer.

StoreError
├── StoreUnavailable      the database does not answer in time; the same request may succeed later
├── SchemaOutdated        the database is of another release: `offhook db upgrade`
└── Taken                 something of that name exists already
InvalidCursor, InvalidSort, RangeTooLong (ValueError)   what a client asks for cannot be had
"""


class StoreError(Exception):
    """The store could not do it."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, is locked or too slow. Nothing was changed, or the caller cannot know."""


class SchemaOutdated(StoreError):
    """The database's tables are not those of this release."""

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(f"the database is at {found or 'no revision'}, this release needs {wanted}")
        self.found = found
        self.wanted = wanted


class Taken(StoreError):
    """A name that may exist once exists already."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} exists already")
        self.what = what


class InvalidCursor(ValueError):
    """A page's cursor is none of ours, or belongs to another order."""


class InvalidSort(ValueError):
    """A list cannot be sorted by that."""

    def __init__(self, name: str) -> None:
        super().__init__(f"cannot sort by {name!r}")
        self.name = name


class RangeTooLong(ValueError):
    """The days asked for are too many to list."""

    def __init__(self, most: int) -> None:
        super().__init__(f"at most {most} days, from the first to the last")
