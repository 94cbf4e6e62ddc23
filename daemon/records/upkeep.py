"""Upkeep of the records: what is too old goes, a little at a time, by the clock or when an operator asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from adapters.postgres.pool import Pool
from adapters.postgres.records import compaction, marks
from daemon.bus.worker import Duty, Outside
from daemon.settings.model import Settings

EVERY_S: Final = 3600.0

KINDS: Final = ("tombstones", "exits", "marks", *compaction.BESIDE)
"""What goes: deleted records; notes for readers whom records have left; the proofs of old cursors; the ledger of
operations; decided conflicts; an edge's operations that are settled; whose the names of replicas are that do not push
any more."""

log = structlog.get_logger(__name__)


def _days(settings: Settings, kind: str) -> int:
    """How long *kind* stays."""
    return settings.sync_retention_days if kind == "queue" else settings.sync_horizon_days


def _step(kind: str) -> Callable[[Pool, int], Awaitable[int]]:
    """What takes away a step of *kind*."""
    steps = {
        "tombstones": compaction.take_tombstones,
        "exits": compaction.take_exits,
        "marks": compaction.take_marks,
    }
    return steps.get(kind) or (lambda pool, days: compaction.take_beside(pool, kind, days))


async def compact(pool: Pool, settings: Settings, *, dry_run: bool = False) -> dict[str, int]:
    """Take away what is older than the settings keep, kind by kind; returns how much of each. *dry_run*: only count it.

    The head gets a mark first: the cursors of readers whom nothing concerns follow the marks, and so stay above the
    horizon."""
    if dry_run:
        return {kind: await compaction.countable(pool, kind, _days(settings, kind)) for kind in KINDS}
    await marks.make_at_head(pool)
    gone = dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        take, days = _step(kind), _days(settings, kind)
        while some := await take(pool, days):
            gone[kind] += some
    return gone


async def _by_the_clock(pool: Pool, settings: Settings) -> None:
    gone = await compact(pool, settings)
    if any(gone.values()):
        log.info("records.compacted", **gone)


def duty(outside: Outside) -> Duty:
    """Compaction, every hour. Several processes may do it at once: what one has taken, another finds gone."""
    return Duty("record-compaction", partial(_by_the_clock, outside.pool, outside.settings), EVERY_S)
