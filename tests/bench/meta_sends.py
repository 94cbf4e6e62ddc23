"""How many messages a second go out by Meta, and whom a pair-limited person delays: `python -m tests.bench.meta_sends
[--json]` (60 s).

The real worker, in one process, with its claims, its rate limit (80 a second, shared through Valkey) and its commits;
the simulator of Meta answers each call after 100 ms, in a process of its own. First MESSAGES wait on the stream, each
to another person. Bar: 76 a second, counted where the calls arrive, from a second after the first one on (the limit
lets 80 go at once in the beginning).

Then one person is to get PAIRED messages at once, more than Meta takes of a pair in a burst, while others get theirs,
OTHERS_PER_S a second. Bars: none of the others comes more than a second after it was asked for; Meta refuses none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

from adapters.channel import Channels
from adapters.http import open_session
from adapters.postgres import messages
from adapters.postgres.bus import epochs
from adapters.postgres.messages import Request
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.app import declared
from daemon.bus.consumer import Consumer
from daemon.bus.worker import Outside, utc_now
from daemon.messages.outbound import WORKER
from daemon.messages.requests import event_id_of, event_of
from daemon.messages.wiring import MESSAGES
from daemon.process import settle_memory
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.envelope import Event
from tests.bench.rig import Addresses, Figure, Helper, helper, main, stores
from tests.support.bus import FixedLeases, make_shared

ANSWER_S: Final = 0.1
PARTITIONS: Final = 16
MESSAGES_SENT: Final = 1600
BURST: Final = 45
PAIRED: Final = 60
AT_ONCE: Final = 20
"""Of these, as many go out at once at least: the burst has its end, and each waits for the answer of the one before."""

OTHERS_PER_S: Final = 20
OTHERS_S: Final = 12
_PAIRED_PHONE: Final = "+972505550199"


@dataclass(frozen=True, slots=True)
class Rig:
    """The stores, the simulator, and what the worker is given."""

    pool: Pool
    bus: Streams
    redis_url: str
    number: Helper
    outside: Outside

    async def ask(self, phones: Sequence[str]) -> None:
        """Ask for a message to each of *phones*, and hand all to the worker."""
        made = [_request(phone) for phone in phones]
        async with self.pool.acquire() as conn, conn.transaction():
            for request in made:
                await messages.request(conn, request)
        await self.bus.append([_event(request) for request in made])

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The worker at work."""
        owned = FixedLeases(await epochs.take(self.pool, WORKER.name, range(PARTITIONS), "bench"))
        reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
        try:
            async with MESSAGES.opened(self.outside) as deps:
                channels, settings = self.outside.channels, self.outside.settings
                shared = make_shared(self.pool, self.bus, owned, settings=settings, channels=channels)
                shared = replace(shared, metrics=self.outside.metrics)
                consumer = Consumer(WORKER, deps, shared, Streams(reads, PARTITIONS))
                running = asyncio.create_task(consumer.run())
                try:
                    yield
                finally:
                    consumer.stop()
                    await running
        finally:
            await reads.aclose()

    async def all_sent(self, count: int) -> None:
        """Wait until the simulator has taken so many."""
        while (await self.number.ask())["performed"] < count:
            await asyncio.sleep(0.2)


def _request(phone: str) -> Request:
    id = uuid4()
    content = {"name": "order_confirmation", "language": "he", "variables": {"1": "Noa"}}
    return Request(
        id=id,
        provider="meta",
        account="default",
        phone=phone,
        kind="template",
        content=content,
        purpose="bench",
        event_id=event_id_of(id),
    )


def _event(request: Request) -> Event:
    return event_of(request, utc_now())


def _phone(n: int) -> str:
    """Of a person of their own, of a range that is kept for fiction."""
    return f"+1{201 + n // 100:03d}55501{n % 100:02d}"


@asynccontextmanager
async def rig(addresses: Addresses) -> AsyncIterator[Rig]:
    async with (
        helper("tests.bench.meta_number", str(ANSWER_S)) as number,
        open_session() as session,
        connect(addresses.database_url) as pool,
    ):
        account = await number.ask()
        settings = Settings(
            meta_graph_url=account["url"],
            meta_phone_number_id=account["phone_number_id"],
            meta_access_token=account["token"],
            messages_default_provider="meta",
        )
        redis = streams.client(addresses.redis_url, timeout_s=2.0, connections=64)
        bus = Streams(redis, PARTITIONS)
        await bus.ensure_groups(WORKER.name, [stream_key("messages", p) for p in range(PARTITIONS)])
        outside = Outside(
            settings=settings,
            secret=lambda name: account["token"],
            pool=pool,
            redis=redis,
            session=session,
            channels=Channels(["meta"]),
            metrics=Metrics(declared(WORKERS), workers=[WORKER.name], sources=["meta"], providers=["meta"]),
            now=utc_now,
        )
        settle_memory()
        try:
            yield Rig(pool, bus, addresses.redis_url, number, outside)
        finally:
            await redis.aclose()


async def sustained(rig: Rig) -> list[Figure]:
    await rig.ask([_phone(n) for n in range(MESSAGES_SENT)])
    async with rig.working():
        cpu = time.process_time()
        await rig.all_sent(MESSAGES_SENT)
        cpu = time.process_time() - cpu
    times = sorted(at for at, _ in (await rig.number.ask(times=True, forget=False))["sends"])
    settled = [at for at in times if at > times[0] + 1.0]
    rate = (len(settled) - 1) / (settled[-1] - settled[0])
    most = max(sum(at <= other < at + 1.0 for other in times[n : n + 200]) for n, at in enumerate(times))
    note = f"{1e6 * cpu / MESSAGES_SENT:.0f} us CPU each"
    return [
        Figure("meta: messages sent", rate, "messages/s", at_least=76, note=note),
        Figure("meta: most arrivals within a second", most, "messages"),
    ]


async def paired(rig: Rig) -> list[Figure]:
    await rig.number.ask(forget=True, pair_burst=BURST)
    asked_at: dict[str, float] = {}
    async with rig.working():
        await rig.ask([_PAIRED_PHONE] * PAIRED)
        for n in range(OTHERS_PER_S * OTHERS_S):
            phone = _phone(10_000 + n)
            asked_at[phone.removeprefix("+")] = time.time()
            await rig.ask([phone])
            await asyncio.sleep(1 / OTHERS_PER_S)
        await rig.all_sent(OTHERS_PER_S * OTHERS_S + AT_ONCE)
    told: dict[str, Any] = await rig.number.ask(times=True)
    delays = sorted(at - asked_at[to] for at, to in told["sends"] if to in asked_at)
    to_pair = sum(to == _PAIRED_PHONE.removeprefix("+") for _, to in told["sends"])
    return [
        Figure("meta, beside a limited pair: longest delay", delays[-1], "s", at_most=1.0),
        Figure("meta, beside a limited pair: p50", delays[len(delays) // 2], "s"),
        Figure("meta: to the limited pair meanwhile", to_pair, "messages", at_least=AT_ONCE),
        Figure("meta: refused by its limits", told["refused"], "messages", at_most=0),
    ]


async def measure() -> list[Figure]:
    async with stores() as addresses, rig(addresses) as ours:
        return [*await sustained(ours), *await paired(ours)]


if __name__ == "__main__":
    main(measure, __doc__)
