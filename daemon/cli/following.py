"""Verbs that go on until Ctrl-C, which is how they are stopped: they end with 0."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from daemon.lifecycle import stop_on_signals


async def until_stopped_do(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* until it ends or the process is asked to stop. Raises what *work* raises."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working.done():
        working.result()
    working.cancel()
    await asyncio.wait({working})
