"""What the CRM tells of its contacts: who they are is learned, and nothing of it is written to the directory."""

from __future__ import annotations

import json
from typing import Any, Final, cast

from adapters.chatwoot.events import events_of
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Done, Turn
from daemon.contacts.changes import handle, record
from daemon.contacts.wiring import ContactDeps
from daemon.sandbox.chatwoot_webhooks import contact
from schemas.envelope import Event
from tests.support.toy import NOON

PHONE: Final = "+972505550142"
NOTHING: Final = cast(ContactDeps, None)
"""A contact of the CRM asks for nothing outside."""


def told(event: str = "contact_created", **members: Any) -> Event:
    (found,) = events_of({"event": event, **contact(905, PHONE), "account": {"id": 3}} | members, NOON)
    return found


async def took(db: Pool, event: Event) -> Done:
    done = await handle(event, NOTHING, Turn(NOON))
    assert isinstance(done, Done)
    async with db.acquire() as conn, conn.transaction():
        assert await record(conn, done.rows) == []
    return done


async def identities(db: Pool) -> dict[str, set[str]]:
    rows = await db.fetch("SELECT contact_id, kind || ' ' || value AS it FROM contact_identities")
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(str(row["contact_id"]), set()).add(row["it"])
    return found


async def test_a_contact_of_the_crm_is_the_person_of_its_phone(db: Pool) -> None:
    done = await took(db, told(email="noor@example.test"))
    assert done.emit == ()
    (mine,) = (await identities(db)).values()
    assert mine == {f"phone {PHONE}", "chatwoot 3:905"}
    assert await db.fetchval("SELECT email FROM contact_emails") == "noor@example.test"
    assert await db.fetchval("SELECT name FROM contacts") == "Noor Baak"
    assert await db.fetchval("SELECT count(*) FROM told_fields") == 0


async def test_a_contact_that_gets_its_phone_later_becomes_that_person(db: Pool) -> None:
    await took(db, told(phone_number=None))
    await took(db, told("contact_updated", changed_attributes=[{"phone_number": {}}]))
    (mine,) = (await identities(db)).values()
    assert mine == {f"phone {PHONE}", "chatwoot 3:905"}


async def test_a_test_contact_is_nobody(db: Pool) -> None:
    event = told(identifier="260728-TEST")
    assert json.loads(event.data)["contact_id"] == "3:260728-TEST"
    assert (await handle(event, NOTHING, Turn(NOON))) == Done(skipped="test contact")
