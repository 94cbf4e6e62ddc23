"""The start on the stores: what is checked and done there before the parts of the process work.

A store that is away is waited for. While Postgres is away nothing is taken in, as nothing tells whether this process
may work with that database; while Redis alone is away, events go to the spool. A store that cannot be used as it is
ends the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from adapters.postgres.bus import meta
from adapters.postgres.bus import workers as workers_table
from adapters.postgres.bus.workers import Registered
from adapters.postgres.pool import Pool
from adapters.redis import lease_table
from adapters.redis.streams import Durability, Streams
from daemon.bus.intake import Intake
from daemon.bus.recovery import Recovery
from daemon.bus.upkeep import make_days, publish_left
from daemon.lifecycle import StartError
from daemon.stores.checked import checked_redis, warn_of_loss
from daemon.stores.health import Stores, StoreWatch
from daemon.stores.located import Addresses, require_schema
from daemon.stores.membership import Membership
from daemon.stores.waiting import comes_back, pauses, raised_by

LONGEST_TRY_S: Final = 20.0
"""Longest time for one try of the checks, whose single steps have limits of their own."""


class OtherPartitions(StartError):
    """The number of partitions could not be read when the process was put together, and is another one: it is to be put
    together anew."""


@dataclass(slots=True, kw_only=True)
class Opening:
    """The start of one process on its stores. *finish_change*: does in Redis what a change of the partitions has left
    to do. *entries*: the workers to enter in the table of the installation. *running*: the names of those that run
    here. *since*: filled with when each worker of the installation began. *given_partitions*: the settings give their
    number."""

    addresses: Addresses
    pool: Pool
    membership: Membership
    bus: Streams
    stores: Stores
    intake: Intake
    recovery: Recovery
    finish_change: Callable[[], Awaitable[None]]
    entries: Sequence[Registered]
    running: Sequence[str]
    given_partitions: bool
    since: dict[str, datetime]
    complete: bool = field(default=False, init=False)
    """Whether everything is checked and done."""

    _has_postgres: bool = field(default=False, init=False)
    _durability: Durability = field(default="always", init=False)

    async def look(self) -> None:
        """Try to use both stores, of which each may be away. Raises: StartError, or what else says that a store cannot
        be used as it is."""
        tries = {self.stores.postgres: self._use_postgres, self.stores.redis: self._use_redis}
        results = await asyncio.gather(
            *(self._done(use, watch) for watch, use in tries.items()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        for watch, done in zip(tries, results, strict=True):
            if done:
                watch.answered()
        self._has_postgres = results[0] is True

    async def postgres(self) -> None:
        """Wait until Postgres can be used. Redis is looked at as well: its settings may be wrong, and /readyz names
        every store that is away. Raises as `look`."""
        for pause_s in pauses():
            if self._has_postgres:
                return
            await asyncio.sleep(pause_s)
            await self.look()

    async def redis(self) -> None:
        """Wait until Redis can be used, and put right there what has to be right before anything is read. Raises as
        `look`."""
        redis, postgres = self.stores.redis, self.stores.postgres
        for pause_s in pauses():
            # the client of Postgres raises OSError and TimeoutError as they are, that of Redis errors of its own
            if await self._done(self._use_redis, redis) and await self._done(self._begin, postgres):
                break
            self.intake.open()
            await asyncio.sleep(pause_s)
        redis.answered()
        self.complete = True  # the intake opens by itself: its first look comes next

    async def _done(self, act: Callable[[], Awaitable[None]], suspect: StoreWatch) -> bool:
        """Whether *act* succeeded; false where a store is away: the one that the error names, else *suspect*."""
        try:
            await act()
        except Exception as exc:
            if not comes_back(exc):
                raise
            named = {"redis": self.stores.redis, "postgres": self.stores.postgres}
            named.get(raised_by(exc) or "", suspect).noticed(exc)
            return False
        return True

    async def _use_postgres(self) -> None:
        async with asyncio.timeout(LONGEST_TRY_S):
            await self.membership.take_part()
            await require_schema(self.addresses.database_url)
            self.membership.insist_on(await self._settled_partitions())
            await workers_table.register(self.pool, self.entries, self.running)
            self.since.update((worker.name, worker.since) for worker in await workers_table.listed(self.pool))
            await make_days(self.pool)

    async def _use_redis(self) -> None:
        async with asyncio.timeout(LONGEST_TRY_S):
            await self.bus.server.look()  # a replica answers what follows, and takes no writes
            self._durability = await checked_redis(self.bus.redis)
            self.bus.appends.durable_by(self._durability)

    async def _begin(self) -> None:
        """Without a time limit of its own: what Redis has lost may be much."""
        await self.finish_change()
        if self.addresses.private:
            await lease_table.forget_all(self.bus.redis)
        await self.recovery.begin()
        await publish_left(self.pool, self.bus, older_than_s=0)
        await warn_of_loss(self.bus.redis, self._durability)

    async def _settled_partitions(self) -> int:
        """The number of partitions in force, which the first start of all takes from the settings. Raises: StartError
        where this process began with another number, OtherPartitions where no setting asked for that."""
        begun = self.bus.partitions
        kept = int(await meta.settle(self.pool, "partitions", str(begun)))
        if kept != begun and not self.given_partitions:
            raise OtherPartitions(
                f"this database has {kept} partitions, and was away when this process began with {begun}"
            )
        if kept != begun:
            raise StartError(
                f"this database was set up with {kept} partitions and FERRYMAN_PARTITIONS says {begun}: leave it out,"
                f" set it to {kept}, or change the number with `ferryman partitions {begun}` after a drain"
            )
        return kept
