"""Messages that go by another account than the one that was chosen. The row decides: a move is durable before any call,
and none happens once a call was attempted."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.channel import channel_of
from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Pool

_STANDING: Final = """
SELECT w.written_at, COALESCE(o.opted_out, false), s.stopped
FROM messages m
LEFT JOIN LATERAL (
  SELECT max(written_at) AS written_at FROM customer_windows WHERE line = $2 AND system = ANY ($3::text[])
) w ON true
LEFT JOIN LATERAL (
  SELECT bool_or(opted_out) AS opted_out FROM opt_outs
  WHERE line = $2 AND (scope = 'all' OR (scope = 'marketing' AND COALESCE($4, m.category) = 'marketing'))
) o ON true
CROSS JOIN LATERAL (
  SELECT m.kind = 'template' AND EXISTS (
    SELECT FROM template_stops WHERE provider = $5 AND account = $6 AND name = m.content ->> 'name'
      AND language = COALESCE(m.content ->> 'language', '') AND until > now()) AS stopped
) s
WHERE m.id = $1 AND m.status = 'queued' AND m.attempts = 0
"""
_MOVE: Final = """
UPDATE messages SET provider = $4, account = $5, content = $6::jsonb, category = COALESCE($7, category), error = NULL,
  moves = COALESCE(moves, '[]'::jsonb)
    || jsonb_build_array(jsonb_build_object('at', now(), 'from', $8::text, 'to', $9::text, 'why', $10::text)),
  updated_at = now()
WHERE id = $1 AND status = 'queued' AND attempts = 0 AND provider = $2 AND account = $3
RETURNING id
"""


class Standing(NamedTuple):
    """What holds for a message at another account. *written_at*: when its person has written last to the number there.
    *opted_out*: whether they want no messages of that category. *stopped*: whether its template is stopped there."""

    written_at: datetime | None
    opted_out: bool
    stopped: bool


class Account(NamedTuple):
    """An *account* of a *provider*."""

    provider: str
    account: str

    @property
    def channel(self) -> str:
        """The name of its channel."""
        return channel_of(*self)


async def standing(
    pool: Pool, id: UUID, at: Account, *, line: str, systems: tuple[str, ...], category: str | None
) -> Standing | None:
    """How message *id* would stand at *at*; None: it may not be moved, as it is not queued, or a call was attempted.
    *systems*: those that tell what people write there. *category*: of its template there; None: of the message."""
    row = await pool.fetchrow(_STANDING, id, line, list(systems), category, *at)
    return None if row is None else Standing(*row)


async def move(
    pool: Pool, id: UUID, source: Account, target: Account, *, content: Any, category: str | None, why: str
) -> bool:
    """Let message *id* go by *target* instead of *source*, saying *content*; whether that was done. It is while the
    message is queued, goes by *source*, and was never claimed. *category*: None: it stays as it is."""
    said, names = json_text(content), (source.channel, target.channel)
    return await pool.fetchval(_MOVE, id, *source, *target, said, category, *names, why) is not None
