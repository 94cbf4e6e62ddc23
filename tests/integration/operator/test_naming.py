"""One way to name an event, in every verb: its id or the beginning, its order's id, its letter's number, or its key."""

from __future__ import annotations

import pytest

from adapters.postgres.bus import burials, journal
from adapters.postgres.bus.burials import DeadLetter
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from daemon.operator.naming import LEAST, NoSuchEvent, SeveralFit, find, the_event, the_letter
from schemas.envelope import Event, event_id
from tests.support.toy import NOON

PHONE = "+972505550001"


def order(id: str, key: str = PHONE) -> Event:
    return Event(
        id=event_id("orders", id), type="order.received", source="orders", subject=key, time=NOON, data=b'{"n": 1}'
    )


ONE, OTHER = order("IL-1"), order("IL-2", "email:a@b.example")


async def kept(db: Pool, *events: Event) -> None:
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "") for event in events])


async def buried(db: Pool, *events: Event, worker: str = "contact-sync") -> list[str]:
    """Bury *events*; the numbers of their letters."""
    async with db.acquire() as conn, conn.transaction():
        await burials.bury(conn, worker, [DeadLetter(event, "Refused", "no", 1) for event in events])
    rows = await db.fetch("SELECT id, event_id FROM dead_letters WHERE worker = $1", worker)
    numbers = {row["event_id"]: str(row["id"]) for row in rows}
    return [numbers[event.id] for event in events]


async def test_an_event_may_be_named_by_any_of_its_names(db: Pool) -> None:
    await kept(db, ONE, OTHER)
    (number,) = await buried(db, ONE)
    for name in (ONE.id, ONE.id.upper(), ONE.id[:LEAST], ONE.id[:20], "IL-1", " IL-1 ", number, PHONE, "972505550001"):
        assert (await the_event(db, name)).id == ONE.id, name
        assert (await the_letter(db, name)).event.id == ONE.id, name


async def test_a_name_that_fits_several_is_refused_with_what_it_fits(db: Pool) -> None:
    twin = ONE._replace(id=ONE.id[:20] + "0000-000000000000", subject="+972505550002")
    await kept(db, ONE, twin, order("IL-3"))
    for name in (ONE.id[:LEAST], PHONE):
        with pytest.raises(SeveralFit, match=f"(?s)2 have this name.*{ONE.id}") as refused:
            await the_event(db, name)
        assert PHONE not in str(refused.value)
    assert (await the_event(db, ONE.id)).id == ONE.id


async def test_letters_of_one_event_are_told_apart_by_their_numbers(db: Pool) -> None:
    await kept(db, ONE)
    (first,), (second,) = await buried(db, ONE), await buried(db, ONE, worker="another")
    with pytest.raises(SeveralFit, match=f"(?s){first}  contact-sync.*{second}  another"):
        await the_letter(db, "IL-1")
    assert (await the_letter(db, second)).worker == "another"
    assert (await the_event(db, "IL-1")).id == ONE.id


async def test_an_order_and_a_letter_with_one_number_are_told_apart(db: Pool) -> None:
    (number,) = await buried(db, ONE)
    namesake = order(number)
    await kept(db, ONE, namesake)
    with pytest.raises(SeveralFit):
        await the_event(db, number)
    assert (await the_event(db, namesake.id)).id == namesake.id
    assert (await the_letter(db, number)).event.id == ONE.id, "a verb of letters means a letter by a number"


async def test_what_names_nothing_says_where_to_look(db: Pool) -> None:
    await kept(db, ONE)
    for name in ("IL-nothing", "deadbeef", "%", "____", "999", "9" * 30, "+15550000000"):
        assert await find(db, name) == []
        with pytest.raises(NoSuchEvent, match="ferryman events list"):
            await the_event(db, name)
        with pytest.raises(NoSuchEvent, match="ferryman dead-letters list"):
            await the_letter(db, name)
    with pytest.raises(NoSuchEvent, match="6 characters or more"):
        await the_event(db, ONE.id[: LEAST - 1])
    with pytest.raises(NoSuchEvent, match="has no dead letter"):
        await the_letter(db, "IL-1")
