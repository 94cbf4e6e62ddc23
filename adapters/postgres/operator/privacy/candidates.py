"""Every identity that the database knows: to find among them those that digests were made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Literal

from adapters.postgres.pool import Pool

PAGE: Final = 2000

# each is read in the order of its values, page by page, by an index where there is one
_KEYS: Final = (
    ("contact_identities", "value", "kind IN ('phone', 'cgb', 'bsuid')"),
    ("contact_emails", "email", "true"),
    ("event_journal", "subject", "subject NOT LIKE 'erased:%'"),
    ("spool", "subject", "true"),
    ("outbox", "subject", "true"),
    ("dead_letters", "subject", "true"),
    ("conversations", "line", "line IS NOT NULL"),
    ("conversations", "subject", "subject IS NOT NULL"),
    ("meeting_notes", "line", "line IS NOT NULL"),
    ("webhook_deliveries", "key", "true"),
    ("messages", "phone", "phone IS NOT NULL"),
    ("campaign_recipients", "person", "true"),
    ("record_people", "line", "line IS NOT NULL"),
    ("opt_outs", "line", "true"),
    ("orders", "order_id", "true"),
)


async def every(pool: Pool) -> AsyncIterator[tuple[Literal["key", "order"], str]]:
    """Each as a kind and a value, as marks are made of them; some more than once."""
    for table, column, where in _KEYS:
        query = (
            f"SELECT DISTINCT {column}::text AS v FROM {table} WHERE {where} AND {column} > $1 ORDER BY 1 LIMIT {PAGE}"  # noqa: S608 - constants only
        )
        last = ""
        while page := await pool.fetch(query, last, timeout=60):
            for (value,) in page:
                if table == "contact_identities":
                    for key in (value, f"cgb:{value}", f"bsuid:{value}"):
                        yield "key", key
                elif table == "contact_emails":
                    yield "key", f"email:{value}"
                elif table == "orders":
                    yield "order", value
                    yield "key", f"order:{value}"
                else:
                    yield "key", value
            last = page[-1][0]
