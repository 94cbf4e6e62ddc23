"""Pausing and resuming a worker, or all calls to a provider.

A provider is also paused by itself, when it says that we ask too often; `resume` ends that pause as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from adapters.postgres.bus import pauses
from adapters.postgres.pool import Pool
from adapters.redis import pauses as asked
from adapters.redis.client import Redis
from adapters.redis.streams import StreamErrors
from daemon.bus.worker import AnyWorker
from schemas.errors import FerrymanError


def scopes(workers: Sequence[AnyWorker]) -> Mapping[str, str]:
    """Provider -> the scope of its rate limit, for the providers of *workers*."""
    return {name: scope for w in workers if w.domain is not None for name, scope in w.domain.scopes.items()}


class UnknownName(FerrymanError):
    """There is no such worker and no such provider."""


def require_known(name: str, workers: Sequence[AnyWorker]) -> None:
    """Raises: UnknownName, with the names that there are, when *name* is neither a worker nor a provider of one."""
    names = sorted({w.name for w in workers} | {channel for w in workers for channel in w.channels})
    if name not in names:
        raise UnknownName(f"there is no worker or provider {name}: there are {', '.join(names)}")


async def set_paused(
    pool: Pool, redis: Redis, workers: Sequence[AnyWorker], name: str, *, paused: bool, dry_run: bool = False
) -> bool:
    """Pause or resume *name* for every process. Returns whether that changes anything; *dry_run*: only that.

    Raises: UnknownName.
    """
    require_known(name, workers)
    scope = None if paused else scopes(workers).get(name)
    lifted = False
    with suppress(*StreamErrors):  # with Redis away each process waits by itself
        if scope is not None:
            lifted = await asked.seconds_left(redis, scope) > 0 if dry_run else await asked.lift(redis, scope)
    if dry_run:
        return lifted or (name in await pauses.paused(pool)) != paused
    return await (pauses.pause if paused else pauses.resume)(pool, name) or lifted
