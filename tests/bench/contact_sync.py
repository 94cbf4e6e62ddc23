"""How much of the possible contact sync reaches, on one core: `python -m tests.bench.contact_sync [--json]` (40 s).

Orders of new people wait on the stream; the real consumer syncs them through the live adapter with no rate limit and no
delay (CGB_SYNC_CONCURRENCY=32), commits included, until nothing is unread or pending. The limit, measured in the same
run, is a loop by hand: with the same client and as many at once it reads each order, looks for the contact and makes
it, its body made beforehand, and at the end writes all results by one upsert. A second one calls through the adapter.
CGB is a fake of a few microseconds in a process of its own. Best of three, the kinds taking turns.
Bar: 0.6 of the loop by hand.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import ClientSession, ClientTimeout

from adapters import streams
from adapters.cgb.encode import live_value
from adapters.cgb.live import LiveCgb
from adapters.http import open_session
from adapters.limits import RateLimiter
from adapters.postgres import contacts, leases
from adapters.postgres.pool import Pool, connect
from adapters.sources.orders import parse
from adapters.streams import Streams, stream_key
from daemon.batcher import Batcher
from daemon.bus.breakers import Provider
from daemon.bus.consumer import Consumer
from daemon.deps import Deps
from daemon.guarded import GuardedDirectory
from daemon.metrics import Metrics
from daemon.sandbox.orders import make_order
from daemon.settings import Settings
from daemon.workers.contact_decisions import Create, decide
from daemon.workers.contact_sync import WORKER
from schemas.contacts import ContactDraft
from schemas.envelope import Event
from schemas.orders import order_from
from tests.bench.rig import Cores, Figure, Took, clocked, helper, main, stores
from tests.bus_rig import FixedLeases

AT_ONCE: Final = 32
ORDERS: Final = 1500
TIMES: Final = 3
PARTITIONS: Final = 16
KEY: Final = "100001.bench"

_RESULTS: Final = """
INSERT INTO bench_results (order_id, contact_id, status, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT (order_id) DO UPDATE SET contact_id = excluded.contact_id, status = excluded.status
"""


@dataclass(frozen=True, slots=True)
class Person:
    """An order and what the loop by hand needs of it."""

    event: Event
    draft: ContactDraft
    body: dict[str, Any]


class Rig:
    """What both sides use."""

    def __init__(self, url: str, session: ClientSession, pool: Pool, redis_url: str, bus: Streams) -> None:
        self.url = url
        self.session = session
        self.pool = pool
        self.redis_url = redis_url
        self.bus = bus

    def directory(self) -> LiveCgb:
        """The live adapter without a rate limit."""
        limiter = RateLimiter(None, per_minute=None)
        return LiveCgb(
            session=self.session, base_url=self.url, api_key=KEY, timeout_s=30, cache_s=3600, limiter=limiter
        )

    async def by_hand(self, people: list[Person]) -> None:
        """The limit."""
        headers, timeout = {"X-ACCESS-TOKEN": KEY}, ClientTimeout(total=30)

        async def ask(method: str, path: str, body: Any = None) -> Any:
            url = self.url + path
            async with self.session.request(method, url, headers=headers, json=body, timeout=timeout) as answer:
                return orjson.loads(await answer.read())

        async def sync(person: Person) -> str:
            phone = str(person.body["phone"])
            found = await ask("GET", f"/contacts/{phone}")
            return phone if found["phone"] else str((await ask("POST", "/contacts", person.body))["data"]["id"])

        await self._all(people, sync)

    async def by_adapter(self, people: list[Person]) -> None:
        """The same calls through our adapter."""
        directory = self.directory()

        async def sync(person: Person) -> str:
            found = await directory.find(person.draft.phone)
            return found.id if found else await directory.create(person.draft)

        await self._all(people, sync)

    async def _all(self, people: list[Person], sync: Callable[[Person], Awaitable[str]]) -> None:
        made: list[tuple[str, str, str, str]] = []
        left = iter(people)

        async def slot() -> None:
            for person in left:
                order_id = orjson.loads(person.event.data)["order"]["id"]
                made.append((order_id, await sync(person), "synced", person.event.data.decode()))

        await asyncio.gather(*(slot() for _ in range(AT_ONCE)))
        await self.pool.execute(_RESULTS, *map(list, zip(*sorted(made), strict=True)))

    async def by_ferryman(self, people: list[Person], took: list[Took]) -> None:
        """The real pipeline, from the stream to the acknowledgement. Its end, after the last read has waited in vain,
        is not counted."""
        keys = [stream_key("orders", p) for p in range(PARTITIONS)]
        async with self._consumer() as consumer:
            async with clocked(took):
                running = asyncio.create_task(consumer.run())
                while not running.done() and await self.bus.lag(WORKER.name, keys) != (0, 0):
                    await asyncio.sleep(0.02)
            consumer.stop()
            await running

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Consumer]:
        async def newest(phones: list[str]) -> list[tuple[datetime, datetime, str] | None]:
            found = await contacts.newest_orders(self.pool, phones)
            return [found.get(phone) for phone in phones]

        settings = Settings(cgb_sync_delay_ms=0, cgb_sync_concurrency=AT_ONCE)
        lookups: Batcher[str, tuple[datetime, datetime, str] | None] = Batcher(newest)
        provider = Provider("cgb")
        deps = Deps(
            settings=settings,
            metrics=Metrics(workers=[WORKER.name], sources=["orders"], providers=["cgb"]),
            now=lambda: datetime.now(UTC),
            newest_order=lookups.submit,
            directory=GuardedDirectory(self.directory(), provider),
        )
        owned = FixedLeases(await leases.take(self.pool, WORKER.name, range(PARTITIONS), "bench"))
        reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
        try:
            yield Consumer(
                WORKER,
                reads=Streams(reads, PARTITIONS),
                commands=self.bus,
                pool=self.pool,
                leases=owned,
                deps=deps,
                provider=provider,
                suspect=lambda: None,
            )
        finally:
            await reads.aclose()


def people(first: int, known: frozenset[str]) -> list[Person]:
    """ORDERS orders of as many people nobody has heard of, from number *first* on."""
    found, rng, now = [], random.Random(first), datetime.now(UTC)
    for n in range(first, first + ORDERS):
        made = make_order(rng, n, branch="il", order_id=f"BENCH-{n}")
        body = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
        (event,) = parse(body, made, now)
        order = order_from(body, now)
        assert order.phone is not None
        plan = decide(order, order.phone, None, None, known)
        assert isinstance(plan, Create)
        draft = plan.draft
        fields = [
            {"action": "set_field_value", "field_name": name, "value": live_value(value)}
            for name, value in draft.fields.items()
        ]
        contact = {"phone": draft.phone.digits, "first_name": draft.name or "", "last_name": "", "email": draft.email}
        found.append(Person(event, draft, {**contact, "actions": fields}))
    return found


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    took: dict[str, list[Took]] = {"by hand": [], "by hand with our adapter": [], "ferryman": []}
    async with (
        stores() as addresses,
        helper("tests.bench.fake_cgb") as cgb,
        open_session() as session,
        connect(addresses.database_url) as pool,
    ):
        cores.measured()
        redis = streams.client(addresses.redis_url, timeout_s=2.0, connections=64)
        bus = Streams(redis, PARTITIONS)
        await pool.execute(
            "CREATE TABLE bench_results (order_id text PRIMARY KEY, contact_id text, status text, body text)"
        )
        await bus.ensure_groups(WORKER.name, [stream_key("orders", p) for p in range(PARTITIONS)])
        rig = Rig((await cgb.ask())["url"], session, pool, addresses.redis_url, bus)
        known = await rig.directory().field_names()
        for turn in range(TIMES):
            batch = people(turn * ORDERS, known)
            async with clocked(took["by hand"]):
                await rig.by_hand(batch)
            async with clocked(took["by hand with our adapter"]):
                await rig.by_adapter(batch)
            await bus.append([person.event for person in batch])
            before = (await cgb.ask())["requests"]
            await rig.by_ferryman(batch, took["ferryman"])
            requests = (await cgb.ask())["requests"] - before
            assert 2 * ORDERS <= requests <= 2 * ORDERS + 1, requests
        synced = await pool.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'")
        assert synced == TIMES * ORDERS, synced
        await redis.aclose()
    best = {kind: min(many, key=lambda one: one.seconds) for kind, many in took.items()}
    figures = [
        Figure(f"contact sync: {kind}", ORDERS / one.seconds, "orders/s", note=f"{1e6 * one.cpu / ORDERS:.0f} us CPU")
        for kind, one in best.items()
    ]
    ours = best["ferryman"]
    for kind, bar in (("by hand", 0.6), ("by hand with our adapter", None)):
        ratio, cpu = best[kind].seconds / ours.seconds, best[kind].cpu / ours.cpu
        figures.append(Figure(f"contact sync: ferryman / {kind}", ratio, at_least=bar, note=f"by CPU {cpu:.2f}"))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
