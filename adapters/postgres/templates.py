"""The templates of accounts at providers: `templates`, and `template_syncs`, when the list of each account was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import orjson

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool, Record
from schemas.templates import Known, TemplateDefinition

SLACK: Final = timedelta(minutes=1)
"""By how much the clock of a provider, which tells whole seconds, may differ from ours."""

_COLUMNS: Final = """
t.name, t.language, t.status, t.category, t.parameter_format, t.components::text, t.quality, t.provider_template_id
"""
_KNOWN: Final = f"""
SELECT s.synced_at, {_COLUMNS}
FROM template_syncs s LEFT JOIN templates t
  ON t.provider = s.provider AND t.account = s.account AND t.name = $3 AND t.gone_at IS NULL
WHERE s.provider = $1 AND s.account = $2 AND s.synced_at IS NOT NULL
ORDER BY t.language
"""  # noqa: S608 - constants only
_STANDINGS: Final = """
SELECT t.status, t.gone_at FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
  WITH ORDINALITY AS asked (provider, account, name, language, place)
LEFT JOIN LATERAL (
  SELECT status, gone_at FROM templates WHERE (provider, account, name, language)
    = (asked.provider, asked.account, asked.name, asked.language) LIMIT 1
) t ON true
ORDER BY asked.place
"""
_LISTED: Final = f"""
SELECT t.provider, t.account, t.synced_at, {_COLUMNS} FROM templates t
WHERE (t.provider, t.account, t.name, t.language) > ($1, $2, $3, $4) AND t.gone_at IS NULL
  AND ($5::text IS NULL OR t.provider = $5) AND ($6::text IS NULL OR t.status = $6)
  AND ($7::text IS NULL OR t.name = $7)
ORDER BY t.provider, t.account, t.name, t.language LIMIT $8
"""  # noqa: S608 - constants only

_LOCK: Final = """
INSERT INTO template_syncs AS s (provider, account) VALUES ($1, $2)
ON CONFLICT (provider, account) DO UPDATE SET provider = excluded.provider RETURNING synced_at
"""
_STORED: Final = f"""
SELECT t.told_at, t.gone_at, {_COLUMNS} FROM templates t WHERE t.provider = $1 AND t.account = $2
ORDER BY t.name, t.language FOR UPDATE
"""  # noqa: S608 - constants only
_KEEP: Final = """
INSERT INTO templates (provider, account, synced_at, name, language, status, category, parameter_format, components,
  quality, provider_template_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10, $11)
ON CONFLICT (provider, account, name, language) DO UPDATE SET
  status = excluded.status, category = excluded.category, parameter_format = excluded.parameter_format,
  components = excluded.components, quality = excluded.quality, provider_template_id = excluded.provider_template_id,
  gone_at = NULL
"""
_SEEN: Final = """
UPDATE templates SET synced_at = $3 WHERE provider = $1 AND account = $2 AND gone_at IS NULL
"""
_GONE: Final = """
UPDATE templates t SET gone_at = $3 FROM unnest($4::text[], $5::text[]) AS gone (name, language)
WHERE t.provider = $1 AND t.account = $2 AND t.name = gone.name AND t.language = gone.language
"""
_SYNCED: Final = "UPDATE template_syncs SET synced_at = $3 WHERE provider = $1 AND account = $2"

_TURN: Final = """
INSERT INTO template_syncs AS s (provider, account, tried_at) VALUES ($1, $2, now())
ON CONFLICT (provider, account) DO UPDATE SET tried_at = now()
WHERE (s.synced_at IS NULL OR s.synced_at < now() - make_interval(secs => $3) OR s.wanted_at >= s.synced_at)
  AND (s.tried_at IS NULL OR s.tried_at < now() - make_interval(secs => $4))
RETURNING 1
"""
_WANT: Final = "UPDATE template_syncs SET wanted_at = now() WHERE provider = $1 AND account = ANY ($2)"

# A provider's own id tells accounts apart that have templates of the same name.
_TELL: Final = """
UPDATE templates SET status = COALESCE($5, status), category = COALESCE($6, category), quality = COALESCE($7, quality),
  gone_at = CASE WHEN $8 THEN $9 ELSE gone_at END, told_at = GREATEST($9, told_at)
WHERE provider = $1 AND name = $2 AND language = $3
  AND ($4::text IS NULL OR provider_template_id IS NULL OR provider_template_id = $4)
  AND (told_at IS NULL OR told_at <= $9) AND synced_at <= $9 + $10::interval
"""
_OF_NAME: Final = """
SELECT account, provider_template_id FROM templates
WHERE provider = $1 AND name = $2 AND language = $3 AND gone_at IS NULL
"""
_CLOCK: Final = "SELECT clock_timestamp()"
_ACCOUNTS: Final = "SELECT account FROM template_syncs WHERE provider = $1"


class Asked(NamedTuple):
    """A question about a template. *language*: "" where the provider has none."""

    provider: str
    account: str
    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a template stands: the provider's *status*, and whether it is *gone* from the account."""

    status: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """What another list of templates changes: those that are new, changed, and gone."""

    new: Sequence[TemplateDefinition]
    changed: Sequence[TemplateDefinition]
    gone: Sequence[TemplateDefinition]


