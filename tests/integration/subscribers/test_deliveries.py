"""Outgoing webhooks at work: signed bodies, order per key, slow and dead subscribers beside quick ones, several
processes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest
from aiohttp import web
from standardwebhooks import WebhookVerificationError

from adapters.postgres.pool import Pool
from daemon.subscribers.delivering import AT_ONCE
from tests.support.subscribers import (
    Clock,
    Receiver,
    Told,
    all_delivered,
    event_of,
    never,
    pumping,
    settings_for,
    states,
    subscribe,
    taken,
    tell,
)
from tests.support.until import until


async def test_a_receiver_verifies_what_it_is_told_and_a_thin_body_names_nobody(db: Pool) -> None:
    async with Receiver() as receiver, Receiver() as whole:
        settings = settings_for(receiver, whole)
        one = await subscribe(db, settings, "thin", receiver.url)
        await subscribe(db, settings, "full", whole.url, full=True)
        event = event_of(1, text="hello", name="Noa")
        await tell(db, [event, event_of(2, type="record.changed", model="notes")])
        async with pumping(db, settings):
            await all_delivered(db, "thin")
            await all_delivered(db, "full")
        (told,) = receiver.told
        assert told.verify(one["secret"]) == told.document
        with pytest.raises(WebhookVerificationError):
            whole.told[0].verify(one["secret"])
        assert (told.id, told.headers["content-type"]) == (event.id, "application/cloudevents+json")
        assert told.document == {
            "specversion": "1.0",
            "id": event.id,
            "source": "ferryman",
            "type": "message.sent",
            "time": "2031-02-14T12:00:00Z",
            "datacontenttype": "application/json",
            "data": {"message_id": event.json()["message_id"], "provider": "meta"},
        }
        assert whole.told[0].document["subject"] == "+972505550001"
        assert whole.told[0].document["data"] == event.json()


async def test_the_same_event_twice_is_told_once(db: Pool) -> None:
    async with Receiver() as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "one", receiver.url)
        await tell(db, [event_of(1)])
        await tell(db, [event_of(1), event_of(2)])
        async with pumping(db, settings):
            await all_delivered(db, "one")
        assert receiver.ids == [event_of(1).id, event_of(2).id]


async def test_events_of_a_key_arrive_in_order_whatever_fails_and_other_keys_do_not_wait(db: Pool) -> None:
    keys = [f"+9725055500{n:02d}" for n in range(12)]
    events = [event_of(n, keys[n % len(keys)]) for n in range(240)]
    chance = random.Random(5)
    tries: Counter[str] = Counter()

    async def moody(told: Told) -> web.StreamResponse:
        tries[told.id] += 1
        fails = tries[told.id] == 1 and chance.random() < 0.2
        return web.Response(status=500 if fails else 200)

    async with Receiver(moody) as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "one", receiver.url)
        clock = Clock()
        for start in range(0, len(events), 30):
            await tell(db, events[start : start + 30])
        async with pumping(db, settings, now=clock):

            async def goes_on() -> bool:
                clock.at += timedelta(seconds=1)
                return set(await states(db, "one")) == {"delivered"}

            await until(goes_on, "the end of every delivery")
        place = {event.id: n for n, event in enumerate(events)}
        firsts: dict[int, list[int]] = {}
        for id in receiver.ids:
            firsts.setdefault(place[id] % len(keys), []).append(place[id])
        for key, places in firsts.items():
            assert places == sorted(places), f"key {key}: a repeat comes before what is behind it"
        assert sum(tries.values()) > len(events), "some have failed"


async def test_a_slow_and_a_dead_subscriber_cost_a_quick_one_nothing(db: Pool) -> None:
    async with Receiver() as quick, Receiver(never) as slow, Receiver() as dead:
        settings = settings_for(quick, slow, dead)
        for name, receiver in (("quick", quick), ("slow", slow), ("dead", dead)):
            await subscribe(db, settings, name, receiver.url)
        await dead.__aexit__()
        await tell(db, [event_of(n, f"+97250555{n:04d}") for n in range(300)])
        async with pumping(db, settings):
            await all_delivered(db, "quick", within_s=10)
            assert slow.most_at_once == AT_ONCE
            assert (await states(db, "slow")) == {"waiting": 300}
            assert (await states(db, "dead")) == {"waiting": 300}
        attempts = await db.fetchval(
            "SELECT sum(attempts) FROM webhook_deliveries d JOIN subscribers s ON s.id = subscriber_id"
            " WHERE name = 'dead'"
        )
        assert attempts <= AT_ONCE + 5, "a dead one is asked now and then, not by every event"


async def test_two_processes_share_the_subscribers_and_each_event_is_told_once(db: Pool) -> None:
    receivers = [Receiver() for _ in range(4)]
    for receiver in receivers:
        await receiver.__aenter__()
    settings = settings_for(*receivers)
    for n, receiver in enumerate(receivers):
        await subscribe(db, settings, f"s{n}", receiver.url)
    events = [event_of(n, f"+97250555{n % 40:04d}") for n in range(200)]
    async with pumping(db, settings, me="one"), pumping(db, settings, me="two"):
        for start in range(0, len(events), 20):
            await tell(db, events[start : start + 20])
        for n in range(4):
            await all_delivered(db, f"s{n}")
    for receiver in receivers:
        assert sorted(receiver.ids) == sorted(event.id for event in events)
        await receiver.__aexit__()


async def test_what_a_process_had_taken_when_it_was_lost_another_one_delivers(db: Pool) -> None:
    async with Receiver(never) as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "one", receiver.url)
        await tell(db, [event_of(n) for n in range(3)])
        async with pumping(db, settings, me="lost", ttl_s=1.0) as lost:
            await until(lambda: receiver.most_at_once, "the first try")
            lost.task.cancel()
            await asyncio.gather(lost.task, return_exceptions=True)
        receiver.answer = taken
        async with pumping(db, settings, me="other"):
            await all_delivered(db, "one")
        assert receiver.ids == [event_of(n).id for n in range(3)]


async def test_a_stop_lets_what_is_under_way_end_and_gives_the_subscriber_up(db: Pool) -> None:
    go = asyncio.Event()

    async def when_told(_: Told) -> web.StreamResponse:
        await go.wait()
        return web.Response()

    async with Receiver(when_told) as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "one", receiver.url)
        await tell(db, [event_of(1), event_of(2)])
        async with pumping(db, settings) as at_work:
            await until(lambda: receiver.most_at_once, "the first try")
            at_work.stop.set()
            go.set()
            await at_work.task
        assert await states(db, "one") == {"delivered": 1, "waiting": 1}
        assert await db.fetchval("SELECT leased_by FROM subscribers") is None


async def test_a_full_body_that_is_too_long_goes_out_thin(db: Pool) -> None:
    async with Receiver() as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "one", receiver.url, full=True)
        await tell(db, [event_of(1, text="x" * 21_000)])
        async with pumping(db, settings):
            await all_delivered(db, "one")
        assert "subject" not in receiver.told[0].document
        assert len(receiver.told[0].body) < 1000


async def test_ten_thousand_events_behind_a_dead_subscriber_cost_the_others_nothing(db: Pool) -> None:
    async with Receiver() as quick, Receiver() as dead:
        settings = settings_for(quick, dead)
        await subscribe(db, settings, "dead", dead.url, "order.*")
        await dead.__aexit__()
        await subscribe(db, settings, "quick", quick.url)
        orders = [event_of(n, f"+9725055{n % 5000:05d}", "order.moved", order_id=str(n)) for n in range(10_000)]
        for start in range(0, len(orders), 500):
            await tell(db, orders[start : start + 500])
        async with pumping(db, settings):
            await until(lambda: _failures(db), "the dead one is known to be dead")
            began = asyncio.get_running_loop().time()
            await tell(db, [event_of(20_000 + n, f"+97250556{n:04d}") for n in range(100)])
            await all_delivered(db, "quick", within_s=10)
            assert asyncio.get_running_loop().time() - began < 5
        assert await states(db, "dead") == {"waiting": 10_000}


async def _failures(db: Pool) -> bool:
    return bool(await db.fetchval("SELECT failures >= 5 FROM subscribers WHERE name = 'dead'"))
