"""The report of a campaign as CSV."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any, Final

COLUMNS: Final = (
    "line", "phone", "status", "error", "error_code", "message_id", "queued_at", "sent_at", "delivered_at", "read_at",
)  # fmt: skip
FORMULAS: Final = ("=", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a formula; a phone with its plus sign is a number to them as well."""

EVERY_FORMULA: Final = (*FORMULAS, "+")


async def report_of(recipients: AsyncIterator[Mapping[str, Any]], formulas: Sequence[str] = FORMULAS) -> str:
    """*recipients* with the lines of RFC 4180, times in UTC. A cell that begins with one of *formulas* has `'` before
    it."""
    lines = StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(COLUMNS)
    async for one in recipients:
        writer.writerow([_cell(one[column], tuple(formulas)) for column in COLUMNS])
    return lines.getvalue()


def _cell(value: Any, formulas: tuple[str, ...]) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(formulas) else text
