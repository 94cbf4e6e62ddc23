"""Subscribers that fail for long: a person is told after a day, and after five days nothing more is sent there.

Their events wait meanwhile. A person enables such a subscriber again, and decides whether it gets what has waited.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from adapters.postgres import audit_log, subscribers
from adapters.postgres.audit_log import DAEMON, Logged
from adapters.postgres.pool import Connection, Pool

TELLS_AFTER: Final = timedelta(hours=24)
DISABLES_AFTER: Final = timedelta(days=5)
LEAST_FAILURES: Final = 10

TOO_LONG: Final = "no delivery has succeeded for five days"
SAID_GONE: Final = "it answered 410 Gone"

log = structlog.get_logger(__name__)


async def look_after(pool: Pool, now: datetime) -> None:
    """Tell of those that fail for a day, once, and disable those that fail for five. Several processes may do it at
    once: one of them finds each."""
    async with pool.acquire() as conn, conn.transaction():
        failing = await subscribers.notice_failing(conn, now, now - TELLS_AFTER)
        ended = await subscribers.disable_failing(conn, now, now - DISABLES_AFTER, LEAST_FAILURES, DAEMON, TOO_LONG)
        await audit_log.add(conn, [Logged(DAEMON, "webhook.failing", f"subscriber:{name}", {}) for name in failing])
        await audit_log.add(conn, [_disabled(name, TOO_LONG) for name in ended])
    for name in failing:
        log.warning("webhooks.failing", subscriber=name, hours=TELLS_AFTER.total_seconds() / 3600)
    for name in ended:
        log.error("webhooks.disabled", subscriber=name, reason=TOO_LONG)


async def disable_gone(conn: Connection, id: int, name: str, now: datetime) -> None:
    """Disable a subscriber that has said that it wants nothing any more, in the transaction that records its answer."""
    if await subscribers.disable(conn, id, now, DAEMON, SAID_GONE):
        await audit_log.add(conn, [_disabled(name, SAID_GONE)])
        log.error("webhooks.disabled", subscriber=name, reason=SAID_GONE)


def _disabled(name: str, why: str) -> Logged:
    return Logged(DAEMON, "webhook.disabled", f"subscriber:{name}", {"why": why})
