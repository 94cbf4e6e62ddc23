"""What the upstream has erased is erased here too, with all that was kept of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias

from adapters.postgres.pool import Pool
from adapters.postgres.records import reading, writing
from adapters.postgres.records.reading import Wanted
from adapters.postgres.records.upstream import Key
from adapters.postgres.records.writing import Writes
from daemon.records import rows
from schemas.envelope import Event

ROUNDS: Final = 20

Tell: TypeAlias = Callable[[Sequence[Event], Sequence[int]], Awaitable[None]]
"""Hears of a commit that has changed records: its events, and their numbers in the outbox."""


async def erase(pool: Pool, key: Key, up_version: int, now: datetime, tell: Tell) -> bool:
    """Forget what the record *key* holds, its conflicts and its operations. False: others were faster again and again.
    Erased once more it stays as it is."""
    for _ in range(ROUNDS):
        (seen,) = await reading.read(pool, [Wanted(*key, None, None, None, None)])
        if seen.stored is None or seen.stored.erased:
            return True
        before = rows.stored_of(key, seen.stored)
        gone = replace(
            before,
            version=before.version + 1,
            deleted=True,
            erased=True,
            data={},
            stamps={},
            changed_at=now,
            up_version=up_version,
        )
        event = rows.changed(gone, [], sorted(before.data), "upstream", now)
        written = await writing.write(pool, Writes(records=[rows.record_row(before, gone)], events=[event]))
        if written.outbox:
            await tell([event], list(written.outbox.values()))
            return True
    return False
