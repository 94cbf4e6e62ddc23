"""How fast a first sync is: `python -m tests.bench.records_pull [--json]` (1 minute).

A person's phone pulls 100,000 records of some 300 bytes, page by page over one connection, and parses each page; the
server, the real route behind the real one, has a core for itself. The limit, measured in the same run by turns, is a
plain aiohttp handler that hands the whole on as one COPY of row_to_json, whose lines the same client parses. Best of
three. Bar: half of the limit, or 20,000 changes a second where that is less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daemon.api.sync_pull import PATH
from daemon.process import settle_memory
from tests.bench.record_doors import fill, served
from tests.bench.rig import Cores, Figure, helper, main, stores

CHANGES: Final = 100_000
OTHERS: Final = 20_000
TIMES: Final = 3
FLOOR: Final = 20_000.0


async def measure() -> Sequence[Figure]:
    cores = Cores()
    cores.helpers()
    best = {"pull": 0.0, "copy": 0.0}
    async with stores() as addresses, helper("tests.bench.record_reader") as load:
        cores.measured()
        async with served(addresses) as at:
            await fill(at.pool, CHANGES + OTHERS, CHANGES)
            token = await at.token()
            settle_memory()
            for _ in range(TIMES):
                for what, port, path in (("copy", at.bare, "/copy"), ("pull", at.port, PATH)):
                    done = await load.ask(what=what, port=port, token=token, path=path)
                    assert done["count"] == CHANGES
                    best[what] = max(best[what], CHANGES / done["seconds"])
    bar = min(FLOOR, 0.5 * best["copy"])
    return [
        Figure("first sync: COPY and JSON", best["copy"], "changes/s"),
        Figure("first sync: pulls", best["pull"], "changes/s", at_least=bar),
        Figure("first sync: pulls / COPY and JSON", best["pull"] / best["copy"]),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
