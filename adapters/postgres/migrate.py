"""Brings a database to the schema of this program: numbered files, forward only, one transaction each.

A file is `migrations/NNNN_name.sql`. A released file is never edited, because the database keeps a digest of what it
applied; a change is a new file.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

import asyncpg

from adapters.postgres.pool import Connection, Record
from schemas.errors import FerrymanError

LOCK_WAIT_S: Final = 60.0
"""Longest wait for another migrator."""

LOCK_TIMEOUT: Final = "5s"
"""Longest wait of one statement for a table that others use: a queue behind a long lock would stop them all."""

STATEMENT_TIMEOUT_S: Final = 600.0

_LOCK_KEY: Final = 0x6665727279  # any number that nothing else uses
_RETRY_S: Final = 0.05
_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    digest text NOT NULL
)"""
_EXISTS: Final = "SELECT to_regclass('schema_migrations') IS NOT NULL"
_APPLIED: Final = "SELECT version, name, digest FROM schema_migrations ORDER BY version"
_RECORD: Final = "INSERT INTO schema_migrations (version, name, digest) VALUES ($1, $2, $3)"


class MigrationError(FerrymanError):
    """The database cannot be brought to this program's schema; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. *name* is the file's name without `.sql`; *digest* is the SHA-256 of its text, in hex."""

    version: int
    name: str
    sql: str
    digest: str


def migrations() -> tuple[Migration, ...]:
    """All files of this program, in order. Raises: MigrationError when two have one number."""
    return read_migrations(resources.files("adapters.postgres") / "migrations")


async def pending(conn: Connection) -> list[str]:
    """The names of what `migrate` would apply, in order; changes nothing. Raises: MigrationError as `migrate`."""
    await _require_utf8(conn)
    return [migration.name for migration in await _missing(conn, migrations())]


async def migrate(conn: Connection, *, dry_run: bool = False) -> list[str]:
    """Apply what is missing, and return its names in order; with *dry_run* only return them.

    Safe to run by many processes at once: one works, the others wait up to LOCK_WAIT_S and then find nothing to
    do. Needs a connection of its own, outside a transaction. Raises: MigrationError when another migrator does
    not end, an applied file has changed, the database is newer than this program or not in UTF-8, or a file fails:
    files before it stay applied, the failed one leaves nothing.
    """
    return await apply(conn, migrations(), dry_run=dry_run)


async def apply(conn: Connection, files: Sequence[Migration], *, dry_run: bool = False) -> list[str]:
    """`migrate` with files given by the caller."""
    await _require_utf8(conn)
    if dry_run:
        return [migration.name for migration in await _missing(conn, files)]
    await _lock(conn)
    try:
        await conn.execute(_TABLE)
        missing = await _missing(conn, files)
        for migration in missing:
            await _apply_one(conn, migration)
    finally:
        await conn.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)
    return [migration.name for migration in missing]


def read_migrations(directory: Traversable) -> tuple[Migration, ...]:
    """`migrations` of another *directory*."""
    found: dict[int, Migration] = {}
    for file in sorted(directory.iterdir(), key=lambda file: file.name):
        match = _FILE.fullmatch(file.name)
        if match is None:
            continue
        version, sql = int(match[1]), file.read_text(encoding="utf-8")
        if version in found:
            raise MigrationError(f"two migrations have the number {match[1]}: rename {file.name}")
        name = file.name.removesuffix(".sql")
        # a checkout may change line ends
        digest = hashlib.sha256(sql.replace("\r\n", "\n").encode()).hexdigest()
        found[version] = Migration(version, name, sql, digest)
    return tuple(found[version] for version in sorted(found))


async def _require_utf8(conn: Connection) -> None:
    """Refuse a database of another encoding before anything is in it: it has no place for most of the world's names,
    and an encoding cannot be changed later."""
    encoding = await conn.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise MigrationError(
            f"the database is in {encoding}, and Ferryman needs UTF-8: make another one"
            " (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0), and set DATABASE_URL to it"
        )


async def _missing(conn: Connection, files: Sequence[Migration]) -> list[Migration]:
    """The files that are not applied yet, after a check of those that are."""
    applied: dict[int, Record] = {}
    if await conn.fetchval(_EXISTS):
        applied = {row["version"]: row for row in await conn.fetch(_APPLIED)}
    _check(files, applied)
    return [migration for migration in files if migration.version not in applied]


def _check(files: Sequence[Migration], applied: Mapping[int, Record]) -> None:
    known = {migration.version: migration for migration in files}
    newer = [row["name"] for version, row in applied.items() if version not in known]
    if newer:
        raise MigrationError(
            f"the database is newer than this program (it has {', '.join(newer)}): install a newer ferryman"
        )
    for version, row in applied.items():
        if row["digest"] != known[version].digest:
            raise MigrationError(
                f"the migration {known[version].name} was changed after it had been applied: "
                "restore the file, and put the change into a new one"
            )
    late = [known[version].name for version in known if version not in applied and version < max(applied, default=0)]
    if late:
        raise MigrationError(f"{late[0]} comes before what the database has already: give it a higher number")


async def _lock(conn: Connection) -> None:
    """Take the session's advisory lock, by polling: a waiting statement would hold a snapshot, which blocks DDL."""
    try:
        async with asyncio.timeout(LOCK_WAIT_S):
            while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):  # noqa: ASYNC110
                await asyncio.sleep(_RETRY_S)
    except TimeoutError:
        raise MigrationError(
            f"another process migrates this database and has not ended in {LOCK_WAIT_S:.0f} s: wait, then try again"
        ) from None


async def _apply_one(conn: Connection, migration: Migration) -> None:
    try:
        async with conn.transaction():
            await conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            await conn.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S:.0f}s'")
            await conn.execute(migration.sql, timeout=STATEMENT_TIMEOUT_S)
            await conn.execute(_RECORD, migration.version, migration.name, migration.digest)
    except asyncpg.PostgresError as exc:
        raise MigrationError(f"the migration {migration.name} failed and left nothing: {exc}") from exc
