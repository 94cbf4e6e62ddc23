"""An edge's pump in a process of its own, to be killed: `python -m tests.support.killed_edges DATABASE_URL HUB_URL`."""

from __future__ import annotations

import asyncio
import sys

from adapters.postgres import pool
from tests.support.offices import edge_of


async def main(database_url: str, hub_url: str) -> None:
    """Pump until killed. Says when it has begun."""
    async with pool.connect(database_url, size=5) as db, edge_of(db, hub_url, "hub-token"):
        print("begun", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
