"""Pausing and resuming a worker, or all calls to a provider."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.postgres.bus import pauses
from adapters.postgres.pool import Pool
from daemon.bus.worker import AnyWorker
from schemas.errors import FerrymanError


class UnknownName(FerrymanError):
    """There is no such worker and no such provider."""


def require_known(name: str, workers: Sequence[AnyWorker]) -> None:
    """Raises: UnknownName, with the names that there are, when *name* is neither a worker nor a provider of one."""
    names = sorted({w.name for w in workers} | {channel for w in workers for channel in w.channels})
    if name not in names:
        raise UnknownName(f"there is no worker or provider {name}: there are {', '.join(names)}")


async def set_paused(
    pool: Pool, workers: Sequence[AnyWorker], name: str, *, paused: bool, dry_run: bool = False
) -> bool:
    """Pause or resume *name* for every process. Returns whether that changes anything; *dry_run*: only that.

    Raises: UnknownName.
    """
    require_known(name, workers)
    if dry_run:
        return (name in await pauses.paused(pool)) != paused
    return await (pauses.pause if paused else pauses.resume)(pool, name)
