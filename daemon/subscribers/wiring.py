"""What outgoing webhooks need of the outside, and what they do by the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from adapters.postgres import subscribers
from adapters.postgres.pool import Pool
from adapters.postgres.subscribers import Wanting
from daemon.bus.batcher import Batcher
from daemon.bus.worker import Domain, Duty, Outside
from daemon.subscribers.metrics import DISABLED, FAILING, METRICS
from daemon.subscribers.notices import look_after
from schemas.envelope import Event

LOOK_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberDeps:
    """*wanting*: every subscriber, as it is when an event is handled; one question serves all handlers that ask."""

    wanting: Callable[[Event], Awaitable[Sequence[Wanting]]]


async def _asked(pool: Pool, events: Sequence[Event]) -> list[Sequence[Wanting]]:
    found = await subscribers.wanting(pool)
    return [found] * len(events)


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[SubscriberDeps]:
    looks: Batcher[Event, Sequence[Wanting]] = Batcher(partial(_asked, outside.pool))
    yield SubscriberDeps(wanting=looks.submit)


def _duties(outside: Outside, deps: SubscriberDeps) -> Sequence[Duty]:
    async def look() -> None:
        await look_after(outside.pool, outside.now())
        failing, disabled = await subscribers.standing(outside.pool)
        outside.metrics.set(FAILING, failing)
        outside.metrics.set(DISABLED, disabled)

    return (Duty("looks-after-subscribers", look, LOOK_S),)


SUBSCRIBERS: Final[Domain[SubscriberDeps]] = Domain(name="subscribers", opened=_opened, metrics=METRICS, duties=_duties)
