"""Messages with a route through the worker, on real stores and simulators: which provider takes them in the end."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import orjson
import pytest

from adapters.postgres import messages
from adapters.postgres.pool import Pool
from daemon.bus.consumer import Consumer
from daemon.bus.outcome import Done, Turn
from daemon.bus.worker import utc_now
from daemon.messages import outbound
from daemon.messages.requests import event_of
from daemon.messages.wiring import MESSAGES, MessageDeps
from daemon.operator import sending
from daemon.sandbox.ledger import Ledger
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.sandbox.twilio import ACCOUNT_SID, TwilioSandbox
from daemon.sandbox.twilio_webhooks import NUMBER
from daemon.settings.model import Settings
from schemas.api.messages import MessageIn
from schemas.envelope import Event
from schemas.errors import FerrymanError, Uncertain
from tests.support.message_worker import MessageWorker, message_worker
from tests.support.until import until


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


class World:
    """Meta and Twilio, the stores, and processes that send by them."""

    def __init__(
        self, db: Pool, redis_url: str, meta: MetaSandbox, twilio: TwilioSandbox, stack: AsyncExitStack
    ) -> None:
        self.db, self.meta, self.twilio = db, meta, twilio
        self._redis_url, self._stack = redis_url, stack
        self.senders = {
            "meta_graph_url": meta.url,
            "meta_phone_number_id": PHONE_NUMBER_ID,
            "meta_access_token": meta.token,
            "twilio_api_url": twilio.url,
            "twilio_account_sid": ACCOUNT_SID,
            "twilio_auth_token": twilio.token,
            "twilio_whatsapp_number": NUMBER,
            "messages_default_provider": "meta",
            "messages_fallback_providers": "twilio",
        }
        self.settings = Settings.model_validate(self.senders)

    async def process(self) -> MessageWorker:
        return await self._stack.enter_async_context(message_worker(self._redis_url, self.db, self.settings))

    async def ask(self, phones: Sequence[str]) -> list[Event]:
        """Free text to each of *phones*, who have written to both numbers."""
        await self.db.execute(
            "INSERT INTO customer_windows SELECT line, system, now() FROM unnest($1::text[]) line,"
            " unnest(ARRAY['meta', 'twilio']) system ON CONFLICT DO NOTHING",
            phones,
        )
        events = []
        for one in phones:
            message = MessageIn.model_validate({"to": one, "text": "hello"})
            queued = await sending.send(self.db, self.settings, message, purpose="test", key=None, now=utc_now())
            row = await self.db.fetchrow("SELECT * FROM messages WHERE id = $1", queued.id)
            assert row is not None
            names = ("id", "provider", "account", "phone", "kind", "purpose", "event_id")
            request = messages.Request(**{name: row[name] for name in names}, content={"body": "hello"})
            events.append(event_of(request, utc_now()))
        return events

    async def rows(self) -> Counter[tuple[str, str]]:
        """(provider, status) -> messages."""
        found = await self.db.fetch("SELECT provider, status FROM messages")
        return Counter((row["provider"], row["status"]) for row in found)


def called(ledger: Ledger) -> Counter[str]:
    """Person -> how many calls that send have come in, whatever became of them."""
    return Counter(entry.contact for entry in ledger.entries if entry.action == "send")


def taken(ledger: Ledger) -> Counter[str]:
    """Person -> how many messages were taken."""
    return Counter(entry.contact for entry in ledger.entries if entry.action == "send" and entry.performed)


@pytest.fixture
async def world(redis: object, redis_url: str, db: Pool) -> AsyncIterator[World]:
    async with MetaSandbox() as meta, TwilioSandbox() as twilio, AsyncExitStack() as stack:
        yield World(db, redis_url, meta, twilio, stack)


async def settled_as(world: World, **wanted: int) -> None:
    """Wait until so many messages are sent by each provider."""

    async def are() -> bool:
        return await world.rows() == {(provider, "sent"): count for provider, count in wanted.items() if count}

    await until(are, "the end of every message", within_s=60)


async def test_messages_go_by_the_next_provider_while_theirs_is_paused_and_only_so_long(world: World) -> None:
    process = await world.process()
    channels = process.outside.channels
    channels["meta"].paused = True
    async with process.working():
        await process.bus.append(await world.ask([phone(n) for n in range(10)]))
        await settled_as(world, twilio=10)
        channels["meta"].paused = False
        await process.bus.append(await world.ask([phone(n) for n in range(10, 20)]))
        await settled_as(world, twilio=10, meta=10)
    page, _ = process.outside.metrics.render()
    assert b'ferryman_messages_moved_total{provider="meta",to="twilio"} 10' in page
    for provider in ("meta", "twilio"):
        assert b'ferryman_messages_total{outcome="sent",provider="%s"} 10' % provider.encode() in page, (
            "by whom it went"
        )
    assert (set(taken(world.meta.ledger).values()), set(taken(world.twilio.ledger).values())) == ({1}, {1})


def parked(consumer: Consumer, count: int) -> bool:
    return consumer.lanes.parked == {"meta": count}


async def test_what_waits_for_both_goes_by_the_one_that_is_back_first(world: World) -> None:
    process = await world.process()
    channels = process.outside.channels
    channels["meta"].paused = channels["twilio"].paused = True
    async with process.working() as consumer:
        await process.bus.append(await world.ask([phone(n) for n in range(6)]))
        await until(lambda: parked(consumer, 6))
        why = await world.db.fetchval("SELECT DISTINCT error FROM messages")
        assert (why, await world.rows()) == ("waits: meta is paused by an operator", {("meta", "queued"): 6})
        channels["twilio"].paused = False
        await settled_as(world, twilio=6)
        channels["twilio"].paused = True
        await process.bus.append(await world.ask([phone(n) for n in range(6, 9)]))
        await until(lambda: parked(consumer, 3))
        channels["meta"].paused = False
        await settled_as(world, twilio=6, meta=3)


async def test_a_person_s_messages_keep_their_order_behind_one_that_was_attempted(world: World) -> None:
    process = await world.process()
    token = world.meta.faults.add("bad_token")
    async with process.working() as consumer:
        (first,) = await world.ask([phone(1)])
        await process.bus.append([first])
        await until(lambda: parked(consumer, 1))
        await process.bus.append(await world.ask([phone(1), phone(2)]))

        async def overtaken() -> bool:
            return await world.rows() == {("meta", "queued"): 2, ("twilio", "sent"): 1}

        await until(overtaken, "the message to the other person alone")
        world.meta.faults.active.remove(token)
        process.outside.channels["meta"].probe_now()
        await settled_as(world, twilio=1, meta=2)
    assert taken(world.meta.ledger) == {phone(1)[1:]: 2}
    order = await world.db.fetch("SELECT id FROM messages WHERE provider = 'meta' ORDER BY sent_at")
    assert order[0]["id"] == UUID(first.json()["message_id"])


async def test_an_account_that_has_gone_is_replaced_and_one_without_a_route_fails(world: World) -> None:
    process = await world.process()
    events = await world.ask([phone(1), phone(2)])
    ids = [UUID(event.json()["message_id"]) for event in events]
    await world.db.execute(
        "UPDATE messages SET account = 'haifa', route = ARRAY['meta/haifa', 'twilio'] WHERE id = $1", ids[0]
    )
    await world.db.execute("UPDATE messages SET account = 'haifa', route = NULL WHERE id = $1", ids[1])
    async with process.working():
        await process.bus.append(events)
        await until(process.settled)
    assert await world.rows() == {("twilio", "sent"): 1, ("meta", "failed"): 1}


@pytest.mark.slow
async def test_a_process_that_is_killed_at_the_move_leaves_a_message_that_goes_by_the_new_provider(
    world: World, redis_url: str, database_url: str
) -> None:
    lives, count = 6, 30
    process = await world.process()
    await process.bus.append(await world.ask([phone(n) for n in range(count)]))
    told = {"STORE_REDIS": redis_url, "STORE_POSTGRES": database_url, "SENDERS": orjson.dumps(world.senders).decode()}
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.killed_movers", str(lives)),
        env={**os.environ, **told},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await killed.communicate()
    assert list(map(int, out.split()[-2:])) == [lives, 0]
    by_twilio = await world.db.fetchval("SELECT count(*) FROM messages WHERE jsonb_array_length(moves) = 1")
    assert lives <= by_twilio < count
    rows = await world.rows()
    assert rows["meta", "sent"] == count - by_twilio
    assert rows["twilio", "sent"] + rows["twilio", "uncertain"] == by_twilio, f"a death amid its call: {rows}"
    meta, twilio = called(world.meta.ledger), called(world.twilio.ledger)
    assert set((meta + twilio).values()) == {1}
    assert set(meta) & set(twilio) == set()
    assert len(twilio) >= rows["twilio", "sent"] > 0


async def handled(world: World, deps: MessageDeps, event: Event) -> bool:
    """Handle *event* once, as a process does; whether it has ended."""
    turn = Turn(now=utc_now())
    try:
        outcome = await outbound.handle(event, deps, turn)
    except Uncertain as error:
        rows = outbound.buried(event, error, turn)
    except FerrymanError:
        return False
    else:
        if not isinstance(outcome, Done):
            return False
        rows = outcome.rows
    async with world.db.acquire() as conn, conn.transaction():
        await outbound.record(conn, rows)
    return True


@pytest.mark.parametrize("seed", range(3))
async def test_however_processes_disagree_a_message_is_called_for_by_one_provider_once(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: three processes handle every message at the same time, each with outages of its own."""
    for name in ("PROBE_S", "DOWN_PROBE_S", "UNPROBED_S"):
        monkeypatch.setattr(f"adapters.channel.{name}", 0.02)
    rng, count = random.Random(seed), 40
    events = await world.ask([phone(n) for n in range(count)])
    for sandbox in (world.meta, world.twilio):
        for n in rng.sample(range(count), 6):
            sandbox.faults.add("bad_token", times=2, contact=phone(n)[1:])
        for n in rng.sample(range(count), 3):
            sandbox.faults.add("reset", times=1, contact=phone(n)[1:], performed=True)
    processes = [await world.process() for _ in range(3)]
    channels = [process.outside.channels[name] for process in processes for name in ("meta", "twilio")]

    async def live(process: MessageWorker, mine: list[Event]) -> None:
        async with MESSAGES.opened(process.outside) as deps:
            left = mine
            for _ in range(6):
                for channel in channels:
                    channel.paused = rng.random() < 0.4
                ends = await asyncio.gather(*(handled(world, deps, event) for event in left))
                left = [event for event, ended in zip(left, ends, strict=True) if not ended]

    async with asyncio.timeout(120):
        await asyncio.gather(*(live(one, rng.sample(events, count)) for one in processes))
        for channel in channels:
            channel.paused = False
        async with MESSAGES.opened(processes[0].outside) as deps:
            for event in events:
                while not await handled(world, deps, event):
                    await asyncio.sleep(0.01)
    meta, twilio = called(world.meta.ledger), called(world.twilio.ledger)
    assert set(meta) & set(twilio) == set(), "the calls of a message are all to one provider"
    assert set((taken(world.meta.ledger) + taken(world.twilio.ledger)).values()) == {1}
    assert len(meta) + len(twilio) == count
    assert {status for _, status in await world.rows()} <= {"sent", "uncertain"}
    assert meta, "some went by the one that was asked for"
    assert twilio, "and some by the other"
