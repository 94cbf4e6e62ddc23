"""What moves the objects of the archive, killed again and again: `python -m tests.support.killed_archivers LIVES` with
the address of Postgres and the data directory in the environment.

Each life ends, as by kill -9, at another point: before an object is put into the store, after it, or after the row has
gone. The last one works until nothing is left. Prints how many have died so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from adapters.channel import Channel
from adapters.postgres import archive
from adapters.postgres.pool import connect
from adapters.storage.files import FileStore
from daemon.conversations.archive.objects import Moving
from daemon.conversations.archive.storing import Archive
from tests.support.until import until

POINTS: Final = ("before the put", "after the put", "after the row")


def _die(what: Callable[..., Awaitable[Any]], calls: int, *, first: bool) -> Callable[..., Awaitable[Any]]:
    """*what*, whose call number *calls* kills the process: before it, where that is the *first* thing, or after it."""
    left = calls

    async def dying(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if first and left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await what(*args)
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return dying


async def _live(life: int | None) -> None:
    """Move what waits. *life*: where it is to end; None: nowhere."""
    archive.TAKEN_S = 1  # type: ignore[misc]
    async with connect(os.environ["STORE_POSTGRES"], size=4) as pool:
        store = FileStore(Path(os.environ["DATA"]), Channel("storage"))
        if life is not None:
            point, calls = POINTS[life % 3], 3 + life
            if point == "after the row":
                archive.arrived = _die(archive.arrived, calls, first=False)  # type: ignore[assignment]
            else:
                store.put = _die(store.put, calls, first=point == "before the put")  # type: ignore[method-assign, assignment]
        moving = Moving(pool, Archive(store, pool), "demo")

        async def none_left() -> bool:
            await moving.waiting_objects()
            return await moving.waiting() == 0

        await until(none_left, within_s=60)


def _one_life(life: int | None) -> int:
    """How it ended, as `os.waitpid` tells."""
    if (child := os.fork()) == 0:
        try:
            asyncio.run(_live(life))
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    ends = [_one_life(life) for life in range(int(sys.argv[1]))]
    last = _one_life(None)
    print(sum(end == signal.SIGKILL for end in ends))
    sys.exit(last)
