"""Messages on a real Postgres: one claim, statuses in any order, ids that come late, windows, schedules, keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from adapters.postgres import messages, opt_outs, windows
from adapters.postgres.bus import outbox
from adapters.postgres.deliveries import Sent, Told
from adapters.postgres.messages import Asked, Ended, Request
from adapters.postgres.opt_outs import Preference
from adapters.postgres.pool import Pool
from adapters.postgres.windows import Written
from daemon.bus.outcome import Turn
from daemon.messages import delivery_status, outbound
from daemon.messages.requests import event_id_of
from daemon.operator.uncertain import NotUncertain, settle
from tests.support.toy import NOON

PHONE: Final = "+972505550142"
MINUTE: Final = timedelta(minutes=1)
STATUSES: Final = ("sent", "failed", "delivered", "read")


async def queued(db: Pool, *, provider: str = "meta", phone: str = PHONE, **given: Any) -> UUID:
    """A message that is queued."""
    id = uuid4()
    content = {"body": "hello"}
    request = Request(
        id=id,
        provider=provider,
        account="default",
        phone=phone,
        kind="text",
        content=content,
        purpose="test",
        event_id=event_id_of(id),
        **given,
    )
    async with db.acquire() as conn, conn.transaction():
        await messages.request(conn, request)
    return id


async def status(db: Pool, id: UUID) -> str:
    found: str = await db.fetchval("SELECT status FROM messages WHERE id = $1", id)
    return found


async def sent(db: Pool, id: UUID, provider_id: str | None = "wamid.1", provider: str = "meta") -> None:
    """Our own record that it was sent."""
    rows: list[object] = [Ended(id=id, status="sent", at=NOON, provider_id=provider_id)]
    if provider_id is not None:
        rows.append(Sent(id, provider, provider_id))
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, rows)


def told(status: str, provider_id: str = "wamid.1", at: datetime = NOON, **given: Any) -> Told:
    row = {"system": "meta", "our_id": None, "phone": None, "event_id": f"{provider_id} {status}"} | given
    return Told(provider_id=provider_id, status=status, at=at, **row)


async def heard(db: Pool, *rows: Told) -> None:
    async with db.acquire() as conn, conn.transaction():
        await delivery_status.record(conn, rows)


async def test_of_many_that_claim_a_message_one_may_send_it(db: Pool) -> None:
    id = await queued(db)
    claims = await asyncio.gather(*(messages.claim(db, id) for _ in range(20)))
    assert sorted(filter(None, claims)) == [1]
    assert await status(db, id) == "sending"
    assert not await messages.cancel(db, id)


@pytest.mark.parametrize("provider_id", ["wamid.1", "x" * 100_000])
async def test_an_id_that_cannot_be_kept_leaves_no_message_in_doubt(db: Pool, provider_id: str) -> None:
    """A gateway may give all messages one id, or one that is no id."""
    ids = [await queued(db) for _ in range(3)]
    for id in ids:
        await messages.claim(db, id)
        await sent(db, id, provider_id)
    assert [await status(db, id) for id in ids] == ["sent"] * 3
    kept = await db.fetch("SELECT provider_message_id AS id FROM messages WHERE provider_message_id IS NOT NULL")
    assert [row["id"] for row in kept] == ["wamid.1"] * (provider_id == "wamid.1")


async def test_a_claim_is_given_back_by_its_own_attempt_alone(db: Pool) -> None:
    id = await queued(db)
    assert await messages.claim(db, id) == 1
    await messages.unclaim(db, id, 2, "of another attempt")
    assert await status(db, id) == "sending"
    await messages.unclaim(db, id, 1, "nothing was sent")
    assert await messages.claim(db, id) == 2


async def test_only_the_event_that_brings_a_message_now_may_claim_it(db: Pool) -> None:
    id = await queued(db)
    assert await messages.claim(db, id, "a former event") is None
    assert await messages.claim(db, id, event_id_of(id)) == 1


async def test_a_canceled_message_is_never_claimed(db: Pool) -> None:
    id = await queued(db)
    assert await messages.cancel(db, id)
    assert await messages.claim(db, id) is None
    await sent(db, id)
    assert await status(db, id) == "canceled"


@pytest.mark.parametrize("order", list(permutations(STATUSES)), ids=" ".join)
@pytest.mark.parametrize("ours_at", [0, 2, 4])
async def test_statuses_end_the_same_in_every_order_and_however_often_they_come(
    db: Pool, order: Sequence[str], ours_at: int
) -> None:
    id = await queued(db)
    await messages.claim(db, id)
    for place, one in enumerate([*order, *order]):
        if place == ours_at:
            await sent(db, id)
        await heard(db, told(one), told(one))
    row = await db.fetchrow("SELECT status, provider_message_id, delivered_at, read_at FROM messages")
    assert row is not None
    assert tuple(row) == ("read", "wamid.1", NOON, NOON)
    assert await db.fetchval("SELECT count(*) FROM delivery_updates WHERE message_id = $1", id) == len(STATUSES)


@pytest.mark.parametrize("order", list(permutations(("sent", "failed"))), ids=" ".join)
async def test_a_failure_after_it_was_sent_counts_and_keeps_its_reason(db: Pool, order: Sequence[str]) -> None:
    id = await queued(db)
    await messages.claim(db, id)
    await sent(db, id)
    for one in order:
        await heard(db, told(one, error_code="131026" if one == "failed" else None, error="undeliverable"))
    row = await db.fetchrow("SELECT status, error_code, error FROM messages")
    assert row is not None
    assert tuple(row) == ("failed", "131026", "undeliverable")


async def test_a_status_that_carries_our_own_id_settles_what_was_uncertain(db: Pool) -> None:
    id = await queued(db)
    await messages.claim(db, id)
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, [Ended(id=id, status="uncertain", at=NOON, error="no answer in time")])
    assert await status(db, id) == "uncertain"
    await heard(db, told("sent", our_id=id))
    row = await db.fetchrow("SELECT status, provider_message_id, error FROM messages")
    assert row is not None
    assert tuple(row) == ("sent", "wamid.1", None)


async def test_a_status_that_comes_while_the_id_is_recorded_is_never_left_alone(db: Pool) -> None:
    ids = [await queued(db, phone=f"+97250555{n:04d}") for n in range(40)]
    for id in ids:
        await messages.claim(db, id)
    both = [sent(db, id, f"wamid.{n}") for n, id in enumerate(ids)]
    both += [heard(db, told("delivered", f"wamid.{n}")) for n, _ in enumerate(ids)]
    await asyncio.gather(*both)
    assert {await status(db, id) for id in ids} == {"delivered"}
    assert await db.fetchval("SELECT count(*) FROM delivery_updates WHERE message_id IS NULL") == 0


async def test_the_status_of_another_program_s_message_is_kept_alone(db: Pool) -> None:
    id = await queued(db)
    await heard(db, told("read", "wamid.other", our_id=uuid4()))
    assert await status(db, id) == "queued"
    assert await db.fetchval("SELECT message_id FROM delivery_updates") is None


async def test_the_one_message_through_cgb_gets_the_status_of_its_phone(db: Pool) -> None:
    id = await queued(db, provider="cgb")
    await messages.claim(db, id)
    await sent(db, id, None, "cgb")
    at = await db.fetchval("SELECT claimed_at FROM messages") + timedelta(seconds=3)
    await heard(db, told("delivered", "wamid.9", at, phone="+972505550143"))
    assert await status(db, id) == "sent"
    await heard(db, told("delivered", "wamid.8", at, phone=PHONE))
    await heard(db, told("read", "wamid.8", at, phone=PHONE))
    assert await status(db, id) == "read"


async def test_of_two_messages_through_cgb_none_is_guessed(db: Pool) -> None:
    ids = [await queued(db, provider="cgb") for _ in range(2)]
    for id in ids:
        await messages.claim(db, id)
        await sent(db, id, None, "cgb")
    await heard(
        db, told("delivered", "wamid.8", await db.fetchval("SELECT max(claimed_at) FROM messages"), phone=PHONE)
    )
    assert {await status(db, id) for id in ids} == {"sent"}


async def test_the_latest_word_of_a_person_opens_the_window_whatever_arrives_first(db: Pool) -> None:
    id = await queued(db)
    for order in permutations(range(3)):
        await db.execute("TRUNCATE customer_windows")
        for n in order:
            row = Written("meta", PHONE, PHONE, NOON + n * MINUTE, "text", {"text": "hi"}, f"m{n}", str(uuid4()), True)
            async with db.acquire() as conn, conn.transaction():
                await windows.record(conn, [row])
        (state,) = await messages.states(db, [Asked(id, PHONE, "meta,360dialog")])
        assert state.written_at == NOON + 2 * MINUTE
        (other,) = await messages.states(db, [Asked(id, PHONE, "twilio")])
        assert other.written_at is None
    assert await db.fetchval("SELECT count(*) FROM messages WHERE direction = 'in'") == 3, "each once"


async def test_a_scheduled_message_is_released_at_its_time_and_by_one_process(db: Pool) -> None:
    now = await db.fetchval("SELECT now()")
    due = {await queued(db, not_before=now - n * MINUTE) for n in range(1, 21)}
    await queued(db, not_before=now + MINUTE)
    canceled = await queued(db, not_before=now - MINUTE)
    await messages.cancel(db, canceled)

    async def release() -> list[UUID]:
        async with db.acquire() as conn, conn.transaction():
            return [one.id for one in await messages.release(conn, 7)]

    released = [id for _ in range(3) for ids in await asyncio.gather(*(release() for _ in range(4))) for id in ids]
    assert sorted(released) == sorted(due)
    assert await outbox.left(db, older_than_s=-1, limit=10) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_latest_wish_of_a_person_counts_whatever_arrives_first(db: Pool, order: tuple[int, ...]) -> None:
    id = await queued(db)
    wishes = [Preference(PHONE, "all", n != 1, NOON + n * MINUTE, "message", f"e{n}") for n in range(3)]
    for n in order:
        async with db.acquire() as conn, conn.transaction():
            await opt_outs.keep(conn, [wishes[n]])
    (state,) = await messages.states(db, [Asked(id, PHONE, "meta")])
    assert state.opted_out
    (other,) = await messages.states(db, [Asked(id, "+972505550143", "meta")])
    assert not other.opted_out


async def test_a_stop_of_marketing_alone_leaves_other_messages(db: Pool) -> None:
    id = await queued(db)
    async with db.acquire() as conn, conn.transaction():
        await opt_outs.keep(conn, [Preference(PHONE, "marketing", True, NOON, "meta", "e")])
    advert = await queued(db, category="marketing")
    states = await messages.states(db, [Asked(one, PHONE, "meta") for one in (id, advert)])
    assert [state.opted_out for state in states] == [False, True]


async def test_an_uncertain_message_is_sent_again_only_where_an_operator_says_so(db: Pool) -> None:
    id = await queued(db)
    await messages.claim(db, id)
    with pytest.raises(NotUncertain):
        await settle(db, id, "again", "ops", NOON, dry_run=False)
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, [Ended(id=id, status="uncertain", at=NOON, error="no answer")])
    assert await settle(db, id, "again", "ops", NOON, dry_run=True) == "queued"
    assert await status(db, id) == "uncertain"
    assert await settle(db, id, "again", "ops", NOON, dry_run=False) == "queued"
    ((_, event),) = await outbox.left(db, older_than_s=-1, limit=10)
    assert event.id != event_id_of(id), "the event that has ended as uncertain would be taken for done"
    assert await messages.claim(db, id) == 2
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, [Ended(id=id, status="uncertain", at=NOON)])
    assert await settle(db, id, "sent", "ops", NOON, dry_run=False) == "sent"
    logged = await db.fetch("SELECT actor, action, subject FROM audit_log ORDER BY id")
    assert [tuple(one) for one in logged] == [
        ("ops", "message.settled_again", f"message:{id}"),
        ("ops", "message.settled_sent", f"message:{id}"),
    ]


@pytest.mark.parametrize(("before", "after"), [("queued", "failed"), ("sending", "uncertain"), ("sent", "sent")])
async def test_a_message_whose_event_kills_the_process_ends(db: Pool, before: str, after: str) -> None:
    id, other = await queued(db), await queued(db)
    await db.execute("UPDATE messages SET status = $2 WHERE id = $1", id, before)
    rows = outbound.WORKER.poisoned(event_id_of(id), Turn(now=NOON))
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, rows)
    assert (await status(db, id), await status(db, other)) == (after, "queued")
