"""Pushes at an edge: what an operation has really done is queued for the upstream with its record; what is counted."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from adapters.postgres.pool import Pool
from daemon.records.pushing.counting import CONFLICTS, OPERATIONS, REJECTED, RETRIES, SKEW
from daemon.records.pushing.pushes import PushIn
from daemon.records.wiring import METRICS
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from tests.support.records import operation, person, pushed, records_of

ALICE: Final = person("alice")
EDGE: Final = Settings(sync_upstream_url="https://hub.example.com")


async def queued(db: Pool) -> list[tuple[Any, ...]]:
    rows = await db.fetch("SELECT operation, record_id, data::text, user_id, base_version FROM sync_queue ORDER BY id")
    return [(row[0], row[1], orjson.loads(row[2]), row[3], row[4]) for row in rows]


async def test_effects_are_queued_in_order_and_the_upstreams_row_is_kept_once(db: Pool) -> None:
    records = records_of(db, EDGE)
    await db.execute(
        "INSERT INTO records (model, record_id, version, prev, seq, owner_id, data, up_version, changed_at)"
        """ VALUES ('Lead', 'a', 3, 2, 1, 'alice', '{"name": "Ann", "owner_id": "alice"}', 9, now())"""
    )
    made = [
        operation("UPDATE", "a", city="Haifa", _base_version=3, _origin="phone-7"),
        operation("UPDATE", "a", city="Acre", name="Ann", _base_version=3),
        operation("CREATE", "b", name="Ben"),
        operation("UPDATE", "a", city="Acre", _base_version=5),
        operation("CREATE", "c", name=7),
    ]
    done = await records.push(ALICE, PushIn(replica="phone-1", operations=made))
    assert done.provisional
    assert [answer.result for answer in done.results] == ["applied"] * 4 + ["rejected"]
    assert await queued(db) == [
        ("UPDATE", "a", {"city": "Haifa"}, "alice", 9),
        ("UPDATE", "a", {"city": "Acre"}, "alice", 9),
        ("CREATE", "b", {"name": "Ben", "owner_id": "alice"}, "alice", 0),
    ]
    op_ids = {str(row["op_id"]) for row in await db.fetch("SELECT op_id FROM sync_queue")}
    assert op_ids == {one["op_id"] for one in made[:3]}
    bases = await db.fetch("SELECT record_id, up_version, deleted, data->>'name' AS name FROM sync_base ORDER BY 1")
    assert [tuple(row) for row in bases] == [("a", 9, False, "Ann"), ("b", 0, True, None)]
    seen = await db.fetch("SELECT id, recordid, userid FROM SyncQueue WHERE syncedAt IS NULL")
    assert [row["recordid"] for row in seen] == ["a", "a", "b"]


async def test_what_has_lost_is_not_told_to_the_upstream(db: Pool) -> None:
    records = records_of(db, EDGE)
    await pushed(records, ALICE, operation("CREATE", "a", name="Ann", amount="1"))
    await pushed(records, ALICE, operation("UPDATE", "a", amount="2", _base_version=1))
    late = operation("UPDATE", "a", amount="3", _base_version=1)
    sent = await asyncio.gather(*(pushed(records, ALICE, late, replica="tablet") for _ in range(6)))
    assert sorted(answer["result"] for (answer,) in sent) == ["conflict", *["duplicate"] * 5]
    assert [row[2] for row in await queued(db)] == [
        {"name": "Ann", "amount": "1", "owner_id": "alice"},
        {"amount": "2"},
    ]


async def test_answers_conflicts_and_clocks_are_counted(db: Pool) -> None:
    metrics = Metrics(METRICS)
    records = records_of(db, metrics=metrics)
    now = records._outside.now()
    made = [operation("CREATE", "a", name="Ann", amount="1"), operation("CREATE", "b", name=7)]
    await records.push(ALICE, PushIn(replica="phone-1", sent_at=now, operations=made))
    await pushed(records, ALICE, made[0], operation("UPDATE", "a", amount="2", _base_version=1))
    await pushed(records, ALICE, operation("UPDATE", "a", amount="3", _base_version=1), replica="tablet")
    page = metrics.render()[0].decode()
    for line in (
        f'{OPERATIONS}{{result="applied"}} 2',
        f'{OPERATIONS}{{result="duplicate"}} 1',
        f'{OPERATIONS}{{result="conflict"}} 1',
        f'{OPERATIONS}{{result="rejected"}} 1',
        f'{REJECTED}{{reason="type"}} 1',
        f'{CONFLICTS}{{decision="open",strategy="manual"}} 1',
        f"{RETRIES} 0",
        f'{SKEW}_bucket{{le="1.0"}} 1',
    ):
        assert line in page, [one for one in page.splitlines() if one.startswith(line.partition("{")[0])]
