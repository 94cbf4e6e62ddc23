"""Many writers on few records, by two processes: nothing is lost, applied twice or waits in a circle."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool, connect
from daemon.records.pushing.service import Records
from tests.support.records import ADMIN, edge, operation, person, pushed, records_of

RECORDS: Final = 40
WRITERS: Final = 5
PUSHES: Final = 30
OWNERS: Final = ("alice", "ben", "eve")


class Writer:
    """Pushes at random, some of it again and some of it to both processes at once, and remembers each answer."""

    def __init__(self, number: int, ways: tuple[Records, Records]) -> None:
        self.random = Random(number)
        self.number = number
        self.ways = ways
        self.who = ADMIN if number == 0 else edge("haifa", *OWNERS) if number == 1 else person(OWNERS[number - 2])
        self.seen: dict[str, int] = {}
        self.sent: list[dict[str, Any]] = []
        self.answers: dict[str, list[dict[str, Any]]] = {}

    async def run(self) -> None:
        for _ in range(PUSHES):
            batch = [self.made() for _ in range(self.random.randint(1, 12))]
            again = self.random.sample(self.sent, min(3, len(self.sent)))
            self.sent += batch
            ways = self.ways if self.random.random() < 0.3 else (self.random.choice(self.ways),)
            await asyncio.gather(*(self.push(way, [*batch, *again]) for way in ways))

    async def push(self, way: Records, batch: list[dict[str, Any]]) -> None:
        for one, answer in zip(batch, await pushed(way, self.who, *batch, replica=None), strict=True):
            self.answers.setdefault(one["op_id"], []).append(answer)
            self.seen[one["record_id"]] = max(self.seen.get(one["record_id"], 0), answer.get("version") or 0)

    def made(self) -> dict[str, Any]:
        id, draw = f"r{self.random.randrange(RECORDS)}", self.random.random()
        named = {"_user_id": self.random.choice(OWNERS)} if self.number == 1 else {}
        base = {"_base_version": self.seen.get(id, 0)}
        if draw < 0.25:
            return operation("CREATE", id, name=f"N{self.random.random()}", **named)
        if draw < 0.4:
            return operation("DELETE", id, **base, **named)
        if draw < 0.55 and self.number < 2:
            return operation("UPDATE", id, owner_id=self.random.choice(OWNERS), **base, **named)
        field = self.random.choice(("city", "amount", "score", "email"))
        value: Any = self.random.randrange(99) if field in ("amount", "score") else f"v{self.random.random()}"
        return operation("UPDATE", id, **{field: value}, **base, **named)


@pytest.mark.parametrize("seed", [1, 2])
async def test_ledger_versions_and_exits_agree_after_many_writers(database_url: str, db: Pool, seed: int) -> None:
    async with connect(database_url) as other:
        ways = records_of(db), records_of(other)
        writers = [Writer(number, ways) for number in range(WRITERS)]
        for writer in writers:
            writer.random.seed(seed * 100 + writer.number)
        await asyncio.gather(*(writer.run() for writer in writers))
    taken = {}
    for writer in writers:
        for op_id, answers in writer.answers.items():
            first = [one["result"] for one in answers if one["result"] in ("applied", "conflict")]
            assert len(first) <= 1, answers
            assert first or all(one["result"] == "rejected" for one in answers), answers
            if first:
                taken[op_id] = first[0]
            told = {one["version"] for one in answers if one["result"] in ("applied", "conflict", "duplicate")}
            assert len(told) <= 1, answers
    assert {str(row["op_id"]): row["result"] for row in await db.fetch("SELECT op_id, result FROM sync_ops")} == taken
    stands = {row["record_id"]: row["version"] for row in await db.fetch("SELECT record_id, version FROM records")}
    for id, version in stands.items():
        steps = await db.fetch(
            "SELECT DISTINCT version FROM sync_ops WHERE record_id = $1 AND version > 0 ORDER BY 1", id
        )
        assert [row["version"] for row in steps] == list(range(1, version + 1))
    lost = await db.fetchval(
        "SELECT count(*) FROM sync_ops o WHERE result = 'conflict' AND NOT EXISTS (SELECT FROM sync_conflicts k WHERE "
        "k.user_id = o.user_id AND k.model = o.model AND k.record_id = o.record_id)"
    )
    assert lost == 0
    head, top, seqs = await db.fetchrow(
        "SELECT (SELECT seq FROM sync_clock), max(seq), count(DISTINCT seq) FROM records"
    ) or (0, 0, 0)
    assert head >= top
    assert seqs == len(stands)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await db.fetchval(deadlocks) == 0
