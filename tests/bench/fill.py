"""Fills streams for `tests.bench.backlog`, in a process of its own."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

import uvloop

from adapters.redis import streams
from adapters.redis.streams import Streams
from tests.bench import toy
from tests.bench.rig import obey

APPEND: Final = 1000
BYTES: Final = 100


async def fill(question: dict[str, Any]) -> dict[str, Any]:
    """Append *count* small events to the server at *redis_url*. *run*: what tells them from others."""
    redis = streams.client(question["redis_url"], timeout_s=30.0, connections=1)
    bus = Streams(redis, toy.PARTITIONS)
    left = toy.events(question["run"], question["count"], BYTES)
    while batch := list(islice(left, APPEND)):
        await bus.append(batch)
    await redis.aclose()
    return {}


if __name__ == "__main__":
    uvloop.run(obey(fill))
