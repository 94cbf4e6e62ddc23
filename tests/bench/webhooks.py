"""How many outgoing webhooks a second one process delivers: `python -m tests.bench.webhooks [--json]` (20 s).

The real pump on real Postgres: what is due is read, signed, posted, and its end recorded. The limit, measured in the
same run, is a plain aiohttp client that posts the same bodies, unsigned, to the same server, as many at a time. Beside
it stands the rate to SUBSCRIBERS subscribers at once. DELIVERIES deliveries of as many keys. Best of two, taking turns.
Bar: 0.1 of the loop to one subscriber.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import ClientSession, TCPConnector

from adapters.postgres.pool import Pool, connect
from daemon.process import settle_memory
from daemon.subscribers.delivering import AT_ONCE
from tests.bench.rig import Figure, main, stores
from tests.support.subscribers import Receiver, all_delivered, event_of, pumping, settings_for, subscribe, tell

DELIVERIES: Final = 1000
SUBSCRIBERS: Final = 4
TIMES: Final = 2
BAR: Final = 0.1


async def by_hand(receiver: Receiver) -> float:
    """The limit, in deliveries a second."""
    body, left = b"{" + b" " * 250 + b"}", DELIVERIES

    async def some(session: ClientSession) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with session.post(receiver.url, data=body, headers={"webhook-id": "x"}) as answer:
                await answer.read()

    began = time.perf_counter()
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        await asyncio.gather(*(some(session) for _ in range(AT_ONCE)))
    return DELIVERIES / (time.perf_counter() - began)


async def delivered(pool: Pool, receiver: Receiver, count: int) -> float:
    """To *count* subscribers: deliveries a second, all together."""
    settings = settings_for(receiver)
    names = [f"s{n}" for n in range(count)]
    await pool.execute("DELETE FROM subscribers")
    for name in names:
        await subscribe(pool, settings, name, receiver.url)
    events = [event_of(n, f"+97250{n:07d}") for n in range(DELIVERIES // count)]
    for start in range(0, len(events), 500):
        await tell(pool, events[start : start + 500])
    await pool.execute("ANALYZE webhook_deliveries")
    began = time.perf_counter()
    async with pumping(pool, settings):
        for name in names:
            await all_delivered(pool, name, within_s=120, every_s=0.1)
        return len(events) * count / (time.perf_counter() - began)


async def measure() -> list[Figure]:
    hand, one, several = 0.0, 0.0, 0.0
    async with stores() as addresses, connect(addresses.database_url, size=8) as pool, Receiver() as receiver:
        settle_memory()
        for _ in range(TIMES):
            hand = max(hand, await by_hand(receiver))
            one = max(one, await delivered(pool, receiver, 1))
            several = max(several, await delivered(pool, receiver, SUBSCRIBERS))
    return [
        Figure("a plain client", hand, "requests/s"),
        Figure("webhooks to one subscriber", one, "deliveries/s"),
        Figure(f"webhooks to {SUBSCRIBERS} subscribers", several, "deliveries/s"),
        Figure("webhooks: part of the plain client", one / hand, "", at_least=BAR),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
