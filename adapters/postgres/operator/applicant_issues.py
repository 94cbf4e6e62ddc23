"""How the reports about an order's applicants stand. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from adapters.postgres.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStanding:
    """Where the newest report about an applicant stands. *reason*: why it waits, was skipped or has failed.
    *issues*: by category, items with `value` and `label`, one of which may be null."""

    applicant_id: str
    status: str
    reason: str | None
    reported_at: datetime
    processed_at: datetime | None
    event_id: str
    issues: Any


# A report that came before its order, and waited in vain, names no order: it is found by the order's applicants.
_OF_ORDER: Final = """
SELECT applicant_id, status, reason, reported_at, processed_at, event_id, issues FROM applicant_issues
WHERE order_id = $1 OR order_id IS NULL AND applicant_id = ANY (ARRAY(
  SELECT jsonb_array_elements_text(jsonb_path_query_array(applicants_data, '$[*].id'))
  FROM orders WHERE order_id = $1))
ORDER BY reported_at, applicant_id
"""


async def of_order(pool: Pool, order_id: str) -> list[ReportStanding]:
    """The reports about the applicants of an order, from old to new."""
    rows = await pool.fetch(_OF_ORDER, order_id)
    return [ReportStanding(**{**row, "issues": orjson.loads(row["issues"])}) for row in rows]
