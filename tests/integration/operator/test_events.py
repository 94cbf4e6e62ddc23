"""Finding an event, and its way through every worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from adapters.postgres.bus import burials, inbox, journal, outbox, spool
from adapters.postgres.bus.burials import DeadLetter
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator import dead_letters, trail
from adapters.postgres.operator.trail import EventFilter, FoundEvent, WorkerEnding
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from daemon.bus.journal import WORKER as JOURNAL
from daemon.cli.main import commands
from daemon.contacts.sync import WORKER as CONTACT_SYNC
from daemon.operator.keys import keys_meant
from daemon.operator.naming import NoSuchEvent, find
from daemon.operator.trail import EventTrail, follow, handled_types, handlers, list_events, states, trail_of
from daemon.operator.unjournaled import caveat, unjournaled
from daemon.operator.workers import kept_for
from schemas.envelope import Event, event_id
from tests.support.toy import NOON
from tests.support.until import until

WORKERS = (JOURNAL, CONTACT_SYNC)
PHONE = "+972505550001"
ORDER = Event(
    id=event_id("orders", "IL-1"), type="order.received", source="orders", subject=PHONE, time=NOON, data=b'{"n": 1}'
)
OTHER = ORDER._replace(
    id=event_id("orders", "IL-2"), subject="email:a@b.example", time=NOON + timedelta(minutes=1), data=b"{}"
)
SYNCED = ORDER.emit("contact.synced", 0, {"order_id": "IL-1"}, time=NOON + timedelta(seconds=9))


async def journaled(db: Pool, *events: Event) -> None:
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "") for event in events])
        rows = [InboxRow(e.id, "", "done", None, 0, b"") for e in events]
        await inbox.insert(conn, "journal", rows)


async def ended(db: Pool, event: Event, outcome: str, reason: str | None = None, replay: str = "") -> None:
    async with db.acquire() as conn, conn.transaction():
        await inbox.insert(conn, "contact-sync", [InboxRow(event.id, replay, outcome, reason, 2, b"")])


async def ids(db: Pool, text: str) -> list[str]:
    return [found.id for found in await find(db, text)]


async def listed(db: Pool, limit: int = 10, **chosen: object) -> list[str]:
    fitting = EventFilter(**chosen)  # type: ignore[arg-type]
    return [found.id for found in await trail.listed(db, fitting, handled_types(WORKERS), limit)]


async def the_way(db: Pool, event: Event) -> EventTrail:
    (found,) = await find(db, event.id)
    known = await trail_of(db, WORKERS, found)
    assert known is not None
    return known


@pytest.mark.parametrize(
    "text",
    [ORDER.id, ORDER.id.upper(), ORDER.id[:8], "IL-1", PHONE, "972505550001", " +972 50-555-0001 "],
    ids=["id", "upper case", "prefix", "order id", "phone", "digits", "as typed"],
)
async def test_an_event_is_found_by_whatever_names_it(db: Pool, text: str) -> None:
    await journaled(db, ORDER, OTHER)
    assert await ids(db, text) == [ORDER.id]


async def test_a_key_finds_all_its_events_and_nothing_finds_nothing(db: Pool) -> None:
    await journaled(db, OTHER, ORDER, SYNCED)
    assert await ids(db, PHONE) == [ORDER.id, SYNCED.id]
    assert await ids(db, "A@B.example") == [OTHER.id]
    for text in ("IL-3", "", "%", "____", "deadbeef", "+15550000000"):
        assert await ids(db, text) == []


async def test_an_event_is_found_before_it_is_on_the_stream_and_after_the_journal_forgot_it(db: Pool) -> None:
    await spool.append(db, [ORDER])
    async with db.acquire() as conn, conn.transaction():
        await outbox.emit(conn, [SYNCED])
        await burials.bury(conn, "contact-sync", [DeadLetter(OTHER, "Refused", "no", 1)])
    places = {found.id: found.place for event in (ORDER, SYNCED, OTHER) for found in await find(db, event.id)}
    assert places == {ORDER.id: "spool", SYNCED.id: "outbox", OTHER.id: "dead letter"}
    for event in (ORDER, SYNCED, OTHER):
        assert (await the_way(db, event)).event.data == event.data


async def test_the_way_of_an_event_has_its_endings_attempts_letters_and_effects(db: Pool) -> None:
    await journaled(db, ORDER, SYNCED)
    known = await the_way(db, ORDER)
    assert known.open == ["contact-sync"]
    assert known.journaled_at is not None
    await db.execute(
        "INSERT INTO attempts (worker, event_id, attempts, error_class, error_text, next_at)"
        " VALUES ('contact-sync', $1, 2, 'Transient', '502', now())",
        ORDER.id,
    )
    assert [(t.worker, t.attempts) for t in (await the_way(db, ORDER)).attempts] == [("contact-sync", 2)]
    await ended(db, ORDER, "dead", "Refused")
    await ended(db, ORDER, "done", replay="contact-sync:1")
    async with db.acquire() as conn, conn.transaction():
        await burials.bury(conn, "contact-sync", [DeadLetter(ORDER, "Refused", "no", 3)])
    known = await the_way(db, ORDER)
    assert known.open == []
    assert [(e.worker, e.outcome, e.replay_id) for e in known.endings] == [
        ("journal", "done", ""),
        ("contact-sync", "dead", ""),
        ("contact-sync", "done", "contact-sync:1"),
    ]
    assert [(letter.worker, letter.attempts, letter.state) for letter in known.letters] == [("contact-sync", 3, "open")]
    assert [found.id for found in known.caused] == [SYNCED.id]


async def test_the_list_is_newest_first_and_filtered(db: Pool) -> None:
    await journaled(db, ORDER, SYNCED, OTHER)
    await ended(db, ORDER, "dead")
    assert await listed(db) == [OTHER.id, SYNCED.id, ORDER.id]
    assert await listed(db, limit=1) == [OTHER.id]
    assert await listed(db, type="contact.synced") == [SYNCED.id]
    assert await listed(db, source="orders") == [OTHER.id, ORDER.id]
    assert await listed(db, worker="contact-sync") == [OTHER.id, ORDER.id]
    assert await listed(db, outcome="dead") == [ORDER.id]
    assert await listed(db, outcome="open") == [OTHER.id]
    assert await listed(db, worker="journal", outcome="dead") == []
    assert await listed(db, worker="contact-sync", outcome="open") == [OTHER.id]
    assert await listed(db, key=PHONE) == [SYNCED.id, ORDER.id]
    assert await listed(db, since=NOON + timedelta(seconds=30)) == [OTHER.id]


async def test_lists_mask_keys_and_one_event_is_shown_whole_in_the_same_shape(db: Pool) -> None:
    await journaled(db, ORDER, SYNCED)
    await ended(db, ORDER, "done")
    listed = await list_events(db, WORKERS, EventFilter(key="972505550001"), 10)
    assert [(one["id"], one["key"], one["workers"]) for one in listed] == [
        (SYNCED.id, "+…01", {"journal": "done"}),
        (ORDER.id, "+…01", {"journal": "done", "contact-sync": "done"}),
    ]
    document = (await the_way(db, ORDER)).document()
    assert (document["id"], document["data"], document["key"]) == (ORDER.id, {"n": 1}, PHONE)
    assert [caused["key"] for caused in document["caused"]] == ["+…01"]
    assert "causationid" not in document
    assert listed[1].keys() <= document.keys(), "what a list says of an event is in its document too"


async def test_what_waits_in_the_spool_is_listed_first_and_a_retry_is_no_event_of_its_own(db: Pool) -> None:
    await journaled(db, OTHER)
    await spool.append(db, [ORDER])
    async with db.acquire() as conn, conn.transaction():
        await burials.bury(conn, "contact-sync", [DeadLetter(OTHER, "Refused", "no", 1)])
    (letter,) = await dead_letters.find(db, None, OTHER.id)
    async with db.acquire() as conn, conn.transaction():
        await dead_letters.retry(conn, [letter.id], "tester")
    assert await listed(db) == [ORDER.id, OTHER.id]
    assert await listed(db, outcome="dead") == []


def test_states_tell_of_the_workers_that_handle_the_type_alone() -> None:
    endings: Sequence[WorkerEnding] = [WorkerEnding("1", "journal", "", "done", None, 0, NOON)]
    entries = kept_for(WORKERS, [])
    assert states(handlers(entries, "contact.synced", NOON), "1", endings) == {"journal": "done"}
    assert states(handlers(entries, "order.received", NOON), "1", endings)["contact-sync"] == "open"
    assert keys_meant("IL-1")[0] == "IL-1"


async def test_no_event_is_open_for_a_worker_that_never_ran_or_began_later(db: Pool) -> None:
    await journaled(db, ORDER, OTHER)
    late = replace(CONTACT_SYNC, begins="now")
    shown = [await list_events(db, (late,), EventFilter(), 10)]
    query = "INSERT INTO workers (name, topics, types, begins, began_at) VALUES ($1, $2, $3, 'now', $4)"
    await db.execute(query, late.name, list(late.reads), sorted(late.types), OTHER.time)
    shown.append(await list_events(db, (late,), EventFilter(), 10))
    assert [[one["workers"] for one in listed] for listed in shown] == [[{}, {}], [{"contact-sync": "open"}, {}]]


async def test_the_tail_shows_every_arrival_and_ending_once_and_only_new_ones(db: Pool) -> None:
    await journaled(db, ORDER)
    await ended(db, ORDER, "done")
    told: list[FoundEvent | WorkerEnding] = []

    async def listen() -> None:
        async for one in follow(db):
            told.append(one)  # noqa: PERF401 - as they come

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.3)
    late = await db.acquire()  # its number is lower than that of an event which is seen before it
    transaction = late.transaction()
    await transaction.start()
    await journal.append(late, [Journaled(SYNCED, "")])
    await journaled(db, OTHER)
    await ended(db, OTHER, "skipped", "test order")
    await until(lambda: len(told) >= 2)
    await transaction.commit()
    await db.release(late)
    await until(lambda: len(told) >= 3)
    await asyncio.sleep(1.2)
    task.cancel()
    assert [one.id if isinstance(one, FoundEvent) else one.outcome for one in told] == [OTHER.id, "skipped", SYNCED.id]


async def test_a_search_that_finds_nothing_tells_of_events_that_only_the_stream_has(
    db: Pool, redis: Redis, redis_url: str
) -> None:
    bus = Streams(redis, 4)
    await bus.ensure_groups("journal", stream_keys(["orders", "contacts"], range(4)))
    assert caveat(await unjournaled(db, redis_url, 4)) == ""
    await bus.append([ORDER, OTHER])
    assert "2 accepted events are not in the journal yet" in caveat(await unjournaled(db, redis_url, 4))
    assert "Redis does not tell" in caveat(await unjournaled(db, "redis://127.0.0.1:1/0", 4))


async def test_events_show_says_that_an_accepted_event_may_not_be_in_the_journal_yet(
    db: Pool, redis: Redis, redis_url: str, database_url: str
) -> None:
    bus = Streams(redis, 16)
    await bus.ensure_groups("journal", stream_keys(["orders"], range(16)))
    await bus.append([ORDER])
    env = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}
    answer = await asyncio.to_thread(CliRunner().invoke, commands("events"), ["events", "show", "IL-1"], env=env)
    assert isinstance(answer.exception, NoSuchEvent), answer.output
    assert "accepted events are not in the journal yet" in str(answer.exception)
