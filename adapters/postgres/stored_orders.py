"""Stored orders, to be synced again: which they are, and the text of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

import orjson

from adapters.postgres.pool import Connection, Pool


class StoredState(NamedTuple):
    """The newest state of an order. *event_id*: of the event that brought it, None where that is not known. *status*:
    of its sync."""

    order_id: str
    event_id: str | None
    text: str
    received_at: datetime
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders; None: any. *since*, *until*: when ordered. *attempted_since*: when last tried. *error*: a part of
    the reason, as it is written. *with_phone*: only those that have a usable phone, or only those that have none."""

    since: datetime | None = None
    until: datetime | None = None
    attempted_since: datetime | None = None
    branch: str | None = None
    statuses: tuple[str, ...] | None = None
    error: str | None = None
    ids: tuple[str, ...] | None = None
    with_phone: bool | None = None

    def document(self) -> str:
        """As JSON, the same for the same filter; of many ids a digest."""
        ids = None if self.ids is None else sha256("\n".join(sorted(self.ids)).encode()).hexdigest()
        members = {name: getattr(self, name) for name in self.__slots__} | {"ids": ids}
        return orjson.dumps(members, option=orjson.OPT_SORT_KEYS).decode()


_FITS: Final = """
($1::timestamptz IS NULL OR ordered_at >= $1) AND ($2::timestamptz IS NULL OR ordered_at < $2)
AND ($3::timestamptz IS NULL OR cgb_sync_attempted_at >= $3) AND ($4::text IS NULL OR branch = $4)
AND ($5::text[] IS NULL OR cgb_sync_status = ANY($5)) AND ($6::text IS NULL OR position($6 IN cgb_sync_error) > 0)
AND ($7::text[] IS NULL OR order_id = ANY($7)) AND ($8::boolean IS NULL OR (client_phone_e164 IS NOT NULL) = $8)
"""
_STATE: Final = "order_id, event_id, raw_body AS text, webhook_received_at AS received_at, cgb_sync_status AS status"
_COUNT: Final = f"SELECT count(*) FROM orders WHERE {_FITS}"  # noqa: S608 - constants only
_PAGE: Final = f"""
SELECT {_STATE} FROM orders WHERE {_FITS} AND order_id > $9 ORDER BY order_id LIMIT $10
"""  # noqa: S608 - constants only
_LOCKED: Final = f"SELECT {_STATE} FROM orders WHERE order_id = $1 FOR UPDATE"  # noqa: S608 - constants only
_ENDED: Final = """
SELECT event_id, replay_id, outcome FROM inbox
WHERE worker = $1 AND event_id = ANY($2::text[]) AND at < now() + interval '2 days'
"""
_LETTERS: Final = """
SELECT event_id, id, replay_id FROM dead_letters
WHERE state = 'open' AND worker = $1 AND event_id = ANY($2::text[]) ORDER BY id
"""


async def count(pool: Pool, wanted: OrderFilter) -> int:
    """How many orders fit."""
    return int(await pool.fetchval(_COUNT, *_arguments(wanted), timeout=60))


async def page(pool: Pool, wanted: OrderFilter, after: str, limit: int) -> list[StoredState]:
    """The next orders that fit, by their ids."""
    return [StoredState(*row) for row in await pool.fetch(_PAGE, *_arguments(wanted), after, limit, timeout=60)]


async def locked(conn: Connection, order_id: str) -> StoredState | None:
    """The order, locked until the transaction ends."""
    row = await conn.fetchrow(_LOCKED, order_id)
    return None if row is None else StoredState(*row)


async def ended(conn: Connection | Pool, worker: str, event_ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """(event id, replay id) -> how *worker* ended with it, of those of these events that it has ended with."""
    return {(row[0], row[1]): row[2] for row in await conn.fetch(_ENDED, worker, event_ids)}


async def open_letters(conn: Connection | Pool, worker: str, event_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Event id -> (number, replay id) of its open dead letter of *worker*, the newest."""
    rows = await conn.fetch(_LETTERS, worker, event_ids)
    return {row["event_id"]: (row["id"], row["replay_id"]) for row in rows}


def _arguments(wanted: OrderFilter) -> tuple[object, ...]:
    lists = {"statuses", "ids"}
    values = {name: getattr(wanted, name) for name in OrderFilter.__slots__}
    return tuple(list(value) if name in lists and value is not None else value for name, value in values.items())
