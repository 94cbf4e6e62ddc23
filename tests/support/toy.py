"""A toy worker in parts: invented events, handlers, and what they leave in the table of effects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

import orjson

from adapters.postgres.pool import Connection
from daemon.bus.outcome import Done, Outcome, Row, Turn
from schemas.envelope import Event, event_id, to_fields
from schemas.partitions import partition_of

TOY: Final = "toy"
TOPIC: Final = "orders"
TYPE: Final = "order.received"
NOON: Final = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
Handle: TypeAlias = Callable[[Event, Any, Turn], Awaitable[Outcome]]
Record: TypeAlias = Callable[[Connection, Sequence[Row]], Awaitable[None]]


def make_event(subject: str, n: int = 0, *, id: str = "", type: str = TYPE, **data: Any) -> Event:
    """The *n*-th event of the key *subject*."""
    body = orjson.dumps({"n": n} | data)
    return Event(
        id=id or event_id("test", subject, str(n)), type=type, source="test", subject=subject, time=NOON, data=body
    )


def make_events(keys: int, each: int) -> list[Event]:
    """*each* events of each of *keys* keys, those of different keys mixed."""
    return [make_event(f"key-{k}", n) for n in range(each) for k in range(keys)]


def fields_of(event: Event, **changed: Any) -> dict[Any, Any]:
    """The stream fields of *event*; a change to None takes the field away."""
    parts = to_fields(event)
    fields: dict[Any, Any] = {**dict(zip(parts[::2], parts[1::2], strict=True)), **changed}
    return {name: value for name, value in fields.items() if value is not None}


def home_of(subject: str, partitions: int) -> int:
    """The partition of *subject*."""
    return partition_of(subject, partitions)


@dataclass(frozen=True, slots=True)
class Effect:
    """A row of the table `effects`, which has no unique key: what is done twice is there twice."""

    event_id: str
    subject: str
    n: int
    note: str = ""


def effect(event: Event, note: str = "") -> Effect:
    """The effect of *event*."""
    return Effect(event.id, event.subject, int(event.json()["n"]), note)


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Write effects. A negative n is refused by the table."""
    effects = cast("Sequence[Effect]", rows)
    await conn.executemany(
        "INSERT INTO effects (event_id, subject, n, note) VALUES ($1, $2, $3, $4)",
        [(e.event_id, e.subject, e.n, e.note) for e in effects],
    )


async def succeed(event: Event, deps: object, turn: Turn) -> Outcome:
    """A handler that has one effect per event."""
    return Done(rows=(effect(event),))


def failing(error: Exception) -> Handle:
    """A handler that always raises *error*."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        raise error

    return handle


def napping(seconds: float) -> Handle:
    """A handler that has its effect after *seconds*."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await asyncio.sleep(seconds)
        return await succeed(event, deps, turn)

    return handle


def gated(gate: asyncio.Event) -> Handle:
    """A handler that waits at *gate*, and then has its effect."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await gate.wait()
        return await succeed(event, deps, turn)

    return handle


async def emit_one(event: Event, deps: object, turn: Turn) -> Outcome:
    """A handler that has one effect and emits one event."""
    made = event.emit("contact.synced", 0, {"n": event.json()["n"]}, time=turn.now)
    return Done(rows=(effect(event),), emit=(made,))


class Broken:
    """A `record` that fails after it has written, until it is mended."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.calls = 0

    async def __call__(self, conn: Connection, rows: Sequence[Row]) -> None:
        self.calls += 1
        await record(conn, rows)
        if self.error is not None:
            raise self.error


class Spy:
    """A handler that notes what it is called with, and then does what *then* says."""

    def __init__(self, then: Handle = succeed) -> None:
        self.calls: list[tuple[str, int]] = []
        self.turns: list[Turn] = []
        self.active = 0
        self.most = 0
        self._then = then

    async def __call__(self, event: Event, deps: object, turn: Turn) -> Outcome:
        self.calls.append((event.subject, int(event.json()["n"])))
        self.turns.append(turn)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            return await self._then(event, deps, turn)
        finally:
            self.active -= 1
