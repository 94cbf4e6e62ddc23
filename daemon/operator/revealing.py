"""From what is known of somebody to ids; and from an id to who that is, for a reason that the audit log keeps."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import messages as stored_messages
from adapters.postgres.operator import orders
from adapters.postgres.pool import Pool
from daemon.operator import naming, people

MOST: Final = 20
"""Ids of one kind."""

REVEALED: Final = "person.revealed"
"""The action of the audit log."""


async def person(pool: Pool, id: str, reason: str, actor: str) -> dict[str, Any]:
    """The person of *id* unmasked. Raises: NoSuchContact."""
    document = await people.show(pool, id)
    async with pool.acquire() as conn:
        await audit_log.add(conn, [Logged(actor, REVEALED, f"contact:{document['id']}", {"reason": reason})])
    return document


async def named(pool: Pool, text: str) -> dict[str, list[str]]:
    """The ids of what *text* names, by kind."""
    wanted = text.strip()
    order = await orders.find(pool, wanted)
    events = await naming.find(pool, wanted)
    message = await stored_messages.find(pool, UUID(wanted)) if _is_uuid(wanted) else None
    return {
        "people": [one["id"] for one in await people.find(pool, wanted, MOST)],
        "orders": [] if order is None else [order.standing.order_id],
        "events": [one.id for one in events[:MOST]],
        "messages": [] if message is None else [str(message["id"])],
    }


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
