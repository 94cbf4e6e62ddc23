"""The installation's workers: who runs them, what waits for them, and taking one out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.postgres.bus import workers
from adapters.postgres.bus.workers import Registered
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from daemon.bus.unattended import ATTENDED_S
from daemon.bus.worker import AnyWorker
from schemas.errors import FerrymanError


class NotForgotten(FerrymanError):
    """The worker cannot be taken out: why, and what to do."""


def kept_for(workers: Sequence[AnyWorker], registered: Sequence[Registered]) -> list[Registered]:
    """Those of *workers* that events are kept for: the ones of the installation (*registered*), and the ones that would
    begin at everything. No event is that of a worker that begins now and never ran here."""
    known = {worker.name: worker for worker in registered}
    return [known.get(w.name, w.entry) for w in workers if w.name in known or w.begins == "everything"]


async def working(pool: Pool, known: Sequence[AnyWorker]) -> list[AnyWorker]:
    """Those of *known* that events are kept for in this installation."""
    kept = {worker.name for worker in kept_for(known, await workers.listed(pool))}
    return [worker for worker in known if worker.name in kept]


async def read_workers(pool: Pool, bus: Streams) -> list[dict[str, Any]]:
    """A document for each worker. *waiting*: entries that it has not read or not settled; null: not known."""
    return [
        {
            "name": worker.name,
            "topics": worker.topics,
            "begins": worker.begins,
            "began_at": worker.began_at,
            "first_run_at": worker.first_run_at,
            "last_seen_at": worker.last_seen_at,
            "running": worker.last_seen_at is not None and worker.unseen_s <= ATTENDED_S,
            "waiting": await _waiting(bus, worker),
        }
        for worker in await workers.listed(pool)
    ]


async def forget_worker(pool: Pool, bus: Streams, name: str, *, dry_run: bool = False) -> int | None:
    """Take the worker *name* out of the installation, and its groups off the streams: nothing is kept for it any more.

    Returns how many entries waited for it; None: not known. Raises: NotForgotten.
    """
    every = {worker.name: worker for worker in await workers.listed(pool)}
    worker = every.get(name)
    if worker is None:
        raise NotForgotten(f"there is no worker {name} here: there are {', '.join(every) or 'none'}")
    if name == workers.JOURNAL:
        raise NotForgotten("the journal is what the others are recovered from: it stays")
    if worker.last_seen_at is not None and worker.unseen_s <= ATTENDED_S:
        raise NotForgotten(
            f"a process runs {name}, or did less than {ATTENDED_S:.0f} seconds ago: take it out of FERRYMAN_WORKERS"
            " and restart first"
        )
    waiting = await _waiting(bus, worker)
    if not dry_run:
        await workers.forget(pool, name)
        await bus.drop_groups(name, stream_keys(worker.topics, range(bus.partitions)))
    return waiting


async def _waiting(bus: Streams, worker: workers.Registered) -> int | None:
    unread, pending = await bus.lag(worker.name, stream_keys(worker.topics, range(bus.partitions)))
    return None if unread < 0 else unread + pending
