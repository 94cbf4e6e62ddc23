"""What the directory has told of a contact stays with that contact when an order of it becomes another person's."""

from __future__ import annotations

from adapters.postgres.pool import Pool
from daemon.operator.corrections import correct
from tests.integration.contacts.test_contact_changes import HOUR, body, order, ordered, recorded, told
from tests.support.toy import NOON


async def test_what_was_told_of_a_contact_goes_with_no_order_to_another_one(db: Pool) -> None:
    """An order came with somebody else's phone: what that person has changed of themselves is none of the buyer's."""
    await ordered(db, body())
    await recorded(db, told(order_id="IL1", Email="cgb@example.com"))
    await correct(db, "IL1", {"name": "Noa Levi"}, "ops", NOON + 9.5 * HOUR, dry_run=False)
    await ordered(db, body(2, quantity=3), NOON + 10 * HOUR)
    assert (await order(db))["client_email"] == "cgb@example.com"
    await ordered(db, body(3, phone={"code": "972", "number": "505550143"}), NOON + 11 * HOUR)
    found = await order(db)
    assert (found["client_email"], found["client_name"]) == ("first@example.com", "Noa Levi")


async def test_what_was_told_of_a_contact_stays_with_it_where_an_operator_corrects_the_phone(db: Pool) -> None:
    await ordered(db, body())
    await recorded(db, told(order_id="IL1", Email="cgb@example.com"))
    await correct(db, "IL1", {"phone": "+972 50-555-0142"}, "ops", NOON + 10 * HOUR, dry_run=False)
    assert (await order(db))["client_email"] == "cgb@example.com", "that is its phone already"
    await correct(db, "IL1", {"phone": "+972505550143"}, "ops", NOON + 10 * HOUR, dry_run=False)
    assert (await order(db))["client_email"] == "first@example.com"
