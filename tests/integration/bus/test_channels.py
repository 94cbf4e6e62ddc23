"""A worker that calls several channels: what one of them cannot do now delays nothing of another, and takes no slot."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from adapters.channel import Channels
from adapters.gate import Gate, Look
from adapters.http import Reply, open_session
from adapters.redis.limits import RateLimiter
from daemon.bus.outcome import Done, Outcome, Row, Turn
from schemas.envelope import Event
from schemas.errors import ChannelClosed, ChannelDown, Transient, Uncertain
from tests.support.bus import Bench
from tests.support.gates import gate_on
from tests.support.toy import effect, make_event, make_events
from tests.support.until import until


class System:
    """An outside system on loopback that notes what it is asked, and may be away."""

    def __init__(self) -> None:
        self.away = False
        self.forbidden = ""
        self.indigestible = ""
        self.asked: list[str] = []

    async def account(self, request: web.Request) -> web.Response:
        return web.Response()

    async def answer(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        if request.query["subject"] == self.forbidden:
            return web.Response(status=403)
        if request.query["subject"] == self.indigestible:
            return web.Response(status=503)
        self.asked.append(request.query["subject"])
        return web.Response()


@asynccontextmanager
async def serving(*systems: System) -> AsyncIterator[list[str]]:
    """Their addresses."""
    app = web.Application()
    for number, system in enumerate(systems):
        app.router.add_post(f"/{number}", system.answer)
        app.router.add_get(f"/{number}/account", system.account)
    async with TestServer(app) as server:
        yield [str(server.make_url(f"/{number}")) for number in range(len(systems))]


def judge(reply: Reply) -> None:
    if reply.status == 503:
        raise Transient("503")
    if reply.status == 403:
        raise ChannelDown("403", channel="test")


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


Call = Callable[[str], Awaitable[None]]


def calling(gate: Gate, url: str) -> Call:
    async def call(subject: str) -> None:
        await gate.request("POST", url, judge, params={"subject": subject})

    return call


def by_subject(calls: dict[str, Call]) -> Callable[[Event, object, Turn], Awaitable[Outcome]]:
    """A handler that calls the system which the subject begins with, if any, and then has its effect."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        for name, call in calls.items():
            if event.subject.startswith(name):
                await call(event.subject)
        return Done(rows=(effect(event),))

    return handle


