"""Messages that may have been sent: what is known of them, and what an operator has found out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from adapters.postgres import audit_log, messages
from adapters.postgres.audit_log import Logged
from adapters.postgres.bus import outbox
from adapters.postgres.messages import Ended
from adapters.postgres.operator import messages as stored
from adapters.postgres.pool import Connection, Pool
from daemon.messages.requests import event_of
from daemon.operator.sending import NoSuchMessage
from schemas.envelope import event_id
from schemas.errors import FerrymanError

Verdict: TypeAlias = Literal["sent", "again"]
"""`sent`: the person has it. `again`: they have not, so it is to be sent once more."""

MOST: Final = 200

NOT_LOOKED: Final = "not looked for: a status that tells of it settles it, where one comes"


class NotUncertain(FerrymanError):
    """The message stands otherwise."""


async def listed(pool: Pool) -> Sequence[dict[str, Any]]:
    """What is uncertain, the oldest first, at most MOST. `evidence`: what is known of each (`at`, `found`, `text`)."""
    found = await stored.uncertain(pool, MOST)
    return [one | {"evidence": one["evidence"] or {"at": None, "found": None, "text": NOT_LOOKED}} for one in found]


async def settle(pool: Pool, id: UUID, verdict: Verdict, operator: str, now: datetime, *, dry_run: bool) -> str:
    """Let an uncertain message stand as *operator* has found out; returns its status. Raises: NoSuchMessage;
    NotUncertain."""
    found = await stored.find(pool, id)
    if found is None:
        raise NoSuchMessage(f"there is no message {id}: see `ferryman uncertain list`")
    if found["status"] != "uncertain":
        raise NotUncertain(f"the message {id} is {found['status']}: there is nothing to settle")
    if dry_run:
        return "sent" if verdict == "sent" else "queued"
    async with pool.acquire() as conn, conn.transaction():
        status = await _settled(conn, id, verdict, found["attempts"], now)
        logged = Logged(operator, f"message.settled_{verdict}", f"message:{id}", {"attempts": found["attempts"]})
        await audit_log.add(conn, [logged])
    return status


async def _settled(conn: Connection, id: UUID, verdict: Verdict, attempts: int, now: datetime) -> str:
    """Raises: NotUncertain, where a status has settled it meanwhile."""
    if verdict == "sent":
        await messages.end(conn, [Ended(id=id, status="sent", at=now)])
        return "sent"
    # another event than the one that has ended as uncertain: that one would be taken for done
    again = event_id("ferryman", "message.requested", str(id), str(attempts))
    request = await messages.requeue(conn, id, "uncertain", again)
    if request is None:
        raise NotUncertain(f"the message {id} is not uncertain any more: see `ferryman messages show {id}`")
    await outbox.leave(conn, [event_of(request, now)])
    return "queued"
