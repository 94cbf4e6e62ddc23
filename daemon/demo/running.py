"""A daemon that runs inside a demonstration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from daemon.process import Daemon


@asynccontextmanager
async def run(daemon: Daemon) -> AsyncIterator[str]:
    """Run *daemon* until the context ends. Yields its address."""
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(daemon.run(stop, port.set_result))
    try:
        await asyncio.wait({running, port}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        yield f"http://127.0.0.1:{port.result()}"
    finally:
        stop.set()
        await running
