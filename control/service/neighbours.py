"""The processes that share the database with this one: which of them have not been heard of, and for how long.

Theory of operation. Every process writes down now and then that it is there. No clock is compared with another
machine's: what counts is for how long, by our own, a word has stayed the same while we could read it. Where we could
not (the database does not answer, this process was suspended), the count begins anew, since others could not write
either. A process that has never written anything is of a release that does not, and nobody's to judge.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from control.service.ports import CallStore, World
from control.stores.errors import StoreUnavailable

# Seconds between two looks; after a longer pause what was known before does not count.
ATTENTIVE = 120.0
# Whoever has no live calls is of interest for so long: an end may be untold yet.
_LATELY = timedelta(hours=1)


class Neighbours:
    """Driven by whoever asks now and then (`silent`)."""

    def __init__(self, store: CallStore, world: World) -> None:
        self._store = store
        self._world = world
        self._heard: dict[str, tuple[datetime, float]] = {}
        """What each has written last, and since when it has been that."""
        self._looked = 0.0

    def forget(self) -> None:
        """Nothing could be read: what was known does not count any more."""
        self._heard.clear()

    async def silent(self, node: str) -> Mapping[str, float]:
        """Say that `node`, this process, is there; return the others, by the seconds of their silence.

        Raises:
            StoreUnavailable: nothing is known, and what was known does not count any more.
        """
        try:
            wall = self._world.wall()
            await self._store.beat(node, wall)
            seen = await self._store.neighbours(node, wall - _LATELY)
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
        return {name: now - since for name, (_, since) in self._heard.items()}
