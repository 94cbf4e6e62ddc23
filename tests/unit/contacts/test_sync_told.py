"""The contact sync, where the directory has told of fields: what is written, what is left, and what is remembered."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from adapters.postgres.contacts import Buyer, Doubt, Meant
from daemon.bus.outcome import Later, Turn
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.own_writes import is_own
from daemon.contacts.sync import handle
from schemas.contacts import ContactDraft, ToldField
from schemas.envelope import Event
from schemas.orders import order_from
from tests.unit.contacts.test_sync import NOW, PHONE, SOUND, Directory, World, received

ORDERED = order_from(json.dumps(SOUND).encode(), NOW).ordered_at
HOUR = timedelta(hours=1)
ID = PHONE[1:]


def diverged() -> Event:
    data = json.dumps({"phone": PHONE}).encode()
    return Event(id="d", type="contact.diverged", source="ferryman", subject=PHONE, time=NOW, data=data)


async def buyer(world: World, event: Event) -> Buyer:
    _, rows = await world.run(event)
    (found,) = [row for row in rows if isinstance(row, Buyer)]
    return found


@pytest.mark.parametrize(("after", "email"), [(HOUR, "told@example.com"), (-HOUR, "noa@example.com")])
async def test_of_a_field_that_is_the_newest_s_the_later_word_is_written(after: timedelta, email: str) -> None:
    world = World()
    world.told = {"Email": ToldField("told@example.com", ORDERED + after)}
    world.directory.contacts[ID] = {"Email": "other@example.com"}
    found = await buyer(world, received())
    assert world.directory.contacts[ID]["Email"] == email
    assert found.email == email, "and the contact here says the same"


async def test_a_new_contact_is_made_as_the_later_word_has_it() -> None:
    world = World()
    world.told = {
        "Email": ToldField("told@example.com", ORDERED + HOUR),
        "customer_name": ToldField("", ORDERED + HOUR),
    }
    found = await buyer(world, received())
    assert world.directory.contacts[ID]["Email"] == "told@example.com"
    assert (found.name, found.email) == (None, "told@example.com"), "an empty name takes none away"


@pytest.mark.parametrize(("held", "left"), [("by hand", "by hand"), ("  ", "uk"), (None, "uk")])
async def test_a_field_of_the_directory_s_own_is_filled_and_never_written_over(held: str | None, left: str) -> None:
    world = World(policy=FieldPolicy(cgb=frozenset({"visa_country"})))
    world.sampled = True
    world.directory.contacts[ID] = {} if held is None else {"visa_country": held}
    await buyer(world, received())
    assert world.directory.contacts[ID]["visa_country"] == left


async def test_a_field_of_the_orders_is_written_again_where_the_directory_has_told_of_another_value() -> None:
    world = World()
    await world.run(received())
    world.directory.contacts[ID]["visa_type"] = "told"
    world.newest = json.dumps(SOUND).encode()
    world.told = {"visa_type": ToldField("told", NOW + HOUR)}
    done, _ = await world.run(diverged())
    assert world.directory.contacts[ID]["visa_type"] != "told"
    assert done.emit[0].json()["action"] == "updated"


async def test_what_is_written_is_known_again_and_what_is_left_makes_no_mark() -> None:
    world = World()
    own = (await buyer(world, received())).own
    assert is_own(own, "Email", "noa@example.com", NOW, None)
    assert not is_own(own, "visa_country", "uk", NOW, None), "of the orders' own fields there is no need"
    assert (await buyer(world, received())).own == (), "nothing was written the second time"


async def test_what_is_about_to_be_written_is_marked_before_the_write() -> None:
    """The directory may tell of it before the write has come to its end here, and the process may die between."""
    world = World()
    begun = await handle(received(), world.deps, Turn(now=NOW))
    assert isinstance(begun, Later)
    begun = await handle(received(), world.deps, Turn(now=NOW, step=begun.step, memo=begun.memo))
    assert isinstance(begun, Later)
    (meant,) = [row for row in begun.rows if isinstance(row, Meant)]
    assert world.directory.calls == ["find"]
    assert (meant.phone, is_own(meant.own, "Email", "noa@example.com", NOW, None)) == (PHONE, True)


class _Slow(Directory):
    """A directory that takes its time."""

    async def create(self, draft: ContactDraft) -> str:
        await asyncio.sleep(0.05)
        return await super().create(draft)


async def test_only_the_fields_that_were_written_make_marks() -> None:
    """Else a person's next orders would soon push out the marks of what was written a moment ago."""
    world = World()
    world.directory.contacts[ID] = {"customer_name": "Noa", "Email": "other@example.com"}
    assert [mark.split(":")[1] for mark in (await buyer(world, received())).own] == ["Email"]


async def test_a_change_that_came_while_the_write_was_under_way_hides_no_own_write() -> None:
    world = World(_Slow())
    own = (await buyer(world, received())).own
    meanwhile = NOW + timedelta(milliseconds=20)
    assert is_own(own, "Email", "noa@example.com", NOW + timedelta(seconds=1), meanwhile)


async def test_a_change_of_what_the_newest_says_is_looked_at_although_no_order_has_changed() -> None:
    world = World()
    world.written = (await buyer(world, received())).written
    await world.run(received())
    assert world.directory.calls == ["find", "create"]
    world.told = {"Email": ToldField("told@example.com", ORDERED + HOUR)}
    await world.run(received())
    assert world.directory.calls[2:] == ["find", "update"]


async def test_a_person_without_orders_keeps_what_is_not_the_orders() -> None:
    world = World(policy=FieldPolicy(newest=frozenset({"visa_intent"}), cgb=frozenset({"visa_flag"})))
    world.directory.known = frozenset({"OrderNumber", "visa_flag", "visa_intent"})
    world.told = {"visa_intent": ToldField("told", NOW)}
    world.directory.contacts[ID] = {"OrderNumber": "IL1", "visa_flag": "mine", "visa_intent": "told"}
    await world.run(diverged())
    assert world.directory.contacts[ID] == {"OrderNumber": "", "visa_flag": "mine", "visa_intent": "told"}


async def test_a_contact_whose_only_order_waits_for_its_sync_is_left_to_that_sync() -> None:
    world = World()
    world.directory.contacts[ID] = {"OrderNumber": "IL1"}
    world.follows = True
    done, rows = await world.run(diverged())
    assert (done.skipped, world.directory.calls, rows) == ("an order follows", [], [Doubt(PHONE)])
