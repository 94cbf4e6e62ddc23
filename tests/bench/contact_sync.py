"""How much of the possible contact sync reaches, on one core: `python -m tests.bench.contact_sync [--json]` (40 s).

Orders of new people wait on the stream; the real consumer syncs them through the live adapter with no rate limit and no
delay (CGB_SYNC_CONCURRENCY=32), commits included, until nothing is unread or pending. CGB is a fake of a few
microseconds in a process of its own. Best of five, the kinds taking turns.

"by hand" is the limit: a loop that does the same job with the same client and as many orders at once. It reads each
order from its body (`order_from`), looks for the contact and makes it with the order's fields, and keeps the same of
it as Ferryman: a row with every column and the result's, in a table of the shape of `orders`, by one upsert for every
100 orders while the calls go on, which is faster than one at the end. It has no stream, no inbox, no people, no states
on the way, and after a crash it does not know what it had done. Bar: 0.6 of it.

"by hand, four columns" reads no order and keeps none: its requests are made beforehand, and it upserts an id, a
status and the body as text. "through our adapter" is the same with our adapter's calls. No bars: they tell what the
work on an order costs, and what the adapter does.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeAlias

import orjson
from aiohttp import ClientSession, ClientTimeout
from multidict import CIMultiDict

from adapters.cgb.field_values import live_value
from adapters.cgb.live_directory import LiveCgb
from adapters.channel import Channel, Channels
from adapters.gate import Gate
from adapters.http import open_session
from adapters.ports import Webhook
from adapters.postgres import orders
from adapters.postgres.applicant_issues import Known, known
from adapters.postgres.bus import epochs as leases
from adapters.postgres.person_orders import Asked, PersonOrders, of_persons
from adapters.postgres.pool import Pool, connect
from adapters.postgres.whatsapp_checks import known_of
from adapters.redis import streams
from adapters.redis.limits import RateLimiter
from adapters.redis.streams import Streams, stream_key
from adapters.vizi.source import parse
from daemon.app import declared
from daemon.bus.batcher import Batcher
from daemon.bus.consumer import Consumer
from daemon.contacts.checking import Checkers
from daemon.contacts.decisions import Create, decide
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.fields import EMPTY, contact_fields
from daemon.contacts.sync import WORKER
from daemon.contacts.validation import Terms
from daemon.contacts.wiring import ContactDeps
from daemon.process import settle_memory
from daemon.sandbox.orders import make_order
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.contacts import ContactDraft
from schemas.envelope import Event
from schemas.orders import Order, order_from
from schemas.phone import Phone
from schemas.whatsapp import Evidence
from tests.bench.rig import Cores, Figure, Took, clocked, helper, main, stores
from tests.support.bus import FixedLeases, make_shared

AT_ONCE: Final = 32
ORDERS: Final = 1500
TIMES: Final = 5
UPSERT: Final = 100
PARTITIONS: Final = 16
BARER: Final = ("by hand, four columns", "through our adapter")
KEY: Final = "100001.bench"

_HEADERS: Final = {"X-ACCESS-TOKEN": KEY}
_TIMEOUT: Final = ClientTimeout(total=30)

_FOUR: Final = """
INSERT INTO bench_results (order_id, contact_id, status, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT (order_id) DO UPDATE SET contact_id = excluded.contact_id, status = excluded.status
"""

_ENDS: Final[Mapping[str, str]] = {
    "cgb_contact_id": "text",
    "cgb_sync_status": "text",
    "cgb_sync_attempted_at": "timestamptz",
    "cgb_sync_completed_at": "timestamptz",
    "cgb_contact_exists": "boolean",
    "processed_at": "timestamptz",
}
_ROW: Final = {**orders.COLUMNS, **_ENDS}
_WHOLE: Final = f"""
INSERT INTO bench_orders ({", ".join(_ROW)})
SELECT {", ".join(f"{n}::jsonb" if t == "jsonb" else n for n, t in _ROW.items())}
FROM unnest({", ".join(f"${i}::{'text' if t == 'jsonb' else t}[]" for i, t in enumerate(_ROW.values(), 1))})
  AS given ({", ".join(_ROW)})
ON CONFLICT (order_id) DO UPDATE SET {", ".join(f"{n} = excluded.{n}" for n in _ENDS)}
"""

_COMPARED: Final = ", ".join(name for name in _ROW if not name.endswith("_at") or name == "ordered_at")
_DIFFERENT: Final = f"""
SELECT count(*) FROM (SELECT {_COMPARED} FROM bench_orders EXCEPT SELECT {_COMPARED} FROM orders) AS different
"""

_Made: TypeAlias = tuple[Order, str, str, bool, datetime]
"""An order, its event, its contact, whether that was there, and when it was made."""


@dataclass(frozen=True, slots=True)
class Person:
    """An order, and what is made of it beforehand for the barer limits."""

    event: Event
    draft: ContactDraft
    body: dict[str, Any]


class Rig:
    """What both sides use."""

    known: frozenset[str]

    def __init__(
        self, url: str, session: ClientSession, pool: Pool, redis_url: str, bus: Streams, at_once: int = AT_ONCE
    ) -> None:
        self.at_once = at_once
        self.url = url
        self.session = session
        self.pool = pool
        self.redis_url = redis_url
        self.bus = bus

    def directory(self, channel: Channel) -> LiveCgb:
        """The live adapter without a rate limit."""
        gate = Gate(
            session=self.session,
            channel=channel,
            limiter=RateLimiter(None, per_minute=None),
            scope="bench",
            system="CGB",
            timeout_s=30,
        )
        return LiveCgb(gate, base_url=self.url, api_key=lambda: KEY, cache_s=3600)

    async def by_hand(self, people: list[Person]) -> None:
        """The limit."""
        made: list[_Made] = []
        writes: list[asyncio.Task[None]] = []

        async def sync(person: Person) -> None:
            order = order_from(person.event.data, person.event.time)
            assert order.phone is not None
            found, contact_id = await self._ask(order.phone.digits, lambda: request_of(order, self.known))
            made.append((order, person.event.id, contact_id, found, datetime.now(UTC)))
            if len(made) == UPSERT:
                writes.append(asyncio.create_task(self._keep(made.copy())))
                made.clear()

        await self._all(people, sync)
        await asyncio.gather(self._keep(made), *writes)

    async def _keep(self, made: list[_Made]) -> None:
        if made:
            made.sort(key=lambda row: row[0].order_id)
            ids, found, at = ([row[n] for row in made] for n in range(2, 5))
            columns = zip(*(orders.row_of(row[0], row[1]).values for row in made), strict=True)
            await self.pool.execute(_WHOLE, *columns, ids, ["synced"] * len(made), at, at, found, at)

    async def by_hand_four(self, people: list[Person]) -> None:
        """The same calls, ready made, and four columns."""
        made: list[tuple[str, str]] = []

        async def sync(person: Person) -> None:
            _, contact_id = await self._ask(str(person.body["phone"]), lambda: person.body)
            made.append((contact_id, person.event.data.decode()))

        await self._all(people, sync)
        await self._keep_four(made)

    async def by_adapter(self, people: list[Person]) -> None:
        """The same calls through our adapter, and four columns."""
        directory = self.directory(Channel("cgb"))
        made: list[tuple[str, str]] = []

        async def sync(person: Person) -> None:
            found = await directory.find(person.draft.phone)
            contact_id = found.id if found else await directory.create(person.draft)
            made.append((contact_id, person.event.data.decode()))

        await self._all(people, sync)
        await self._keep_four(made)

    async def _ask(self, phone: str, body: Callable[[], dict[str, Any]]) -> tuple[bool, str]:
        """Look for a contact, make it where there is none: whether there was one, and its id."""
        found = await self._call("GET", f"/contacts/{phone}")
        if found["phone"]:
            return True, phone
        return False, str((await self._call("POST", "/contacts", body()))["data"]["id"])

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        url = self.url + path
        async with self.session.request(method, url, headers=_HEADERS, json=body, timeout=_TIMEOUT) as answer:
            return orjson.loads(await answer.read())

    async def _all(self, people: list[Person], sync: Callable[[Person], Awaitable[None]]) -> None:
        left = iter(people)

        async def slot() -> None:
            for person in left:
                await sync(person)

        await asyncio.gather(*(slot() for _ in range(AT_ONCE)))

    async def _keep_four(self, made: list[tuple[str, str]]) -> None:
        rows = sorted((orjson.loads(body)["order"]["id"], contact_id, "synced", body) for contact_id, body in made)
        await self.pool.execute(_FOUR, *map(list, zip(*rows, strict=True)))

    async def by_ferryman(self, took: list[Took]) -> None:
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
        settings = Settings(cgb_sync_delay_ms=0, cgb_sync_concurrency=self.at_once)
        lookups: Batcher[Asked, PersonOrders] = Batcher(partial(of_persons, self.pool))
        applicants: Batcher[str, Known] = Batcher(partial(known, self.pool))
        checks: Batcher[Phone, Evidence | None] = Batcher(partial(known_of, self.pool))
        channels = Channels()
        metrics = Metrics(declared(WORKERS), workers=[WORKER.name], sources=["orders"], providers=["cgb"])
        deps = ContactDeps(
            settings=settings,
            metrics=metrics,
            orders_of=lookups.submit,
            applicant=applicants.submit,
            checks_of=checks.submit,
            checkers=Checkers({}),
            terms=Terms(yes_days=90, no_days=14),
            policy=FieldPolicy(),
            directory=self.directory(channels["cgb"]),
        )
        owned = FixedLeases(await leases.take(self.pool, WORKER.name, range(PARTITIONS), "bench"))
        reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
        try:
            shared = make_shared(self.pool, self.bus, owned, settings=settings, channels=channels)
            shared = replace(shared, metrics=metrics)
            yield Consumer(WORKER, deps, shared, Streams(reads, PARTITIONS))
        finally:
            await reads.aclose()


def people(first: int, known: frozenset[str]) -> list[Person]:
    """ORDERS orders of as many new people, from number *first* on."""
    found, rng, now = [], random.Random(first), datetime.now(UTC)
    for n in range(first, first + ORDERS):
        made = make_order(rng, n, branch="il", order_id=f"BENCH-{n}")
        body = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
        (event,) = parse(Webhook(CIMultiDict(), body, ""), made, now)
        order = order_from(body, now)
        assert order.phone is not None
        plan = decide(order, order.phone, None, contact_fields(order, known))
        assert isinstance(plan, Create)
        found.append(Person(event, plan.draft, request_of(order, known)))
    return found


def request_of(order: Order, known: frozenset[str]) -> dict[str, Any]:
    """What makes the contact of *order*."""
    assert order.phone is not None
    fields = contact_fields(order, known)
    return {
        "phone": order.phone.digits,
        "first_name": order.client_name or "",
        "last_name": "",
        "email": order.client_email,
        "actions": [
            {"action": "set_field_value", "field_name": name, "value": live_value(value)}
            for name, value in fields.items()
            if value != EMPTY
        ],
    }


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    took: dict[str, list[Took]] = {kind: [] for kind in ("by hand", *BARER, "ferryman")}
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
            "CREATE TABLE bench_results (order_id text PRIMARY KEY, contact_id text, status text, body text);"
            "CREATE TABLE bench_orders (LIKE orders INCLUDING ALL)"
        )
        await bus.ensure_groups(WORKER.name, [stream_key("orders", p) for p in range(PARTITIONS)])
        rig = Rig((await cgb.ask())["url"], session, pool, addresses.redis_url, bus)
        rig.known = await rig.directory(Channel("cgb")).field_names()
        settle_memory()  # as the daemon does at its start; for all kinds alike
        for turn in range(TIMES):
            batch = people(turn * ORDERS, rig.known)
            for kind, run in (("by hand", rig.by_hand), (BARER[0], rig.by_hand_four), (BARER[1], rig.by_adapter)):
                async with clocked(took[kind]):
                    await run(batch)
            await bus.append([person.event for person in batch])
            before = (await cgb.ask())["requests"]
            await rig.by_ferryman(took["ferryman"])
            requests = (await cgb.ask())["requests"] - before
            assert 2 * ORDERS <= requests <= 2 * ORDERS + 1, requests
        synced = await pool.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'")
        assert synced == TIMES * ORDERS, synced
        assert await pool.fetchval(_DIFFERENT) == 0
        await redis.aclose()
    best = {kind: min(many, key=lambda one: one.seconds) for kind, many in took.items()}
    figures = [
        Figure(f"contact sync: {kind}", ORDERS / one.seconds, "orders/s", note=f"{1e6 * one.cpu / ORDERS:.0f} us CPU")
        for kind, one in best.items()
    ]
    ours = best["ferryman"]
    for kind, bar in (("by hand", 0.6), *((kind, None) for kind in BARER)):
        ratio, cpu = best[kind].seconds / ours.seconds, best[kind].cpu / ours.cpu
        figures.append(Figure(f"contact sync: ferryman / {kind}", ratio, at_least=bar, note=f"by CPU {cpu:.2f}"))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
