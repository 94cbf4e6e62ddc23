"""The daemon with a death built in: `python -m tests.chaos.crashing run` with CHAOS_POINT (CHAOS_NTH, CHAOS_SIGNAL)
or CHAOS_ORDER.

The process ends itself as kill -9 does when the named point is reached for the n-th time, or whenever contact-sync is
given the named order.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

from asyncpg import transaction

from adapters.cgb.live_directory import LiveCgb
from adapters.gate import Gate
from adapters.redis.streams import StreamEntry, Streams
from daemon import app, workers
from daemon.bus.admission import Admission
from daemon.bus.committer import Committer, Settled
from daemon.bus.outcome import Outcome, Turn
from daemon.bus.settle import Finish
from daemon.cli.main import main
from daemon.contacts import sync as contact_sync
from daemon.contacts.wiring import ContactDeps
from schemas.envelope import Event

WORKER: Final = contact_sync.WORKER.name


class Death:
    """Comes at the n-th call; as another signal than SIGKILL it may be a sleep."""

    def __init__(self, nth: int, number: signal.Signals = signal.SIGKILL) -> None:
        self._left = nth
        self._number = number

    def near(self) -> None:
        """Die if it is time."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def before_the_appends_answer(death: Death) -> None:
    """The order is on the stream, its sender has not heard of it."""
    append = Streams.append

    async def dying(self: Streams, events: Sequence[Event]) -> None:
        await append(self, events)
        if any(event.type == "order.received" for event in events):
            death.near()

    Streams.append = dying  # type: ignore[method-assign]


def after_the_read(death: Death) -> None:
    """Entries are pending under our name, nobody works on them."""
    admit = Admission.admit

    async def dying(self: Admission, found: Sequence[StreamEntry], epochs: Mapping[int, int], *, history: bool) -> None:
        if found and self._worker.name == WORKER:
            death.near()
        await admit(self, found, epochs, history=history)

    Admission.admit = dying  # type: ignore[method-assign]


def before_the_handlers_write(death: Death) -> None:
    """It is decided what to write to CGB, and the rate limit has given a place for it."""
    take, writing = Gate._take_place, ContextVar("writing", default=False)
    create = LiveCgb.create

    async def marked(self: LiveCgb, draft: Any) -> str:
        token = writing.set(True)
        try:
            return await create(self, draft)
        finally:
            writing.reset(token)

    async def dying(self: Gate) -> None:
        await take(self)
        if writing.get():
            death.near()

    LiveCgb.create, Gate._take_place = marked, dying  # type: ignore[method-assign]


def after_the_handlers_call(death: Death) -> None:
    """CGB has made the contact, nothing of that is in Postgres."""
    create = LiveCgb.create

    async def dying(self: LiveCgb, draft: Any) -> str:
        made = await create(self, draft)
        death.near()
        return made

    LiveCgb.create = dying  # type: ignore[method-assign]


def before_the_commit(death: Death) -> None:
    """Everything is written, and will be rolled back."""
    _after_the_writing(death.near)


def inside_the_commit(death: Death) -> None:
    """COMMIT is on its way to Postgres, its answer is not."""
    ours: ContextVar[bool] = ContextVar("ours", default=False)
    # asyncpg's own, by its mangled name: the only place between the last statement and the answer to COMMIT
    name = "_Transaction__commit"
    commit = getattr(transaction.Transaction, name)

    async def dying(self: Any) -> None:
        if not ours.get():
            await commit(self)
            return
        ours.set(False)
        sent = asyncio.ensure_future(commit(self))
        await asyncio.sleep(0)  # the statement goes out with the task's first step
        death.near()
        await sent

    setattr(transaction.Transaction, name, dying)
    _after_the_writing(lambda: ours.set(True))


def _after_the_writing(act: Callable[[], object]) -> None:
    """Have *act* called in a transaction of contact-sync that ends an event, once all is written."""
    write = Committer._write_live

    async def acting(self: Committer, conn: Any, live: Sequence[Settled]) -> list[tuple[int, Event]]:
        emitted = await write(self, conn, live)
        if self._worker.name == WORKER and any(isinstance(settled.verdict, Finish) for settled in live):
            act()
        return emitted

    Committer._write_live = acting  # type: ignore[method-assign]


def before_the_outbox_publish(death: Death) -> None:
    """The results are committed, what they bring about is in the outbox alone."""
    publish = Committer._publish

    async def dying(self: Committer) -> None:
        if self._outbox:
            death.near()
        await publish(self)

    Committer._publish = dying  # type: ignore[method-assign]


def after_the_commit_before_xack(death: Death) -> None:
    """Committed and published, and still pending on the stream."""
    ack = Streams.ack

    async def dying(self: Streams, group: str, entries: Sequence[tuple[str, str]]) -> None:
        if group == WORKER:
            death.near()
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
    """Whoever handles this order dies."""
    handle = contact_sync.handle

    async def dying(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
        if f'"{order_id}"'.encode() in event.data:
            os.kill(os.getpid(), signal.SIGKILL)
        return await handle(event, deps, turn)

    deadly = dataclasses.replace(contact_sync.WORKER, handle=dying)
    known = tuple(deadly if w.name == WORKER else w for w in workers.WORKERS)
    setattr(app, "WORKERS", known)  # noqa: B010 - not its to export


if __name__ == "__main__":
    if wanted := os.environ.get("CHAOS_POINT"):
        number = signal.Signals[os.environ.get("CHAOS_SIGNAL", "SIGKILL")]
        POINTS[wanted](Death(int(os.environ.get("CHAOS_NTH", "1")), number))
    if deadly := os.environ.get("CHAOS_ORDER"):
        poison(deadly)
    main()
