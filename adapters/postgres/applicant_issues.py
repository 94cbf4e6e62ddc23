"""The `applicant_issues` table, and the order that an applicant belongs to. In batches; every write is harmless to
repeat, and takes its row locks in the order of applicant_id.

The row of an applicant is the newest report about it, by arrival.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool, Record
from schemas.applicant_issues import ApplicantOrder, IssueReport
from schemas.envelope import Event
from schemas.phone import Phone

Status: TypeAlias = Literal["waiting", "reported", "skipped", "failed"]

LONGEST_REASON: Final = 500

BY_INDEX: Final = "SET LOCAL enable_seqscan = off"
"""For the transaction of _FIND. Else the server reads a small table whole, and keeps that plan when the table has
grown."""

# Of several orders that name an applicant, one that stands counts before a canceled one, and then the newest.
_FIND: Final = """
SELECT given.applicant_id, o.order_id, o.branch, o.order_status, o.product_country, o.client_name, o.client_phone_e164,
  o.whatsapp_alerts_enabled, o.first_name, o.last_name, i.event_id, i.status, i.reported_at
FROM unnest($1::text[]) WITH ORDINALITY AS given (applicant_id, place)
LEFT JOIN LATERAL (
  SELECT order_id, branch, order_status, product_country, client_name, client_phone_e164, whatsapp_alerts_enabled,
    passport ->> 'firstName' AS first_name, passport ->> 'lastName' AS last_name
  FROM orders, jsonb_path_query_first(
    applicants_data, '$[*] ? (@.id == $id).passport', jsonb_build_object('id', given.applicant_id)) AS passport
  WHERE jsonb_path_query_array(applicants_data, '$[*].id') @> to_jsonb(ARRAY[given.applicant_id])
  ORDER BY (COALESCE(lower(order_status), '') = 'canceled'), ordered_at DESC, webhook_received_at DESC,
    order_id COLLATE "C" DESC
  LIMIT 1
) o ON true
LEFT JOIN LATERAL (
  SELECT event_id, status, reported_at FROM applicant_issues WHERE applicant_id = given.applicant_id LIMIT 1
) i ON true
ORDER BY given.place
"""

_COLUMNS: Final[Mapping[str, str]] = {
    "applicant_id": "text",
    "event_id": "text",
    "status": "text",
    "reason": "text",
    "issues": "jsonb",
    "extra_data": "jsonb",
    "phone_raw": "jsonb",
    "applicant_phone": "text",
    "applicant_name": "text",
    "order_id": "text",
    "branch": "text",
    "contact_id": "uuid",
    "reported_at": "timestamptz",
    "processed_at": "timestamptz",
    "raw_body": "text",
}

# JSON travels as text: arrays of jsonb need a codec on every connection. The names and types are those above.
_STORE: Final = f"""
INSERT INTO applicant_issues AS stored ({", ".join(_COLUMNS)})
SELECT {", ".join(f"{n}::jsonb" if t == "jsonb" else n for n, t in _COLUMNS.items())}
FROM unnest({", ".join(f"${n}::{'text' if t == 'jsonb' else t}[]" for n, t in enumerate(_COLUMNS.values(), 1))})
  AS given ({", ".join(_COLUMNS)})
ORDER BY applicant_id
ON CONFLICT (applicant_id) DO UPDATE SET
  {", ".join(f"{n} = excluded.{n}" for n in _COLUMNS if n != "applicant_id")}, updated_at = now(),
  sent_again = CASE WHEN stored.event_id = excluded.event_id THEN stored.sent_again ELSE 0 END
WHERE stored.reported_at <= excluded.reported_at
RETURNING applicant_id
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True, repr=False)
class Known:
    """What is known of an applicant: the order, and the event, status and arrival of the report in its row."""

    order: ApplicantOrder | None
    event_id: str | None = None
    status: str | None = None
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IssueRow:
    """A report as its row, told by *event*. *phone*: where a message is to go. *at*: when it ended so; None while it
    waits."""

    event: Event
    report: IssueReport
    status: Status
    reason: str | None
    order: ApplicantOrder | None
    phone: Phone | None
    at: datetime | None


async def known(pool: Pool, applicant_ids: Sequence[str]) -> list[Known]:
    """What is known of these applicants, in the order of *applicant_ids*."""
    async with pool.acquire() as conn, conn.transaction(readonly=True):
        await conn.execute(BY_INDEX)
        rows = await conn.fetch(_FIND, applicant_ids)
    return [Known(_order(row), row["event_id"], row["status"], row["reported_at"]) for row in rows]


def _order(row: Record) -> ApplicantOrder | None:
    if row["order_id"] is None:
        return None
    names = [name.strip() for name in (row["first_name"], row["last_name"]) if name and name.strip()]
    phone = row["client_phone_e164"]
    return ApplicantOrder(
        order_id=row["order_id"],
        branch=row["branch"],
        status=row["order_status"],
        country=row["product_country"],
        client_name=row["client_name"],
        applicant_name=" ".join(names) or None,
        phone=None if phone is None else Phone.parse_e164(phone),
        alerts=row["whatsapp_alerts_enabled"],
    )


async def store(conn: Connection, rows: Sequence[IssueRow], people: Mapping[str, UUID]) -> list[IssueRow]:
    """Keep reports; one that is older than its applicant's row changes nothing. Returns those that were kept.

    *people*: phone (E.164) -> contact id; the contacts are held.
    """
    newest: dict[str, IssueRow] = {}
    for row in sorted(rows, key=lambda row: row.report.reported_at):
        newest[row.report.applicant_id] = row
    if not newest:
        return []
    columns = zip(*(_values(row, people) for row in newest.values()), strict=True)
    return [newest[applicant_id] for (applicant_id,) in await conn.fetch(_STORE, *map(list, columns))]


def _values(row: IssueRow, people: Mapping[str, UUID]) -> tuple[Any, ...]:
    """The values of _COLUMNS."""
    report, order = row.report, row.order
    return (
        report.applicant_id,
        row.event.id,
        row.status,
        row.reason[:LONGEST_REASON] if row.reason else None,
        json_text(report.issues_data),
        json_text(report.extra_data),
        json_text(report.phone_raw),
        row.phone.e164 if row.phone else None,
        order.applicant_name if order else None,
        order.order_id if order else None,
        order.branch if order else None,
        people.get(row.phone.e164) if row.phone else None,
        report.reported_at,
        row.at,
        report.raw_body,
    )
