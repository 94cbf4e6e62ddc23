"""One watcher per store: whether it serves this process. The other parts ask the watcher; only it logs an outage."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis

from adapters.postgres.pool import PostgresError, store_is_down
from adapters.redis.client import server_of
from adapters.redis.streams import NotDurable, StreamErrors
from daemon.lifecycle import Periodic, Skip, any_set
from daemon.telemetry.failures import fields

EVERY_S: Final = 1.0
EVERY_WHILE_DOWN_S: Final = 0.25
PATIENCE_S: Final = 2.0
"""Longest wait for the answer to one look."""

QUIET_S: Final = 1.0
"""How long no user may have met an error before a look ends an outage. A store can answer looks and still refuse work
(a full disk); a user that tries again more often than this keeps the outage one outage."""

log = structlog.get_logger(__name__)


class StoreWatch(Periodic):
    """Whether one store serves this process: looks once a second, and hears from the parts that use the store.

    *look*: raises when the store does not answer. *away*: which of its errors mean that; any other error ends the
    service. *sought_at*: the address (without secrets) where the store is yet to be found. It counts as down until the
    first success then, else as up until the first look.
    """

    def __init__(
        self, name: str, look: Callable[[], Awaitable[None]], away: Skip, *, sought_at: str | None = None
    ) -> None:
        super().__init__(name, self._round, every_s=lambda: EVERY_S if self.up else EVERY_WHILE_DOWN_S)
        self._look = look
        self._away = away
        self._is_up = asyncio.Event()
        self._sought_at = sought_at
        self._told = False  # whether the outage is in the log
        self._error_at = -math.inf
        self._down_since = time.monotonic()
        if sought_at is None:
            self._is_up.set()

    @property
    def up(self) -> bool:
        """Whether the store served at the last look, and no user has met an error since."""
        return self._is_up.is_set()

    async def wait_up(self, until: asyncio.Event | None = None) -> None:
        """Return when the store is up, or when *until* is set."""
        await any_set(self._is_up, *([until] if until else []))

    def noticed(self, exc: BaseException) -> None:
        """A user met *exc*, which is an error of this store: the store is down from now on, and the next look comes
        now."""
        self._error_at = time.monotonic()
        if self.up:
            self.wake()
        self._down(exc)

    def answered(self) -> None:
        """A user's work has succeeded: the store is up, whatever was noticed before."""
        self._error_at = -math.inf
        if not self.up:
            self._is_up.set()
            self._sought_at = None
            if self._told:
                log.info("store.up", store=self.name, down_s=round(time.monotonic() - self._down_since, 1))
            self._told = False

    def _down(self, exc: BaseException) -> None:
        if self.up:
            self._is_up.clear()
            self._down_since = time.monotonic()
        if self._told:
            return
        self._told = True
        if self._sought_at is None:
            log.error("store.down", store=self.name, **fields(exc))
        else:
            log.warning("store.awaited", store=self.name, place=self._sought_at, **fields(exc))

    async def _round(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._look()
        except Exception as exc:
            if not self._away(exc):
                raise
            self._down(exc)
            return
        if time.monotonic() - self._error_at >= QUIET_S:
            self.answered()


@dataclass(frozen=True, slots=True)
class Stores:
    """The watchers of the two stores."""

    redis: StoreWatch
    postgres: StoreWatch


def redis_watch(redis: Redis, sought_at: str | None = None) -> StoreWatch:
    """The watcher of Redis. *redis*: a client of the watcher's own, so that no user's call delays a look."""
    return StoreWatch("redis", server_of(redis).look, lambda exc: isinstance(exc, StreamErrors), sought_at=sought_at)


def postgres_watch(look: Callable[[], Awaitable[None]], sought_at: str | None = None) -> StoreWatch:
    """The watcher of Postgres. *look*: makes a query on a connection of its own."""
    return StoreWatch("postgres", look, _away_for_the_watch, sought_at=sought_at)


def _away_for_the_watch(exc: Exception) -> bool:
    return store_is_down(exc) or isinstance(exc, PostgresError)


def store_away(exc: Exception) -> bool:
    """The policy of a periodic duty (`Periodic(skip=store_away)`): skip the round while either store is away.

    The duty logs nothing, as the store's watcher does. Also tells, outside of a Periodic, whether *exc* speaks of a
    store and not of the data.
    """
    return isinstance(exc, (*StreamErrors, NotDurable)) or store_is_down(exc)
