"""What the demonstration reads from the tables to check its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class OrderRow:
    """The sync state of an order's row."""

    status: str | None
    error: str | None
    contact_id: str | None
    existed: bool | None


@dataclass(frozen=True, slots=True)
class SyncEnding:
    """How contact-sync ended with an event. *reason*: why it was skipped or failed."""

    outcome: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What became of the report about an applicant. *order_id*: of the order that names the applicant."""

    status: str
    reason: str | None
    order_id: str | None


async def ended(pool: Pool, worker: str, among: Sequence[str] | None = None) -> list[str]:
    """Ids of the events that *worker* has ended with; *among*: only of these."""
    rows = await pool.fetch(
        "SELECT event_id FROM inbox WHERE worker = $1 AND ($2::text[] IS NULL OR event_id = ANY($2))", worker, among
    )
    return [row["event_id"] for row in rows]


async def endings(pool: Pool, ids: Sequence[str]) -> dict[str, SyncEnding]:
    """How contact-sync ended with each of *ids*."""
    rows = await pool.fetch(
        "SELECT event_id, outcome, reason FROM inbox WHERE worker = 'contact-sync' AND event_id = ANY($1)", ids
    )
    return {row["event_id"]: SyncEnding(row["outcome"], row["reason"]) for row in rows}


async def orders(pool: Pool, order_ids: Sequence[str]) -> dict[str, OrderRow]:
    """Order id -> its row, for those of *order_ids* that have one."""
    rows = await pool.fetch(
        "SELECT order_id, cgb_sync_status, cgb_sync_error, cgb_contact_id, cgb_contact_exists"
        " FROM orders WHERE order_id = ANY($1)",
        order_ids,
    )
    return {
        row["order_id"]: OrderRow(
            row["cgb_sync_status"], row["cgb_sync_error"], row["cgb_contact_id"], row["cgb_contact_exists"]
        )
        for row in rows
    }


async def reports(pool: Pool, applicants: Sequence[str]) -> dict[str, ReportRow]:
    """Applicant id -> the row of its report, for those of *applicants* that have one."""
    rows = await pool.fetch(
        "SELECT applicant_id, status, reason, order_id FROM applicant_issues WHERE applicant_id = ANY($1)", applicants
    )
    return {row["applicant_id"]: ReportRow(row["status"], row["reason"], row["order_id"]) for row in rows}


async def outbox_is_empty(pool: Pool) -> bool:
    """Whether every emitted event is on the stream."""
    return not await pool.fetchval("SELECT EXISTS (SELECT FROM outbox)")
