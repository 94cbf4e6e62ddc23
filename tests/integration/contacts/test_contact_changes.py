"""What the directory tells of its contacts, on a real Postgres: kept, taken, never overtaken by a sync under way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any, Final

import pytest

from adapters.postgres import contacts, person_orders
from adapters.postgres.contacts import Buyer, Meant
from adapters.postgres.order_marks import Syncing
from adapters.postgres.orders import row_of
from adapters.postgres.person_orders import Asked, PersonOrders
from adapters.postgres.pool import Pool
from adapters.postgres.told_fields import phones_of
from daemon.contacts.change_rules import News
from daemon.contacts.changes import Changed, record
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.own_writes import is_own, marks_of
from daemon.contacts.recording import record as record_order
from daemon.contacts.states import state_from
from daemon.contacts.told import said_of
from daemon.contacts.writers import Wrote
from daemon.operator.corrections import correct
from daemon.sandbox.orders import make_order
from schemas.contact_changes import ContactChange
from schemas.contacts import ToldField
from schemas.corrections import corrected_at, own_text
from schemas.envelope import Event
from schemas.identity import Identity, IdentityKind
from schemas.orders import order_from
from schemas.phone import Phone
from tests.support.people import bought, met, partition
from tests.support.toy import NOON

PHONE: Final = "+972505550142"
HOUR: Final = timedelta(hours=1)
MEXICO: Final = ("+525555550142", "+5215555550142")


def told(
    at: datetime = NOON + HOUR,
    *,
    id: str = "e1",
    phone: str | None = PHONE,
    owner: Any = "newest",
    order_id: str | None = None,
    **fields: str,
) -> Changed:
    """A change at *at*, all of it taken."""
    number = None if phone is None else Phone.parse_e164(phone)
    contact_id = "972505550142" if number is None else number.digits
    change = ContactChange(system="cgb", contact_id=contact_id, phone=number, at=at, fields=fields)
    news = [News(name, value, None, owner, True) for name, value in fields.items()]
    return Changed(change, id, number, news, at, order_id)


async def recorded(db: Pool, *rows: Changed | Wrote) -> Sequence[Event]:
    async with db.acquire() as conn, conn.transaction():
        return await record(conn, rows)


async def stand(db: Pool, phone: str = PHONE) -> PersonOrders:
    (found,) = await person_orders.of_persons(db, [Asked(phone)])
    return found


async def said(db: Pool) -> Mapping[str, Any]:
    row = await db.fetchrow("SELECT name, email, language FROM contacts WHERE merged_into IS NULL")
    assert row is not None
    return dict(row)


async def written(db: Pool, phone: str = PHONE, *, doubt: int = 0, digest: bytes = b"1", **changes: Any) -> None:
    """A sync of the person of *phone* is recorded, which saw the mark *doubt* when it looked."""
    buyer = Buyer(
        phone=Phone.parse_e164(phone),
        age=(NOON, NOON, "IL1"),
        synced_at=NOON,
        cgb_id=phone[1:],
        written=digest,
        doubt=doubt,
        **changes,
    )
    async with db.acquire() as conn, conn.transaction():
        await contacts.remember(conn, [buyer])


async def test_what_was_told_is_kept_and_the_contact_says_it(db: Pool) -> None:
    await bought(db, PHONE, 0)
    await recorded(db, told(Email="new@example.com", customer_name="Noa Example", language="he", visa_flag="y"))
    assert {name: value for name, (value, _) in (await stand(db)).told.items()} == {
        "Email": "new@example.com",
        "customer_name": "Noa Example",
        "language": "he",
        "visa_flag": "y",
    }
    assert await said(db) == {"name": "Noa Example", "email": "new@example.com", "language": "he"}
    words = await db.fetchval("SELECT words::text FROM contacts")
    assert words == "'example' 'noa'", "the new name is found"


async def test_a_newer_order_than_the_change_goes_before_it_but_for_the_directory_s_own_fields(db: Pool) -> None:
    await bought(db, PHONE, 1)
    await recorded(db, told(Email="old@example.com"))
    assert (await said(db))["email"] == "1@example.com"
    await recorded(db, told(NOON + 2 * HOUR, id="e2", owner="cgb", Email="cgb@example.com"))
    assert (await said(db))["email"] == "cgb@example.com"


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [False, True])
async def test_the_latest_word_stays_in_whatever_order_it_arrives(
    db: Pool, order: tuple[int, ...], together: bool
) -> None:
    rows = [told(NOON + n * HOUR, id=f"e{n}", Email=f"{n}@example.com") for n in range(3)]
    for batch in [[rows[n] for n in order]] if together else [[rows[n]] for n in order]:
        await recorded(db, *batch)
    assert (await stand(db)).told["Email"].value == "2@example.com"


async def test_two_words_of_one_moment_end_the_same_in_any_order(db: Pool) -> None:
    one, other = told(id="a", Email="a@example.com"), told(id="b", Email="b@example.com")
    for rows in ((one, other), (other, one)):
        await db.execute("TRUNCATE told_fields")
        for row in rows:
            await recorded(db, row)
        assert (await stand(db)).told["Email"].value == "b@example.com"


async def test_after_a_change_the_next_sync_looks(db: Pool) -> None:
    await written(db)
    assert (await stand(db)).written == b"1"
    await recorded(db, told(Email="new@example.com"))
    assert (await stand(db)).written is None


@pytest.mark.parametrize("phone", [PHONE, *MEXICO])
async def test_a_sync_that_looked_before_the_change_does_not_say_that_it_knows_the_contact(
    db: Pool, phone: str
) -> None:
    await written(db, phone)
    before = await stand(db, phone)
    await recorded(db, told(phone=phone, Email="new@example.com"))
    await written(db, phone, doubt=before.doubt, digest=b"2")
    assert (await stand(db, phone)).written is None
    now = await stand(db, phone)
    await written(db, phone, doubt=now.doubt, digest=b"3")
    assert (await stand(db, phone)).written == b"3"


async def test_the_notations_of_a_line_share_what_was_told_and_what_is_known(db: Pool) -> None:
    one, other = MEXICO
    await met(db, [f"phone:{one}", f"phone:{other}"])
    await recorded(db, told(phone=other, Email="new@example.com"))
    assert (await stand(db, one)).told["Email"].value == "new@example.com"
    before = (await stand(db, one)).doubt
    await written(db, other, doubt=before, digest=b"2")
    assert {(await stand(db, phone)).written for phone in MEXICO} == {b"2"}
    await recorded(db, told(NOON + 2 * HOUR, id="e2", phone=one, Email="newer@example.com"))
    assert {(await stand(db, phone)).written for phone in MEXICO} == {None}


async def test_the_marks_of_what_was_written_are_kept_the_newest_first_and_no_more_than_a_few(db: Pool) -> None:
    for n in range(contacts.MOST_OWN + 6):
        own = marks_of({"Email": f"{n}@example.com"}, ["Email"], NOON + n * HOUR)
        await written(db, own=own)
    await written(db)
    marks = (await stand(db)).own
    assert len(marks) == contacts.MOST_OWN
    assert is_own(marks, "Email", f"{contacts.MOST_OWN + 5}@example.com", NOON + 300 * HOUR, None)


async def test_two_syncs_of_one_person_in_a_batch_leave_both_their_marks(db: Pool) -> None:
    rows = [
        Buyer(
            phone=Phone.parse_e164(PHONE),
            age=(NOON, NOON, f"IL{n}"),
            synced_at=NOON,
            cgb_id=PHONE[1:],
            written=b"1",
            own=marks_of({"Email": f"{n}@example.com"}, ["Email"], NOON + n * HOUR),
        )
        for n in range(2)
    ]
    async with db.acquire() as conn, conn.transaction():
        await contacts.remember(conn, rows)
    marks = (await stand(db)).own
    assert [is_own(marks, "Email", f"{n}@example.com", NOON + HOUR, None) for n in range(2)] == [True, True]


async def test_what_is_about_to_be_written_is_known_in_both_notations_before_it_is_written(db: Pool) -> None:
    one, other = MEXICO
    await written(db, one)
    await written(db, other)
    own = [marks_of({"Email": f"{n}@example.com"}, ["Email"], NOON + n * HOUR) for n in range(2)]
    async with db.acquire() as conn, conn.transaction():
        await record_order(conn, [Meant(one, own[0]), Meant(other, own[1]), Meant("+972505550143", own[0])])
    for phone in MEXICO:
        assert {*own[0], *own[1]} <= set((await stand(db, phone)).own)


async def test_a_contact_that_is_told_of_first_is_the_one_that_an_order_finds(db: Pool) -> None:
    await recorded(db, told(phone=None, customer_name="Noa"))
    assert (await said(db))["name"] == "Noa"
    assert await phones_of(db, ["972505550142"]) == [None]
    await bought(db, PHONE, 0)
    assert await partition(db) == {frozenset({f"phone:{PHONE}", "cgb:972505550142", "email:0@example.com"})}
    assert await phones_of(db, ["972505550142", "unknown"]) == [PHONE, None]


async def test_of_a_person_with_two_phones_the_contact_of_cgb_is_that_of_its_own(db: Pool) -> None:
    other = "+972505550143"
    await met(db, [f"phone:{PHONE}", f"phone:{other}", "cgb:77", "cgb:78"])
    for phone, id in ((PHONE, "77"), (other, "78")):
        await db.execute("UPDATE contact_identities SET cgb_contact_id = $2 WHERE value = $1", phone, id)
    assert await phones_of(db, ["78", "77"]) == [other, PHONE]
    await met(db, [f"phone:{PHONE}", "cgb:79"])
    assert await phones_of(db, ["79"]) == [None], "an id that was synced with none of several phones is nobody's"


async def test_changes_and_syncs_of_the_same_people_at_once_do_not_lock_each_other_out(db: Pool) -> None:
    phones = [f"+97250555{n:04d}" for n in range(20)]

    async def change(n: int) -> None:
        there_or_back = phones[:: 1 - 2 * (n % 2)]
        at = NOON + n * HOUR
        await recorded(db, *(told(at, id=f"e{n}{p}", phone=p, Email=f"{n}@example.com") for p in there_or_back))

    async def sync(n: int) -> None:
        for phone in phones:
            await written(db, phone, own=marks_of({"Email": str(n)}, ["Email"], NOON))

    await asyncio.gather(*(change(n) for n in range(10)), *(sync(n) for n in range(10)))
    assert {(await stand(db, phone)).told["Email"].value for phone in phones} == {"9@example.com"}


def body(hours: int = 0, **overrides: Any) -> str:
    """An order of the person of PHONE, as the form had it *hours* after NOON."""
    told = {"phone": {"code": "972", "number": "505550142"}, "name": "Noa", "email": "first@example.com"} | overrides
    made = make_order(Random(1), 1, order_id="IL1", branch="il", **told)
    made["form"]["updated_at"] = (NOON + hours * HOUR).isoformat()
    return json.dumps(made)


async def ordered(db: Pool, text: str, at: datetime = NOON + 9 * HOUR) -> Sequence[Event]:
    """A state of the order arrives."""
    order, event = state_from(text, at)
    async with db.acquire() as conn, conn.transaction():
        return await record_order(conn, [row_of(order, event.id, mended=True), Syncing("IL1", at, False, event.id)])


async def order(db: Pool) -> Mapping[str, Any]:
    row = await db.fetchrow("SELECT client_name, client_email, event_id, raw_body FROM orders")
    assert row is not None
    return dict(row)


async def test_the_newest_order_says_what_was_taken_until_it_says_something_else(db: Pool) -> None:
    await ordered(db, body())
    changed = told(order_id="IL1", Email="cgb@example.com", customer_name="Noa Example", language="he")
    (event,) = await recorded(db, changed)
    found = await order(db)
    assert (found["client_name"], found["client_email"]) == ("Noa Example", "cgb@example.com")
    assert (event.type, event.subject, event.id) == ("order.received", PHONE, found["event_id"])
    assert own_text(found["raw_body"]) == body()
    assert set(corrected_at(found["raw_body"]).values()) == {NOON + HOUR}, "it was said when the directory held it"
    (logged,) = await db.fetch("SELECT actor, action, subject FROM audit_log")
    assert tuple(logged) == ("cgb", "order.corrected", "order:IL1")

    await ordered(db, body(2, quantity=3), NOON + 10 * HOUR)
    assert (await order(db))["client_email"] == "cgb@example.com", "the form says of its buyer what it said"
    assert set(corrected_at((await order(db))["raw_body"]).values()) == {NOON + HOUR}
    await ordered(db, body(3, email="second@example.com"), NOON + 11 * HOUR)
    assert (await order(db))["client_email"] == "second@example.com"


@pytest.mark.parametrize(
    "changed",
    [
        told(order_id="IL1", Email="first@example.com"),
        told(order_id="IL1", language="sv"),
        told(order_id="IL2", Email="cgb@example.com"),
        told(order_id="IL1", phone="+972505550143", Email="cgb@example.com"),
        told(order_id=None, Email="cgb@example.com"),
    ],
    ids=["says so already", "nothing of the buyer", "gone", "another person's now", "no order"],
)
async def test_an_order_that_says_so_already_or_is_not_that_person_s_stays_as_it_is(db: Pool, changed: Changed) -> None:
    await ordered(db, body())
    assert await recorded(db, changed) == []
    assert (await order(db))["raw_body"] == body()


@pytest.mark.parametrize(("hours", "owner", "email"), [(1, "newest", "ops"), (3, "newest", "cgb"), (1, "cgb", "cgb")])
async def test_a_correction_by_an_operator_is_a_word_of_its_time(db: Pool, hours: int, owner: str, email: str) -> None:
    await ordered(db, body())
    await correct(db, "IL1", {"email": "ops@example.com"}, "ops", NOON + 10 * HOUR, dry_run=False)
    at = NOON + 8 * HOUR + hours * HOUR
    await recorded(db, told(at, order_id="IL1", owner=owner, Email="cgb@example.com"))
    assert (await order(db))["client_email"] == f"{email}@example.com"
    stands = order_from((await order(db))["raw_body"].encode(), NOON + 12 * HOUR)
    policy = FieldPolicy(newest=frozenset({"Email"})) if owner == "newest" else FieldPolicy(cgb=frozenset({"Email"}))
    before = {"Email": ToldField("cgb@example.com", at)}
    assert said_of(stands, before, policy).email == f"{email}@example.com", "and the contact says the same"


async def test_a_contact_whose_only_order_waits_for_its_sync_is_not_emptied(db: Pool) -> None:
    await ordered(db, body())
    assert not (await stand(db)).follows
    await recorded(db, told(order_id="IL1", Email="cgb@example.com"))
    waiting = await stand(db)
    assert (waiting.newest_id, waiting.follows) == (None, True)
    await db.execute("UPDATE orders SET order_status = 'Canceled'")
    assert not (await stand(db)).follows


def wrote(name: str | None = None, system: str = "meta", **identities: str) -> Wrote:
    return Wrote(system, [Identity(IdentityKind(kind), value) for kind, value in identities.items()], name)


async def known(db: Pool) -> list[tuple[str | None, set[tuple[str, str]]]]:
    """The contacts that stand, by name: name, and identities."""
    rows = await db.fetch(
        """
        SELECT c.name, array_agg(i.kind) AS kinds, array_agg(i.value) AS values FROM contacts c
        JOIN contact_identities i ON i.contact_id = c.id WHERE c.merged_into IS NULL GROUP BY c.id ORDER BY c.name
        """
    )
    return [(row["name"], set(zip(row["kinds"], row["values"], strict=True))) for row in rows]


async def test_who_writes_has_one_contact_by_whatever_system(db: Pool) -> None:
    digits = PHONE[1:]
    await recorded(db, wrote("Noa", phone=PHONE, wa_id=digits), wrote("Lia", phone="+46701740605"))
    await recorded(db, wrote("N.", "cgb", phone=PHONE, cgb=digits), wrote("Noa", phone=PHONE, wa_id=digits))
    assert await known(db) == [
        ("Lia", {("phone", "+46701740605")}),
        ("Noa", {("phone", PHONE), ("wa_id", digits), ("cgb", digits)}),
    ]
    assert await db.fetchval("SELECT words::text FROM contacts WHERE name = 'Noa'") == "'noa'", "they are found by name"


async def test_a_name_that_an_order_has_told_stays(db: Pool) -> None:
    await bought(db, PHONE, 0)
    before = (await said(db))["name"]
    await recorded(db, wrote("Somebody Else", phone=PHONE))
    assert (await said(db))["name"] == before is not None


async def test_a_message_that_shows_both_makes_two_contacts_one_and_the_audit_log_can_undo_it(db: Pool) -> None:
    await recorded(db, wrote("Noa", bsuid="IL.77120"), wrote(phone=PHONE))
    assert len(await known(db)) == 2
    await recorded(db, wrote(bsuid="IL.77120", phone=PHONE, wa_id=PHONE[1:]))
    ((_, identities),) = await known(db)
    assert identities == {("phone", PHONE), ("wa_id", PHONE[1:]), ("bsuid", "IL.77120")}
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'contact.merged'") == 1


async def test_notations_of_one_line_that_write_at_once_are_one_person(db: Pool) -> None:
    await asyncio.gather(*(recorded(db, wrote(phone=MEXICO[n % 2], wa_id=MEXICO[n % 2][1:])) for n in range(12)))
    ((_, identities),) = await known(db)
    assert {value for kind, value in identities if kind == "wa_id"} == {phone[1:] for phone in MEXICO}
