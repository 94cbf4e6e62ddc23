"""What the benchmarks of pulls measure: Ferryman's pulls behind its own server, and plain handlers as their limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from adapters.postgres.pool import Pool, connect
from adapters.redis import client as redis_client
from daemon.api.access import Access
from daemon.api.stored_tokens import StoredTokens
from daemon.api.sync_pull import SyncPullApi
from tests.bench.rig import Addresses
from tests.support.listening import opener
from tests.support.record_feed import Counted, pulls_on
from tests.support.tokens import made

OWNER: Final = "alice"

_FILL: Final = """
INSERT INTO records (model, record_id, version, prev, seq, owner_id, data, stamps, changed_at)
SELECT 'Lead', 'lead_' || n, 1, 0, n, CASE WHEN n <= $3 THEN 'alice' ELSE 'u' || n % 100 END,
       jsonb_build_object('name', 'Lead number ' || n, 'stage', 'won', 'amount', n * 1.5, 'notes', repeat('note ', 30),
                          'tags', jsonb_build_array('new', 'export'), 'phone', '+12025550143'),
       '{"name":[1764000000000,0,"phone-1",1,"phone-1",0]}', now()
FROM generate_series($1::int, $2::int) n
"""
_STEP: Final = 20_000

# the limits
_ONE: Final = "SELECT model, record_id, version FROM records WHERE model = 'Lead' AND record_id = $1"
_COPY: Final = """
SELECT row_to_json(r)::text FROM (
    SELECT model, record_id, version, owner_id, data FROM records WHERE owner_id = 'alice' ORDER BY seq) r
"""


async def fill(pool: Pool, count: int, of_owner: int) -> None:
    """Make *count* records of some 300 bytes; the first *of_owner* belong to OWNER."""
    await pool.execute("TRUNCATE records, sync_marks")
    for first in range(1, count + 1, _STEP):
        await pool.execute(_FILL, first, min(first + _STEP - 1, count), of_owner, timeout=60)
    await pool.execute("UPDATE sync_clock SET seq = $1", count)
    await pool.execute("VACUUM ANALYZE records", timeout=120)


@dataclass(frozen=True)
class Served:
    """*port*: of Ferryman; *bare*: of the limits. *asked*: counts what pulls ask the database."""

    pool: Pool
    port: int
    bare: int
    asked: Counted

    async def token(self) -> str:
        """A new token of OWNER."""
        return str((await made(self.pool, user=OWNER))["token"])


@asynccontextmanager
async def served(addresses: Addresses) -> AsyncIterator[Served]:
    """Ferryman's pulls behind its own server, and the limits behind a plain one."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(connect(addresses.database_url))
        redis = redis_client.client(addresses.redis_url, timeout_s=5.0, connections=10)
        stack.push_async_callback(redis.aclose)
        access = Access({}, stored=StoredTokens(pool))
        counted: Any = Counted(pool)
        routes = SyncPullApi(access, pulls_on(counted)).routes()
        rig = await stack.enter_async_context(opener(redis, pool)(more=routes))
        bare = await stack.enter_async_context(_limits(pool))
        yield Served(pool, rig.port, bare, counted)


@asynccontextmanager
async def _limits(pool: Pool) -> AsyncIterator[int]:
    async def one(_: web.Request) -> web.Response:
        row = await pool.fetchrow(_ONE, "lead_7")
        assert row is not None
        return web.Response(body=orjson.dumps(dict(row)), content_type="application/json")

    async def copy(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await pool.copy_from_query(_COPY, output=answer.write, timeout=60)
        await answer.write_eof()
        return answer

    app = web.Application()
    app.add_routes([web.get("/one", one), web.get("/copy", copy)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
