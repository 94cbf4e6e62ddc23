"""Erasing: a record forgets what it holds, for good. It becomes a tombstone that never revives; its conflicts, its base
and its operations for an upstream go too."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.audit_log import Logged
from adapters.postgres.pool import Pool
from adapters.postgres.records import reading, writing
from adapters.postgres.records.reading import Wanted
from adapters.postgres.records.writing import Overtaken, Writes
from daemon.records import rows
from schemas.envelope import Event
from schemas.records.operation import Key

ROUNDS: Final = 20
"""How often it is tried, while others change the record."""

ERASED: Final = "record.erased"
"""The action in the audit log."""


class Erased(NamedTuple):
    """The event that tells of it, and its number in the outbox."""

    event: Event
    seq: int


async def erase(
    pool: Pool, key: Key, now: datetime, *, origin: str, up_version: int | None = None, by: str | None = None
) -> Erased | None:
    """Erase the record *key*; None: there is none, or it was erased before. *origin*: who does, for the event.
    *up_version*: the upstream's version that says so; None: as it was. *by*: the person, for the audit log; None: no
    person of ours does it. Raises: Overtaken, where others change it all the time; as the store."""
    for _ in range(ROUNDS):
        (seen,) = await reading.read(pool, [Wanted(*key, None, None, None, None)])
        if seen.stored is None or seen.stored.erased:
            return None
        before = rows.stored_of(key, seen.stored)
        gone = replace(
            before,
            version=before.version + 1,
            deleted=True,
            erased=True,
            data={},
            stamps={},
            changed_at=now,
            up_version=before.up_version if up_version is None else up_version,
        )
        event = rows.changed(key, gone.version, before.data, origin, now, deleted=True)
        audit = [] if by is None else [Logged(by, ERASED, "record:" + ":".join(key), {"version": gone.version})]
        writes = Writes(records=[rows.record_row(before, gone)], events=[event], audit=audit)
        written = await writing.write(pool, writes)
        if written.outbox:
            return Erased(event, written.outbox[event.id])
    raise Overtaken("others changed the record all the time")
