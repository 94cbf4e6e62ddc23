"""Migrations: forward only, each whole or not at all, and safe to start by many processes at once."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import asyncpg
import pytest

from adapters.postgres import migrate as migrating
from adapters.postgres.migrate import Migration, MigrationError, apply, migrate, migrations, pending
from adapters.postgres.pool import Connection, single_connection
from tests.support.servers import fresh_database


@pytest.fixture
async def conn(empty_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


def file(version: int, sql: str, name: str = "change") -> Migration:
    return Migration(version, f"{version:04}_{name}", sql, hashlib.sha256(sql.encode()).hexdigest())


def names() -> list[str]:
    return [migration.name for migration in migrations()]


async def tables(conn: Connection) -> int:
    count: int = await conn.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    return count


def test_every_file_has_a_name_that_is_read_and_its_number_once() -> None:
    found = [entry.name for entry in (resources.files("adapters.postgres") / "migrations").iterdir()]
    sql = sorted(name for name in found if name.endswith(".sql"))
    assert sql == [f"{name}.sql" for name in names()]
    versions = [migration.version for migration in migrations()]
    assert versions == sorted(set(versions))


def test_two_files_with_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("0001_one.sql", "0001_two.sql"):
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match="0001"):
        migrating.read_migrations(tmp_path)


async def test_a_fresh_database_gets_all_and_then_nothing(conn: Connection) -> None:
    assert await pending(conn) == names()
    assert await migrate(conn) == names()
    assert await migrate(conn) == []
    assert await pending(conn) == []
    rows = await conn.fetch("SELECT name, digest FROM schema_migrations ORDER BY version")
    assert [row["name"] for row in rows] == names()
    assert all(re.fullmatch("[0-9a-f]{64}", row["digest"]) for row in rows)


async def test_a_dry_run_names_the_migrations_and_changes_nothing(conn: Connection) -> None:
    assert await migrate(conn, dry_run=True) == names()
    assert await tables(conn) == 0


async def test_two_at_once_on_a_fresh_database_both_succeed(empty_database_url: str) -> None:
    async def one() -> list[str]:
        connection = await asyncpg.connect(empty_database_url)
        try:
            return await migrate(connection)
        finally:
            await connection.close()

    results = await asyncio.gather(*(one() for _ in range(4)))
    assert sorted(results) == [[], [], [], names()]


async def test_only_what_is_missing_is_applied(conn: Connection) -> None:
    first, second = file(1, "CREATE TABLE one ()"), file(2, "CREATE TABLE two ()")
    assert await apply(conn, [first]) == ["0001_change"]
    assert await apply(conn, [first, second]) == ["0002_change"]


async def test_a_file_that_fails_leaves_nothing_and_the_lock_is_free(conn: Connection) -> None:
    broken = file(2, "CREATE TABLE half (); SELECT nothing FROM nowhere")
    with pytest.raises(MigrationError, match=r"0002_change failed and left nothing: .*nowhere"):
        await apply(conn, [file(1, "CREATE TABLE one ()"), broken])
    assert await conn.fetchval("SELECT to_regclass('one') IS NOT NULL AND to_regclass('half') IS NULL")
    assert await conn.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert await apply(conn, [file(1, "CREATE TABLE one ()"), file(2, "CREATE TABLE half ()")]) == ["0002_change"]


async def test_a_changed_file_is_refused(conn: Connection) -> None:
    await apply(conn, [file(1, "CREATE TABLE one ()")])
    with pytest.raises(MigrationError, match="0001_change was changed after it had been applied"):
        await apply(conn, [file(1, "CREATE TABLE one (n int)")])


async def test_a_newer_database_is_refused(conn: Connection) -> None:
    await apply(conn, [file(1, "CREATE TABLE one ()"), file(2, "CREATE TABLE two ()", "from_the_future")])
    for dry_run in (False, True):
        with pytest.raises(MigrationError, match=r"newer than this program \(it has 0002_from_the_future\)"):
            await apply(conn, [file(1, "CREATE TABLE one ()")], dry_run=dry_run)


async def test_a_file_that_comes_too_late_is_refused(conn: Connection) -> None:
    later = file(2, "CREATE TABLE two ()")
    await apply(conn, [later])
    with pytest.raises(MigrationError, match="give it a higher number"):
        await apply(conn, [file(1, "CREATE TABLE one ()"), later])


@pytest.mark.parametrize("encoding", ["WIN1252", "LATIN1", "SQL_ASCII"])
async def test_a_database_that_is_not_utf_8_is_refused_before_anything_is_in_it(
    postgres_url: str, encoding: str
) -> None:
    options = f"ENCODING '{encoding}' LOCALE 'C'"
    async with fresh_database(postgres_url, more=options) as url, single_connection(url) as conn:
        for verb in (migrate, pending):
            with pytest.raises(MigrationError, match=f"in {encoding}, and Ferryman needs UTF-8: make another one"):
                await verb(conn)
        assert await tables(conn) == 0


async def test_it_does_not_queue_behind_a_long_lock(
    conn: Connection, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "50ms")
    first, second = file(1, "CREATE TABLE one ()"), file(2, "ALTER TABLE one ADD n int")
    await apply(conn, [first])
    other = await asyncpg.connect(empty_database_url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE one")
            with pytest.raises(MigrationError, match="lock timeout"):
                await apply(conn, [first, second])
    finally:
        await other.close()
    assert await apply(conn, [first, second]) == ["0002_change"]


async def test_another_migrator_that_does_not_end_is_reported(
    conn: Connection, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "LOCK_WAIT_S", 0.1)
    other = await asyncpg.connect(empty_database_url)
    try:
        await other.execute("SELECT pg_advisory_lock($1)", migrating._LOCK_KEY)
        with pytest.raises(MigrationError, match="another process migrates"):
            await migrate(conn)
    finally:
        await other.close()


async def test_of_two_ends_of_an_event_on_one_day_the_first_stays(conn: Connection) -> None:
    (change,) = [migration for migration in migrations() if migration.name.endswith("_one_end")]
    await apply(conn, [migration for migration in migrations() if migration.version < change.version])
    await conn.execute(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash, at) VALUES"
        " ('toy', '1', 'done', '', '2026-01-01 10:00+00'), ('toy', '1', 'dead', '', '2026-01-01 11:00+00'),"
        " ('toy', '2', 'done', '', '2026-01-01 11:00+00'), ('other', '1', 'skipped', '', '2026-01-01 12:00+00')"
    )
    await migrate(conn)
    rows = await conn.fetch("SELECT worker, event_id, outcome FROM inbox ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [("other", "1", "skipped"), ("toy", "1", "done"), ("toy", "2", "done")]
