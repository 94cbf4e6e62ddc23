"""Live events before replayed ones at a rate limit: what the permit carries from the consumer to the gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from adapters.gate import Gate, Look
from adapters.http import Reply, open_session
from adapters.redis.limits import Priority, RateLimiter, Ticket
from daemon.bus.outcome import Done, Outcome, Turn
from schemas.envelope import Event
from schemas.errors import ChannelDown
from tests.support.bus import Bench
from tests.support.gates import gate_on
from tests.support.toy import TOY, effect, make_event
from tests.support.until import until


@asynccontextmanager
async def serving(asked: list[str], status: int = 200) -> AsyncIterator[str]:
    """The address of an outside system that notes the subjects in *asked*."""

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query.get("subject", ""))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_route("*", "/", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def calling(gate: Gate, url: str) -> Callable[[Event, Any, Turn], Any]:
    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await gate.request("POST", url, judge, params={"subject": event.subject})
        return Done(rows=(effect(event),))

    return handle


def judge(reply: Reply) -> None:
    if reply.status == 403:
        raise ChannelDown("403", channel="test")


def replayed(subject: str) -> Event:
    return make_event(subject)._replace(replayid=f"{TOY}:run")


@pytest.mark.parametrize("shared", [False, True])
async def test_live_events_get_their_places_before_replayed_ones_that_came_earlier(
    bench: Bench, session: ClientSession, shared: bool
) -> None:
    """Promise: with Redis and without; when no live event is left the replay goes on to its end."""
    limiter = RateLimiter(bench.redis if shared else None, per_minute=8, window_s=0.8)
    asked: list[str] = []
    async with serving(asked) as url:
        worker = bench.worker(calling(gate_on(session, limiter=limiter), url), lanes=2)
        async with bench.running(worker):
            await bench.publish([replayed(f"replayed-{n}") for n in range(20)])
            await until(lambda: len(asked) >= 2)
            before = len(asked)
            await bench.publish([make_event(f"live-{n}") for n in range(12)])
            await until(bench.settled)
    lives = [at for at, subject in enumerate(asked) if subject.startswith("live")]
    assert len(lives) == 12
    assert len(asked) == 32
    assert lives[-1] < before + 12 + 3  # what was on its way when they came


class Told(RateLimiter):
    """A limiter that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(None, per_minute=1000)
        self.told: list[Priority] = []

    async def acquire(self, scope: str, priority: Priority = "live") -> None:
        self.told.append(priority)
        await super().acquire(scope, priority)

    async def take(self, scope: str, mine: Ticket | None = None, priority: Priority = "live") -> Ticket | None:
        self.told.append(priority)
        return await super().take(scope, mine, priority)


@pytest.mark.parametrize("priority", ["live", "bulk"])
async def test_further_requests_and_looks_have_the_priority_of_their_call(
    bench: Bench, session: ClientSession, priority: Priority
) -> None:
    limiter = Told()
    async with serving([], status=403) as url:
        gate = gate_on(session, limiter=limiter)

        async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
            look = Look(url, {}, judge)
            await asyncio.gather(
                *(gate.request("POST", url, judge, look=lambda: look) for _ in range(2)), return_exceptions=True
            )
            return Done(rows=(effect(event),))

        async with bench.running(bench.worker(handle)):
            await bench.publish([replayed("one") if priority == "bulk" else make_event("one")])
            await until(bench.settled)
    assert limiter.told == [priority] * 4  # two requests, each with a look
