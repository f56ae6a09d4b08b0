"""Where recordings are kept: a folder, or an object store by its URL; what is kept is a name and bytes.

`obstore` speaks to all of them. A folder cannot sign links: who wants one there gets ours (`control.download_links`).
Every question is bounded in time, and an answer that does not come is `RecordingStoreAway`.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store, from_url

from control.api.ports import RecordingStoreAway

# Seconds for a question, and for a piece of a file: parts of 5 MB go up one by one.
_QUESTION = 15.0
_PART = "60s"
_CONNECT = "5s"
_RETRIES = 3
_RETRYING = timedelta(seconds=30)
# Bytes of a file in memory at a time.
BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is there."""

    name: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Account:
    """Who we are to an S3-compatible store; what is left out comes from the environment, as for its own tools."""

    key_id: str | None = None
    secret: str | None = None
    region: str | None = None
    endpoint: str | None = None

    def options(self) -> dict[str, Any]:
        given = {
            "aws_access_key_id": self.key_id,
            "aws_secret_access_key": self.secret,
            "aws_region": self.region,
            "aws_endpoint": self.endpoint,
        }
        return {name: value for name, value in given.items() if value is not None}


class RecordingStore:
    """Keeps files by name. Make it with `open`."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        """
        Args:
            folder: where the files are, if they are on this machine.
        """
        self._store = store
        self.folder = folder

    @classmethod
    def open(cls, url: str | None, default: Path, account: S3Account | None = None) -> "RecordingStore":
        """Open the store of a URL; without one, the folder.

        Raises:
            ValueError: the URL is none of a store, or what belongs to it is missing.
            OSError: the folder cannot be made.
        """
        scheme = urlsplit(url).scheme if url is not None else "file"
        if url is None or scheme == "file":
            folder = default if url is None else Path(url2pathname(urlsplit(url).path))
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder), folder)
        given = (account or S3Account()).options() if scheme == "s3" else {}
        plain = str(given.get("aws_endpoint", "")).startswith("http://")
        options: dict[str, Any] = {
            "config": given or None,
            "client_options": {"timeout": _PART, "connect_timeout": _CONNECT, "allow_http": plain},
            "retry_config": {"max_retries": _RETRIES, "retry_timeout": _RETRYING},
        }
        try:
            store = from_url(url, **options)
        except (BaseError, ValueError) as error:
            raise ValueError(f"is not understood: {_reason(error)}") from error
        return cls(store)

    async def put(self, name: str, file: Path, media_type: str) -> None:
        """Keep a file under a name; it is there whole or not at all.

        Raises:
            RecordingStoreAway: it is not there.
        """
        with _away():
            if self.folder is None:
                await self._upload(name, file, media_type)
            elif not self.has_at(name, file):
                await asyncio.to_thread(_copy, file, self.folder / name)

    async def _upload(self, name: str, file: Path, media_type: str) -> None:
        try:
            await obstore.put_async(self._store, name, file, attributes={"Content-Type": media_type})
        except FileNotFoundError as missing:
            if not await asyncio.to_thread(file.exists):
                raise
            raise RecordingStoreAway("there is no such bucket") from missing

    def has_at(self, name: str, path: Path) -> bool:
        """Whether this path is where the store keeps that name."""
        return self.folder is not None and (self.folder / name).resolve() == path.resolve()

    async def find(self, name: str) -> Kept | None:
        """Return what is known of a file; None: there is none.

        Raises:
            RecordingStoreAway: the store does not answer.
        """
        try:
            with _away():
                async with asyncio.timeout(_QUESTION):
                    known = await obstore.head_async(self._store, name)
        except FileNotFoundError:
            return None
        return Kept(name, known["size"], known["last_modified"])

    async def read(self, name: str, begin: int, end: int) -> AsyncIterator[bytes]:
        """Return the bytes from `begin` to before `end`, a block at a time.

        Raises:
            FileNotFoundError: there is no such file (any more).
            RecordingStoreAway: the store does not answer.
        """
        if begin >= end:
            return
        with _away():
            async with asyncio.timeout(_QUESTION):
                found = await obstore.get_async(self._store, name, options={"range": (begin, end)})
            async for block in found.stream(min_chunk_size=BLOCK):
                yield bytes(block)

    async def content(self, name: str, most: int) -> bytes | None:
        """Return a whole file; None if it has more than so many bytes.

        Raises:
            FileNotFoundError, RecordingStoreAway: as above.
        """
        known = await self.find(name)
        if known is None:
            raise FileNotFoundError(name)
        if known.size > most:
            return None
        return b"".join([block async for block in self.read(name, 0, known.size)])

    async def fetch(self, name: str, to: Path) -> None:
        """Copy a file out of the store.

        Raises:
            FileNotFoundError, RecordingStoreAway: as above.
        """
        known = await self.find(name)
        if known is None:
            raise FileNotFoundError(name)
        with to.open("wb") as file:
            async for block in self.read(name, 0, known.size):
                await asyncio.to_thread(file.write, block)

    async def delete(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            RecordingStoreAway: the store does not answer.
        """
        try:
            with _away():
                async with asyncio.timeout(_QUESTION):
                    await obstore.delete_async(self._store, name)
        except FileNotFoundError:
            pass

    async def link(self, name: str, seconds: int) -> str | None:
        """Return a URL at which anybody can get the file for so long; None: this store signs none.

        Raises:
            RecordingStoreAway: its credentials cannot be had.
        """
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        with _away():
            async with asyncio.timeout(_QUESTION):
                return await obstore.sign_async(self._store, "GET", name, timedelta(seconds=seconds))

    async def ping(self) -> None:
        """Ask for a file that nobody has.

        Raises:
            RecordingStoreAway: the store does not answer, or not us.
        """
        await self.find("ping")


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except TimeoutError as error:
        raise RecordingStoreAway("the store does not answer in time") from error
    except (BaseError, OSError) as error:
        raise RecordingStoreAway(_reason(error)) from error


def _reason(error: Exception) -> str:
    """The first line of what the store says: what follows is for its programmers."""
    return str(error).partition("\n")[0][:300]


def _copy(source: Path, target: Path) -> None:
    """As a whole: whoever looks finds the old file or the new one."""
    partial = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, partial)
    partial.replace(target)
