"""What a pull with nothing new costs: `python -m tests.bench.records_idle [--json]` (2 minutes).

A person's phone asks again and again, over one connection, with the cursor that it has; the server, the real route
behind the real one, has a core for itself. The limit, measured in the same run by turns, is a plain aiohttp handler
that makes one SELECT by a primary key. Once with 1,000 records and once with 1,000,000, each time with a phone that has
had everything, and with one whom only others' changes have passed since. Both take short turns; a turn counts by its
lower quartile, and the ratio is the median of those of two turns side by side, so that a busy machine harms both alike.
Bars: 1.2 of the limit, and the same within 10 % with a thousand times the records. Then a hundred long polls wait: what
all of them together ask the database, in looks of the one watcher. Bar: one, with a look more for the time before and
after.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from operator import truediv
from typing import Final
from urllib.parse import quote

import aiohttp
import orjson

from daemon.api.sync_pull import PATH
from daemon.process import settle_memory
from daemon.records.pulling.watching import EVERY_S
from tests.bench.record_doors import Served, fill, served
from tests.bench.rig import Cores, Figure, Helper, helper, main, stores
from tests.support.until import until

FEW: Final = 1_000
MANY: Final = 1_000_000
KINDS: Final = ("all had", "others' passed")
EACH: Final = 40
TIMES: Final = 60
WAITERS: Final = 100
LOOKS: Final = 20


async def _cursor(load: Helper, at: Served, token: str) -> str:
    """The query of a pull after a first sync."""
    query = ""
    while True:
        asked = await load.ask(what="get", port=at.port, token=token, path=f"{PATH}?limit=1000{query}")
        page = orjson.loads(asked["body"])
        query = f"&since={quote(page['cursor'])}"
        if not page["more"]:
            return query.removeprefix("&")


async def _turns(load: Helper, at: Served, token: str, since: str) -> tuple[list[float], list[float]]:
    """Microseconds of an idle pull, and of the limit, in turns side by side."""
    ours, limit = list[float](), list[float]()
    for _ in range(TIMES):
        for port, path, into in ((at.bare, "/one", limit), (at.port, f"{PATH}?{since}", ours)):
            asked = await load.ask(what="repeat", port=port, token=token, path=path, count=EACH)
            into.append(1e6 * sorted(asked["took"])[EACH // 4])
    return ours, limit


async def _waiting(at: Served, token: str, since: str) -> Figure:
    """What WAITERS long polls ask the database while LOOKS looks pass."""
    url = f"http://127.0.0.1:{at.port}{PATH}?{since}&wait=30"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begun = at.asked.count
        polls = [
            asyncio.create_task(session.get(url, headers={"Authorization": f"Bearer {token}"})) for _ in range(WAITERS)
        ]
        await until(lambda: at.asked.count >= begun + WAITERS)
        asked, began = at.asked.count, time.monotonic()
        await asyncio.sleep(LOOKS * EVERY_S)
        looks, asked = (time.monotonic() - began) / EVERY_S, at.asked.count - asked
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    note = f"{WAITERS} waited"
    return Figure("long polls: statements / looks", asked / looks, at_most=1 + 2 / LOOKS, note=note)


async def measure() -> Sequence[Figure]:
    cores = Cores()
    cores.helpers()
    figures: list[Figure] = []
    cost: dict[tuple[str, int], float] = {}
    async with stores() as addresses, helper("tests.bench.record_reader") as load:
        cores.measured()
        async with served(addresses) as at:
            settle_memory()
            for count in (FEW, MANY):
                await fill(at.pool, count, FEW // 2)
                token = await at.token()
                since = await _cursor(load, at, token)
                for kind in KINDS:
                    if kind != KINDS[0]:
                        await at.pool.execute("UPDATE sync_clock SET seq = seq + 400")
                        await at.pool.execute("UPDATE records SET seq = seq + 400 WHERE seq > $1", count - 400)
                    ours, limit = await _turns(load, at, token, since)
                    ratio = cost[kind, count] = statistics.median(map(truediv, ours, limit))
                    note = f"limit {statistics.median(limit):.0f} us"
                    figures += [
                        Figure(f"idle pull, {kind}, {count:,}", statistics.median(ours), "us", note=note),
                        Figure(f"idle pull / limit, {kind}, {count:,}", ratio, at_most=1.2),
                    ]
            figures.append(await _waiting(at, await at.token(), since))
    for kind in KINDS:
        ratio = cost[kind, MANY] / cost[kind, FEW]
        figures.append(Figure(f"idle pull, {kind}: {MANY:,} / {FEW:,}", ratio, at_most=1.1))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
