"""One stream of a simulated call: its socket, and what waits in line for it and behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from telephony.link import Link
from telephony.outcome import StreamRecord
from telephony.simulated_carrier import CarrierSide


@dataclass(slots=True, kw_only=True)
class SimulatedStream:
    """What one socket needs beyond its side of the wire."""

    side: CarrierSide
    link: Link
    url: str
    opened_at: float
    position: int
    chunk: int = 0
    first_frame: int = 0
    closing: bool = False
    """The carrier said `stop`; nothing more is played or said on it."""
    resume_at: float | None = None
    """When the next stream follows, if the carrier stopped this one to replace it."""
    closed_at: float | None = None
    close_code: int | None = None
    reason: str = ""

    def record(self) -> StreamRecord:
        """As it stands now; without an end while it is open."""
        return StreamRecord(
            stream_id=self.side.stream_id,
            url=self.url,
            opened_at=self.opened_at,
            position=self.position,
            closed_at=self.closed_at,
            close_code=self.close_code,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class Closing:
    """The carrier's own close, in line behind what it still had to say."""

    code: int


@dataclass(frozen=True, slots=True)
class Tagged:
    """A media frame whose way back is timed from the moment it really leaves."""

    number: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The end of a link, in line behind what it still delivered."""

    code: int | None
    reason: str


@runtime_checkable
class PausableLink(Protocol):
    """A link that can leave its peer's bytes unread, so that the peer feels a stalled reader."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def stop_reading(link: object, later: Callable[[Callable[[], None]], None]) -> None:
    """Leave the peer's bytes in the kernel where the link can; elsewhere they wait in the transit."""
    if isinstance(link, PausableLink):
        link.pause_reading()
        later(link.resume_reading)
