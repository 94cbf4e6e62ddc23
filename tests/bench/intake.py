"""How much of the possible the intake reaches, on one core: `python -m tests.bench.intake [--json]` (40 s).

The limit, measured in the same run: a bare aiohttp JSON handler as it is usually written, `await request.json()` and
`web.json_response()` behind aiohttp's own router, on uvloop. Told beside it: "bare, tuned", which goes past the router
as our webhooks do, reads with orjson and writes with it; nothing that aiohttp serves is faster. Against them the real
application (listener, intake, streams): signature by Standard Webhooks, parsing, and an append to an append-only file
that is synced before the answer. 64 connections; invented orders, each with an id of its own and of buyers not seen a
moment ago, of two sizes: some 600 bytes, on which the bar is, and 2 KB with all that a form holds. Best of three, the
kinds taking turns. The server has one core for itself; load generator, Valkey and PostgreSQL share the others. The file
is rewritten between the measurements, not during them. Bar: 0.60 of the limit.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import orjson
from aiohttp import web
from redis.asyncio import Redis

from daemon.process import settle_memory
from daemon.telemetry.metrics import Metrics
from daemon.web import server
from daemon.web.connections import Connections
from daemon.web.metrics import METRICS as WEB_METRICS
from daemon.web.server import serving
from tests.bench.doors import bare, ferryman
from tests.bench.rig import Cores, Figure, Helper, helper, main, stores

SECRET: Final = "whsec_" + base64.b64encode(b"a secret of the benchmarks").decode()
KEY: Final = "bench.0123456789abcdef"
SECRETS: Final = {"orders_webhook_secret": [SECRET], "orders_api_key": [KEY]}
CONNECTIONS: Final = 64
ORDERS: Final = 24_000
SECONDS: Final = 2.0
TIMES: Final = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement."""

    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    body_bytes: int


@asynccontextmanager
async def tuned() -> AsyncIterator[int]:
    """The limit, with what speeds up aiohttp."""

    async def handle(request: web.Request) -> web.Response:
        document = orjson.loads(await request.read())
        answer = orjson.dumps({"id": document["order"]["id"]})
        return web.Response(body=answer, status=202, content_type="application/json")

    app = web.Application()
    app.router.add_post("/webhooks/orders", handle)
    app[server.CONNECTIONS] = Connections(Metrics(WEB_METRICS))
    async with serving(app, "127.0.0.1", 0, drain_s=1.0) as port:
        yield port


async def one(load: Helper, port: int, proof: str, *, brief: bool, seconds: float = SECONDS) -> Run:
    """Measure once."""
    before = time.process_time()
    said = await load.ask(port=port, proof=proof, brief=brief, seconds=seconds, connections=CONNECTIONS)
    cpu, count = time.process_time() - before, said["requests"]
    if set(said["statuses"]) != {"202"}:
        raise RuntimeError(f"not everything was accepted: {said['statuses']}")
    return Run(count / said["seconds"], 1e6 * cpu / count, said["p50_ms"], said["p99_ms"], said["body_bytes"])


async def emptied(redis: Redis) -> None:
    """Forget all entries and make the append-only file small."""
    admin: Any = redis
    await admin.execute_command("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
    await admin.flushall()
    await admin.execute_command("BGREWRITEAOF")
    while (await admin.info("persistence"))["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.02)


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    runs: dict[tuple[bool, str], list[Run]] = defaultdict(list)
    async with (
        stores() as addresses,
        helper("tests.bench.load", str(ORDERS), SECRET, KEY) as load,
        ferryman(addresses, "orders", SECRETS) as (port, redis),
        bare("/webhooks/orders", lambda document: document["order"]["id"]) as bare_port,
        tuned() as tuned_port,
    ):
        cores.measured()
        settle_memory()  # as `ferryman run` does
        for kind_port in (bare_port, tuned_port, port):
            await one(load, kind_port, "signature", brief=True, seconds=0.3)
        for brief, _ in product((True, False), range(TIMES)):
            await emptied(redis)
            runs[brief, "limit"].append(await one(load, bare_port, "signature", brief=brief))
            runs[brief, "bare, tuned"].append(await one(load, tuned_port, "signature", brief=brief))
            runs[brief, "signature"].append(await one(load, port, "signature", brief=brief))
            await emptied(redis)
            runs[brief, "X-API-Key"].append(await one(load, port, "key", brief=brief))
    best = {kind: max(many, key=lambda run: run.per_second) for kind, many in runs.items()}
    return [figure for brief in (True, False) for figure in _figures(best, brief)]


def _figures(best: Mapping[tuple[bool, str], Run], brief: bool) -> Iterator[Figure]:
    for kind in ("limit", "bare, tuned", "signature", "X-API-Key"):
        run = best[brief, kind]
        note = f"{run.cpu_us:.0f} us CPU each, p50 {run.p50_ms:.1f} ms, p99 {run.p99_ms:.1f} ms"
        yield Figure(f"intake, {run.body_bytes} B: {kind}", run.per_second, "requests/s", note=note)
    for kind, limit_kind in product(("signature", "X-API-Key"), ("limit", "bare, tuned")):
        run, limit = best[brief, kind], best[brief, limit_kind]
        bar = 0.60 if (brief, kind, limit_kind) == (True, "signature", "limit") else None
        note = f"by CPU {limit.cpu_us / run.cpu_us:.2f}"
        ratio = run.per_second / limit.per_second
        yield Figure(f"intake, {run.body_bytes} B: {kind} / {limit_kind}", ratio, "", at_least=bar, note=note)


if __name__ == "__main__":
    main(measure, __doc__)
