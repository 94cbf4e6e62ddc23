"""Automatic messages: made once for what they tell of an order, changed as long as nothing of them has gone out, and
withdrawn where the order does not want them any more. What has changed comes to its worker by another event, and the
one before finds it changed. Rows are locked in the order of their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from adapters.postgres.json_text import json_text
from adapters.postgres.messages import Request, request_of
from adapters.postgres.pool import Connection, Pool
from schemas.envelope import event_id

State: TypeAlias = tuple[datetime, int, datetime]
"""Sorts the states of one order from old to new."""

_KNOWN: Final = """
SELECT a.ordered_at, a.form_revision, a.received_at, o.ordered_at, COALESCE(o.form_revision, 0), c.language
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (order_id, phones, place)
LEFT JOIN LATERAL (SELECT * FROM automatic_orders WHERE order_id = given.order_id LIMIT 1) a ON true
LEFT JOIN LATERAL (SELECT ordered_at, form_revision FROM orders WHERE order_id = given.order_id LIMIT 1) o ON true
LEFT JOIN LATERAL (
  SELECT contact_id FROM contact_identities
  WHERE kind = 'phone' AND value = ANY (string_to_array(given.phones, ',')) LIMIT 1
) i ON true
LEFT JOIN LATERAL (SELECT language FROM contacts WHERE id = i.contact_id LIMIT 1) c ON true
ORDER BY given.place
"""
_STATE: Final = """
INSERT INTO automatic_orders AS a (order_id, ordered_at, form_revision, received_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (order_id) DO UPDATE SET ordered_at = excluded.ordered_at, form_revision = excluded.form_revision,
  received_at = excluded.received_at, updated_at = now()
WHERE (a.ordered_at, a.form_revision, a.received_at)
      <= (excluded.ordered_at, excluded.form_revision, excluded.received_at)
RETURNING order_id
"""
_LOCK: Final = """
SELECT id, status, released_at IS NULL AS waits, attempts = 0 AS untried FROM messages
WHERE id = ANY (ARRAY(SELECT message_id FROM automatic_messages WHERE order_id = ANY ($1::text[])))
ORDER BY id FOR UPDATE
"""
_NOTED: Final = """
SELECT message_id, order_id, trigger, withdrawn FROM automatic_messages WHERE order_id = ANY ($1::text[])
"""
_MAKE: Final = """
INSERT INTO messages (id, direction, status, provider, account, phone, kind, content, purpose, category, not_before,
                      event_id, released_at)
VALUES ($1, 'out', 'queued', $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10,
        CASE WHEN $9::timestamptz IS NULL THEN now() END)
ON CONFLICT (id) DO NOTHING RETURNING id
"""
_CHANGE: Final = """
UPDATE messages SET status = 'queued', provider = $2, account = $3, phone = $4, kind = $5, content = $6::jsonb,
  purpose = $7, category = $8, not_before = $9, event_id = $10, error = NULL, error_code = NULL,
  failed_at = NULL, updated_at = now(), released_at = CASE WHEN $9::timestamptz IS NULL THEN now() END
WHERE id = $1 AND (status <> 'queued' OR released_at IS NULL
                   OR (provider, phone, kind, content) IS DISTINCT FROM ($2, $4, $5, $6::jsonb)) RETURNING id
"""
_READDRESS: Final = """
UPDATE messages SET phone = $2, event_id = $3, error = NULL, updated_at = now()
WHERE id = $1 AND status = 'queued' AND phone <> $2
RETURNING id, provider, account, phone, kind, content::text, purpose, event_id, category, released_at IS NULL AS waits
"""
_NOTE: Final = """
INSERT INTO automatic_messages (message_id, order_id, kind, subject, rule, trigger) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (message_id) DO UPDATE SET rule = excluded.rule, withdrawn = false
"""
_WITHDRAW: Final = """
WITH taken AS (
  UPDATE messages SET status = 'canceled', error = $2, updated_at = now() WHERE id = ANY ($1::uuid[]) RETURNING id
)
UPDATE automatic_messages SET withdrawn = true WHERE message_id IN (SELECT id FROM taken)
"""
_OF_ORDER: Final = """
SELECT m.id, m.status, m.status = 'failed' AND m.attempts = 0 OR m.status = 'canceled' AND a.withdrawn AS open
FROM automatic_messages a JOIN messages m ON m.id = a.message_id WHERE a.order_id = $1
"""


class Asked(NamedTuple):
    """A question about an order. *phones*: the notations of its person's phone, comma-separated."""

    order_id: str
    phones: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known. *state*: the newest that was handled here; *stored*: (when it was changed, its revision) of the
    newest in `orders`. *language*: of the person, as it was told."""

    state: State | None
    stored: tuple[datetime, int] | None
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Planned:
    """A message of a rule. *old*: it is not made any more, and changed where it waits."""

    request: Request
    kind: str
    subject: str
    rule: str
    old: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Told:
    """What an event of the type *trigger* brings about for an order. *state*: of the order; None: the event tells none,
    and withdraws nothing. *phone*: of the order's person. *withdraw*: why all that is queued is taken back; None: only
    what waits for its time, goes by this trigger and is not among *planned*. *by_hand*: an operator asks, also for what
    failed before any attempt."""

    order_id: str
    trigger: str
    state: State | None
    planned: Sequence[Planned]
    phone: str | None
    withdraw: str | None
    at: datetime
    cause: str
    traceparent: str = ""
    by_hand: bool = False


class Standing(NamedTuple):
    """How a message stands. *open*: nothing of it has gone out, and an operator may ask for it anew."""

    status: str
    open: bool


class _Row(NamedTuple):
    id: UUID
    status: str
    waits: bool
    untried: bool
    order_id: str
    trigger: str
    withdrawn: bool

    def may_change(self, *, by_hand: bool) -> bool:
        """Whether nothing of it has gone out, and it may be made anew."""
        match self.status:
            case "queued":
                return True
            case "canceled":
                return self.withdrawn
            case "failed":
                return by_hand and self.untried
        return False


async def known(conn: Connection | Pool, asked: Sequence[Asked]) -> list[Known]:
    """What is known of these orders, in the order of the questions."""
    rows = await conn.fetch(_KNOWN, *map(list, zip(*asked, strict=True))) if asked else []
    return [
        Known(
            None if row[0] is None else (row[0], row[1], row[2]), None if row[3] is None else (row[3], row[4]), row[5]
        )
        for row in rows
    ]


async def of_order(pool: Pool, order_id: str) -> dict[UUID, Standing]:
    """The automatic messages of an order, by their ids."""
    return {row["id"]: Standing(row["status"], row["open"]) for row in await pool.fetch(_OF_ORDER, order_id)}


async def keep(conn: Connection, told: Sequence[Told]) -> list[tuple[Told, Request]]:
    """Make, change and withdraw messages. Returns those that are to be sent at once, with what brought them about. What
    an older state of an order tells changes nothing."""
    ordered = sorted(told, key=lambda one: (one.order_id, one.state is not None, one.state or ()))
    newest = [one for one in ordered if one.state is None or await _is_newest(conn, one.order_id, one.state)]
    standing = await _locked(conn, [one.order_id for one in newest])
    due: list[tuple[Told, Request]] = []
    for one in newest:
        await _withdraw(conn, one, standing)
        planned = sorted(one.planned, key=lambda each: each.request.id)
        due += [(one, each.request) for each in planned if await _plan(conn, one, each, standing)]
        due += [(one, request) for request in await _readdress(conn, one, standing)]
    return due


async def _locked(conn: Connection, order_ids: Sequence[str]) -> dict[UUID, _Row]:
    """The messages of these orders, locked."""
    if not order_ids:
        return {}
    locked = await conn.fetch(_LOCK, order_ids)
    noted = {row[0]: row[1:] for row in await conn.fetch(_NOTED, order_ids)}
    return {row["id"]: _Row(*row, *noted[row["id"]]) for row in locked}


async def _is_newest(conn: Connection, order_id: str, state: State) -> bool:
    return await conn.fetchval(_STATE, order_id, *state) is not None


async def _withdraw(conn: Connection, told: Told, standing: dict[UUID, _Row]) -> None:
    if told.state is None:
        return
    wanted = {planned.request.id for planned in told.planned}
    taken = [
        one.id
        for one in standing.values()
        if one.order_id == told.order_id
        and one.status == "queued"
        and one.id not in wanted
        and (told.withdraw is not None or (one.waits and one.trigger == told.trigger))
    ]
    if taken:
        await conn.execute(_WITHDRAW, taken, f"withdrawn: {told.withdraw or 'the order asks for it no more'}")
    for id in taken:
        standing[id] = standing[id]._replace(status="canceled", withdrawn=True)


async def _plan(conn: Connection, told: Told, planned: Planned, standing: dict[UUID, _Row]) -> bool:
    """Make a message, or change one of which nothing has gone out; whether it is to be sent at once."""
    request, there = planned.request, standing.get(planned.request.id)
    if there is None:
        if planned.old:
            return False
        query = _MAKE
    elif there.may_change(by_hand=told.by_hand):
        query = _CHANGE
    else:
        return False
    if await conn.fetchval(query, *_values(request)) is None:
        return False  # made by another process meanwhile
    note = (request.id, told.order_id, planned.kind, planned.subject, planned.rule, told.trigger)
    await conn.execute(_NOTE, *note)
    waits = request.not_before is not None
    standing[request.id] = _Row(request.id, "queued", waits, True, told.order_id, told.trigger, False)
    return not waits


async def _readdress(conn: Connection, told: Told, standing: dict[UUID, _Row]) -> list[Request]:
    """Let what is queued for the order go to the phone that it has now, whatever has asked for it: the former one may
    be another person's. Returns what is to be sent at once."""
    if told.state is None or told.phone is None:
        return []
    wanted = {planned.request.id for planned in told.planned}
    due = []
    for one in standing.values():
        if one.order_id != told.order_id or one.status != "queued" or one.id in wanted:
            continue
        event = event_id("ferryman", "message.requested", str(one.id), told.cause)
        row = await conn.fetchrow(_READDRESS, one.id, told.phone, event)
        if row is not None and not row["waits"]:
            due.append(request_of(row))
    return due


def _values(request: Request) -> tuple[object, ...]:
    r = request
    where = (r.id, r.provider, r.account, r.phone, r.kind)
    return *where, json_text(r.content), r.purpose, r.category, r.not_before, r.event_id
