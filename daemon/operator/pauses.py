"""Pausing and resuming a worker, or all calls to a provider, or to one account of it (PROVIDER/ACCOUNT).

A provider is also paused by itself, when it says that we ask too often; `resume` ends that pause as well. And calls
stop where a provider is away or refuses the account; `resume` has every process try again at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from adapters.channel import parted, scope_of
from adapters.postgres import credentials
from adapters.postgres.bus import pauses
from adapters.postgres.pool import Pool
from adapters.redis import pauses as asked
from adapters.redis.client import Redis
from adapters.redis.streams import StreamErrors
from daemon.bus.worker import AnyWorker
from schemas.credentials import ACCOUNT, DEFAULT
from schemas.errors import FerrymanError


def scopes(workers: Sequence[AnyWorker]) -> Mapping[str, str]:
    """Provider -> the scope of its rate limit, for the providers of *workers*."""
    return {name: scope for w in workers if w.domain is not None for name, scope in w.domain.scopes.items()}


class UnknownName(FerrymanError):
    """There is no such worker and no such provider."""


def require_known(name: str, workers: Sequence[AnyWorker]) -> None:
    """Raises: UnknownName, with the names that there are, when *name* is neither a worker nor a provider of one, nor
    PROVIDER/ACCOUNT."""
    names = sorted({w.name for w in workers} | {channel for w in workers for channel in w.channels})
    provider, slash, account = name.partition("/")
    if name not in names and not (slash and provider in scopes(workers) and ACCOUNT.fullmatch(account)):
        raise UnknownName(f"there is no worker or provider {name}: there are {', '.join(names)}")


async def set_paused(
    pool: Pool, redis: Redis, workers: Sequence[AnyWorker], name: str, *, paused: bool, dry_run: bool = False
) -> bool:
    """Pause or resume *name* for every process. Returns whether that changes anything; *dry_run*: only that.

    Raises: UnknownName.
    """
    require_known(name, workers)
    provider, account = parted(name)
    if paused and account != DEFAULT and (provider, account) not in await credentials.names(pool):
        raise UnknownName(f"there is no account {name}: see `ferryman credentials list`")
    scope = None if paused or provider not in scopes(workers) else scope_of(scopes(workers)[provider], account)
    lifted = False
    with suppress(*StreamErrors):  # with Redis away each process waits by itself
        if scope is not None:
            lifted = await asked.seconds_left(redis, scope) > 0 if dry_run else await asked.lift(redis, scope)
            if not dry_run:
                await asked.resume(redis, scope)
    if dry_run:
        return lifted or (name in await pauses.paused(pool)) != paused
    return await (pauses.pause if paused else pauses.resume)(pool, name) or lifted
