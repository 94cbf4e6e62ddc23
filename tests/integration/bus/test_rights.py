"""A role with rights on the data alone: the process starts and serves, and says what it may not do."""

from __future__ import annotations

import asyncio
from urllib.parse import quote
from uuid import uuid4

from redis.asyncio import Redis
from structlog.testing import capture_logs

from adapters.postgres.bus import days
from adapters.postgres.pool import Pool
from daemon.app import assembled
from daemon.settings.model import Settings
from daemon.stores.located import Addresses


async def test_a_process_starts_without_the_right_to_make_the_next_day(
    redis: Redis, redis_url: str, database_url: str, db: Pool
) -> None:
    role = f"data_only_{uuid4().hex[:8]}"
    await db.execute(f"CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    await db.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    limited = f"{database_url}{'&' if '?' in database_url else '?'}options={quote(f'-c role={role}')}"
    try:
        with capture_logs() as lines:
            addresses = Addresses(redis_url, limited, private=False)
            settings = Settings(ferryman_workers="journal", ferryman_port=0)
            async with assembled(settings, addresses) as daemon:
                stop = asyncio.Event()
                await daemon.run(stop, lambda _: stop.set())
        told, *_ = [line for line in lines if line["event"] == "days.not_made"]
        assert told["sqlstate"] == "42501"
        async with db.acquire() as conn:
            assert await days.in_stock(conn) == (0, True)
    finally:
        await db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
