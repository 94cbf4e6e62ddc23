"""Campaigns: what each sends, to whom, and how an operator moves it on. `campaign_feed` has those under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool

Status: TypeAlias = Literal["draft", "running", "paused", "stopped", "done"]

_BATCH: Final = 2000

_CREATE: Final = """
INSERT INTO campaigns (id, name, provider, account, template, language, category, consent, rate, quiet_from, quiet_to,
                       ends_at, duplicates, created_by, idempotency_key, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING
"""
_RECIPIENTS: Final = """
INSERT INTO campaign_recipients (campaign_id, line, phone, person, name, variables, consent, status, error)
SELECT $1, line, phone, person, name, variables::jsonb, consent,
  CASE WHEN error IS NULL THEN 'pending' ELSE 'skipped' END, error
FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
  AS given (line, phone, person, name, variables, consent, error)
"""
_OF_KEY: Final = "SELECT id, digest FROM campaigns WHERE idempotency_key = $1"
_LOCK: Final = "SELECT status FROM campaigns WHERE id = $1 FOR UPDATE"
_MOVE: Final = """
UPDATE campaigns SET status = $2, reason = CASE WHEN $2 = 'stopped' THEN reason END,
  started_at = CASE WHEN $2 = 'running' THEN COALESCE(started_at, now()) ELSE started_at END,
  going_since = CASE WHEN $2 = 'running' THEN now() ELSE going_since END,
  next_at = CASE WHEN $2 = 'running' THEN now() ELSE next_at END,
  finished_at = CASE WHEN $2 = 'stopped' THEN now() END
WHERE id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as it is made. *rate*: messages in a second. *quiet_from*, *quiet_to*: None where there are no quiet
    hours. *duplicates*: how many rows named a person whom another row names before. *consent*: how that of all was
    obtained. *digest*: of the request that came with the *key*."""

    id: UUID
    name: str
    provider: str
    account: str
    template: str
    language: str | None
    category: str
    consent: str | None
    rate: float
    quiet_from: time | None
    quiet_to: time | None
    ends_at: datetime | None
    duplicates: int
    created_by: str
    key: str | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Recipient:
    """A person of a campaign, from *line* of its file. *person*: the phone line of *phone*. *error*: why they get no
    message; None: they get one."""

    line: int
    phone: str
    person: str
    variables: dict[str, Any]
    name: str | None = None
    consent: str | None = None
    error: str | None = None


async def create(conn: Connection, campaign: Campaign, recipients: Sequence[Recipient]) -> bool:
    """Store a campaign with its recipients, as a draft; false where its name or its key is taken."""
    c = campaign
    values = (c.id, c.name, c.provider, c.account, c.template, c.language, c.category, c.consent, c.rate)
    rest = (c.quiet_from, c.quiet_to, c.ends_at, c.duplicates, c.created_by, c.key, c.digest)
    if not (await conn.execute(_CREATE, *values, *rest)).endswith(" 1"):
        return False
    for at in range(0, len(recipients), _BATCH):
        rows = [
            (r.line, r.phone, r.person, r.name, json_text(r.variables), r.consent, r.error)
            for r in recipients[at : at + _BATCH]
        ]
        await conn.execute(_RECIPIENTS, c.id, *map(list, zip(*rows, strict=True)))
    return True


async def of_key(conn: Connection | Pool, key: str) -> tuple[UUID, bytes] | None:
    """The campaign that was made with *key*, and the digest of that request."""
    row = await conn.fetchrow(_OF_KEY, key)
    return None if row is None else (row[0], row[1])


async def lock(conn: Connection, id: UUID) -> str | None:
    """Lock the campaign until the transaction ends; returns its status, None where there is none."""
    status: str | None = await conn.fetchval(_LOCK, id)
    return status


async def move(conn: Connection, id: UUID, to: Status) -> None:
    """Let a campaign that is locked go on as *to* by an operator's wish."""
    await conn.execute(_MOVE, id, to)
