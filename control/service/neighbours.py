"""The processes that share the database with this one: which of them have not been heard of, and for how long.

Theory of operation. Every process writes down now and then that it is there. No clock is compared with another
machine's: what counts is for how long, by our own, a word has stayed the same while we could read it. Where we could
not (the database does not answer, this process was suspended), the count begins anew, since others could not write
either. A process that has never written anything is of a release that does not, and nobody's to judge.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from control.service.ports import CallStore, World
from control.stores.errors import StoreUnavailable

log = structlog.get_logger()

# Seconds between two words of ours, and looks at the others'.
BEAT = 30.0
# Seconds; after a longer pause what was known before does not count.
ATTENTIVE = 120.0
# Whoever has no live calls is of interest for so long: an end may be untold yet.
_LATELY = timedelta(hours=1)


class Neighbours:
    """Driven by its own task (`run`): what else there is to do, however long it takes, holds up no word of ours."""

    def __init__(self, store: CallStore, world: World, node: str) -> None:
        """
        Args:
            node: this process.
        """
        self._store = store
        self._world = world
        self._node = node
        self._heard: dict[str, tuple[datetime, float]] = {}
        """What each has written last, and since when it has been that."""
        self._looked = 0.0

    async def run(self, period: float) -> None:
        """Say that this process is there, and look at the others, until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as fault:
                log.warning("other processes are not heard of", error=str(fault))
            await self._world.sleep(period)

    def forget(self) -> None:
        """Nothing could be read or written: what was known does not count any more."""
        self._heard.clear()

    async def look(self) -> None:
        """Say that this process is there, and see who else has said so.

        Raises:
            StoreUnavailable: nothing is known, and what was known does not count any more.
        """
        try:
            wall = self._world.wall()
            await self._store.beat(self._node, wall)
            seen = await self._store.neighbours(self._node, wall - _LATELY)
        except StoreUnavailable:
            self.forget()
            raise
        now = self._world.now()
        if now - self._looked > ATTENTIVE:
            self.forget()
        before, self._looked = self._heard, now
        self._heard = {
            name: before[name] if name in before and before[name][0] == at else (at, now)
            for name, at in seen.items()
        }

    def silent(self) -> Mapping[str, float]:
        """Return the others, by the seconds of their silence until the last look."""
        if self._world.now() - self._looked > ATTENTIVE:
            return {}
        return {name: self._looked - since for name, (_, since) in self._heard.items()}
