"""Whether the stored records agree with themselves: their versions, numbers and stamps, the clock and the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from adapters.postgres.pool import Pool
from adapters.postgres.records import checks
from adapters.postgres.records.checks import CheckedRow
from schemas.records.stamps import loaded

MOST: Final = 100
"""Faults that are told one by one."""


class Fault(NamedTuple):
    """What is wrong with a record; with none of them: with the store."""

    model: str
    record_id: str
    what: str


@dataclass(slots=True)
class Found:
    """*records*: how many were looked at. *faults*: the first MOST of them; *count*: of all."""

    records: int = 0
    count: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Count *fault*, and keep it where there is room."""
        self.count += 1
        if len(self.faults) < MOST:
            self.faults.append(fault)


async def check(pool: Pool) -> Found:
    """Look at every record of this server. Raises: as the store."""
    found = Found()
    if await checks.clock_is_behind(pool):
        found.add(Fault("", "", "a number is used that the clock has not given yet"))
    if twice := await checks.numbers_twice(pool):
        found.add(Fault("", "", f"{twice} numbers are used by more than one record each"))
    model = record_id = ""
    while rows := await checks.after(pool, model, record_id):
        found.records += len(rows)
        for row in rows:
            for what in faults_of(row):
                found.add(Fault(row.model, row.record_id, what))
        model, record_id = rows[-1].model, rows[-1].record_id
    return found


def faults_of(row: CheckedRow) -> Iterator[str]:
    """What is wrong with a record, by itself and by what the ledger says of it."""
    if row.version < 1 or not 0 <= row.prev <= row.version:
        yield "its version does not follow from the one before"
    if row.seq > row.head:
        yield "it has a number that the clock has not given yet"
    if row.deleted and not row.is_dated:
        yield "it is deleted, and nothing says since when: it would never be compacted"
    if row.erased and (not row.deleted or row.data != "{}"):
        yield "it was erased, and is not empty"
    if row.ledger is not None and row.ledger > row.version:
        yield f"the ledger knows version {row.ledger} of it, and it is at {row.version}: the store went back"
    try:
        newest = max((stamp.version for stamp in loaded(row.stamps).values()), default=0)
    except (orjson.JSONDecodeError, TypeError, AttributeError):
        yield "its stamps cannot be read"
    else:
        if newest > row.version:
            yield "a field of it was changed at a version that it has not come to yet"
