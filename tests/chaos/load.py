"""A load: the orders of each person are sent one after the other, as Vizi does, each again until the answer is 202."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from daemon.sandbox import orders
from tests.chaos.fleet import Fleet
from tests.support.daemons import API_KEY

FIRST_ORDER_AT: Final = datetime(2021, 3, 1, 9, 0, tzinfo=UTC)
POST_TIMEOUT_S: Final = 20.0
AGAIN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that was answered 202. *place*: where it stands among its person's orders."""

    event_id: str
    order_id: str
    person: int
    place: int
    at: float


def contact_of(person: int) -> str:
    """The contact in CGB that *person* becomes."""
    return f"97250555{person:04d}"


def make_order(seed: int, person: int, place: int) -> dict[str, Any]:
    """The order of *person* that is number *place*; the next one is newer."""
    number = place * 10_000 + person
    return orders.make_order(
        random.Random(f"{seed}:{number}"),
        number,
        branch="il",
        phone={"code": "972", "number": f"050555{person:04d}"},
        name=f"Person {person}",
        email=f"person{person}@example.com",
        created_at=FIRST_ORDER_AT + timedelta(hours=place, seconds=person),
        order_id=f"IL310301GB{number}",
    )


class Load:
    """*people* persons send *each* orders; no more of them than have been released."""

    def __init__(self, fleet: Fleet, seed: int, people: int, each: int, *, first_person: int = 0) -> None:
        self._fleet = fleet
        self._seed = seed
        self._rng = random.Random(seed)
        self._people = range(first_person, first_person + people)
        self._each = each
        self._released = asyncio.Semaphore(0)
        self.total = people * each
        self.accepted: list[Accepted] = []
        self.unanswered = 0
        self.refused = 0
        self.no_retry_after = 0

    def release(self, count: int | None = None) -> None:
        """Let *count* more orders go (all of them when None)."""
        for _ in range(self.total if count is None else count):
            self._released.release()

    async def run(self) -> None:
        """Send everything. Raises when an answer is neither 202 nor 503."""
        timeout = ClientTimeout(total=POST_TIMEOUT_S)
        async with (
            ClientSession(connector=TCPConnector(limit=100), timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for person in self._people:
                group.create_task(self._send_all(session, person))

    async def _send_all(self, session: ClientSession, person: int) -> None:
        for place in range(self._each):
            await self._released.acquire()
            await self._send(session, person, place)

    async def _send(self, session: ClientSession, person: int, place: int) -> None:
        order = make_order(self._seed, person, place)
        body = json.dumps(order).encode()
        while True:
            if not (urls := self._fleet.urls()):
                await asyncio.sleep(AGAIN_S)
                continue
            url = f"{self._rng.choice(urls)}/webhooks/orders"
            try:
                async with session.post(url, data=body, headers={"X-API-Key": API_KEY}) as answer:
                    status, document = answer.status, await answer.json(content_type=None)
                    retry_after = answer.headers.get("Retry-After")
            except (ClientError, OSError, TimeoutError):
                self.unanswered += 1
                await asyncio.sleep(AGAIN_S)
                continue
            if status == 202:
                (event_id,) = document["event_ids"]
                self.accepted.append(Accepted(event_id, order["order"]["id"], person, place, time.time()))
                return
            assert status == 503, f"an order was answered {status}: {document}"
            self.refused += 1
            self.no_retry_after += retry_after is None
            await asyncio.sleep(AGAIN_S)

    def reached(self, part: float) -> Callable[[], Awaitable[bool]]:
        """Whether this part of everything is accepted."""

        async def asked() -> bool:
            return len(self.accepted) >= part * self.total

        return asked


@asynccontextmanager
async def sending(load: Load) -> AsyncIterator[asyncio.Task[None]]:
    """*load* under way beside the block; afterwards it has sent everything."""
    task = asyncio.create_task(load.run())
    try:
        yield task
        load.release()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
