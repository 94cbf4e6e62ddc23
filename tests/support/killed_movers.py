"""The worker of messages, killed again and again as one of them is moved: `python -m tests.support.killed_movers LIVES`
with the addresses of the stores and of the simulators in the environment.

In each life Meta is paused, and the life ends, as by kill -9, when a message has gone over to Twilio and nothing else
has happened. The last one has never heard of a pause, and works until nothing is left. Prints how many have died so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any, Final

import orjson

from adapters.postgres import moves
from adapters.postgres.pool import connect
from daemon.settings.model import Settings
from tests.support.message_worker import message_worker
from tests.support.until import until

LANES: Final = 2
IN_FLIGHT: Final = 12
"""Few events are read in a life: those that a death leaves behind are looked at closely in the next."""


def _die_when_moved() -> None:
    move = moves.move

    async def dying(*args: Any, **given: Any) -> bool:
        if await move(*args, **given):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    moves.move = dying


async def _live(*, paused: bool) -> None:
    given = orjson.loads(os.environ["SENDERS"])
    # no event is at fault: so many deaths would else bury one
    settings = Settings(**given, ferryman_max_in_flight=IN_FLIGHT, ferryman_poison_deliveries=1000)
    async with (
        connect(os.environ["STORE_POSTGRES"], size=4) as pool,
        message_worker(os.environ["STORE_REDIS"], pool, settings) as worker,
    ):
        worker.outside.channels["meta"].paused = paused
        async with worker.working(lanes=LANES):
            await until(worker.settled, "the end of every event", within_s=120)


def _one_life(*, deadly: bool) -> int:
    """How it ended, as `os.waitpid` tells."""
    if (child := os.fork()) == 0:
        try:
            if deadly:
                _die_when_moved()
            asyncio.run(_live(paused=deadly))
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(lives: int) -> None:
    """Live so often, and once more."""
    died = 0
    for _ in range(lives):
        if not os.WIFSIGNALED(_one_life(deadly=True)):
            break  # nothing is left to move
        died += 1
    print(died, _one_life(deadly=False), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
