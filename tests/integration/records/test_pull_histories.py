"""Cursors: an unharmed history goes on for ever; one that went back, was compacted or is another's is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pytest

from adapters.postgres.pool import Pool, connect
from adapters.postgres.records import marks
from daemon.records.pulling.pulls import Expired
from daemon.records.upkeep import compact
from daemon.settings.model import Settings
from schemas.principals import Principal
from tests.support.record_feed import ADMIN, Reader, Row, change, person, pulls_on, put, told, visible
from tests.support.servers import fresh_database

ALICE: Final = person("alice")
OLD: Final = "now() - interval '100 days'"


def reader_of(db: Pool, principal: Principal = ADMIN) -> Reader:
    return Reader(pulls_on(db), principal)


async def expired(reader: Reader, **asked: Any) -> str:
    with pytest.raises(Expired) as raised:
        await reader.page(**asked)
    return raised.value.reason


async def age(db: Pool) -> None:
    """Make all that there is a hundred days old."""
    await db.execute(f"UPDATE records SET deleted_at = {OLD} WHERE deleted")
    for table in ("sync_exits", "sync_marks", "sync_ops"):
        await db.execute(f"UPDATE {table} SET at = {OLD}")


async def delete(db: Pool, id: str) -> None:
    assert await change(db, id, lambda row: row and replace(row, deleted=True))


async def restored(db: Pool, other: Pool) -> None:
    """Make *other* what *db* is now."""
    for table in ("records", "sync_clock", "sync_marks", "sync_exits"):
        rows = await db.fetch(f"SELECT * FROM {table}")
        await other.execute(f"DELETE FROM {table}")
        columns = [
            row["attname"]
            for row in await db.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
                table,
            )
        ]
        await other.copy_records_to_table(table, records=[tuple(row[c] for c in columns) for row in rows])


@pytest.fixture
async def backup(postgres_url: str, template: str) -> Any:
    """Another database, for what is restored into it."""
    async with fresh_database(postgres_url, template) as url, connect(url, size=2) as pool:
        yield pool


@pytest.mark.parametrize("later", [0, 1, 5, 20])
async def test_a_database_restored_from_an_hour_ago_is_told_however_far_it_has_gone_on_since(
    db: Pool, backup: Pool, later: int
) -> None:
    await put(db, *(Row(f"a{n}", 1, "alice") for n in range(3)))
    known = reader_of(db, ALICE)
    await known.round()
    await restored(db, backup)
    await put(db, Row("lost", 1, "alice"))
    reader = reader_of(db, ALICE)
    await reader.round()
    for n in range(later):
        await put(backup, Row(f"b{n}", 1, "alice"))
        other = reader_of(backup, ALICE)
        await other.round()
    reader.pulls = known.pulls = pulls_on(backup)
    assert await expired(reader) == "epoch"
    await known.round()
    assert known.rows == await visible(backup, ALICE), "who had read nothing of the lost hour goes on"


async def test_who_read_a_page_of_the_lost_hour_alone_is_told_too(db: Pool, backup: Pool) -> None:
    await put(db, Row("a", 1, "alice"))
    await restored(db, backup)
    await put(db, Row("b", 1, "alice"), Row("c", 1, "alice"), Row("d", 1, "alice"))
    reader = reader_of(db, ALICE)
    await reader.page(limit=2)
    await put(backup, *(Row(f"x{n}", 1, "alice") for n in range(9)))
    await reader_of(backup).round()
    reader.pulls = pulls_on(backup)
    assert await expired(reader) == "epoch"


async def test_an_unharmed_history_is_never_called_another(db: Pool) -> None:
    """Whoever reads, however rarely, whatever others write, and with the upkeep of every hour."""
    readers = [reader_of(db, who) for who in (ADMIN, ALICE, person("nobody"))]
    for n in range(60):
        await put(db, Row(f"a{n}", 1, ("alice", "bob")[n % 2]))
        if n % 7 == 0:
            await delete(db, f"a{n}")
        if n % 10 == 0:
            await compact(db, Settings())
        for place, reader in enumerate(readers):
            if n % (1, 3, 11)[place] == 0:
                await reader.page(limit=1 + n % 3)
    for reader in readers:
        await reader.round()
        await reader.round()
        assert reader.rows == await visible(db, reader.principal)


async def test_idle_pulls_write_nothing_also_while_others_work(db: Pool, database_url: str) -> None:
    await put(db, Row("a", 1, "alice"))
    readers = [reader_of(db, ALICE), reader_of(db, person("bob"))]
    for reader in readers:
        await reader.round()
    name = await db.fetchval("SELECT quote_ident(current_database())")
    await db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")  # of sessions from now on
    async with connect(database_url, size=2) as reading:
        assert await reading.fetchval("SHOW transaction_read_only") == "on"
        for reader in readers:
            reader.pulls = pulls_on(reading)
        for n in range(30):
            for reader in readers:
                await reader.round()
            await put(db, Row(f"b{n}", 1, "carol"))


async def test_a_reader_whom_nothing_concerns_does_not_stay_behind(db: Pool) -> None:
    reader = reader_of(db, ALICE)
    await reader.round()
    for n in range(4):
        await put(db, *(Row(f"b{n}-{m}", 1, "carol") for m in range(400)))
        await reader.round()
    head = await db.fetchval("SELECT seq FROM sync_clock")
    assert reader.cursor is not None
    assert head - reader.cursor.seq <= 1000


async def test_a_new_epoch_begins_everybody_anew(db: Pool) -> None:
    await put(db, Row("a", 1, "alice"))
    reader = reader_of(db)
    await reader.round()
    assert await marks.new_epoch(db) == 2
    assert await expired(reader) == "epoch"
    reader.cursor = None
    await reader.round()
    assert len(reader.rows) == 1


async def test_a_cursor_of_another_server_or_with_other_rights_is_told_apart(db: Pool) -> None:
    await put(db, Row("a", 1, "alice"))
    reader = reader_of(db, ALICE)
    await reader.round()
    cursor = reader.cursor
    assert cursor is not None
    assert await expired(replace(reader, principal=person("bob"))) == "scope"
    assert await expired(replace(reader, principal=ADMIN)) == "scope"
    assert await expired(reader, models=frozenset({"Lead"})) == "scope"
    assert await expired(replace(reader, cursor=replace(cursor, feed=uuid4()))) == "feed"
    assert await expired(replace(reader, cursor=replace(cursor, mark=uuid4()))) == "epoch"
    await reader.round()


async def test_compaction_takes_what_is_old_and_whoever_missed_it_begins_anew(db: Pool) -> None:
    await put(db, *(Row(f"a{n}", 1, "alice") for n in range(4)))
    away, near = reader_of(db, ALICE), reader_of(db, ALICE)
    for reader in (away, near):
        await reader.round()
    await delete(db, "a0")
    await change(db, "a1", lambda row: row and replace(row, owner="bob"))
    await near.round()
    await age(db)
    await delete(db, "a2")
    told_of = await compact(db, Settings(), dry_run=True)
    assert (told_of["tombstones"], told_of["exits"]) == (1, 1)
    gone = await compact(db, Settings())
    assert gone | {"marks": 0} == told_of | {"marks": 0}
    assert await db.fetchval("SELECT count(*) FROM records WHERE deleted") == 1
    assert await expired(away) == "compacted"
    away.cursor, away.rows = None, {}
    for reader in (away, near):
        await reader.round()
        assert reader.rows == await visible(db, ALICE)


async def test_who_pulls_now_and_then_is_never_too_old_though_nothing_concerns_them(db: Pool) -> None:
    await put(db, Row("a", 1, "alice"))
    reader = reader_of(db, ALICE)
    await reader.round()
    for n in range(5):
        await put(db, Row(f"b{n}", 1, "carol"))
        await delete(db, f"b{n}")
        await compact(db, Settings())  # of an hour
        await reader.round()
        await age(db)
        await compact(db, Settings())
        await reader.round()
    assert await db.fetchval("SELECT count(*) FROM records WHERE deleted") == 0
    assert list(reader.rows) == [("Lead", "a")]


@pytest.mark.parametrize("limit", [1, 4])
async def test_a_first_sync_that_meets_a_compaction_ends(db: Pool, limit: int) -> None:
    await put(db, *(Row(f"a{n}", 1, "alice") for n in range(12)))
    for n in range(4):
        await delete(db, f"a{n}")
    await put(db, *(Row(f"b{n}", 1, "alice") for n in range(3)))
    await age(db)
    reader = reader_of(db, ALICE)
    await reader.page(limit=limit)
    await compact(db, Settings())
    assert await db.fetchval("SELECT horizon FROM sync_clock") > 0
    await reader.round(limit=limit)
    assert reader.rows == await visible(db, ALICE)
    await reader.round()


async def test_a_first_sync_that_missed_a_deletion_for_good_begins_anew(db: Pool) -> None:
    await put(db, *(Row(f"a{n}", 1, "alice") for n in range(5)))
    reader = reader_of(db, ALICE)
    await reader.page(limit=2)
    await delete(db, "a0")
    await age(db)
    await compact(db, Settings())
    assert await expired(reader) == "compacted"


async def test_after_31_days_a_phone_goes_on_and_after_100_it_begins_anew(db: Pool) -> None:
    await put(db, *(Row(f"a{n}", 1, "alice") for n in range(3)))
    reader = reader_of(db, ALICE)
    await reader.round()
    await delete(db, "a0")
    for table, column in (("records", "deleted_at"), ("sync_marks", "at")):
        await db.execute(f"UPDATE {table} SET {column} = now() - interval '31 days'")
    await compact(db, Settings())
    await reader.round()
    assert sorted(id for _, id in reader.rows) == ["a1", "a2"]
    short = Settings(sync_horizon_days=30)
    await delete(db, "a1")
    await db.execute("UPDATE records SET deleted_at = now() - interval '31 days' WHERE deleted")
    await compact(db, short)
    assert await expired(reader) == "compacted"
    reader.cursor = None
    changes = told(await reader.page())["changes"]
    assert [(one["op"], one["id"]) for one in changes] == [("upsert", "a2")]


async def test_a_cursor_goes_on_though_its_mark_is_old_where_nothing_has_come_since(db: Pool) -> None:
    await put(db, Row("a", 1, "alice"))
    reader = reader_of(db, ALICE)
    await reader.round()
    await age(db)
    for _ in range(2):
        await compact(db, Settings())
        await reader.round()
    assert await db.fetchval("SELECT count(*) FROM sync_marks") == 1
