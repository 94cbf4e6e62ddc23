"""Reports about applicants that no order named: which of them an order names now, and which are sent again.

A report that is sent again is `waiting` until it ends anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.applicant_issues import BY_INDEX
from adapters.postgres.pool import Connection

MOST_RUNS: Final = 3
"""So often one report is sent again."""

LOST_AFTER_S: Final = 3600
"""Seconds after which a report that was sent again, and has not ended, is taken for lost: an emptied Redis keeps no
replay."""

# As the partial index says it.
_WITHOUT_ORDER: Final = (
    "raw_body <> '' AND (status = 'skipped' AND reason = 'unknown applicant' OR status = 'waiting' AND sent_again > 0)"
)
_MAY_BE_SENT: Final = f"""
sent_again < {MOST_RUNS} AND (status = 'skipped' OR updated_at < now() - make_interval(secs => {LOST_AFTER_S}))
"""
_LOOK: Final = f"""
WITH page AS MATERIALIZED (
  SELECT applicant_id, {_MAY_BE_SENT} AS may_be_sent
  FROM applicant_issues WHERE {_WITHOUT_ORDER} AND applicant_id > $1 ORDER BY applicant_id LIMIT $2)
SELECT applicant_id, may_be_sent AND EXISTS (
  SELECT FROM orders
  WHERE jsonb_path_query_array(applicants_data, '$[*].id') @> to_jsonb(ARRAY[page.applicant_id])) AS named
FROM page ORDER BY applicant_id
"""  # noqa: S608 - constants only

# A row that another process is at is left to it: nothing is waited for while rows are held.
_TAKE: Final = f"""
UPDATE applicant_issues SET
  status = 'waiting', reason = 'its order has come', processed_at = NULL, sent_again = sent_again + 1,
  updated_at = now()
WHERE id = ANY (ARRAY(
  SELECT id FROM applicant_issues
  WHERE applicant_id = ANY ($1::text[]) AND {_WITHOUT_ORDER} AND {_MAY_BE_SENT}
  FOR UPDATE SKIP LOCKED))
RETURNING applicant_id, event_id, reported_at, raw_body
"""  # noqa: S608 - constants only


class Page(NamedTuple):
    """A look at some of the reports. *named*: the applicants whom an order names now. *last*: the last applicant that
    was looked at; "" where there is none after it."""

    named: Sequence[str]
    last: str


class Taken(NamedTuple):
    """A report that is to be sent again, told by the event *event_id*, which arrived at *at*. *text*: as received."""

    applicant_id: str
    event_id: str
    at: datetime
    text: str


async def look(conn: Connection, after: str, limit: int) -> Page:
    """Look at *limit* reports that no order named, by their applicants from *after* on. Call it inside a
    transaction."""
    await conn.execute(BY_INDEX)
    rows = await conn.fetch(_LOOK, after, limit)
    return Page([row["applicant_id"] for row in rows if row["named"]], rows[-1][0] if len(rows) == limit else "")


async def take(conn: Connection, applicant_ids: Sequence[str]) -> list[Taken]:
    """Mark the reports about these applicants as sent again, and return them: those alone that nobody else has taken,
    and that may be sent once more. The rows are held until the transaction ends."""
    return [Taken(*row) for row in await conn.fetch(_TAKE, applicant_ids)] if applicant_ids else []
