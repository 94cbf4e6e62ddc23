"""A database that refuses to write, as one whose disk is full does, for those who may not fill a disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.postgres.pool import Pool


@asynccontextmanager
async def no_room(db: Pool, table: str) -> AsyncIterator[None]:
    """Every new row of *table* is refused, with SQLSTATE 53100, until the context ends."""
    await db.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
    )
    await db.execute(f"CREATE TRIGGER no_room BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION no_room()")
    try:
        yield
    finally:
        await db.execute("DROP FUNCTION no_room CASCADE")
