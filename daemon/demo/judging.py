"""How each webhook of the demonstration ended, in words, and what does not agree with the tables or with the
simulator's ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from adapters.postgres.operator import demo
from adapters.postgres.operator.demo import OrderRow, ReportRow, SyncEnding
from adapters.postgres.pool import Pool
from daemon.demo.shipments import CORRECTED, LANDLINE, NO_PHONE, Shipment

UNEXPECTED: Final = "?"
"""Begins the words of an end that a webhook should not have."""


async def tell(pool: Pool, sent: Sequence[Shipment]) -> set[str]:
    """Tell of each of *sent* how it ended. Returns the CGB contacts that were made for those that are no duplicates."""
    rows = await demo.orders(pool, [shipment.order_id for shipment in sent])
    endings = await demo.endings(pool, [id for shipment in sent for id in shipment.event_ids])
    reports = await demo.reports(pool, [s.report["applicantId"] for s in sent if s.report])
    made = set()
    for shipment in sent:
        row = rows.get(shipment.order_id)
        shipment.outcome = _outcome(shipment, row, endings, reports)
        new = shipment.event_ids and not shipment.duplicate
        if new and row is not None and row.existed is False and row.contact_id is not None:
            made.add(row.contact_id)
    return made


def _outcome(
    shipment: Shipment,
    row: OrderRow | None,
    endings: Mapping[str, SyncEnding],
    reports: Mapping[str, ReportRow],
) -> str:
    reply = shipment.reply
    if reply is None or reply.status != 202:
        status = reply.status if reply else "none"
        return f"{'' if shipment.proof == 'forged' and status == 401 else UNEXPECTED}refused ({status})"
    if shipment.duplicate:
        return "duplicate, nothing done"
    if shipment.report is not None:
        return _of_a_report(reports.get(shipment.report["applicantId"]), shipment.order_id)
    ending = endings.get(reply.event_ids[0])
    if ending is None:
        return f"{UNEXPECTED}open"
    if ending.outcome == "skipped" and ending.reason == "test order":
        return "skipped: a test"
    if row is None:
        return f"{UNEXPECTED}{ending.outcome} without a row"
    return _of_an_order(shipment.what, row)


def _of_an_order(what: str, row: OrderRow) -> str:
    contact = "contact was there" if row.existed else "contact made"
    match row.status:
        case "failed":
            return f"{'' if what == NO_PHONE else UNEXPECTED}failed: {row.error}"
        case "no_whatsapp":
            return f"{'' if what == LANDLINE else UNEXPECTED}not on WhatsApp, {contact}"
        case "synced":
            words = f"{UNEXPECTED if what == LANDLINE else ''}synced, {contact}"
            return f"{words} by the right phone" if what == CORRECTED else words
    return f"{UNEXPECTED}{row.status}"


def _of_a_report(row: ReportRow | None, order_id: str) -> str:
    if row is None:
        return f"{UNEXPECTED}no row"
    if row.status == "reported" and row.order_id == order_id:
        return "found its order, passed on"
    return f"{UNEXPECTED}{row.status}: {row.reason}"