async def test_a_channel_that_is_away_delays_nothing_of_another(
    bench: Bench, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: so it is with two slots, and with twenty events before it that need the channel which is away."""
    monkeypatch.setattr("adapters.channel.PROBE_S", 0.2)
    monkeypatch.setattr("daemon.bus.settle.OUTAGE_CAP_S", 0.05)
    away, sound = System(), System()
    away.away = True
    channels = Channels()
    async with serving(away, sound) as (away_url, sound_url):
        worker = bench.worker(
            by_subject(
                {
                    "away": calling(gate_on(session, channel=channels["test"]), away_url),
                    "sound": calling(gate_on(session, channel=channels["other"]), sound_url),
                }
            ),
            lanes=2,
            channels=("test", "other"),
        )
        async with bench.running(worker, channels=channels) as consumer:
            await bench.publish([make_event(f"away-{n}") for n in range(20)])
            await until(lambda: consumer.lanes.parked.get("test") == 20)
            await bench.publish([make_event(f"sound-{n}") for n in range(50)])
            await until(lambda: bench.is_ended(50))
            assert len(sound.asked) == 50
            assert not channels["test"].closed
            assert channels["other"].closed
            assert consumer.lanes.parked["test"] >= 19  # one may be probing
            assert set(await bench.outcomes()) == {make_event(f"sound-{n}").id for n in range(50)}
            away.away = False
            await until(bench.settled)
    assert sorted(away.asked) == sorted(f"away-{n}" for n in range(20))
    assert await bench.attempts() == {}


async def test_one_customer_whom_the_channel_refuses_stops_nobody_and_ends_as_a_dead_letter(
    bench: Bench, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: also where the refusal looks like one of the whole account; a look at the account tells them apart."""
    monkeypatch.setattr("daemon.bus.settle.BACKOFF_CAP_S", 0.05)
    monkeypatch.setattr("daemon.bus.settle.OUTAGE_CAP_S", 0.05)
    system = System()
    system.forbidden = "bad"
    channels = Channels()
    async with serving(system) as (url,):
        gate = gate_on(session, channel=channels["test"])

        async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
            params = {"subject": event.subject}
            await gate.request("POST", url, judge, params=params, look=lambda: Look(f"{url}/account", {}, judge))
            return Done(rows=(effect(event),))

        async with bench.running(bench.worker(handle, channels=("test",), attempts=3), channels=channels):
            await bench.publish([make_event("bad"), *make_events(keys=40, each=1)])
            await until(lambda: bench.is_ended(40))
            for number in range(200):  # others are answered meanwhile, now and then
                if make_event("bad").id in await bench.outcomes():
                    break
                await bench.publish([make_event("sound", number)])
                await until(partial(bench.is_ended, 41 + number))
    assert (await bench.outcomes())[make_event("bad").id] == "dead"
    assert channels["test"].closed
    assert list((await bench.outcomes()).values()).count("dead") == 1


@pytest.mark.parametrize("outage", [False, True])
async def test_an_event_that_the_system_cannot_digest_ends_as_a_dead_letter_although_nobody_else_calls(
    bench: Bench, session: ClientSession, monkeypatch: pytest.MonkeyPatch, outage: bool
) -> None:
    """Promise: and in an outage, which looks the same to that event, it waits."""
    for name in ("adapters.channel.PROBE_S", "daemon.bus.settle.BACKOFF_CAP_S", "daemon.bus.settle.OUTAGE_CAP_S"):
        monkeypatch.setattr(name, 0.02)
    system = System()
    system.indigestible = "bad"
    channels = Channels()
    looks = 0
    async with serving(system) as (url,):
        gate = gate_on(session, channel=channels["test"])

        def look() -> Look:
            nonlocal looks
            looks += 1
            return Look("http://127.0.0.1:1/" if outage else f"{url}/account", {}, judge)

        async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
            params = {"subject": event.subject}
            await gate.request("POST", url, judge, params=params, about=event.subject, neutral=look)
            return Done(rows=(effect(event),))

        async with bench.running(bench.worker(handle, channels=("test",), attempts=3), channels=channels):
            await bench.publish([make_event("bad")])
            if outage:
                await until(lambda: looks > 5)
                assert await bench.outcomes() == {}
                assert set((await bench.attempts()).values()) <= {0}
            else:
                await until(partial(bench.is_ended, 1))
                assert list((await bench.outcomes()).values()) == ["dead"]
                assert channels["test"].closed


async def test_what_stands_in_line_for_a_rate_limit_takes_no_slot_and_is_served_in_order(
    bench: Bench, session: ClientSession
) -> None:
    """Promise: with one slot, what needs no place passes, and those in line get their places as they came."""
    system = System()
    limiter = RateLimiter(None, per_minute=2, window_s=0.4)
    async with serving(system) as (url,):
        gate = gate_on(session, limiter=limiter)
        worker = bench.worker(by_subject({"limited": calling(gate, url)}), lanes=1)
        async with bench.running(worker) as consumer:
            await bench.publish([make_event(f"limited-{n}") for n in range(10)])
            await until(lambda: len(system.asked) >= 2)
            await bench.publish(make_events(keys=30, each=1))
            await until(lambda: bench.is_ended(32))
            assert len(system.asked) < 10
            await until(bench.settled)
            assert len(consumer.lanes) == 0
    arrived = [name for p in range(bench.partitions) for name in await _stream_of(bench, p)]
    for p in range(bench.partitions):
        mine = await _stream_of(bench, p)
        assert [name for name in system.asked if name in mine] == mine
    assert sorted(system.asked) == sorted(arrived)
    assert await bench.attempts() == {}


async def _stream_of(bench: Bench, partition: int) -> list[str]:
    """The subjects that need a place, in the order of the stream of *partition*."""
    entries = await bench.entries("orders")
    return [fields["subject"] for p, fields in entries if p == partition and fields["subject"].startswith("limited")]


async def test_a_further_request_of_one_call_waits_for_its_place_and_does_not_begin_again(
    bench: Bench, session: ClientSession
) -> None:
    system = System()
    limiter = RateLimiter(None, per_minute=1, window_s=0.2)
    async with serving(system) as (url,):
        call = calling(gate_on(session, limiter=limiter), url)

        async def twice(event: Event, deps: object, turn: Turn) -> Outcome:
            await call(f"{event.subject} first")
            await call(f"{event.subject} second")
            return Done(rows=(effect(event),))

        async with bench.running(bench.worker(twice)):
            await bench.publish([make_event("a"), make_event("b")])
            await until(bench.settled)
    assert sorted(system.asked) == ["a first", "a second", "b first", "b second"]


async def test_what_is_parked_goes_on_although_the_worker_did_not_declare_its_channel(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.bus.consumer.PROBE_LOOK_S", 0.02)
    channels = Channels()
    channels["test"].paused = True

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        channels["test"].check("write")
        return Done(rows=(effect(event),))

    async with bench.running(bench.worker(handle), channels=channels) as consumer:
        await bench.publish([make_event("key-1")])
        await until(lambda: consumer.lanes.parked == {"test": 1})
        channels["test"].paused = False
        await until(bench.settled)
    assert await bench.numbers() == {"key-1": [0]}


async def test_what_may_go_by_another_channel_is_looked_at_when_that_one_opens_and_not_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.bus.consumer.PROBE_LOOK_S", 0.02)
    channels, turns = Channels(), Counter[str]()
    channels["test"].paused = channels["other"].paused = True

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        turns[event.subject] += 1
        if event.subject == "free" and not channels["other"].shut:
            return Done(rows=(effect(event),))
        try:
            channels["test"].check("write")
        except ChannelClosed as error:
            error.instead = ("other",) if event.subject == "free" else ()
            raise
        return Done(rows=(effect(event),))

    async with bench.running(bench.worker(handle), channels=channels) as consumer:
        await bench.publish([make_event("free"), make_event("bound")])
        await until(lambda: consumer.lanes.parked == {"test": 2})
        await asyncio.sleep(0.2)  # several looks; there is no sign of them to wait for
        assert turns == {"free": 1, "bound": 1}
        channels["other"].paused = False
        await until(lambda: bench.is_ended(1))
        assert turns == {"free": 2, "bound": 1}
        channels["test"].paused = False
        await until(bench.settled)
    assert turns == {"free": 2, "bound": 2}


def note_why(event: Event, why: str, turn: Turn) -> Sequence[Row]:
    return (effect(event, why),)


async def notes(bench: Bench) -> list[str]:
    return [one.note for one in await bench.effects()]


async def test_the_reason_why_an_event_waits_for_a_channel_is_written_once_and_again_when_it_changes(
    bench: Bench, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.channel.DOWN_PROBE_S", 0.05)
    channels = Channels()
    channel, errors = channels["test"], [ChannelDown("a key", channel="test")] * 4

    async def call() -> None:
        if errors:
            raise errors.pop()

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await channel.call("write", call)
        return Done(rows=(effect(event, "done"),))

    worker = bench.worker(handle, channels=("test",), waits=note_why)
    channel.paused = True
    async with bench.running(worker, channels=channels):
        await bench.publish([make_event("key")])
        await until(lambda: bench.has("effects", 1))
        channel.paused = False
        await until(lambda: bench.has("effects", 3))
        await until(lambda: bench.is_ended(1))
    assert await notes(bench) == [
        "waits: test is paused by an operator",
        "waits: test refuses our account or key (channel-down)",
        "done",
    ]


async def test_an_event_that_a_pause_of_the_provider_stops_says_so(bench: Bench, session: ClientSession) -> None:
    limiter = RateLimiter(bench.redis, per_minute=600)
    sound, channels = System(), Channels()
    async with serving(sound) as (url,):
        await limiter.pause("cgb:account", 300)
        call = calling(gate_on(session, limiter=limiter, channel=channels["test"]), url)
        worker = bench.worker(by_subject({"key": call}), channels=("test",), waits=note_why)
        async with bench.running(worker, channels=channels):
            await bench.publish([make_event("key")])
            await until(lambda: bench.has("effects", 1))
    assert await notes(bench) == ["waits: CGB has asked us to wait"]


async def test_attempts_that_cost_none_are_kept_with_their_number_the_last_code_and_the_next_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: an order that is answered 500 five times in a quiet installation shows it, and counts none of them."""
    monkeypatch.setattr("daemon.bus.settle.OUTAGE_CAP_S", 0.02)
    channels = Channels()

    async def answer_500() -> None:
        error = Uncertain("HTTP 500")
        error.code = "http-500"
        raise error

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await channels["test"].call("write", answer_500)
        return Done()

    worker = bench.worker(handle, channels=("test",), on_uncertain="retry", attempts=3)
    async with bench.running(worker, channels=channels):
        await bench.publish([make_event("key")])

        async def five() -> bool:
            return bool(await bench.pool.fetchval("SELECT failures = 5 FROM attempts"))

        await until(five)
        row = await bench.pool.fetchrow("SELECT *, next_at > updated_at - interval '1 s' AS ahead FROM attempts")
        assert row is not None
        assert (row["attempts"], row["error_code"], row["ahead"]) == (0, "http-500", True)
    assert await bench.count("dead_letters") == 0


async def test_rows_of_a_waiting_event_that_cannot_be_written_bury_nothing(bench: Bench) -> None:
    """Promise: an outage turns no event into a dead letter, whatever the worker's rows about it are."""
    channels = Channels()
    channels["test"].paused = True

    async def call() -> None:
        return None

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await channels["test"].call("write", call)
        return Done()

    worker = bench.worker(handle, channels=("test",), waits=note_why)
    async with bench.running(worker, channels=channels) as consumer:
        await bench.publish([make_event("key", -1)])
        await until(lambda: consumer.lanes.parked == {"test": 1})
        channels["test"].paused = False
        await until(lambda: bench.is_ended(1))
    assert list((await bench.outcomes()).values()) == ["done"]


async def test_a_fault_in_telling_why_an_event_waits_ends_no_process_and_keeps_the_event(bench: Bench) -> None:
    channels = Channels()
    channels["test"].paused = True

    async def call() -> None:
        return None

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await channels["test"].call("write", call)
        return Done()

    def faulty(event: Event, why: str, turn: Turn) -> Sequence[Row]:
        raise LookupError("a fault of the worker")

    worker = bench.worker(handle, channels=("test",), waits=faulty)
    async with bench.running(worker, channels=channels) as consumer:
        await bench.publish([make_event("key")])
        await until(lambda: consumer.lanes.parked == {"test": 1})
        channels["test"].paused = False
        await until(lambda: bench.is_ended(1))
    assert list((await bench.outcomes()).values()) == ["done"]


async def test_what_was_kept_of_attempts_goes_when_the_event_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.bus.settle.OUTAGE_CAP_S", 0.02)
    channels, away = Channels(), [True]

    async def call() -> None:
        if away[0]:
            raise Transient("away")

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await channels["test"].call("read", call)
        return Done()

    async with bench.running(bench.worker(handle, channels=("test",)), channels=channels):
        await bench.publish([make_event("key")])
        await until(lambda: bench.has("attempts", 1))
        away[0] = False
        await until(lambda: bench.is_ended(1))
    assert await bench.count("attempts") == 0