@dataclass(frozen=True, slots=True)
class Stored:
    """A template that is stored. *told_at*: when a webhook has told of it last. *gone*: no list has it any more."""

    definition: TemplateDefinition
    told_at: datetime | None
    gone: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider tells, at *at*, of one of its templates; None: nothing new. *deleted*: it is there no more.
    *again*: something has changed that only the whole list tells."""

    provider: str
    name: str
    language: str
    provider_id: str | None
    at: datetime
    status: str | None = None
    category: str | None = None
    quality: str | None = None
    deleted: bool = False
    again: bool = False


async def clock(conn: Connection | Pool) -> datetime:
    """The time of the server, by which lists and what is told of templates are compared."""
    return cast(datetime, await conn.fetchval(_CLOCK))


async def known(conn: Connection | Pool, provider: str, account: str, name: str) -> Known | None:
    """The templates of that name; None: the account's list was never read. One query."""
    rows = await conn.fetch(_KNOWN, provider, account, name)
    if not rows:
        return None
    return Known(name, [_definition(row) for row in rows if row["name"] is not None], rows[0]["synced_at"])


async def standing(
    conn: Connection | Pool, provider: str, account: str, name: str, language: str | None
) -> Standing | None:
    """How a template stands; None: it is not known."""
    (found,) = await standings(conn, [Asked(provider, account, name, language or "")])
    return found


async def standings(conn: Connection | Pool, asked: Sequence[Asked]) -> list[Standing | None]:
    """How these templates stand, in the order of the questions; None for those that are not known."""
    rows = await conn.fetch(_STANDINGS, *map(list, zip(*asked, strict=True))) if asked else []
    return [None if status is None else Standing(status, gone_at is not None) for status, gone_at in rows]


async def listed(
    conn: Connection | Pool,
    after: Asked,
    *,
    provider: str | None,
    status: str | None,
    name: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """The templates that come after *after*, by provider, account, name and language."""
    rows = await conn.fetch(_LISTED, *after, provider, status, name, limit)
    return [dict(row) | {"components": orjson.loads(row["components"])} for row in rows]


def difference(stored: Sequence[Stored], read: Sequence[TemplateDefinition], began: datetime) -> Difference:
    """What the list *read* changes. What webhooks have told of a template since *began*, when its reading began, is
    newer than the list, and so is what they have told shortly before (SLACK)."""
    old = {(one.definition.name, one.definition.language): one for one in stored}
    new, changed = [], []
    for one in {(one.name, one.language): one for one in read}.values():
        before = old.pop((one.name, one.language), None)
        if before is None:
            new.append(one)
            continue
        if before.told_at is not None and before.told_at > began - SLACK:
            if before.gone:
                continue
            told = before.definition
            one = replace(one, status=told.status, category=told.category, quality=told.quality)
        if before.gone:
            new.append(one)
        elif one != before.definition:
            changed.append(one)
    return Difference(new, changed, [one.definition for one in old.values() if not one.gone])


async def store(
    conn: Connection, provider: str, account: str, read: Sequence[TemplateDefinition], began: datetime
) -> Difference:
    """Store the whole list of an account, whose reading *began* then, in the transaction of *conn*. A list that is
    older than the stored one changes nothing."""
    newest = await conn.fetchval(_LOCK, provider, account)
    if newest is not None and newest > began:
        return Difference((), (), ())
    rows = await conn.fetch(_STORED, provider, account)
    found = difference([Stored(_definition(row), row[0], row[1] is not None) for row in rows], read, began)
    written = [(provider, account, began, *_values(one)) for one in (*found.new, *found.changed)]
    await conn.executemany(_KEEP, written)
    gone = [one.name for one in found.gone], [one.language for one in found.gone]
    await conn.execute(_GONE, provider, account, began, *gone)
    await conn.execute(_SEEN, provider, account, began)
    await conn.execute(_SYNCED, provider, account, began)
    return found


async def take_turn(conn: Connection | Pool, provider: str, account: str, *, older_s: float, tried_s: float) -> bool:
    """Whether this process is to read the account's list now: it is older than *older_s* seconds, or another one is
    wanted, and nobody has begun to read it by the clock in the last *tried_s* seconds."""
    return await conn.fetchval(_TURN, provider, account, older_s, tried_s) is not None


async def want(conn: Connection | Pool, provider: str, accounts: Sequence[str]) -> None:
    """The lists of *accounts* have changed, or may have: they are to be read anew."""
    await conn.execute(_WANT, provider, sorted(accounts))


async def tell(conn: Connection, told: Sequence[Told]) -> None:
    """Keep what providers have told; of each template the latest counts, and what is older than its list is known from
    that. Of a template that no list has, and where only
    the whole list tells what has changed, the lists are read anew."""
    in_order = sorted(told, key=lambda one: (one.provider, one.name, one.language, one.at))
    for one in in_order:  # locks in the order of `store`: the account's row, then its templates
        await _want_for(conn, one)
    for one in in_order:
        given = (one.provider_id, one.status, one.category, one.quality, one.deleted, one.at, SLACK)
        await conn.execute(_TELL, one.provider, one.name, one.language, *given)


async def _want_for(conn: Connection, one: Told) -> None:
    """Where *one* does not tell all that has changed, the lists are to be read anew that may have its template."""
    rows = await conn.fetch(_OF_NAME, one.provider, one.name, one.language)
    theirs = [row["account"] for row in rows if one.provider_id in (None, row["provider_template_id"])]
    if one.again or not theirs:
        every = [row["account"] for row in await conn.fetch(_ACCOUNTS, one.provider)]
        await want(conn, one.provider, theirs or every)


def _definition(row: Record) -> TemplateDefinition:
    names = ("name", "language", "status", "category", "parameter_format", "quality")
    return TemplateDefinition(
        **{name: row[name] for name in names},
        components=orjson.loads(row["components"]),
        provider_id=row["provider_template_id"],
    )


def _values(one: TemplateDefinition) -> tuple[Any, ...]:
    content = cast(str, json_text(list(one.components)))
    known = (one.name, one.language, one.status, one.category, one.parameter_format, content)
    return (*known, one.quality, one.provider_id)
