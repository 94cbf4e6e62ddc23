"""Messages in doubt on a real Postgres: when they are looked for, and what becomes of them by what is found."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.ports import Claim, Several
from adapters.postgres import deliveries, evidence, messages
from adapters.postgres.deliveries import Told
from adapters.postgres.evidence import FIRST_LOOK
from adapters.postgres.messages import Request
from adapters.postgres.pool import Pool
from daemon.messages.reconciling import reconciling
from daemon.messages.requests import event_id_of
from daemon.operator.uncertain import listed
from schemas.errors import ChannelDown, FerrymanError
from schemas.messages import Content, OutboundMessage, Taken

PHONE = "+972505550142"


class List:
    """A provider that answers a look with *found*."""

    def __init__(self, found: Taken | FerrymanError | None = None) -> None:
        self.found = found
        self.asked: list[tuple[UUID, datetime]] = []

    def refusal(self, content: Content) -> str | None:
        return None

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        raise AssertionError("nothing is sent again by itself")

    async def look_for(self, message: OutboundMessage, since: datetime) -> Taken | None:
        self.asked.append((message.id, since))
        if isinstance(self.found, FerrymanError):
            raise self.found
        return self.found


async def doubted(db: Pool, *, status: str = "uncertain", age: timedelta = timedelta(minutes=1), **set_to: Any) -> UUID:
    """A message whose call began *age* ago."""
    id = uuid4()
    request = Request(
        id=id,
        provider="twilio",
        account="default",
        phone=PHONE,
        kind="text",
        content={"body": "hello"},
        purpose="test",
        event_id=event_id_of(id),
    )
    async with db.acquire() as conn, conn.transaction():
        await messages.request(conn, request)
    at = datetime.now(UTC) - age
    await db.execute("UPDATE messages SET status = $2, claimed_at = $3, error = 'reset' WHERE id = $1", id, status, at)
    for name, value in set_to.items():
        await db.execute(f"UPDATE messages SET {name} = $2 WHERE id = $1", id, value)
    return id


async def look(db: Pool, provider: List) -> None:
    await reconciling(db, {("twilio", "default"): provider}, ["twilio"], lambda: datetime.now(UTC)).act()


async def row(db: Pool, id: UUID) -> Any:
    return await db.fetchrow("SELECT status, provider_message_id, error, looks FROM messages WHERE id = $1", id)


async def test_what_is_found_is_sent_with_its_id_and_takes_the_statuses_that_came_early(db: Pool) -> None:
    id = await doubted(db)
    told = Told(
        system="twilio",
        provider_id="SM1",
        our_id=None,
        phone=PHONE,
        status="delivered",
        at=datetime.now(UTC),
        event_id="e",
    )
    async with db.acquire() as conn, conn.transaction():
        assert await deliveries.keep(conn, [told]) == []
    await look(db, List(Taken("SM1")))
    assert tuple(await row(db, id))[:2] == ("delivered", "SM1")
    kept = await db.fetchval("SELECT evidence ->> 'text' FROM messages WHERE id = $1", id)
    assert kept == "found in twilio's list 60 s after the call"


async def test_what_is_not_found_stays_in_doubt_with_the_evidence_shown(db: Pool) -> None:
    id, provider = await doubted(db, age=timedelta(minutes=15)), List()
    await look(db, provider)
    assert tuple(await row(db, id)) == ("uncertain", None, "reset", 1)
    (shown,) = await listed(db)
    assert (shown["evidence"]["found"], shown["evidence"]["text"]) == (
        False,
        "not found in twilio's list 15 min after the call",
    )


async def test_what_is_another_message_of_ours_is_not_this_one(db: Pool) -> None:
    await doubted(db, status="sent", provider_message_id="SM1")
    id = await doubted(db)
    await look(db, List(Taken("SM1")))
    assert tuple(await row(db, id))[:2] == ("uncertain", None)
    await db.execute("UPDATE messages SET looked_at = NULL, looks = 0")
    await look(db, List(Several("two", [Taken("SM1"), Taken("SM2")])))
    assert tuple(await row(db, id))[:2] == ("sent", "SM2"), "the only one that is left"


@pytest.mark.parametrize(
    "error",
    [Several("two", [Taken("SM1"), Taken("SM2")]), ChannelDown("Twilio: the token is wrong", channel="twilio")],
)
async def test_a_look_that_does_not_tell_is_shown_and_repeated_later(db: Pool, error: FerrymanError) -> None:
    id = await doubted(db)
    await look(db, List(error))
    assert tuple(await row(db, id))[:2] == ("uncertain", None)
    (shown,) = await listed(db)
    assert shown["evidence"]["found"] is None


async def test_a_message_in_doubt_that_was_not_looked_for_is_listed_with_what_may_settle_it(db: Pool) -> None:
    await doubted(db)
    (shown,) = await listed(db)
    assert "status" in shown["evidence"]["text"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"age": FIRST_LOOK - timedelta(seconds=5)}, False),
        ({"age": FIRST_LOOK + timedelta(seconds=1)}, True),
        ({"age": timedelta(days=15)}, False),
        ({"status": "sending", "age": timedelta(minutes=14)}, False),
        ({"status": "sending", "age": timedelta(minutes=16)}, True),
        ({"status": "sent"}, False),
        ({"status": "queued"}, False),
        ({"provider": "meta"}, False),
    ],
)
async def test_a_message_is_looked_for_where_its_end_is_not_known(
    db: Pool, given: dict[str, Any], wanted: bool
) -> None:
    await doubted(db, **given)
    assert bool(await evidence.due(db, ["twilio"], 10)) is wanted


async def test_looks_come_ever_later_up_to_a_day(db: Pool) -> None:
    id = await doubted(db, age=timedelta(days=10))
    waited = []
    for _ in range(8):
        assert len(await evidence.due(db, ["twilio"], 10)) == 1
        low, high = 0, 90_000
        while low < high:  # the shortest time after which it is due again
            middle = (low + high) // 2
            await db.execute("UPDATE messages SET looked_at = now() - $1::interval", timedelta(seconds=middle))
            async with db.acquire() as conn:
                transaction = conn.transaction()
                await transaction.start()
                due = await conn.fetch(evidence._DUE, ["twilio"], 10, *BOUNDS)
                await transaction.rollback()
            low, high = (low, middle) if due else (middle + 1, high)
        waited.append(low)
        await db.execute("UPDATE messages SET looked_at = now() - $1::interval WHERE id = $2", timedelta(days=2), id)
    assert waited == pytest.approx([120, 480, 1920, 7680, 30720, 86400, 86400, 86400], abs=2)


async def test_of_several_processes_one_looks(db: Pool) -> None:
    for _ in range(10):
        await doubted(db)
    provider = List()
    await asyncio.gather(*(look(db, provider) for _ in range(4)))
    assert len({id for id, _ in provider.asked}) == len(provider.asked) == 10


BOUNDS = (evidence.LEFT, evidence.GIVEN_UP, evidence.FIRST_LOOK, evidence.LONGEST)
