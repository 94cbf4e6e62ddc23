"""Reports about applicants, and the orders that name them, on a real Postgres without the bus."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from adapters.postgres import applicant_issues
from adapters.postgres.applicant_issues import Known
from adapters.postgres.orders import insert as store_orders
from adapters.postgres.orders import row_of
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Done, Later, Turn
from daemon.contacts.applicant_issues import handle, record
from daemon.contacts.wiring import ContactDeps
from daemon.sandbox.orders import make_order
from daemon.sandbox.reports import make_report
from schemas.envelope import Event
from schemas.orders import order_from

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PHONE = {"code": "972", "number": "505550001"}
E164 = "+972505550001"


def an_order(id: str, *applicants: Any, changed: datetime = NOW - HOUR, **overrides: Any) -> dict[str, Any]:
    """An order of these applicants: their ids, or what stands in the place of one."""
    body = make_order(
        Random(1), 1, **({"order_id": id, "branch": "il", "phone": PHONE, "alerts": True, "country": "uk"} | overrides)
    )
    body["form"]["updated_at"] = changed.isoformat()
    body["form"]["applicants"] = [an_applicant(one) if isinstance(one, str) else one for one in applicants]
    return body


def an_applicant(id: str) -> dict[str, Any]:
    """An applicant with a name."""
    return {"id": id, "passport": {"firstName": f" {id.upper()} ", "lastName": "EXAMPLE"}}


async def stored(db: Pool, *bodies: dict[str, Any]) -> None:
    """Store orders that are new."""
    orders = [order_from(json.dumps(body).encode(), NOW) for body in bodies]
    async with db.acquire() as conn, conn.transaction():
        await store_orders(conn, [row_of(order, f"event-of-{order.order_id}") for order in orders])


def a_report(applicant: str = "apl_2", *, at: datetime = NOW, id: str = "", **more: Any) -> Event:
    """The event of a report that arrived *at* that time."""
    data = json.dumps(make_report(applicant, **more)).encode()
    return Event(
        id=id or f"event-{at:%H%M%S}",
        type="applicant_issue.received",
        source="issues",
        subject=f"applicant:{applicant}",
        time=at,
        data=data,
    )


def deps_of(db: Pool, branches: tuple[str, ...] = (), wait_s: float = 600) -> ContactDeps:
    """What the worker of reports asks for."""

    async def applicant(id: str) -> Known:
        (found,) = await applicant_issues.known(db, [id])
        return found

    settings = SimpleNamespace(ferryman_message_branches=branches, ferryman_issue_wait_seconds=wait_s)
    return cast(ContactDeps, SimpleNamespace(settings=settings, applicant=applicant))


async def handled(db: Pool, event: Event, *, now: datetime | None = None, **given: Any) -> tuple[str, list[Event]]:
    """What became of *event*, and what was passed on."""
    outcome = await handle(event, deps_of(db, **given), Turn(now or event.time))
    async with db.acquire() as conn, conn.transaction():
        told = list(await record(conn, outcome.rows))
    match outcome:
        case Later():
            return "later", told
        case Done(skipped=reason):
            return reason or "done", told
