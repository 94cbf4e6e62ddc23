"""Orders as an operator finds them: where each stands, and why one has failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from adapters.postgres.operator import applicant_issues, dead_letters, orders, trail
from adapters.postgres.operator.applicant_issues import ReportStanding
from adapters.postgres.operator.orders import StoredOrder
from adapters.postgres.operator.trail import EventFilter
from adapters.postgres.pool import Pool
from daemon.operator import naming
from daemon.operator.naming import NoSuchEvent
from daemon.operator.standing import order_document, order_of
from daemon.operator.trail import MOST, list_events
from daemon.telemetry.redaction import redact_text
from daemon.workers import WORKERS
from schemas.errors import FerrymanError


class NoSuchOrder(FerrymanError):
    """No order of the table has the name that was given."""


async def list_orders(pool: Pool, status: str | None, since: datetime | None, limit: int) -> list[dict[str, Any]]:
    """The orders that were kept last as JSON, newest first, without anything of their buyers."""
    return [order_document(found) for found in await orders.listed(pool, status, since, limit)]


async def counts(pool: Pool) -> Mapping[str, int]:
    """Status -> how many orders have it."""
    return await orders.counts(pool)


async def show(pool: Pool, text: str) -> dict[str, Any]:
    """The order that *text* names, by its id or by its event, as JSON: what a list says of it, its buyer, its events,
    their dead letters, its automatic messages, and what was reported about its applicants. Raises: NoSuchOrder;
    SeveralFit."""
    found = await stored(pool, text)
    standing = found.standing
    states = [event.id for event in await naming.of_order(pool, standing.order_id)]
    letters = [letter for state in states for letter in await dead_letters.find(pool, None, state)]
    listed = [one for state in states for one in await list_events(pool, WORKERS, EventFilter(event=state), MOST)]
    reports = await applicant_issues.of_order(pool, standing.order_id)
    rest = {name: value for name, value in asdict(found).items() if name != "standing"}
    return {
        **order_document(standing),
        **rest,
        "amount": None if found.amount is None else str(found.amount),
        "contact_id": None if found.contact_id is None else str(found.contact_id),
        "events": sorted(listed, key=lambda one: one["time"]),
        "messages": [one._asdict() | {"id": str(one.id)} for one in await orders.messages(pool, standing.order_id)],
        "issues": [_issues_document(report) for report in reports],
        "dead_letters": [{"number": one.id, "worker": one.worker, "state": one.state} for one in letters],
    }


async def stored(pool: Pool, text: str) -> StoredOrder:
    """The order that *text* names, by its id or by its event. Raises: NoSuchOrder; SeveralFit."""
    return await orders.find(pool, text.strip()) or await _of_event(pool, text)


def _issues_document(report: ReportStanding) -> dict[str, Any]:
    reason = None if report.reason is None else redact_text(report.reason)
    return asdict(report) | {"reason": reason}


async def _of_event(pool: Pool, text: str) -> StoredOrder:
    """The order of the one event that *text* names. Raises: NoSuchOrder; SeveralFit."""
    try:
        event = await naming.the_event(pool, text)
    except NoSuchEvent as exc:
        raise NoSuchOrder("there is no such order: see `ferryman orders list` and `ferryman refused list`") from exc
    order_id = order_of((await trail.data_of(pool, [event.id])).get(event.id, b""))
    if order_id is None or (found := await orders.find(pool, order_id)) is None:
        raise NoSuchOrder(f"the event {event.id} has made no order: see `ferryman events show {event.id}`")
    return found
