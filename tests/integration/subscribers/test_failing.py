"""Subscribers that fail: tries over 76 hours, notices, the end after five days, 410, and what a person does then."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiohttp import web
from standardwebhooks import WebhookVerificationError
from structlog.testing import capture_logs

from adapters.postgres import subscribers
from adapters.postgres.bus import retention
from adapters.postgres.bus.journal import Journaled, append
from adapters.postgres.pool import Pool
from daemon.operator import deliveries_again, subscribing
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.subscribers.notices import look_after
from daemon.subscribers.retries import WAITS_S
from tests.support.subscribers import (
    Clock,
    Receiver,
    Told,
    all_delivered,
    event_of,
    pumping,
    saying,
    settings_for,
    states,
    subscribe,
    taken,
    tell,
)
from tests.support.until import until


async def told(receiver: Receiver, count: int) -> None:
    await until(lambda: len(receiver.told) >= count, f"{count} requests")


async def recorded(db: Pool, tries: int) -> None:
    """Wait until so many tries are in the table: from then on the clock may go on."""

    async def are() -> bool:
        return bool(await db.fetchval("SELECT sum(attempts) >= $1 FROM webhook_deliveries", tries))

    await until(are, f"{tries} tries")


async def test_a_delivery_is_tried_ten_times_over_seventy_six_hours_and_then_the_next_one_goes(db: Pool) -> None:
    async def one_is_poison(told: Told) -> web.StreamResponse:
        return web.Response(status=400 if told.id == event_of(1).id else 200, text="not that one")

    async with Receiver(one_is_poison) as receiver:
        settings, clock = settings_for(receiver), Clock()
        began = clock.at
        await subscribe(db, settings, "shop", receiver.url)
        await tell(db, [event_of(1), event_of(2), event_of(3, "+972505550002")])
        async with pumping(db, settings, now=clock):
            await recorded(db, 2)
            for tries, wait in enumerate(WAITS_S, start=2):
                assert event_of(2).id not in receiver.ids, "it waits behind its key's first one"
                clock.at += timedelta(seconds=wait + 1)
                await recorded(db, tries + 1)
            clock.at += timedelta(minutes=20)
            await until(lambda: event_of(2).id in receiver.ids, "the next of the key")
        assert 75 < (clock.at - began).total_seconds() / 3600 < 77
        assert await states(db, "shop") == {"failed": 1, "delivered": 2}
        shown = await subscribing.shown(db, settings, "shop")
        (group,) = shown["failures_by_error"]
        assert (group["error"], group["deliveries"]) == ("http-400", 1)
        (row,) = await deliveries_again.deliveries_of(db, "shop", "failed")
        assert (row["attempts"], row["status"], row["answer"]) == (10, 400, "not that one")


async def test_after_a_day_it_is_told_once_and_after_five_days_the_subscriber_is_disabled(db: Pool) -> None:
    async with Receiver(saying(500)) as receiver:
        settings, clock = settings_for(receiver), Clock()
        await subscribe(db, settings, "shop", receiver.url)
        await tell(db, [event_of(n, f"+97250555{n:04d}") for n in range(30)])
        began = clock.at
        async with pumping(db, settings, now=clock) as at_work:
            await recorded(db, 5)
            with capture_logs() as logs:
                while clock.at < began + timedelta(hours=116):
                    before = await db.fetchval("SELECT sum(attempts) FROM webhook_deliveries")
                    clock.at += timedelta(hours=4)
                    await recorded(db, before + 1)
                    await look_after(db, clock.at)
                assert [line["event"] for line in logs] == ["webhooks.failing"]
                clock.at = began + timedelta(hours=121)
                await look_after(db, clock.at)
            assert [line["event"] for line in logs] == ["webhooks.failing", "webhooks.disabled"]
            tries = len(receiver.told)
            await at_work.end()
        shown = await subscribing.shown(db, settings, "shop")
        assert (shown["state"], shown["disabled_by"], shown["waiting"]) == ("disabled", "ferryman", 30)
        assert "five days" in shown["disabled_why"]
        async with pumping(db, settings, now=clock):
            await tell(db, [event_of(100)])
        assert len(receiver.told) in (tries, tries + 1), "nothing is sent to a disabled one"
        actions = await db.fetch("SELECT actor, action FROM audit_log WHERE actor = 'ferryman' ORDER BY id")
        assert [row["action"] for row in actions] == ["webhook.failing", "webhook.disabled"]


async def test_one_that_has_failed_for_five_days_in_fewer_than_ten_tries_goes_on(db: Pool) -> None:
    async with Receiver() as receiver:
        settings, clock = settings_for(receiver), Clock()
        await subscribe(db, settings, "shop", receiver.url)
        await db.execute("UPDATE subscribers SET failures = 9, failing_since = $1", clock.at - timedelta(days=6))
        await look_after(db, clock.at)
        assert await subscribers.standing(db) == (1, 0)
        await db.execute("UPDATE subscribers SET failures = 10")
        await look_after(db, clock.at)
        assert await subscribers.standing(db) == (0, 1)


async def test_gone_disables_at_once_and_whoever_enables_says_what_becomes_of_the_backlog(db: Pool) -> None:
    async with Receiver(saying(410)) as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "shop", receiver.url)
        await tell(db, [event_of(1), event_of(2)])
        async with pumping(db, settings):
            await until(lambda: _is_disabled(db), "the end of the subscription")
        receiver.answer = taken
        receiver.told.clear()
        with pytest.raises(Unusable, match="2 deliveries wait"):
            await subscribing.enable(db, settings, "shop", "tests", None)
        with pytest.raises(Unusable, match="disabled"):
            await deliveries_again.plan_retry(db, "shop")
        await subscribing.enable(db, settings, "shop", "tests", "send")
        async with pumping(db, settings):
            await all_delivered(db, "shop")
        assert receiver.ids == [event_of(1).id, event_of(2).id], "in their order"
        await subscribing.disable(db, settings, "shop", "tests", "holidays")
        await tell(db, [event_of(3), event_of(4)])
        await subscribing.enable(db, settings, "shop", "tests", "skip")
        await tell(db, [event_of(5)])
        async with pumping(db, settings):
            await until(lambda: len(receiver.told) == 3, "what came after")
        assert receiver.ids[2:] == [event_of(5).id]
        assert await states(db, "shop") == {"delivered": 3, "skipped": 2}


async def _is_disabled(db: Pool) -> bool:
    return bool(await db.fetchval("SELECT state = 'disabled' FROM subscribers"))


async def test_who_asks_us_to_wait_is_asked_nothing_meanwhile_and_who_aborts_gets_no_more_of_that(db: Pool) -> None:
    async with Receiver(saying(429, Retry_After="600")) as receiver:
        settings, clock = settings_for(receiver), Clock()
        await subscribe(db, settings, "shop", receiver.url)
        await tell(db, [event_of(1)])
        async with pumping(db, settings, now=clock):
            await told(receiver, 1)
            await until(lambda: db.fetchval("SELECT not_before FROM subscribers"), "the pause")
            await tell(db, [event_of(2, "+972505550002")])
            clock.at += timedelta(seconds=590)
            receiver.answer = saying(400, webhook_delivery="abort-message")
            clock.at += timedelta(seconds=20)
            await told(receiver, 3)
            await until(lambda: _count(db, "failed", 2), "both have failed")
        assert receiver.ids.count(event_of(1).id) == 2


async def _count(db: Pool, state: str, count: int) -> bool:
    return bool(await db.fetchval("SELECT count(*) = $2 FROM webhook_deliveries WHERE state = $1", state, count))


async def test_failed_ones_go_again_one_or_a_group_in_the_order_of_their_key(db: Pool) -> None:
    async with Receiver(saying(400, webhook_delivery="abort-message")) as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "shop", receiver.url)
        await tell(db, [event_of(n) for n in range(6)])
        async with pumping(db, settings):
            await until(lambda: _count(db, "failed", 6), "all have failed")
            receiver.answer = taken
            receiver.told.clear()
            plan = await deliveries_again.plan_retry(db, "shop", ids=(3,))
            assert (plan.total, await deliveries_again.retry(db, plan, "tests")) == (1, {"done": 1, "skipped": []})
            await told(receiver, 1)
            assert receiver.ids == [event_of(2).id]
            assert (await deliveries_again.plan_retry(db, "shop", error="http-500")).total == 0
            plan = await deliveries_again.plan_retry(db, "shop", error="http-400")
            await deliveries_again.retry(db, await deliveries_again.plan_retry(db, "shop", ids=(1,)), "tests")
            done = await deliveries_again.retry(db, plan, "tests")
            assert (plan.total, done) == (5, {"done": 4, "skipped": [{"reason": "no longer failed", "count": 1}]})
            await tell(db, [event_of(6)])
            await all_delivered(db, "shop")
        assert receiver.ids[1:] == [event_of(n).id for n in (0, 1, 3, 4, 5, 6)]
        details = await db.fetch("SELECT detail::text FROM audit_log WHERE action = 'webhook.retried' ORDER BY id")
        assert [row[0] for row in details] == ['{"count": 1}', '{"count": 1}', '{"count": 4}']


async def test_a_window_of_the_journal_is_told_again_under_the_same_ids(db: Pool) -> None:
    async with Receiver() as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "shop", receiver.url)
        events = [event_of(n)._replace(time=event_of(n).time + timedelta(hours=n)) for n in range(10)]
        events[4] = events[4]._replace(data=b"no json")
        async with db.acquire() as conn, conn.transaction():
            await append(conn, [Journaled(event, "") for event in events])
        first, last = events[2].time, events[7].time
        plan = await deliveries_again.plan_replay(db, "shop", first, last)
        assert plan.total == 5
        done = await deliveries_again.perform_replay(db, plan, "tests")
        assert done == {"done": 4, "skipped": [{"reason": "no data any more", "count": 1}]}
        await deliveries_again.perform_replay(db, plan, "tests")
        async with pumping(db, settings):
            await all_delivered(db, "shop")
        wanted = [event.id for event in (*events[2:4], *events[5:7])]
        assert receiver.ids == [*wanted, *wanted]
        with pytest.raises(Unusable, match=r"not told of order\.moved"):
            await deliveries_again.plan_replay(db, "shop", types=("order.moved",))


async def test_a_new_secret_signs_beside_the_old_one_for_a_day(db: Pool) -> None:
    async with Receiver() as receiver:
        settings, clock = settings_for(receiver), Clock()
        old = (await subscribe(db, settings, "shop", receiver.url))["secret"]
        new = (await subscribing.rotate(db, settings, "shop", "tests"))["secret"]
        await tell(db, [event_of(1)])
        async with pumping(db, settings, now=clock):
            await told(receiver, 1)
        receiver.told[0].verify(old)
        receiver.told[0].verify(new)
        await db.execute("UPDATE webhook_deliveries SET state = 'waiting', next_at = now()")
        held = await subscribers.find(db, "shop")
        assert held is not None
        clock.at += timedelta(hours=24, seconds=1)
        async with pumping(db, settings, now=clock):
            await told(receiver, 2)
        signatures = receiver.told[1].headers["webhook-signature"].split()
        assert len(signatures) == 1, "the old one has run out"
        with pytest.raises(WebhookVerificationError):
            receiver.told[1].verify(old)


async def test_without_the_key_nothing_is_sent_no_attempt_is_lost_and_the_list_says_so(db: Pool) -> None:
    async with Receiver() as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "shop", receiver.url)
        await tell(db, [event_of(1)])
        other = settings_for(receiver)
        async with pumping(db, other):
            await until(lambda: db.fetchval("SELECT not_before FROM subscribers"), "it is left alone")
        assert receiver.told == []
        assert await db.fetchval("SELECT sum(attempts) FROM webhook_deliveries") == 0
        (listed,) = await subscribing.listed(db, other)
        assert "cannot be opened" in listed["error"]
        with pytest.raises(Unusable, match="cannot be opened"):
            await subscribing.try_out(db, other, "shop")


async def test_a_test_is_signed_and_says_what_came_back(db: Pool) -> None:
    async with Receiver(saying(422, "call +972505550142")) as receiver:
        settings = settings_for(receiver)
        secret = (await subscribe(db, settings, "shop", receiver.url))["secret"]
        found = await subscribing.try_out(db, settings, "shop")
        assert (found["delivered"], found["status"], found["error"]) == (False, 422, "http-422")
        assert "50555" not in found["answer"], "a phone in an answer is masked"
        document = receiver.told[0].verify(secret)
        assert (document["type"], document["data"]) == ("ferryman.test", {"subscriber": "shop"})
        receiver.answer = taken
        assert (await subscribing.try_out(db, settings, "shop"))["delivered"]
        assert await states(db, "shop") == {}


async def test_a_name_is_one_subscriber_s_and_a_removed_one_leaves_nothing(db: Pool) -> None:
    async with Receiver() as receiver:
        settings = settings_for(receiver)
        await subscribe(db, settings, "shop", receiver.url)
        with pytest.raises(Conflict):
            await subscribe(db, settings, "shop", receiver.url)
        await tell(db, [event_of(n) for n in range(3)])
        assert await subscribing.remove(db, "shop", "tests") == 3
        assert await db.fetchval("SELECT count(*) FROM webhook_deliveries") == 0
        for name in ("shop", "no\x00name", "../x"):
            with pytest.raises(NotThere):
                await subscribing.shown(db, settings, name)
        await tell(db, [event_of(9)])


async def test_old_records_leave_and_what_waits_for_an_active_subscriber_stays(db: Pool) -> None:
    async with Receiver() as receiver:
        settings = settings_for(receiver)
        for name in ("active", "ended"):
            await subscribe(db, settings, name, receiver.url)
        await subscribing.disable(db, settings, "ended", "tests")
        await tell(db, [event_of(n) for n in range(4)])
        await db.execute(
            "UPDATE webhook_deliveries SET created_at = now() - interval '31 days';"
            "UPDATE webhook_deliveries SET state = 'delivered', ended_at = now() - interval '31 days'"
            " WHERE event_id = (SELECT min(event_id) FROM webhook_deliveries)"
        )
        assert await retention.remove(db, "webhooks", 32) == 0
        assert await retention.remove(db, "webhooks", 30) == 2 + 3
        assert await states(db, "active") == {"waiting": 3}
        assert await states(db, "ended") == {}
