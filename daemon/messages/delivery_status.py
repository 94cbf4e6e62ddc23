"""The delivery-status worker: what providers tell of our messages comes to their rows, once, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from adapters.postgres import deliveries, messages, opt_outs
from adapters.postgres.deliveries import FAMILIES, Told
from adapters.postgres.opt_outs import Preference
from adapters.postgres.pool import Connection
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.messages.preferences import CODES
from daemon.messages.wiring import MESSAGES, MessageDeps
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.identity import key
from schemas.told import STATUSES, phone_told, time_told, told_in


async def handle(event: Event, deps: MessageDeps, turn: Turn) -> Outcome:
    """Keep one status. Raises: Malformed."""
    told = told_in(event)
    system, provider_id, status = told.get("system"), told.get("message_id"), told.get("status")
    if system not in FAMILIES:
        raise Malformed("the event's system is not known")
    if not isinstance(provider_id, str) or not provider_id:
        raise Malformed("the event's message_id is not text")
    if status not in STATUSES:
        raise Malformed("the event's status is not known")
    phone = phone_told(told)
    row = Told(
        system=system,
        provider_id=provider_id,
        our_id=_our_id(told.get("our_id")),
        phone=None if phone is None else phone.e164,
        status=status,
        at=time_told(told, event.time),
        event_id=event.id,
        error_code=_text(told.get("error_code")),
        error=_text(told.get("error")),
    )
    scope = CODES.get(row.error_code or "")
    if scope is None or phone is None:
        return Done(rows=(row,))
    return Done(rows=(row, Preference(key(phone=phone), scope, True, row.at, system, event.id)))


def _our_id(text: Any) -> UUID | None:
    """Our own id, where *text* is one: another program may send by the same account, with ids of its own."""
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:500]


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write a batch of statuses."""
    told = [row for row in rows if isinstance(row, Told)]
    await deliveries.lock(conn, [row.provider_id for row in told])
    await messages.end(conn, await deliveries.keep(conn, told))
    await opt_outs.keep(conn, [row for row in rows if isinstance(row, Preference)])
    return ()


WORKER: Final[Worker[MessageDeps]] = Worker(
    name="delivery-status",
    reads=("deliveries",),
    types=frozenset({"delivery.updated"}),
    begins="everything",
    domain=MESSAGES,
    handle=handle,
    record=record,
)
