"""Compaction: what is too old goes, beside pushes and never in a circle with them; a check finds what disagrees."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pytest

from adapters.postgres.pool import Pool, connect
from adapters.postgres.records import checks, compaction
from daemon.operator.records_upkeep import new_epoch
from daemon.records.checking import check
from daemon.records.comparing import NotCopied, compare
from daemon.records.upkeep import KINDS, compact
from daemon.settings.model import Settings
from tests.support.record_feed import Row, change, put, write_at_random
from tests.support.until import until

OLD: Final = "now() - interval '100 days'"
KEEP: Final = Settings()
_WAITS: Final = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
"""


async def count(db: Pool, table: str) -> int:
    return int(await db.fetchval(f"SELECT count(*) FROM {table}"))


async def test_compaction_beside_pushes_meets_no_deadlock_and_takes_all_that_is_old(
    db: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tombstone counts as old at once, so that both meet on the same rows again and again."""
    monkeypatch.setattr(compaction, "STEP", 5)
    await db.execute(
        "CREATE FUNCTION aged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.deleted THEN NEW.deleted_at := {OLD}; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER aged BEFORE INSERT OR UPDATE ON records FOR EACH ROW EXECUTE FUNCTION aged();"
        f"ALTER TABLE sync_exits ALTER at SET DEFAULT {OLD}"
    )
    async with connect(database_url, size=8) as pool:
        writers = [asyncio.create_task(write_at_random(pool, seed, 300, 20)) for seed in range(4)]
        gone = dict.fromkeys(KINDS, 0)
        while not all(writer.done() for writer in writers):
            for done in await asyncio.gather(compact(pool, KEEP), compact(pool, KEEP)):
                for kind, some in done.items():
                    gone[kind] += some
        for writer in writers:
            await writer
    assert gone["tombstones"] > 20
    assert gone["exits"] > 20
    assert await db.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    await compact(db, KEEP)
    assert await db.fetchval("SELECT count(*) FROM records WHERE deleted") == 0
    assert (await check(db)).faults == []


async def test_a_tombstone_that_revives_while_it_is_taken_stays(db: Pool, database_url: str) -> None:
    await put(db, Row("a", 1, "alice", deleted=True))
    await db.execute(f"UPDATE records SET deleted_at = {OLD}")
    async with connect(database_url, size=2) as other, other.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("UPDATE sync_clock SET seq = seq + 1")
        await conn.execute("UPDATE records SET deleted = false, version = 2, seq = 2")
        taking = asyncio.create_task(compaction.take_tombstones(db, 90))
        await until(lambda: conn.fetchval(_WAITS), "it waits for the clock")
        await transaction.commit()
        assert await taking == 0
    assert await db.fetchval("SELECT version FROM records WHERE NOT deleted") == 2


async def test_what_is_erased_and_what_an_edge_has_not_told_yet_stays(db: Pool) -> None:
    await put(db, *(Row(id, 1, "alice", deleted=True) for id in ("erased", "told", "untold")))
    await db.execute("UPDATE records SET erased = true, data = '{}', stamps = '{}' WHERE record_id = 'erased'")
    for id, settled in (("told", True), ("untold", False)):
        await db.execute(
            "INSERT INTO sync_queue (op_id, operation, model, record_id, user_id, base_version, changed_at, origin,"
            " settled, state, synced_at) VALUES (gen_random_uuid(), 'DELETE', 'Lead', $1, 'alice', 1, now(), 'edge',"
            " $2, CASE WHEN $2 THEN 'synced' ELSE 'pending' END, CASE WHEN $2 THEN now() END)",
            id,
            settled,
        )
    await db.execute(f"UPDATE records SET deleted_at = {OLD}")
    assert (await compact(db, KEEP))["tombstones"] == 1
    left = await db.fetch("SELECT record_id FROM records ORDER BY 1")
    assert [row[0] for row in left] == ["erased", "untold"]
    assert (await check(db)).faults == []


async def test_ledger_conflicts_and_the_queue_go_when_their_time_is_over(db: Pool) -> None:
    for age in (0, 40, 100):
        at = f"now() - interval '{age} days'"
        await db.execute(
            "INSERT INTO sync_ops (user_id, op_id, replica, model, record_id, digest, result, at)"
            f" VALUES ('u', $1, 'r', 'Lead', 'a', '', 'applied', {at})",
            uuid4(),
        )
        for decision in (None, "ours"):
            await db.execute(
                "INSERT INTO sync_conflicts (model, record_id, user_id, op_id, operation, strategy, decision,"
                f" created_at) VALUES ('Lead', 'a', 'u', $1, 'UPDATE', 'manual', $2, {at})",
                uuid4(),
                decision,
            )
        for state in ("synced", "failed"):
            await db.execute(
                "INSERT INTO sync_queue (op_id, operation, model, record_id, user_id, base_version, changed_at, origin,"
                " settled, state, synced_at)"
                f" VALUES ($1, 'UPDATE', 'Lead', 'a', 'u', 1, now(), 'edge', true, $2, {at})",
                uuid4(),
                state,
            )
    wanted = {"ledger": 1, "conflicts": 1, "queue": 2}
    assert {kind: (await compact(db, KEEP, dry_run=True))[kind] for kind in wanted} == wanted
    assert await count(db, "sync_ops") == 3, "a dry run takes nothing"
    gone = await compact(db, KEEP)
    assert {kind: gone[kind] for kind in wanted} == wanted
    assert await db.fetchval("SELECT count(*) FROM sync_conflicts WHERE decision IS NULL") == 3
    assert await db.fetchval("SELECT count(*) FROM sync_queue WHERE state = 'failed'") == 3


async def test_replicas_that_do_not_push_any_more_are_forgotten_and_one_that_pushes_just_now_is_not(
    db: Pool, database_url: str
) -> None:
    await db.execute(
        "INSERT INTO sync_replicas (replica, principal, pushed_at)"
        f" VALUES ('gone', 'user:a', {OLD}), ('back', 'user:a', {OLD}), ('here', 'user:a', now())"
    )
    assert (await compact(db, KEEP, dry_run=True))["replicas"] == 2
    async with connect(database_url, size=1) as other, other.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE sync_replicas SET pushed_at = now() WHERE replica = 'back'")
        assert (await compact(db, KEEP))["replicas"] == 1, "it does not wait for who holds the clock"
    assert (await compact(db, KEEP))["replicas"] == 0
    assert {row[0] for row in await db.fetch("SELECT replica FROM sync_replicas")} == {"back", "here"}


async def test_a_new_epoch_is_in_the_audit_log(db: Pool) -> None:
    assert await new_epoch(db, "noa") == 2
    assert await db.fetchval("SELECT actor FROM audit_log WHERE action = 'records.new_epoch'") == "noa"


async def test_a_sound_store_has_no_faults(db: Pool) -> None:
    await write_at_random(db, 1, 200, 30)
    found = await check(db)
    assert (found.count, found.records) == (0, await count(db, "records"))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("UPDATE records SET prev = 9 WHERE record_id = 'a'", "does not follow"),
        ("UPDATE records SET seq = 99 WHERE record_id = 'a'", "clock has not given"),
        ("UPDATE records SET seq = 1", "more than one record"),
        ("UPDATE records SET deleted = true WHERE record_id = 'a'", "never be compacted"),
        ("UPDATE records SET erased = true WHERE record_id = 'a'", "is not empty"),
        ("UPDATE records SET stamps = '[' WHERE record_id = 'a'", "cannot be read"),
        ("""UPDATE records SET stamps = '{"x":[1,0,"r",7,"p",0]}' WHERE record_id = 'a'""", "has not come to yet"),
        (
            "INSERT INTO sync_ops (user_id, op_id, replica, model, record_id, digest, result, version)"
            " VALUES ('u', gen_random_uuid(), 'r', 'Lead', 'a', '', 'applied', 5)",
            "went back",
        ),
        ("UPDATE sync_clock SET horizon = 99", "clock has not given"),
    ],
)
async def test_a_check_names_what_does_not_agree(db: Pool, harm: str, says: str) -> None:
    await put(db, Row("a", 1, "alice", None, {"x": 1}), Row("b", 1, "alice"))
    await db.execute(harm)
    faults = (await check(db)).faults
    assert [says in fault.what for fault in faults] == [True], faults
    assert faults[0].record_id in ("a", "")


async def test_an_edge_without_a_whole_copy_has_nothing_to_compare(db: Pool) -> None:
    nobody: Any = None
    with pytest.raises(NotCopied):
        await compare(db, nobody)


async def test_a_check_goes_through_all_steps(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "STEP", 3)
    await put(db, *(Row(f"a{n}", 1, "alice", model=("Lead", "Payment")[n % 2]) for n in range(10)))
    await change(db, "a8", lambda row: row and replace(row, deleted=True))
    assert (await check(db)).records == 10
