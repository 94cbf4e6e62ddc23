"""People of the tables as tests write and read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from adapters.postgres import people
from adapters.postgres.contacts import Buyer, remember
from adapters.postgres.people import Met
from adapters.postgres.pool import Pool
from schemas.identity import Identity, IdentityKind
from schemas.phone import Phone
from tests.support.toy import NOON

SOURCE: Final = "test"
DAY: Final = timedelta(days=1)

_ORDER: Final = """
INSERT INTO orders (order_id, client_phone_e164, cbb_contact_uuid, ordered_at, webhook_received_at, raw_body)
VALUES ($1, $2, $3, $4, $4, '{}')
"""

_REPORT: Final = """
INSERT INTO applicant_issues (applicant_id, event_id, status, issues, contact_id, reported_at, raw_body)
VALUES ($1, $1, 'reported', '{}', $2, now(), '{}')
"""


def identities(*texts: str) -> list[Identity]:
    """Identities written as `kind:value`."""
    pairs = (text.split(":", 1) for text in texts)
    return [Identity(IdentityKind(kind), value) for kind, value in pairs]


async def met(db: Pool, *groups: Sequence[str]) -> list[UUID | None]:
    """The contacts of *groups* that are seen in one transaction."""
    async with db.acquire() as conn, conn.transaction():
        return await people.meet(conn, [Met(identities(*group), SOURCE) for group in groups])


async def partition(db: Pool) -> set[frozenset[str]]:
    """The identities and e-mails of each contact that has any."""
    rows = await db.fetch(
        "SELECT contact_id, array_agg(identity) AS all FROM ("
        " SELECT contact_id, kind || ':' || value AS identity FROM contact_identities"
        " UNION ALL SELECT contact_id, 'email:' || email FROM contact_emails) given GROUP BY contact_id"
    )
    return {frozenset(row["all"]) for row in rows}


async def counts(db: Pool) -> tuple[int, int]:
    """(contacts that stand for a person, contacts that were merged)."""
    row = await db.fetchrow("SELECT count(*) FILTER (WHERE merged_into IS NULL), count(merged_into) FROM contacts")
    assert row is not None
    return row[0], row[1]


async def bought(db: Pool, phone: str, day: int, **changes: Any) -> UUID:
    """The contact of *phone*, which has ordered `IL{day}` on *day*."""
    at, order_id = NOON + DAY * day, f"IL{day}"
    given: dict[str, Any] = {"name": f"Name {day}", "email": f"{day}@example.com", "cgb_id": phone[1:]} | changes
    buyer = Buyer(phone=Phone.parse_e164(phone), age=(at, at, order_id), synced_at=at, **given)
    async with db.acquire() as conn, conn.transaction():
        contact = (await remember(conn, [buyer]))[order_id]
        await conn.execute(_ORDER, order_id, phone, contact, at)
    return contact


async def reported(db: Pool, contact: UUID, applicant: str) -> None:
    """A report about *applicant* was passed on to the person of *contact*."""
    await db.execute(_REPORT, applicant, contact)
