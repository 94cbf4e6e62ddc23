"""A listener on real stores behind a real server, and its client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeAlias

from aiohttp import ClientSession, TCPConnector, web
from redis.asyncio import Redis

from adapters.ports import Source
from adapters.postgres.pool import Pool
from adapters.redis.server import LOOKED
from adapters.redis.streams import Streams, stream_key
from adapters.registry import SOURCES
from daemon.bus.intake import Intake
from daemon.sandbox.orders import make_order
from daemon.telemetry.metrics import Metrics
from daemon.web.application import application, health_application
from daemon.web.listener import Listener
from daemon.web.metrics import METRICS
from daemon.web.refusals import Refusals
from daemon.web.server import serving
from schemas.envelope import Event, from_fields
from tests.support.services import services, unwatched

PATIENCE_S = 60.0
PATH = "/webhooks/orders"
KEY = "sesame-0d41"
CANARY = "canary-9b2e"
CAP = 200_000


@dataclass
class Clock:
    """A clock that a test moves."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Health:
    def ready(self) -> dict[str, Any]:
        return {"ready": True}


@dataclass(frozen=True)
class Rig:
    """A server with real stores behind it, and its client."""

    port: int
    health_port: int
    session: ClientSession
    redis: Redis
    db: Pool
    streams: Streams
    intake: Intake
    listener: Listener
    clock: Clock

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, data=body, headers=named) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    async def post(self, body: Any, **headers: str) -> Answer:
        return await self.ask("POST", PATH, body, **{"X_API_Key": KEY, **headers})

    async def events(self) -> list[Event]:
        """Everything on the bus."""
        found = []
        for partition in range(self.streams.partitions):
            entries: Any = await self.redis.xrange(stream_key("orders", partition))
            found += [from_fields(fields) for _, fields in entries]
        return found

    async def keys(self) -> list[bytes]:
        """What Redis holds, but for the key by which the intake looks whether a write works."""
        answer: Any = await self.redis.keys("*")
        return [key for key in answer if key != LOOKED.encode()]

    async def refused(self, count: int) -> list[dict[str, Any]]:
        """The refusals that are kept, once there are *count* of them."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = await self.db.fetch("SELECT * FROM refused_requests ORDER BY id")
                if len(rows) >= count:
                    return [dict(row) for row in rows]
                await asyncio.sleep(0.02)

    async def metric(self, name: str, **labels: str) -> float:
        wanted = name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
        async with self.session.get(f"http://127.0.0.1:{self.health_port}/metrics") as answer:
            page = await answer.text()
        (line,) = (line for line in page.splitlines() if line.startswith(wanted))
        return float(line.rsplit(" ", 1)[1])


def order(n: int, **overrides: Any) -> bytes:
    return json.dumps(make_order(Random(n), n, **overrides)).encode()


def head(length: int | str | None, *lines: str, method: str = "POST", path: str = PATH, key: str = KEY) -> bytes:
    """The header of a request. *length*: of the body; None for chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    text = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: ferryman", f"X-API-Key: {key}", framing, *lines, "", ""])
    return text.encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def raw(port: int, first: bytes, then: bytes = b"", *, every_s: float = 0.02) -> Answer:
    """Send *first*, then *then* again and again until there is an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drip() -> None:
        while then:
            writer.write(then)
            await writer.drain()
            await asyncio.sleep(every_s)

    writer.write(first)
    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(PATIENCE_S):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await reader.readexactly(int(headers["Content-Length"]))
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.transport.abort()
    return Answer(int(lines[0].split()[1]), headers, body)


def check_problem(answer: Answer, status: int, *more: str) -> None:
    """An RFC 9457 document that says what to do and repeats nothing that was sent. *more*: its other members."""
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json
    assert set(document) == {"type", "title", "status", "detail", *more}
    assert document["status"] == status
    assert len(document["detail"]) > 10
    everything = answer.body.decode() + str(answer.headers)
    assert CANARY not in everything
    assert KEY not in everything


Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Rig]]


def opener(redis: Redis, db: Pool) -> Open:
    """Opens rigs on these stores."""

    @asynccontextmanager
    async def opened(
        *,
        secrets: Mapping[str, Sequence[str]] | None = None,
        unsigned: Sequence[str] = (),
        sources: Sequence[Source] = SOURCES,
        cap: int = CAP,
        health_apart: bool = False,
        keepalive_s: float = 75.0,
        public_url: str = "",
        more: Sequence[web.RouteDef] = (),
        awaited: Callable[[str], bool] = lambda setting: False,
    ) -> AsyncIterator[Rig]:
        clock, streams, refusals = Clock(), Streams(redis, 4), Refusals(db)
        metrics = Metrics(METRICS, sources=[source.name for source in sources])
        intake = Intake(streams, db, unwatched())
        served = Listener(
            intake,
            refusals,
            metrics,
            sources=sources,
            secrets={"orders_api_key": [KEY]} if secrets is None else secrets,
            unsigned=unsigned,
            body_cap=cap,
            public_url=public_url,
            now=clock,
            awaited=awaited,
        )
        app = application(served, Health(), metrics, health_apart=health_apart, more=more)
        async with (
            serving(app, "127.0.0.1", 0, drain_s=1.0, keepalive_s=keepalive_s) as port,
            serving(health_application(Health(), metrics), "127.0.0.1", 0, drain_s=1.0) as health_port,
            ClientSession(connector=TCPConnector(limit=0)) as session,
            services(intake, refusals),
        ):
            async with asyncio.timeout(PATIENCE_S):
                await intake.looked.wait()
            yield Rig(port, health_port, session, redis, db, streams, intake, served, clock)

    return opened
