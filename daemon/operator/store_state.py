"""How the stores are, as the pages show it: which they are, what a crash could lose, and whom a provider's word holds
up."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from adapters.postgres.operator.inspect import inspect_server
from adapters.postgres.pool import Pool
from adapters.redis.inspect import RedisServer, inspect_redis
from adapters.redis.pauses import seconds_left
from adapters.redis.streams import StreamErrors, Streams
from daemon.operator.loss_window import loss_window
from daemon.operator.pauses import scopes
from daemon.workers import WORKERS


async def read_store_state(pool: Pool, bus: Streams) -> dict[str, Any]:
    """As JSON. *redis*, *durability* and *todo* (what would make it better): null while Redis does not answer.
    *asked_to_wait*: provider -> for how many seconds it is asked nothing, because it said that we ask too often.
    Raises: what Postgres raises."""
    async with pool.acquire() as conn:
        postgres = await inspect_server(conn, time.time())
    redis: RedisServer | None = None
    waits: dict[str, float] = {}
    with suppress(*StreamErrors):
        redis = (await inspect_redis(bus.redis)).whole
        for provider, scope in scopes(WORKERS).items():
            if (left_s := await seconds_left(bus.redis, scope)) > 0:
                waits[provider] = round(left_s)
    durability, todo = (None, None) if redis is None else loss_window(redis, postgres)
    return {
        "redis": None if redis is None else f"{redis.name} {redis.version}",
        "postgres": postgres.version,
        "migrations_lacking": len(postgres.pending),
        "durability": durability,
        "todo": todo,
        "asked_to_wait": waits,
    }
