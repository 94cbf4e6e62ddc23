"""The fence: nothing of an erased person comes in, whatever brings it; a new order of theirs lifts it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from adapters.postgres import erasures
from adapters.postgres.operator.privacy import erasures as done
from adapters.postgres.pool import Pool
from daemon.bus.fence import BLANK, REASON, Fence, is_blank
from daemon.bus.intake import Intake
from daemon.bus.outcome import Turn
from daemon.messages import outbound
from daemon.settings.model import Settings
from daemon.stores import pepper
from schemas.envelope import Event, event_id
from tests.support.bus import Bench, run
from tests.support.services import services, unwatched
from tests.support.toy import TYPE, Spy, make_event
from tests.support.until import until

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
SETTINGS = Settings(ferryman_secret_key=(SecretStr(KEY),), database_url="postgresql://x")
PERSON = "+972505550142"
OLD = "IL210214KN1001"
FORMER = {"created_at": "2021-02-14T09:00:00Z"}


async def erased(db: Pool, *orders: str, subject: str = PERSON) -> datetime:
    """Put the person behind the fence; returns when."""
    secret = await pepper.made(db, SETTINGS)
    async with db.acquire() as conn, conn.transaction():
        one = await done.begin(conn, "me")
        found: list[Any] = [(pepper.digest_of(secret, "key", subject), "key")]
        found += [(pepper.digest_of(secret, "order", order), "order") for order in orders]
        await erasures.put(conn, found, one.id, one.started_at)
    return one.started_at


async def fence_of(db: Pool) -> Fence:
    fence = Fence(db, SETTINGS)
    await fence.load()
    return fence


def an_order(order: str, created: datetime, subject: str = PERSON) -> Event:
    body = {"n": 0, "order": {"id": order}, "form": {"created_at": created.isoformat()}}
    return Event(
        id=event_id("test", order, created.isoformat()),
        type=TYPE,
        source="orders",
        subject=subject,
        time=datetime.now(UTC) + timedelta(seconds=60),
        data=json.dumps(body).encode(),
    )


async def test_nobody_is_held_where_nobody_was_erased(db: Pool) -> None:
    fence = await fence_of(db)
    event = make_event(PERSON)
    assert not fence.may_hold(event)
    assert await fence.blanked([event]) == [event]


async def test_the_intake_keeps_of_an_erased_person_that_something_came(db: Pool, bench: Bench) -> None:
    await erased(db)
    intake = Intake(bench.bus, db, unwatched(), fence=await fence_of(db))
    async with services(intake):
        await intake.looked.wait()
        await intake.append(
            [make_event(PERSON, name="Zanzibarsky", form=FORMER), make_event("+972505550143", name="Other")]
        )
    kept = [fields for _, fields in await bench.entries("orders")]
    assert sorted(fields["subject"][:7] for fields in kept) == ["+972505", "erased:"]
    assert "Zanzibarsky" not in str(kept)
    assert "Other" in str(kept)


async def test_what_was_under_way_ends_skipped_before_its_handler_begins(db: Pool, bench: Bench) -> None:
    handler = Spy()
    await bench.publish([make_event(PERSON, form=FORMER), make_event("+972505550143")])
    await erased(db)
    async with bench.consumer(bench.worker(handler)) as consumer:
        consumer._shared = replace(consumer._shared, fence=await fence_of(db))  # as a daemon of these settings has it
        async with run(consumer, bench.redis):
            await until(bench.settled)
    assert handler.calls == [("+972505550143", 0)]
    assert await db.fetchval("SELECT reason FROM inbox WHERE outcome = 'skipped'") == REASON


async def test_a_new_order_lifts_the_fence_and_brings_the_opt_out_back(db: Pool) -> None:
    at = await erased(db, OLD)
    secret = await pepper.made(db, SETTINGS)
    kept = erasures.OPTED_OUT + pepper.digest_of(secret, "key", PERSON).hex()
    await db.execute(
        "INSERT INTO opt_outs (line, scope, opted_out, at, source) VALUES ($1, 'all', true, now(), 'message')", kept
    )
    fence, other = await fence_of(db), await fence_of(db)
    new = an_order("IL310214KN2001", at + timedelta(seconds=1))
    assert await fence.blanked([new]) == [new]
    verdict = await fence.judge(new)
    assert verdict is not None
    assert verdict.anew
    await fence.lift(new, verdict)
    assert await db.fetchval("SELECT line FROM opt_outs") == PERSON
    message = make_event(PERSON, type="message.received")
    assert other.may_hold(message), "the other process has not read the marks again"
    assert await other.blanked([message]) == [message], "and asks before it holds anybody"
    await other.load()
    assert not other.may_hold(message)


@pytest.mark.parametrize("days", [-1, 1])
async def test_an_order_that_was_known_stays_erased_whoever_has_its_phone_and_also_after_the_fence(
    db: Pool, days: int
) -> None:
    at = await erased(db, OLD)
    fence = await fence_of(db)
    for subject in (PERSON, "+972505550199"):
        (kept,) = await fence.blanked([an_order(OLD, at + timedelta(days=days), subject)])
        assert is_blank(kept)
        assert kept.data == BLANK


async def test_an_order_that_was_placed_before_the_erasure_and_comes_after_it_is_of_the_past(db: Pool) -> None:
    at = await erased(db)
    (kept,) = await (await fence_of(db)).blanked([an_order("IL210214KN1777", at - timedelta(hours=1))])
    assert is_blank(kept)


async def test_an_order_is_not_lost_where_postgres_cannot_say_whether_it_begins_anew(
    db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await erased(db)
    fence = await fence_of(db)

    async def away(pool: Pool, digests: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(erasures, "in_force", away)
    event = an_order("IL310214KN2001", datetime.now(UTC))
    assert await fence.blanked([event]) == [event]


async def test_a_second_erasure_holds_who_had_begun_anew(db: Pool) -> None:
    at = await erased(db)
    fence = await fence_of(db)
    new = an_order("IL310214KN2001", at + timedelta(seconds=1))
    verdict = await fence.judge(new)
    assert verdict is not None
    await fence.lift(new, verdict)
    await erased(db)
    await fence.load()
    assert is_blank((await fence.blanked([make_event(PERSON, type="message.received")]))[0])


async def test_a_message_to_an_erased_person_ends_skipped_with_the_reason() -> None:
    id = uuid4()
    body = {"message_id": str(id), "phone": PERSON}
    event = make_event(PERSON, type="message.requested")._replace(data=json.dumps(body).encode())
    (row,) = outbound.erased(event, Turn(datetime.now(UTC)))
    assert (row.id, row.status, row.error) == (id, "skipped", "erased")  # type: ignore[attr-defined]
