"""What a push of 50 operations costs: `python -m tests.bench.records_push [--json]` (40 s).

Clients of another process push changes of their own 50 records each, one push after the other over one connection: one
client alone, then eight at once. The limit is a hand-written batched upsert of the same rows: a route of the same
application, behind the same access, which checks each operation and its values by the same functions, writes them by
one statement over the same pool into a table like ours, with a version and a number that a pull could go by, and
answers with the versions. It merges nothing, remembers no operation and tells nobody; its numbers come from a sequence,
so a pull by them would miss some. Both take turns. The events that Ferryman publishes go to a real Redis meanwhile.
Bar: 0.4 of the limit's pushes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Final

import orjson
from aiohttp import web

from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams
from daemon.api.access import Access, principal_of
from daemon.api.requests import body_of, guarded, json_answer
from daemon.api.stored_tokens import StoredTokens
from daemon.api.sync_push import MOST_BYTES, PATH, SyncPushApi
from daemon.bus.publisher import hurry
from daemon.process import settle_memory
from daemon.records.models.rules import Models
from daemon.records.models.values import read_values
from daemon.records.wiring import open_records
from schemas.records.operation import Operation, read_operation
from tests.bench.record_writer import OPERATIONS
from tests.bench.rig import Addresses, Cores, Figure, Helper, helper, main, stores
from tests.support.listening import opener
from tests.support.records import outside_of
from tests.support.tokens import made

PUSHES: Final = 20
TURNS: Final = 7
AT_ONCE: Final = 8
LIMIT: Final = "/limit"

_TABLE: Final = """
CREATE SEQUENCE plain_seq;
CREATE TABLE plain (LIKE records INCLUDING ALL)
"""
_UPSERT: Final = """
INSERT INTO plain (model, record_id, version, prev, seq, owner_id, data, changed_at)
SELECT model, record_id, 1, 0, nextval('plain_seq'), owner_id, data::jsonb, changed_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
  AS t (model, record_id, owner_id, data, changed_at)
ON CONFLICT (model, record_id) DO UPDATE
  SET version = plain.version + 1, prev = plain.version, seq = excluded.seq, owner_id = excluded.owner_id,
      data = excluded.data, changed_at = excluded.changed_at, updated_at = now()
RETURNING model, record_id, version
"""


@dataclass(frozen=True)
class Plain:
    """The limit."""

    pool: Pool
    models: Models

    async def push(self, request: web.Request) -> web.Response:
        owner = principal_of(request).name
        rows = [self._row(raw, owner) for raw in orjson.loads(await body_of(request, MOST_BYTES))["operations"]]
        done = await self.pool.fetch(_UPSERT, *map(list, zip(*(row[1:] for row in rows), strict=True)))
        versions = {(model, record_id): version for model, record_id, version in done}
        results = [{"op_id": row[0], "result": "applied", "version": versions[row[1], row[2]]} for row in rows]
        return json_answer({"results": results})

    def _row(self, raw: object, owner: str) -> tuple[Any, ...]:
        one = read_operation(raw)
        assert isinstance(one, Operation)
        values = read_values(self.models[one.model], one.data, whole=one.operation == "CREATE")
        data = orjson.dumps({**values, "owner_id": owner}).decode()  # type: ignore[dict-item]
        return str(one.op_id), one.model, one.record_id, owner, data, one.changed_at


@asynccontextmanager
async def served(addresses: Addresses) -> AsyncIterator[tuple[int, str]]:
    """The port of an application that has both, and a person's token."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(connect(addresses.database_url))
        redis = streams.client(addresses.redis_url, timeout_s=2.0, connections=16)
        stack.push_async_callback(redis.aclose)
        await pool.execute(_TABLE)
        records = open_records(outside_of(pool, hurry=partial(hurry, pool, Streams(redis, 16))))
        access = Access({}, stored=StoredTokens(pool))
        limit = web.post(LIMIT, guarded(access, Plain(pool, records.models).push, write=False, records=True))
        rig = await stack.enter_async_context(opener(redis, pool)(more=[*SyncPushApi(access, records).routes(), limit]))
        yield rig.port, (await made(pool, user="alice"))["token"]


async def _pushes(load: Helper, port: int, token: str, clients: int, first: int) -> tuple[list[float], list[float]]:
    """Pushes a second of Ferryman and of the limit, turn by turn."""
    rates: dict[str, list[float]] = {PATH: [], LIMIT: []}
    for turn in range(TURNS):
        for path, into in rates.items():
            count = PUSHES if turn else 1
            at = first + (1 + (turn - 1) * PUSHES if turn else 0)
            asked = await load.ask(port=port, token=token, path=path, clients=clients, first=at, count=count)
            assert asked["applied"] == clients * count * OPERATIONS, asked
            into += [clients * count / asked["seconds"]] if turn else []
    return rates[PATH], rates[LIMIT]


async def measure() -> Sequence[Figure]:
    cores = Cores()
    cores.helpers()
    figures: list[Figure] = []
    first = 0
    async with stores() as addresses, helper("tests.bench.record_writer") as load:
        cores.measured()
        async with served(addresses) as (port, token):
            settle_memory()
            for clients, name in ((1, "alone"), (AT_ONCE, f"{AT_ONCE} at once")):
                ours, limit = await _pushes(load, port, token, clients, first)
                ratios = [one / other for one, other in zip(ours, limit, strict=True)]
                figures += [
                    Figure(f"pushes of {OPERATIONS}, {name}", median(ours), "pushes/s"),
                    Figure(f"upserts of {OPERATIONS}, {name}", median(limit), "pushes/s"),
                    Figure(f"push / upsert, {name}", median(ratios), at_least=0.4),
                ]
                first = 0
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
