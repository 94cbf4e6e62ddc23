"""The subscribers of outgoing webhooks, and which process delivers to which of them now. Secrets are sealed here: the
keys are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from adapters.postgres.pool import Connection, Pool


class Subscriber(NamedTuple):
    """A row. *types*: patterns. *failures*: attempts that have failed since the last success, the first of them at
    *failing_since*. *not_before*: nothing goes there before; None: it may. *secrets*: sealed by the key *key_id*."""

    id: int
    name: str
    url: str
    types: list[str]
    is_full: bool
    secrets: bytes
    key_id: str
    state: Literal["active", "disabled"]
    disabled_at: datetime | None
    disabled_by: str | None
    disabled_why: str | None
    failures: int
    failing_since: datetime | None
    noticed_at: datetime | None
    last_success_at: datetime | None
    not_before: datetime | None
    created_at: datetime
    created_by: str


class Fortune(NamedTuple):
    """How a subscriber fares, after attempts. As `Subscriber` has them."""

    failures: int
    failing_since: datetime | None
    last_success_at: datetime | None
    not_before: datetime | None


class Wanting(NamedTuple):
    """What a subscriber wants to be told of."""

    id: int
    types: list[str]
    is_full: bool


_COLUMNS: Final = ", ".join(Subscriber._fields)
_EVERY: Final = f"SELECT {_COLUMNS} FROM subscribers ORDER BY name"  # noqa: S608 - constants only
_NAMED: Final = f"SELECT {_COLUMNS} FROM subscribers WHERE name = $1"  # noqa: S608 - constants only
_BY_ID: Final = f"SELECT {_COLUMNS} FROM subscribers WHERE id = $1"  # noqa: S608 - constants only
_ADD: Final = f"""
INSERT INTO subscribers (name, url, types, is_full, secrets, key_id, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_DISABLE: Final = """
UPDATE subscribers SET state = 'disabled', disabled_at = $2, disabled_by = $3, disabled_why = $4
WHERE id = $1 AND state = 'active'
"""
_ENABLE: Final = """
UPDATE subscribers SET state = 'active', disabled_at = NULL, disabled_by = NULL, disabled_why = NULL, failures = 0,
  failing_since = NULL, noticed_at = NULL, not_before = NULL
WHERE id = $1 AND state = 'disabled'
"""
_FARES: Final = """
UPDATE subscribers SET failures = $2, failing_since = $3, last_success_at = $4, not_before = $5,
  noticed_at = CASE WHEN $3::timestamptz IS NULL THEN NULL ELSE noticed_at END
WHERE id = $1
"""
_LEASE: Final = f"""
UPDATE subscribers SET leased_by = $1, leased_until = now() + make_interval(secs => $3)
WHERE id IN (
    SELECT id FROM subscribers s
    WHERE state = 'active' AND (leased_until IS NULL OR leased_until < now()) AND coalesce(not_before <= $2, true)
      AND EXISTS (SELECT FROM webhook_deliveries d
                  WHERE d.subscriber_id = s.id AND d.state = 'waiting' AND d.next_at <= $2)
    ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_RENEW: Final = """
UPDATE subscribers SET leased_until = now() + make_interval(secs => $3)
WHERE id = ANY($2) AND leased_by = $1 AND leased_until > now() RETURNING id
"""
_RELEASE: Final = "UPDATE subscribers SET leased_until = NULL, leased_by = NULL WHERE id = $2 AND leased_by = $1"
_FAILED_FOR_LONG: Final = """
UPDATE subscribers SET state = 'disabled', disabled_at = $1, disabled_by = $2, disabled_why = $3
WHERE state = 'active' AND failing_since <= $4 AND failures >= $5 RETURNING name
"""
_FAIL_FOR_LONG: Final = """
UPDATE subscribers SET noticed_at = $1
WHERE state = 'active' AND failing_since <= $2 AND noticed_at IS NULL RETURNING name
"""


async def every(conn: Connection | Pool) -> list[Subscriber]:
    """All of them, by name."""
    return [Subscriber(*row) for row in await conn.fetch(_EVERY)]


async def find(conn: Connection | Pool, name: str) -> Subscriber | None:
    """That of *name*."""
    row = await conn.fetchrow(_NAMED, name)
    return None if row is None else Subscriber(*row)


async def read(conn: Connection | Pool, id: int) -> Subscriber | None:
    """That of *id*; None: it is gone."""
    row = await conn.fetchrow(_BY_ID, id)
    return None if row is None else Subscriber(*row)


async def wanting(conn: Connection | Pool) -> list[Wanting]:
    """What each wants, also of those that are disabled: their events wait."""
    return [Wanting(*row) for row in await conn.fetch("SELECT id, types, is_full FROM subscribers ORDER BY id")]


async def add(
    conn: Connection, name: str, url: str, types: Sequence[str], is_full: bool, secrets: bytes, key_id: str, by: str
) -> Subscriber | None:
    """Store one; None: the name is taken."""
    row = await conn.fetchrow(_ADD, name, url, list(types), is_full, secrets, key_id, by)
    return None if row is None else Subscriber(*row)


async def remove(conn: Connection, id: int) -> None:
    """Delete it, and its deliveries with it."""
    await conn.execute("DELETE FROM subscribers WHERE id = $1", id)


async def put_secrets(conn: Connection, id: int, secrets: bytes, key_id: str) -> None:
    """Replace its secrets."""
    await conn.execute("UPDATE subscribers SET secrets = $2, key_id = $3 WHERE id = $1", id, secrets, key_id)


async def disable(conn: Connection, id: int, now: datetime, by: str, why: str) -> bool:
    """Disable it. Returns whether it was active."""
    return bool(await conn.execute(_DISABLE, id, now, by, why) == "UPDATE 1")


async def enable(conn: Connection, id: int) -> bool:
    """Enable it, and forget its failures. Returns whether it was disabled."""
    return bool(await conn.execute(_ENABLE, id) == "UPDATE 1")


async def fares(conn: Connection, id: int, fortune: Fortune) -> None:
    """Record how it fares."""
    await conn.execute(_FARES, id, *fortune)


async def try_now(conn: Connection, id: int) -> None:
    """Let the next delivery go at once, whatever it is waiting for."""
    await conn.execute("UPDATE subscribers SET not_before = NULL WHERE id = $1", id)


async def lease(pool: Pool, me: str, now: datetime, ttl_s: float, most: int) -> list[Subscriber]:
    """Take up to *most* subscribers that have a delivery due at *now* and that no process has, for *ttl_s* seconds."""
    return [Subscriber(*row) for row in await pool.fetch(_LEASE, me, now, ttl_s, most)]


async def renew(pool: Pool, me: str, ids: Sequence[int], ttl_s: float) -> frozenset[int]:
    """Those of *ids* that *me* still has; it has them for *ttl_s* seconds from now on."""
    return frozenset(row["id"] for row in await pool.fetch(_RENEW, me, list(ids), ttl_s))


async def release(pool: Pool, me: str, id: int) -> None:
    """Give it up, where *me* has it."""
    await pool.execute(_RELEASE, me, id)


async def disable_failing(conn: Connection, now: datetime, since: datetime, least: int, by: str, why: str) -> list[str]:
    """Disable those that have failed *since* then, *least* times or more. Returns their names."""
    return [row["name"] for row in await conn.fetch(_FAILED_FOR_LONG, now, by, why, since, least)]


async def notice_failing(conn: Connection, now: datetime, since: datetime) -> list[str]:
    """The names of those that have failed *since* then, each told once."""
    return [row["name"] for row in await conn.fetch(_FAIL_FOR_LONG, now, since)]


async def standing(pool: Pool) -> tuple[int, int]:
    """How many are failing, and how many disabled."""
    row = await pool.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'active' AND failures > 0), count(*) FILTER (WHERE state = 'disabled')"
        " FROM subscribers"
    )
    assert row is not None
    return int(row[0]), int(row[1])
