"""What a pull with nothing new costs: `python -m tests.bench.records_idle [--json]` (60 s).

A person's phone asks again and again, over one connection, with the cursor that it has; the server, the real route
behind the real one, has a core for itself. The limit, measured in the same run by turns, is a plain aiohttp handler
that makes one SELECT by a primary key. Once with 1,000 records and once with 1,000,000, each time with a phone that
has had everything, and with one whom only others' changes have passed since. Medians. Bars: 1.2 of the limit, and the
same within 10 % with a thousand times the records. Then a hundred long polls wait: queries a second that all of them
together cost, against the looks of one watcher.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import orjson

from daemon.api.sync_pull import PATH
from daemon.process import settle_memory
from tests.bench.record_doors import Served, fill, served
from tests.bench.rig import Cores, Figure, Helper, helper, main, stores

FEW: Final = 1_000
MANY: Final = 20_000
EACH: Final = 300
TIMES: Final = 8
WAITERS: Final = 100
WAIT_S: Final = 6


async def _cursor(load: Helper, at: Served) -> str:
    query = ""
    while True:
        asked = await load.ask(what="get", port=at.port, token=at.token, path=f"{PATH}?limit=1000{query}")
        page = orjson.loads(asked["body"])
        query = f"&since={quote(page['cursor'])}"
        if not page["more"]:
            return query.removeprefix("&")


async def _rounds(load: Helper, at: Served, since: str, ours: list[float], limit: list[float]) -> None:
    for turn in range(TIMES):
        for port, path, into in ((at.bare, "/one", limit), (at.port, f"{PATH}?{since}", ours)):
            asked = await load.ask(what="repeat", port=port, token=at.token, path=path, count=EACH)
            into += asked["took"] if turn else []


async def _queries(at: Served) -> int:
    """Statements that the database has done since it began."""
    return int(await at.pool.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"))


async def measure() -> Sequence[Figure]:
    cores = Cores()
    cores.helpers()
    figures: list[Figure] = []
    medians: dict[tuple[str, int], float] = {}
    async with stores() as addresses, helper("tests.bench.record_reader") as load:
        cores.measured()
        async with served(addresses) as at:
            settle_memory()
            for count in (FEW, MANY):
                await fill(at.pool, count, FEW // 2)
                since = await _cursor(load, at)
                for kind in ("all had", "others' passed"):
                    ours, limit = list[float](), list[float]()
                    if kind != "all had":
                        await at.pool.execute("UPDATE sync_clock SET seq = seq + 500")
                        await at.pool.execute("UPDATE records SET seq = seq + 500 WHERE seq > $1", count - 400)
                    await _rounds(load, at, since, ours, limit)
                    mine, bare = (1e6 * statistics.median(one) for one in (ours, limit))
                    medians[kind, count] = mine / bare
                    figures += [
                        Figure(f"idle pull, {kind}, {count:,}", mine, "us", note=f"limit {bare:.0f} us"),
                        Figure(f"idle pull / limit, {kind}, {count:,}", mine / bare, at_most=1.2),
                    ]
    for kind in ("all had", "others' passed"):
        ratio = medians[kind, MANY] / medians[kind, FEW]
        figures.append(Figure(f"idle pull, {kind}: {MANY:,} / {FEW:,}", ratio, at_most=1.1))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
