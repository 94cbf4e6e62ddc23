"""Pushes: each operation is applied once and answered by itself, whatever happens to the others."""

from __future__ import annotations

from adapters.postgres.pool import Pool
from tests.support.records import operation, person, pushed, records_of

ALICE = person("alice")


async def test_a_push_is_applied_and_answered_in_order(db: Pool) -> None:
    records = records_of(db)
    first = await pushed(records, ALICE, operation("CREATE", "a", name="Ann"), operation("CREATE", "b", name="Ben"))
    assert [(one["result"], one["version"]) for one in first] == [("applied", 1), ("applied", 1)]
    (second,) = await pushed(records, ALICE, operation("UPDATE", "a", name="Anna", _base_version=1))
    assert (second["result"], second["version"]) == ("applied", 2)
    rows = await db.fetch("SELECT record_id, version, seq, owner_id, data->>'name' FROM records ORDER BY seq")
    assert [tuple(row) for row in rows] == [("b", 1, 2, "alice", "Ben"), ("a", 2, 3, "alice", "Anna")]
