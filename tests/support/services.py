"""Services at work in a test, and watchers of stores that a test does not take away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from daemon.lifecycle import Service
from daemon.stores.health import Stores, StoreWatch, store_away

STOP_S: Final = 60.0


@asynccontextmanager
async def services(*parts: Service) -> AsyncIterator[None]:
    """Run *parts* meanwhile, and stop them in the end. Fails when one of them has ended by itself."""
    for part in parts:
        part.start()
    ends = {asyncio.create_task(part.stopped()): part for part in parts}
    try:
        yield
        for end, part in ends.items():
            assert not end.done(), f"{part.name} has ended: {end.exception()!r}"
    finally:
        for part in parts:
            part.stop()
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*ends)
        finally:
            for part in parts:
                part.cut()


async def _nothing() -> None:
    return


def unwatched() -> Stores:
    """Watchers that do not look: each store is up until a part notices an error of it."""
    return Stores(StoreWatch("redis", _nothing, store_away), StoreWatch("postgres", _nothing, store_away))
