"""The keeper of the leases, apart from its stores."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from redis import exceptions as redis_errors

from adapters.postgres.pool import Pool
from adapters.redis.lease_table import LeaseTable
from daemon.bus.leases import LeaseKeeper


class Swallowing:
    """A table of leases whose client turns a cancellation into an error of its own, as redis-py now and then does."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def tick(self, *_: Any, **__: Any) -> Any:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise redis_errors.ConnectionError("the connection is gone") from None


async def publish_nothing() -> None:
    return None


async def test_a_cancelled_keeper_ends_although_its_client_swallows_the_cancellation() -> None:
    table = Swallowing()
    keeper = LeaseKeeper(
        cast(LeaseTable, table),
        cast(Pool, None),
        me="me",
        pairs=(),
        ttl_s=2.0,
        drain=lambda pair: True,
        publish_left=publish_nothing,
    )
    keeper.start()
    await table.asked.wait()
    keeper.cut()
    await asyncio.wait_for(keeper.stopped(), 5)
