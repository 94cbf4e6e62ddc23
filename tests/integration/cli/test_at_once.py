"""Two operators who do the same at the same moment: it is done once, and each is told the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.postgres.pool import Pool
from tests.support.daemons import environment, ferryman
from tests.support.records import operation, person, pushed, records_of
from tests.support.tokens import made
from tests.support.until import until

ALICE = person("alice")
WAITING = """
SELECT count(*) = 2 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize(
    ("argv", "held", "action", "done", "late"),
    [
        ("tokens revoke 1", "tokens", "token.revoked", "is revoked", "was revoked before"),
        ("records erase Lead l1", "sync_clock", "record.erased", "is erased", "was erased before"),
        (
            "records replicas forget r1",
            "sync_replicas",
            "replica.forgotten",
            "is forgotten",
            "there is no such replica",
        ),
    ],
)
async def test_what_two_do_at_once_is_done_once_and_the_later_one_is_told(
    database_url: str, redis_url: str, db: Pool, tmp_path: Path, argv: str, held: str, action: str, done: str, late: str
) -> None:
    await made(db, user="alice")
    await pushed(records_of(db), ALICE, operation("CREATE", "l1", name="Ann"), replica="r1")
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url)

    async def typed() -> Sequence[tuple[int, str, str]]:
        return await asyncio.gather(*(ferryman(*argv.split(), "--yes", cwd=tmp_path, env=env) for _ in range(2)))

    async with db.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # verbs start slowly under load
        await conn.execute(f"SELECT FROM {held} FOR UPDATE")
        both = asyncio.create_task(typed())
        await until(lambda: db.fetchval(WAITING), "both at the row")
    told = sorted((out + err for _, out, err in await both), key=lambda text: late in text)
    assert [done in told[0], late in told[1]] == [True, True], told
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = $1", action) == 1
