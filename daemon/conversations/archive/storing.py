"""The one way of an object into the archive: to the store, or where that is away into Postgres until it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.conversation_ports import BucketTaken, NoObject, ObjectStore
from adapters.postgres import archive
from adapters.postgres.archive import WaitingObject
from schemas.errors import ChannelClosed, ChannelDown, FerrymanError, Transient, Uncertain

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool

AWAY: Final = (Transient, Uncertain, ChannelDown, ChannelClosed, BucketTaken)
"""The errors of a store that does not take an object now. A bucket whose name is somebody else's gets another name as
what waits for it is moved."""

MOST_MOVES: Final = 12
"""Buckets in a row that an object may have gone through: a few moves, and the names of a user's bucket."""

MOST_READY: Final = 10_000
"""Buckets that a process remembers to be there; then it looks at them anew."""


class Archive:
    """The store, with what waits for it in Postgres. Buckets are made when they are first used."""

    def __init__(self, store: ObjectStore, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._ready: set[str] = set()

    async def ensure_bucket(self, name: str) -> None:
        """See `ObjectStore`; a bucket that is remembered to be there is not asked for again."""
        if name not in self._ready:
            await self._store.ensure_bucket(name)
            if len(self._ready) >= MOST_READY:
                self._ready.clear()
            self._ready.add(name)

    async def put(self, bucket: str, path: str, body: bytes, content_type: str) -> None:
        """See `ObjectStore`. A bucket that has gone is made anew."""
        await self.ensure_bucket(bucket)
        try:
            await self._store.put(bucket, path, body, content_type)
        except NoObject:
            self._ready.discard(bucket)
            await self.ensure_bucket(bucket)
            await self._store.put(bucket, path, body, content_type)

    async def keep(self, one: WaitingObject) -> FerrymanError | None:
        """Put *one* into the store. Returns why that is away: then it is to be kept with the results of the event."""
        try:
            await self.put(one.bucket, one.path, one.body, one.content_type)
        except AWAY as error:
            return error
        return None

    async def get(self, bucket: str, path: str) -> bytes:
        """See `ObjectStore`: also of an object that waits in Postgres, and of one that went to another bucket."""
        for _ in range(MOST_MOVES):
            known = await archive.known(self._pool, bucket, path)
            if known.body is not None:
                return known.body
            if known.renamed is not None:  # the bucket of the old name is somebody else's: it is not asked
                bucket = known.renamed
                continue
            try:
                return await self._store.get(bucket, path)
            except NoObject:
                moved = await archive.now_in(self._pool, bucket, path)
                if moved is None:
                    raise
                bucket = moved
        raise NoObject("the archive: the object has moved too often")

    async def delete(self, bucket: str, path: str) -> None:
        """See `ObjectStore`."""
        await self._store.delete(bucket, path)

    def location(self, bucket: str, path: str) -> str:
        """See `ObjectStore`."""
        return self._store.location(bucket, path)
