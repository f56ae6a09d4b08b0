"""Keeps the audio of tools' fillers: every call of an agent wants the same, and none has the time to wait for it."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from control.api.ports import FetchAudio, FetchedAudio

# Seconds after which it is fetched anew: whoever changes a file under its address hears it before long.
FRESH = 600.0
# Sounds that are kept, each of a megabyte at most.
KEPT = 32
# Seconds of one; it is played in a loop.
LONGEST = 60


@dataclass(frozen=True, slots=True)
class _Kept:
    audio: "asyncio.Future[FetchedAudio]"
    until: float


class FillerAudio:
    """Fetches each URL once for all who want it at a time, and then not for a while."""

    def __init__(self, fetch: FetchAudio) -> None:
        self._fetch = fetch
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def __call__(self, url: str) -> FetchedAudio:
        """
        Raises:
            AudioUnavailable: it cannot be had; it is tried again for the next who wants it.
        """
        loop = asyncio.get_running_loop()
        kept = self._kept.get(url)
        if kept is None or kept.until <= loop.time() or _failed(kept.audio):
            kept = _Kept(asyncio.ensure_future(self._get(url)), loop.time() + FRESH)
            kept.audio.add_done_callback(_failed)  # whoever waits is told; nobody may be left who does
            self._kept[url] = kept
            self._kept.move_to_end(url)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return await asyncio.shield(kept.audio)

    async def _get(self, url: str) -> FetchedAudio:
        fetched = await self._fetch(url)
        longest = LONGEST * fetched.rate * 2
        return FetchedAudio(fetched.audio[:longest], fetched.rate)


def _failed(audio: "asyncio.Future[FetchedAudio]") -> bool:
    return audio.done() and (audio.cancelled() or audio.exception() is not None)
