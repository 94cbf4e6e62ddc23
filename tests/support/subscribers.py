"""Receivers of outgoing webhooks on loopback, and pumps that deliver to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from aiohttp import web
from cryptography.fernet import Fernet
from pydantic import SecretStr
from standardwebhooks import Webhook

from adapters.postgres import subscribers
from adapters.postgres.pool import Pool
from adapters.postgres.subscribers import Subscriber, Wanting
from adapters.subscribers.delivery import open_deliverer
from daemon.bus.outcome import Done, Turn
from daemon.operator import subscribing
from daemon.settings.model import Settings
from daemon.stores.seal import Seal, keys_of
from daemon.subscribers import outgoing_webhooks, secrets
from daemon.subscribers.delivering import Post
from daemon.subscribers.metrics import METRICS
from daemon.subscribers.pump import Pump
from daemon.subscribers.wiring import SubscriberDeps
from daemon.telemetry.metrics import Metrics
from schemas.envelope import Event, event_id
from tests.support.until import until

Answer = Callable[["Told"], Awaitable[web.StreamResponse]]

NOON: Final = datetime(2031, 2, 14, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Told:
    """A request that a receiver has got, its headers in small letters."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verify(self, secret: str) -> Any:
        """As a receiver does it by the package of Standard Webhooks. Raises where it is not signed by *secret*."""
        return Webhook(secret).verify(self.body.decode(), self.headers)


async def taken(_: Told) -> web.StreamResponse:
    return web.Response(status=204)


def saying(status: int, body: str = "", **headers: str) -> Answer:
    async def answer(_: Told) -> web.StreamResponse:
        return web.Response(status=status, text=body, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return answer


async def never(_: Told) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("never")


@dataclass
class Receiver:
    """A server, as an async context manager. *answer*: how it answers. *told*: what it has got. *most_at_once*: so
    many requests were under way at a time."""

    answer: Answer = taken
    told: list[Told] = field(default_factory=list)
    port: int = 0
    most_at_once: int = 0
    _at_once: int = 0
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hook", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/hook"

    @property
    def ids(self) -> list[str]:
        return [told.id for told in self.told]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        told = Told({name.lower(): value for name, value in request.headers.items()}, await request.read())
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = await self.answer(told)
        finally:
            self._at_once -= 1
        self.told.append(told)
        return answer


def settings_for(*receivers: Receiver, **more: Any) -> Settings:
    """Settings under which those receivers may be subscribers."""
    key = SecretStr(Fernet.generate_key().decode())
    origins = tuple(receiver.origin for receiver in receivers)
    return Settings(ferryman_secret_key=(key,), ferryman_webhook_origins=origins, **more)


async def subscribe(
    db: Pool, settings: Settings, name: str, url: str, *types: str, full: bool = False
) -> dict[str, Any]:
    """Add a subscriber. Returns its document, with its secret."""
    wanted = subscribing.wanted(settings, name, url, types or ("message.*",), full=full)
    return await subscribing.add(db, settings, wanted, "tests")


def event_of(number: int, key: str = "+972505550001", type: str = "message.sent", **data: Any) -> Event:
    """An event of its own for each *number*."""
    told = {"message_id": event_id("tests", "message", str(number)), "phone": key, "provider": "meta", **data}
    return Event(
        id=event_id("tests", str(number)),
        type=type,
        source="ferryman",
        subject=key,
        time=NOON,
        data=json.dumps(told).encode(),
    )


async def tell(db: Pool, events: Sequence[Event]) -> None:
    """Do with *events* what the worker does, in one batch."""

    async def wanting(_: Event) -> Sequence[Wanting]:
        return await subscribers.wanting(db)

    deps = SubscriberDeps(wanting=wanting)
    outcomes = [await outgoing_webhooks.handle(event, deps, Turn(NOON)) for event in events]
    rows = [row for outcome in outcomes if isinstance(outcome, Done) for row in outcome.rows]
    async with db.acquire() as conn, conn.transaction():
        await outgoing_webhooks.record(conn, rows)


class Clock:
    """A clock that a test moves. It is some minutes fast, so that what is added by the clock of the process is due."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC) + timedelta(minutes=4)

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Pumping:
    """A pump at work."""

    pump: Pump
    metrics: Metrics
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def end(self) -> None:
        self.stop.set()
        await self.task


def opener(settings: Settings) -> Callable[[Subscriber], list[secrets.Secret]]:
    return lambda row: secrets.opened(Seal(keys_of(settings)), row.name, row.secrets)


@asynccontextmanager
async def pumping(
    db: Pool, settings: Settings, *, me: str = "one", ttl_s: float = 10.0, now: Callable[[], datetime] | None = None
) -> AsyncIterator[Pumping]:
    """A pump that delivers until the context ends."""
    metrics, stop = Metrics(METRICS), asyncio.Event()
    async with open_deliverer(own=settings.ferryman_webhook_origins) as deliverer:
        post = Post(
            pool=db,
            deliverer=deliverer,
            metrics=metrics,
            now=now or (lambda: datetime.now(UTC)),
            opened=opener(settings),
            chance=lambda: 0.0,
        )
        pump = Pump(post=post, me=me, ttl_s=ttl_s)
        task = asyncio.create_task(pump.run(stop))
        at_work = Pumping(pump, metrics, stop, task)
        try:
            yield at_work
        finally:
            stop.set()
            await asyncio.wait({task}, timeout=1.0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def states(db: Pool, name: str) -> dict[str, int]:
    """How many deliveries of a subscriber are in each state."""
    rows = await db.fetch(
        "SELECT d.state, count(*) FROM webhook_deliveries d JOIN subscribers s ON s.id = d.subscriber_id"
        " WHERE s.name = $1 GROUP BY 1",
        name,
    )
    return {row[0]: row[1] for row in rows}


async def all_delivered(db: Pool, name: str, within_s: float = 30.0, *, every_s: float = 0.01) -> None:
    async def whether() -> bool:
        return set(await states(db, name)) <= {"delivered"}

    await until(whether, f"the end of every delivery to {name}", within_s, every_s=every_s)
