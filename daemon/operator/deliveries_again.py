"""Deliveries once more: failed ones, one or a group, and the events of a window of the journal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import uuid4

from adapters.postgres import audit_log, subscribers, webhook_deliveries
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import replay, webhooks
from adapters.postgres.operator.replay import ReplayFilter
from adapters.postgres.operator.webhooks import Delivery, State, Wanted
from adapters.postgres.pool import Pool
from adapters.postgres.subscribers import Subscriber, Wanting
from adapters.postgres.webhook_deliveries import Lane, New
from daemon.operator.faults import Unusable
from daemon.operator.subscribing import the_subscriber
from daemon.subscribers.outgoing_webhooks import deliveries
from daemon.telemetry.redaction import redact_text
from schemas.errors import Malformed
from schemas.subscriptions import OFFERED, is_wanted

PAGE: Final = 500
MOST_SHOWN: Final = 100
NEWEST: Final = 2**63 - 1

Report = Callable[[int, int], None]
"""Is called with (done, of how many)."""


class RetryPlan(NamedTuple):
    """*total* failed deliveries to send again, none of a higher id than *upto*."""

    subscriber: Subscriber
    wanted: Wanted
    total: int
    upto: int


class ReplayPlan(NamedTuple):
    """*total* events of the journal to tell again, none of a higher number than *upto*."""

    subscriber: Subscriber
    chosen: ReplayFilter
    total: int
    upto: int


async def deliveries_of(
    pool: Pool, name: str, state: State, before: int = NEWEST, most: int = MOST_SHOWN
) -> list[dict[str, Any]]:
    """The newest deliveries to it in a *state*, as JSON, without bodies. Raises: NotThere."""
    row = await the_subscriber(pool, name)
    return [_document(one) for one in await webhooks.newest(pool, row.id, state, before, most)]


def _document(one: Delivery) -> dict[str, Any]:
    return {**one._asdict(), "answer": None if one.answer is None else redact_text(one.answer)}


async def plan_retry(pool: Pool, name: str, ids: tuple[int, ...] | None = None, error: str | None = None) -> RetryPlan:
    """What a retry would send again. Raises: NotThere, Unusable."""
    row = await _enabled(pool, name)
    wanted = Wanted(row.id, ids, error)
    return RetryPlan(row, wanted, *await webhooks.count_failed(pool, wanted))


async def retry(pool: Pool, plan: RetryPlan, by: str, report: Report = lambda done, of: None) -> dict[str, Any]:
    """Send them again, each with all its tries, and do not wait any more for a subscriber that fails."""
    now, done = datetime.now(UTC), 0
    while True:
        async with pool.acquire() as conn, conn.transaction():
            some = await webhooks.retry(conn, plan.wanted, plan.upto, now)
        done += some
        report(done, plan.total)
        if not some:
            break
    async with pool.acquire() as conn, conn.transaction():
        await subscribers.try_now(conn, plan.subscriber.id)
        await audit_log.add(conn, [_logged(by, "webhook.retried", plan.subscriber.name, done)])
    moved = plan.total - done
    return {"done": done, "skipped": [{"reason": "no longer failed", "count": moved}] if moved > 0 else []}


async def plan_replay(
    pool: Pool,
    name: str,
    since: datetime | None = None,
    until: datetime | None = None,
    types: tuple[str, ...] | None = None,
) -> ReplayPlan:
    """What a replay would tell again. Raises: NotThere; Unusable where it names types that the subscriber does not
    want."""
    row = await _enabled(pool, name)
    wants = tuple(one for one in OFFERED if is_wanted(one, row.types))
    if foreign := sorted(set(types or ()) - set(wants)):
        raise Unusable(f"{name} is not told of {', '.join(foreign)}: it wants {', '.join(row.types)}")
    chosen = ReplayFilter(types=types or wants, since=since, until=until)
    return ReplayPlan(row, chosen, *await replay.count(pool, chosen))


async def perform_replay(
    pool: Pool, plan: ReplayPlan, by: str, report: Report = lambda done, of: None
) -> dict[str, Any]:
    """Let the subscriber be told of them again, all or, after an error, none. Each goes out under the id of its event,
    after what waits for the same key already."""
    row, now = plan.subscriber, datetime.now(UTC)
    replay_id = f"webhooks:{uuid4().hex}"
    told = Wanting(row.id, row.types, row.is_full)
    cursor, done, odd = 0, 0, 0
    lanes: set[Lane] = set()
    async with pool.acquire() as conn, conn.transaction():
        while page := await replay.page(pool, plan.chosen, cursor, plan.upto, PAGE):
            rows: list[New] = []
            for _, event in page:
                try:
                    rows += deliveries(event, [told], replay_id)
                except Malformed:
                    odd += 1
            done += await webhook_deliveries.insert(conn, rows)
            lanes |= {(one.subscriber_id, one.key) for one in rows}
            cursor = page[-1][0]
            report(done, plan.total)
        await webhook_deliveries.settle(conn, lanes, now)  # at the end alone: it holds up deliveries of these keys
        await audit_log.add(conn, [_logged(by, "webhook.replayed", row.name, done)])
    return {"done": done, "skipped": [{"reason": "no data any more", "count": odd}] if odd else []}


async def _enabled(pool: Pool, name: str) -> Subscriber:
    row = await the_subscriber(pool, name)
    if row.state == "disabled":
        raise Unusable(f"{name} is disabled: enable it first, its deliveries wait")
    return row


def _logged(by: str, action: str, name: str, count: int) -> Logged:
    return Logged(by, action, f"subscriber:{name}", {"count": count})
