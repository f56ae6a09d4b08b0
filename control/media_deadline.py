"""What a call's media waits for, beyond what its machines wait for."""

from enum import Enum, auto


class Deadline(Enum):
    """Each is due at most once; the bridge keeps the times."""

    MEDIA = auto()
    GRACE = auto()
    DURATION = auto()
    SILENCE = auto()
