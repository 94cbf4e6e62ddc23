"""Scheduling: by the clock, messages whose time has come go to their worker; and how many messages nobody knows the end
of is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres import messages
from adapters.postgres.bus import outbox
from daemon.bus.worker import Duty, Outside
from daemon.messages.requests import event_of

EVERY_S: Final = 0.5
MOST: Final = 500
"""Messages that one round releases."""

MEASURE_EVERY_S: Final = 10.0


def duties(outside: Outside, providers: Sequence[str]) -> Sequence[Duty]:
    """Scheduling, in a process of this domain. *providers*: all of them."""

    async def release() -> None:
        async with outside.pool.acquire() as conn, conn.transaction():
            due = [event_of(request, outside.now()) for request in await messages.release(conn, MOST)]
            seqs = await outbox.emit(conn, due) if due else []
        if due:
            await outside.hurry(due, seqs)

    async def measure() -> None:
        counts = await messages.uncertain(outside.pool)
        for provider in providers:
            outside.metrics.set("ferryman_uncertain", counts.get(provider, 0), {"provider": provider})

    return (Duty("scheduled-messages", release, EVERY_S), Duty("uncertain-messages", measure, MEASURE_EVERY_S))
