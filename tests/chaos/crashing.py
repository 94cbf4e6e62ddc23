"""The daemon with a death built in: `python -m tests.chaos.crashing run` with CHAOS_POINT (CHAOS_NTH, CHAOS_SIGNAL)
or CHAOS_ORDER.

The process ends itself as kill -9 does when the named point is reached for the n-th time, or whenever contact-sync is
given the named order. A point is before or after a call of a public function of the product, so that the product needs
no hooks and a change of its inner parts moves no point.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from asyncpg.transaction import Transaction

from adapters.cgb.live_directory import LiveCgb
from adapters.channel import Channel
from adapters.postgres.bus import outbox
from adapters.postgres.pool import Connection
from adapters.redis.streams import Streams
from daemon import app, workers
from daemon.bus.outcome import Outcome, Turn
from daemon.cli.main import main
from daemon.contacts import sync as contact_sync
from daemon.contacts.wiring import ContactDeps
from schemas.envelope import Event
from schemas.errors import Operation

WORKER: Final = contact_sync.WORKER.name

T = TypeVar("T")


class Death:
    """Comes at the n-th call. With SIGSTOP as its signal it is a sleep."""

    def __init__(self, nth: int, number: signal.Signals = signal.SIGKILL) -> None:
        self._left = nth
        self._number = number

    def reach(self) -> None:
        """Die if it is time."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def before_the_appends_answer(death: Death) -> None:
    """The order is on the stream, and its sender has no answer yet."""
    append = Streams.append

    async def dying(self: Streams, events: Sequence[Event]) -> None:
        await append(self, events)
        if any(event.type == "order.received" for event in events):
            death.reach()

    Streams.append = dying  # type: ignore[method-assign]


def after_the_read(death: Death) -> None:
    """Entries are pending for this process, which has not begun to work on them."""
    read: Any = Streams.read

    async def dying(self: Streams, group: str, *args: Any, **options: Any) -> Any:
        found = await read(self, group, *args, **options)
        if found and group == WORKER:
            death.reach()
        return found

    Streams.read = dying  # type: ignore[method-assign]


def before_the_handlers_write(death: Death) -> None:
    """It is decided what to write to CGB, and the rate limit has given a place for it."""
    call = Channel.call

    async def dying(self: Channel, operation: Operation, make: Callable[[], Awaitable[T]]) -> T:
        if operation == "write":
            death.reach()
        return await call(self, operation, make)

    Channel.call = dying  # type: ignore[method-assign]


def after_the_handlers_call(death: Death) -> None:
    """CGB has made the contact, and nothing of that is in Postgres."""
    create = LiveCgb.create

    async def dying(self: LiveCgb, draft: Any) -> str:
        made = await create(self, draft)
        death.reach()
        return made

    LiveCgb.create = dying  # type: ignore[method-assign]


def before_the_commit(death: Death) -> None:
    """Everything is written, and will be rolled back."""
    _after_the_writing(death.reach)


def inside_the_commit(death: Death) -> None:
    """COMMIT is on its way to Postgres, and its answer has not come."""
    written: ContextVar[bool] = ContextVar("written", default=False)
    leave: Any = Transaction.__aexit__

    async def dying(self: Transaction, extype: object, ex: object, tb: object) -> None:
        ours = written.get() and ex is None
        written.set(False)
        if not ours:
            await leave(self, extype, ex, tb)
            return
        sent = asyncio.ensure_future(leave(self, extype, ex, tb))
        await asyncio.sleep(0)  # COMMIT goes out with the task's first step
        death.reach()
        await sent

    Transaction.__aexit__ = dying  # type: ignore[method-assign]
    _after_the_writing(lambda: written.set(True))


def _after_the_writing(act: Callable[[], object]) -> None:
    """Have *act* called in each transaction of contact-sync that ends an event, once all is written: an emitted event
    is the last of it, and no other worker emits."""
    emit = outbox.emit

    async def acting(conn: Connection, events: Sequence[Event]) -> list[int]:
        numbers = await emit(conn, events)
        act()
        return numbers

    outbox.emit = acting


def before_the_outbox_publish(death: Death) -> None:
    """The results are committed, and the event that they emit is in the outbox alone."""
    append = Streams.append

    async def dying(self: Streams, events: Sequence[Event]) -> None:
        if any(event.type == "contact.synced" for event in events):
            death.reach()
        await append(self, events)

    Streams.append = dying  # type: ignore[method-assign]


def after_the_commit_before_xack(death: Death) -> None:
    """Committed and published, and still pending on the stream."""
    ack = Streams.ack

    async def dying(self: Streams, group: str, entries: Sequence[tuple[str, str]]) -> None:
        if group == WORKER:
            death.reach()
        await ack(self, group, entries)

    Streams.ack = dying  # type: ignore[method-assign]


POINTS: Final[dict[str, Callable[[Death], None]]] = {
    "before-the-appends-answer": before_the_appends_answer,
    "after-the-read": after_the_read,
    "before-the-handlers-write": before_the_handlers_write,
    "after-the-handlers-call": after_the_handlers_call,
    "before-commit": before_the_commit,
    "inside-commit": inside_the_commit,
    "before-the-outbox-publish": before_the_outbox_publish,
    "after-commit-before-xack": after_the_commit_before_xack,
}


def poison(order_id: str) -> None:
    """Die whenever contact-sync is given this order."""
    handle = contact_sync.handle

    async def dying(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
        if f'"{order_id}"'.encode() in event.data:
            os.kill(os.getpid(), signal.SIGKILL)
        return await handle(event, deps, turn)

    deadly = dataclasses.replace(contact_sync.WORKER, handle=dying)
    known = tuple(deadly if w.name == WORKER else w for w in workers.WORKERS)
    setattr(app, "WORKERS", known)  # noqa: B010 - a name that it does not export


if __name__ == "__main__":
    if wanted := os.environ.get("CHAOS_POINT"):
        number = signal.Signals[os.environ.get("CHAOS_SIGNAL", "SIGKILL")]
        POINTS[wanted](Death(int(os.environ.get("CHAOS_NTH", "1")), number))
    if deadly := os.environ.get("CHAOS_ORDER"):
        poison(deadly)
    main()
