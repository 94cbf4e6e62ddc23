"""How many contacts are made in a second at a CGB that takes 200 ms for each answer: `python -m tests.bench.slow_cgb
[--json]` (20 s).

Orders of new people wait on the stream; the real consumer syncs them through the live adapter with no rate limit and no
delay, CGB_SYNC_CONCURRENCY=50. Each costs two calls, so 50 / (2 x 0.2 s) = 125 a second is what the answers allow. The
first read and the last contacts, when fewer than 50 are under way, count as well. Bar: 0.9 of it.
"""

from __future__ import annotations

from typing import Final

from adapters.channel import Channel
from adapters.http import open_session
from adapters.postgres.pool import connect
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.contacts.sync import WORKER
from daemon.process import settle_memory
from tests.bench.contact_sync import ORDERS, PARTITIONS, Rig, people
from tests.bench.rig import Figure, Took, helper, main, stores

AT_ONCE: Final = 50
ANSWER_S: Final = 0.2
CALLS: Final = 2


async def measure() -> list[Figure]:
    took: list[Took] = []
    async with (
        stores() as addresses,
        helper("tests.bench.fake_cgb", str(ANSWER_S)) as cgb,
        open_session(per_host=AT_ONCE) as session,
        connect(addresses.database_url) as pool,
    ):
        redis = streams.client(addresses.redis_url, timeout_s=2.0, connections=64)
        bus = Streams(redis, PARTITIONS)
        await bus.ensure_groups(WORKER.name, [stream_key("orders", p) for p in range(PARTITIONS)])
        rig = Rig((await cgb.ask())["url"], session, pool, addresses.redis_url, bus, at_once=AT_ONCE)
        rig.known = await rig.directory(Channel("cgb")).field_names()
        settle_memory()
        await bus.append([person.event for person in people(0, rig.known)])
        before = (await cgb.ask())["requests"]
        await rig.by_ferryman(took)
        requests = (await cgb.ask())["requests"] - before
        synced = await pool.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'")
        assert synced == ORDERS, synced
        await redis.aclose()
    allowed = AT_ONCE / (CALLS * ANSWER_S)
    rate = ORDERS / took[0].seconds
    return [
        Figure("slow cgb: contacts", rate, "contacts/s", note=f"the answers allow {allowed:.0f}"),
        Figure("slow cgb: of what the answers allow", rate / allowed, at_least=0.9),
        Figure("slow cgb: calls for each new contact", requests / ORDERS, at_most=CALLS + 0.01),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
