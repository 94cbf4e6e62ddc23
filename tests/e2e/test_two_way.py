"""What changes in CGB comes back, through real processes: who owns a field decides, and our own writes loop nowhere."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from daemon.sandbox.cgb_flows import CgbFlows
from tests.e2e.test_updates import settled
from tests.support.daemons import Running, running, synced
from tests.support.until import until

SECRET = "cgb-flow-secret-0123456789"
DAY = "2021-02-14T{:02d}:{:02d}:00.000Z"


def an_order(
    person: int, *, id: str, hour: int = 9, minute: int = 0, email: str = "first@example.com"
) -> dict[str, Any]:
    phone = {"code": "972", "number": f"50555{person:04d}"}
    told = {"branch": "il", "phone": phone, "country": "uk", "name": f"Buyer {person}", "email": email}
    body = orders.make_order(random.Random(id), 1, order_id=id, **told)
    body["form"]["updated_at"] = DAY.format(hour, minute)
    return body


def id_of(person: int) -> str:
    return f"97250555{person:04d}"


def flows(here: Running) -> CgbFlows:
    return CgbFlows(here.session, here.url, secret=SECRET)


async def test_a_change_in_cgb_is_taken_or_written_over_as_the_owner_of_the_field_is(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    async with running(tmp_path, CGB_WEBHOOK_SECRET=SECRET, **settings) as here:
        await here.post(an_order(1, id="IL1"))
        await synced(db, 1)
        contact = cgb.account.contacts[id_of(1)]
        contact.write({"Email": "changed@example.com", "visa_country": "mars"})
        told = {"fields": dict(contact.values), "sent_at": time.time()}
        assert (await flows(here).contact(id_of(1), **told)).status == 202
        await until(lambda: contact.values["visa_country"] == "uk", "the order's value, written again")
        await settled(db, here, settings, tmp_path)
        assert contact.values["Email"] == "changed@example.com"
        row = await db.fetchrow("SELECT email, name FROM contacts")
        assert row is not None
        assert (row["email"], row["name"]) == ("changed@example.com", "Buyer 1")
        kept = await db.fetch("SELECT field, taken, owner, ours FROM told_fields ORDER BY field")
        assert [tuple(one) for one in kept] == [
            ("Email", True, "newest", "first@example.com"),
            ("visa_country", False, "orders", "uk"),
        ]

        await here.post(an_order(1, id="IL2", hour=8, email="older@example.com"))
        await settled(db, here, settings, tmp_path)
        assert contact.values["Email"] == "changed@example.com", "that order is older than the change"
        body = an_order(1, id="IL3")
        body["form"]["updated_at"] = "2999-01-01T00:00:00.000Z"  # counts as of its arrival, later than the change
        body["form"]["client"]["email"] = "newest@example.com"
        await here.post(body)
        await until(lambda: contact.values["Email"] == "newest@example.com", "the newest order's address")


async def test_our_own_writes_that_come_back_late_and_out_of_order_change_nothing_and_loop_nowhere(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    """A flow that runs at each change of a field tells us of every write of ours."""
    people, states = 5, 8
    rng = random.Random(7)
    async with running(tmp_path, CGB_WEBHOOK_SECRET=SECRET, **settings) as here:
        seen: dict[str, dict[str, Any]] = {}
        telling: list[asyncio.Task[Any]] = []

        async def tell(contact_id: str, values: dict[str, Any], at: float) -> None:
            await asyncio.sleep(rng.random() / 2)
            answer = await flows(here).contact(contact_id, fields=values, sent_at=at)
            assert answer.status == 202

        async def watch() -> None:
            while True:
                for contact in cgb.account.contacts.values():
                    if seen.get(contact.id) != contact.values:
                        seen[contact.id] = dict(contact.values)
                        telling.append(asyncio.create_task(tell(contact.id, seen[contact.id], time.time())))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        for state in range(states):
            for person in range(people):
                email = f"state{state}@example.com"
                await here.post(an_order(person, id=f"IL{person}", minute=state, email=email))
            await asyncio.sleep(rng.random() / 4)
        await settled(db, here, settings, tmp_path)
        await asyncio.gather(*telling)
        await settled(db, here, settings, tmp_path)
        watching.cancel()
        await asyncio.gather(*telling)
    last = f"state{states - 1}@example.com"
    assert {contact.values["Email"] for contact in cgb.account.contacts.values()} == {last}
    assert {row["email"] for row in await db.fetch("SELECT email FROM contacts")} == {last}
    assert len(cgb.ledger.writes()) <= people * states, "no echo makes a write"
    assert await db.fetchval("SELECT count(*) FROM told_fields WHERE owner = 'newest'") == 0


async def test_what_no_flow_has_told_is_found_by_the_clock(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    async with running(tmp_path, **settings) as here:
        await here.post(an_order(1, id="IL1"))
        await here.post(an_order(2, id="IL2"))
        await synced(db, 2)
        await settled(db, here, settings, tmp_path)
    contact = cgb.account.contacts[id_of(1)]
    contact.write({"Email": "changed@example.com", "visa_country": "mars"})
    await db.execute("UPDATE contact_identities SET cgb_seen_at = now() - interval '61 minutes'")
    asked = len(cgb.ledger.entries)
    async with running(tmp_path, **settings) as here:
        await until(lambda: contact.values["visa_country"] == "uk", "the order's value, written again")
        await settled(db, here, settings, tmp_path)
    assert contact.values["Email"] == "changed@example.com"
    assert await db.fetchval("SELECT email FROM contacts WHERE name = 'Buyer 1'") == "changed@example.com"
    # the account's fields for the refresh and for the sync, a look at each contact, and one sync of a look and a write
    assert len(cgb.ledger.entries) - asked <= 6
