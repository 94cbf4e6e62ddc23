"""Messages that are held back, on a real Postgres: stopped templates, messages that come again, CGB's one at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from adapters.postgres import holds, messages
from adapters.postgres.holds import Held, TemplateStop, Waits
from adapters.postgres.messages import Asked, Request
from adapters.postgres.pool import Pool
from adapters.postgres.templates import Told
from daemon.messages import outbound
from daemon.messages.requests import event_id_of

PHONE = "+5511965550142"
SHORT = "+551165550142"
"""The same line without its ninth digit."""


async def queued(
    db: Pool, *, provider: str = "meta", name: str = "order_confirmation", language: str | None = "he"
) -> UUID:
    id = uuid4()
    request = Request(
        id=id,
        provider=provider,
        account="default",
        phone=PHONE,
        kind="template",
        content={"name": name, "language": language, "variables": {}},
        purpose="test",
        event_id=event_id_of(id),
    )
    async with db.acquire() as conn, conn.transaction():
        await messages.request(conn, request)
    return id


async def recorded(db: Pool, *rows: object) -> None:
    async with db.acquire() as conn, conn.transaction():
        await holds.record(conn, rows)


async def released(db: Pool) -> list[Request]:
    async with db.acquire() as conn:
        return await messages.release(conn, 10)


def stop(at: datetime, until: timedelta, language: str = "he") -> TemplateStop:
    return TemplateStop(
        "meta", "default", "order_confirmation", language, "meta-132015", "it is paused", at, at + until
    )


async def test_a_stop_holds_the_messages_of_its_template_alone_and_ends_with_its_time(db: Pool) -> None:
    mine = await queued(db)
    others = [
        await queued(db, name="visa_approved"),
        await queued(db, language="ru"),
        await queued(db, provider="twilio"),
    ]
    now = datetime.now(UTC)
    await recorded(db, stop(now, timedelta(minutes=10)))
    found = await messages.states(db, [Asked(id, PHONE, "meta") for id in (mine, *others)])
    assert [(state.stopped_until, state.stopped_why) for state in found] == [
        (now + timedelta(minutes=10), "it is paused"),
        *[(None, None)] * 3,
    ]
    await db.execute("UPDATE template_stops SET until = now() - interval '1 second'")
    (state,) = await messages.states(db, [Asked(mine, PHONE, "meta")])
    assert state.stopped_until is None


async def test_a_template_that_is_told_to_be_back_lets_its_messages_go_and_no_others(db: Pool) -> None:
    now = datetime.now(UTC)
    ids = [await queued(db) for _ in range(5)]
    other, scheduled = await queued(db, name="visa_approved"), await queued(db)
    later = now + timedelta(hours=1)
    await db.execute("UPDATE messages SET not_before = $2, released_at = NULL WHERE id = $1", scheduled, later)
    other_stop = stop(now, timedelta(minutes=10))._replace(name="visa_approved")
    held = [Held(id, later, "e", "waits: it is paused") for id in (*ids, other)]
    await recorded(db, stop(now, timedelta(minutes=10)), other_stop, *held)

    async def told(at: datetime, status: str = "APPROVED") -> None:
        row = Told("meta", "order_confirmation", "he", "1", at, status=status)
        async with db.acquire() as conn, conn.transaction():
            await outbound.record(conn, [row])

    await told(now - timedelta(seconds=1))  # older than the stop
    await told(now + timedelta(seconds=1), "PAUSED")
    assert len(await holds.stopped(db)) == 2
    await told(now + timedelta(seconds=1))
    assert [one.name for one in await holds.stopped(db)] == ["visa_approved"]
    soon = "SELECT id FROM messages WHERE not_before < now() + interval '10 seconds' AND released_at IS NULL"
    assert {row["id"] for row in await db.fetch(soon)} == set(ids)


async def test_a_stop_that_is_renewed_is_one_stop_and_told_as_such(db: Pool) -> None:
    began = datetime.now(UTC) - timedelta(minutes=11)
    await recorded(db, stop(began, timedelta(minutes=10)))
    again = began + timedelta(minutes=10)
    await recorded(db, stop(again, timedelta(minutes=10)), stop(again, timedelta(minutes=10)))
    (found,) = await holds.stopped(db)
    assert (found.at, found.until) == (began, again + timedelta(minutes=10))


async def test_a_template_without_a_language_can_be_stopped(db: Pool) -> None:
    mine = await queued(db, language=None)
    await recorded(db, stop(datetime.now(UTC), timedelta(minutes=10), language=""))
    (state,) = await messages.states(db, [Asked(mine, PHONE, "meta")])
    assert state.stopped_until is not None


async def test_a_held_message_comes_again_by_another_event_when_its_time_has_come(db: Pool) -> None:
    id = await queued(db)
    now = datetime.now(UTC)
    await recorded(db, Held(id, now + timedelta(hours=1), "again", "waits: it is paused"))
    assert await released(db) == []
    await db.execute("UPDATE messages SET not_before = now()")
    (request,) = await released(db)
    assert (request.id, request.event_id) == (id, "again")
    assert await db.fetchval("SELECT error FROM messages") == "waits: it is paused"


async def test_a_canceled_message_stays_canceled(db: Pool) -> None:
    id = await queued(db)
    assert await messages.cancel(db, id)
    await recorded(db, Held(id, datetime.now(UTC), "again", "waits"), Waits(id, "waits"))
    assert await released(db) == []
    assert await db.fetchval("SELECT error FROM messages") is None


@pytest.mark.parametrize(
    ("status", "age", "told", "wanted"),
    [
        ("sending", timedelta(0), False, True),
        ("uncertain", timedelta(minutes=14), False, True),
        ("uncertain", timedelta(minutes=16), True, False),
        ("sent", timedelta(minutes=14), True, True),
        ("sent", timedelta(minutes=14), False, False),
        ("sent", timedelta(minutes=16), True, False),
        ("delivered", timedelta(0), True, False),
        ("failed", timedelta(0), True, False),
        ("queued", timedelta(0), True, False),
    ],
)
async def test_a_message_through_cgb_is_alone_until_a_status_tells_of_it(
    db: Pool, status: str, age: timedelta, told: bool, wanted: bool
) -> None:
    before, next_one = await queued(db, provider="cgb"), uuid4()
    await db.execute("UPDATE messages SET status = $1, claimed_at = now() - $2::interval", status, age)
    assert await holds.uncorrelated(db, next_one, PHONE, told=told) is wanted
    assert await holds.uncorrelated(db, next_one, SHORT, told=told) is wanted, "another notation of the same line"
    assert not await holds.uncorrelated(db, before, PHONE, told=told), "itself"
    assert not await holds.uncorrelated(db, next_one, "+972505550142", told=told), "another person"
    await db.execute("UPDATE messages SET provider_message_id = 'wamid.1'")
    assert not await holds.uncorrelated(db, next_one, PHONE, told=told), "it has its id"
