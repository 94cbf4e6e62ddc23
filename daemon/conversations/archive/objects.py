"""By the clock: objects that wait go to the store when it is back, and those of a note that got a user to the user's
bucket. Several processes may do it at once, and one may die at any point: each step can be made again.

An object is copied, then the rows say where it is and that the old one is to go, then the old one is deleted.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from adapters.conversation_ports import BucketTaken, NoObject
from adapters.postgres import archive, users
from adapters.postgres.archive import Held, Move, Moved, WaitingObject
from adapters.postgres.pool import Pool
from daemon.conversations.archive.names import bucket_name
from daemon.conversations.archive.storing import AWAY, Archive
from schemas.errors import FerrymanError

AT_ONCE: Final = 8
"""Objects in hand at a time, with their bodies."""

PAUSE_S: Final = 5.0
"""So long what the store did not take is left alone."""

REFUSED_PAUSE_S: Final = 600.0
"""So long what the store refuses, while it takes others."""

REMEMBER_DAYS: Final = 30
"""How long it is known where an object went: as long as an event that names its old place may be handled."""

MOST_NAMES: Final = 8
"""Names of buckets of one user that may be somebody else's."""

log = structlog.get_logger(__name__)


class Moving:
    """Moves objects. *prefix*: how names of buckets begin."""

    def __init__(self, pool: Pool, store: Archive, prefix: str) -> None:
        self._pool = pool
        self._store = store
        self._prefix = prefix
        self._most = AT_ONCE

    async def waiting(self) -> int:
        """How many objects wait for the store."""
        return await archive.count(self._pool)

    async def waiting_objects(self) -> None:
        """Give the store what waits for it, the oldest first, until nothing waits or it takes no more. A store that has
        not taken something is asked with one object."""
        while batch := await archive.take(self._pool, self._most):
            ends = await asyncio.gather(*(self._arrive(one) for one in batch))
            self._most = AT_ONCE if all(ends) else 1
            if not all(ends):
                return

    async def _arrive(self, one: WaitingObject) -> bool:
        """Whether to go on: the store has taken *one*, or refuses it alone."""
        try:
            await self._store.put(*_put(one))
        except BucketTaken:
            await self._another_name(one.bucket)
            return True
        except AWAY:
            await archive.put_back(self._pool, [one], PAUSE_S)
            return False
        except FerrymanError as error:
            log.error("archive.refused", error=str(error), code=error.code)
            await archive.put_back(self._pool, [one], REFUSED_PAUSE_S)
            return True
        await archive.arrived(self._pool, one)
        return True

    async def _another_name(self, taken: str) -> None:
        """Let what was to be in the bucket *taken*, which is somebody else's, be in another one of the same user."""
        user = await users.user_of_bucket(self._pool, taken)
        if user is None:  # done already, for another object; this one was perhaps on its way meanwhile
            if (renamed := (await archive.known(self._pool, taken, "")).renamed) is not None:
                await archive.rename(self._pool, taken, renamed)
            return
        names = [bucket_name(self._prefix, user, attempt) for attempt in range(MOST_NAMES)]
        later = names[names.index(taken) + 1 :] if taken in names else names
        if not later:
            log.error("archive.no_name_left")
            return
        await archive.rename(self._pool, taken, later[0])
        log.warning("archive.bucket_renamed", reason="the name belongs to another project")

    async def notes(self) -> None:
        """Let the objects of notes follow them to the buckets of their users."""
        while moves := await archive.take_moves(self._pool, AT_ONCE):
            ends = [await self._follow(move) for move in moves]
            if not all(ends):
                return

    async def _follow(self, move: Move) -> bool:
        """Whether the move has ended."""
        bucket = await self._bucket_of(move.user)
        there = [one for one in move.objects if one.bucket != bucket]
        if await archive.any_waits(self._pool, there):  # it goes to the store first, and from there on
            await archive.move_later(self._pool, move.note_id, PAUSE_S)
            return False
        try:
            done = [await self._copied(one, bucket) for one in there]
        except FerrymanError as error:
            pause = PAUSE_S if isinstance(error, AWAY) else REFUSED_PAUSE_S
            await archive.move_later(self._pool, move.note_id, pause)
            return False
        await archive.moved(self._pool, move, [one for one in done if one is not None])
        return True

    async def _bucket_of(self, user: str) -> str:
        named = await users.buckets(self._pool, [user])
        if user not in named:
            await users.have_buckets(self._pool, {user: bucket_name(self._prefix, user)})
            named = await users.buckets(self._pool, [user])
        return named[user]

    async def _copied(self, one: Held, bucket: str) -> Moved | None:
        """Copy *one*. None: it is nowhere any more, as where a person has deleted it."""
        try:
            body = await self._store.get(one.bucket, one.path)
        except NoObject:
            log.warning("archive.object_missing")
            return None
        await self._store.put(bucket, one.path, body, one.content_type)
        return Moved(one, bucket, self._store.location(bucket, one.path))

    async def leftovers(self) -> None:
        """Delete the objects that were copied elsewhere."""
        while places := await archive.take_leftovers(self._pool, AT_ONCE):
            for place in places:
                try:
                    await self._store.delete(*place)
                except FerrymanError:
                    return  # taken again when the time that it is left to us is over
                await archive.deleted(self._pool, place)
        await archive.forget_moved(self._pool, REMEMBER_DAYS)


def _put(one: WaitingObject) -> tuple[str, str, bytes, str]:
    return one.bucket, one.path, one.body, one.content_type
