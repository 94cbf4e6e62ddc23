"""Objects as files: `DIRECTORY/BUCKET/PATH`, each written whole or not at all.

A body goes into a file of its own first, which is synced and then renamed, and the directories that changed are synced:
what `put` has returned for outlives a power cut. Work on files is done in threads.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from adapters.channel import Channel
from adapters.conversation_ports import NoObject
from adapters.http import coded
from adapters.storage.names import check
from schemas.errors import ChannelDown, Operation, Transient

T = TypeVar("T")

AT_ONCE: Final = 8
"""Files that are written at a time: a file system takes the syncs of several together."""

_INCOMING: Final = ".incoming"
_LEFT_S: Final = 3600.0
"""A file that was begun so long ago was left by a process that has died."""

_OF_THE_PLACE: Final = {
    errno.ENOSPC: "there is no room left on its disk: make room",
    errno.EDQUOT: "its quota is used up: raise it",
    errno.EROFS: "its disk cannot be written",
    errno.EACCES: "the process may not write there",
    errno.EPERM: "the process may not write there",
}
"""What a person must mend."""


class FileStore:
    """The `ObjectStore` of a *directory*. Its calls go through *channel*."""

    def __init__(self, directory: Path, channel: Channel) -> None:
        self._root = directory.absolute()
        self._channel = channel
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def ensure_bucket(self, name: str) -> None:
        """See `ObjectStore`."""
        check(name)
        await self._call("write", lambda: self._begin(name))

    async def put(self, bucket: str, path: str, body: bytes, content_type: str) -> None:
        """See `ObjectStore`. A bucket that is not there is made: it has no rules."""
        check(bucket, path)
        await self._call("write", lambda: self._write(self._root / bucket / path, body))

    async def get(self, bucket: str, path: str) -> bytes:
        """See `ObjectStore`."""
        check(bucket, path)
        return await self._call("read", (self._root / bucket / path).read_bytes)

    async def delete(self, bucket: str, path: str) -> None:
        """See `ObjectStore`. Directories that are empty then stay: another process may be about to write there."""
        check(bucket, path)
        await self._call("write", lambda: (self._root / bucket / path).unlink(missing_ok=True))

    def location(self, bucket: str, path: str) -> str:
        """See `ObjectStore`."""
        return (self._root / bucket / path).as_uri()

    async def _call(self, operation: Operation, work: Callable[[], T]) -> T:
        async def make() -> T:
            try:
                async with self._turns:
                    return await asyncio.to_thread(work)
            except FileNotFoundError:
                raise coded(NoObject("the archive: there is no such object"), "no-object") from None
            except OSError as exc:  # its own text names the file
                raise self._failure(exc) from None

        return await self._channel.call(operation, make)

    def _failure(self, exc: OSError) -> ChannelDown | Transient:
        number = exc.errno or 0
        code = errno.errorcode.get(number, "OSError")
        if (what := _OF_THE_PLACE.get(number)) is not None:
            text = f"the archive's directory cannot be written: {what} ({code})"
            return coded(ChannelDown(text, channel=self._channel.name), code)
        return coded(Transient(f"the archive's directory: {code}"), code)

    def _begin(self, bucket: str) -> None:
        _delete_left(self._root / _INCOMING)
        _make(self._root / bucket, self._root.parent)

    def _write(self, file: Path, body: bytes) -> None:
        incoming = self._root / _INCOMING
        _make(incoming, self._root.parent)
        _make(file.parent, self._root.parent)
        handle, name = tempfile.mkstemp(dir=incoming)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(body)
                out.flush()
                os.fsync(out.fileno())
            Path(name).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)
            raise
        _sync(file.parent)


def _make(directory: Path, above: Path) -> None:
    """Make *directory* and those over it, below *above*; each is on the disk then."""
    if directory == above or directory.is_dir():
        return
    _make(directory.parent, above)
    directory.mkdir(mode=0o700, exist_ok=True, parents=directory.parent == above)
    _sync(directory.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _delete_left(incoming: Path) -> None:
    """Delete what processes that have died had begun to write."""
    with suppress(OSError):
        for file in list(incoming.iterdir()):
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > _LEFT_S:
                    file.unlink()
