"""The real worker of dialogs on real stores: many dialogs at once, told twice and out of order, while workers come and
go."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.bus.worker import utc_now
from daemon.settings.model import Settings
from schemas.envelope import Event
from tests.support.conversation import chatwoot_message, orders
from tests.support.dialog_worker import PARTITIONS, DialogWorkers, dialog_workers
from tests.support.until import until

OPTIONS: Final[Mapping[str, Sequence[str]]] = {
    "platform": ("LinkedIn", "Instagram", "Twitter", "Blog"),
    "length": ("Short", "Medium", "Long"),
    "tone": ("Professional", "Casual", "Friendly", "Authoritative"),
    "topic": ("Trends", "News", "Tips", "Product"),
}
NOTES: Final = ("Bought flour for the week today", "The supplier was late again this morning", None)


def settings(after_s: float = 0.0) -> Settings:
    return Settings(
        chatwoot_base_url="http://127.0.0.1:9",
        chatwoot_api_access_token=SecretStr("t" * 20),
        chatwoot_account_id=1,
        chatwoot_whatsapp_inbox_id=1,
        messages_default_provider="chatwoot",
        ferryman_understand_after_seconds=after_s,
    )


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


def a_dialog(n: int, rng: random.Random, at: datetime) -> tuple[dict[str, str], list[Event]]:
    """What person *n* wants, and all that they write, some of it told twice: an order first, the answers in any
    order, with notes between."""
    wanted = {name: rng.choice(titles) for name, titles in OPTIONS.items()}
    said: list[str | None] = [
        rng.choice((title, title.lower(), title.upper(), f"{title}!")) for title in wanted.values()
    ]
    said += rng.sample(NOTES, k=rng.randrange(3))
    rng.shuffle(said)
    where = {"account": "1", "id": str(n + 1), "inbox": "1"}
    events = [
        chatwoot_message(
            1000 * (n + 1) + place,
            text,
            at=at + timedelta(milliseconds=place),
            phone=phone(n),
            conversation=where,
            kind="image" if text is None else "text",
            contact_id=f"1:{n}",
        )
        for place, text in enumerate(["Please write a post", *said])
    ]
    for event in rng.sample(events, k=3):
        events.insert(rng.randrange(events.index(event), len(events)) + 1, event)
    return {name: title.lower() for name, title in wanted.items()}, events


async def right(workers: DialogWorkers, wanted: Sequence[Mapping[str, str]]) -> None:
    """Every order is there once and is what was wanted, and nothing was asked twice."""
    found = {row["chat"]: row["params"] for row in await orders(workers.pool)}
    assert len(found) == len(wanted)
    for n, params in enumerate(wanted):
        assert {name: found[f"chatwoot:1:{n + 1}"][name] for name in params} == params
    contexts = "SELECT count(*) FROM conversations WHERE context_json ? 'clarifyingField'"
    assert await workers.pool.fetchval(contexts) == 0
    asked = await workers.pool.fetch("SELECT phone, content::text FROM messages WHERE direction = 'out'")
    assert max(Counter(map(tuple, asked)).values()) == 1, "each question once"
    written = "SELECT chat, message_count FROM conversations"
    count = Counter(row["phone"] for row in asked)
    for chat, messages in await workers.pool.fetch(written):
        assert count[phone(int(chat.rpartition(":")[2]) - 1)] <= messages, "at most one message for each of theirs"


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_dialogs_come_out_right_while_workers_come_and_go(
    db: Pool, redis: Redis, redis_url: str, seed: int
) -> None:
    rng, at = random.Random(seed), utc_now() - timedelta(minutes=1)
    made = [a_dialog(n, rng, at) for n in range(30)]
    rounds = [[event for event in some if event] for some in zip_longest(*(events for _, events in made))]
    async with dialog_workers(redis_url, db, settings()) as workers:
        for n, some in enumerate(rounds):
            await workers.tell(some)
            if n % 3 == 0:
                async with workers.working():
                    await until(lambda: db.fetchval("SELECT count(*) > 0 FROM conversations"), "the first of them")
        async with workers.working():
            await until(workers.settled, "the end of every event")
        await right(workers, [wanted for wanted, _ in made])


async def test_two_processes_at_once_ask_nothing_twice(db: Pool, redis: Redis, redis_url: str) -> None:
    """Each has its partitions, and both do what is done by the clock."""
    rng, at = random.Random(3), utc_now() - timedelta(minutes=1)
    made = [a_dialog(n, rng, at) for n in range(20)]
    half = PARTITIONS // 2
    async with (
        dialog_workers(redis_url, db, settings(after_s=0.2)) as workers,
        workers.working(range(half)),
        workers.working(range(half, PARTITIONS)),
    ):
        for _, events in made:
            await workers.tell(events[:1])
        await until(lambda: db.fetchval("SELECT count(*) = 20 FROM messages"), "the first questions")
        for _, events in made:
            await workers.tell(events[1:])
        await until(workers.settled, "the end of every event")
        count = "SELECT count(*), count(DISTINCT (phone, content)) FROM messages WHERE direction = 'out'"
        (asked,) = await db.fetch(count)
        assert asked[0] == asked[1]
        assert await db.fetchval("SELECT count(*) FROM conversations") == 20
