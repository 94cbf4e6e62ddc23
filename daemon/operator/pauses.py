"""Pausing and resuming a worker, or all calls to a provider, or to one account of it (PROVIDER/ACCOUNT).

A provider is also paused by itself, when it says that we ask too often; `resume` ends that pause as well. And calls
stop where a provider is away or refuses the account; `resume` has every process try again at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

from adapters.channel import parted, scope_of
from adapters.postgres import audit_log, credentials
from adapters.postgres.audit_log import DAEMON, Logged
from adapters.postgres.bus import pauses
from adapters.postgres.bus.pauses import Pause
from adapters.postgres.pool import Pool
from adapters.redis import pauses as asked
from adapters.redis.client import Redis
from adapters.redis.streams import StreamErrors
from daemon.bus.worker import AnyWorker
from daemon.operator.faults import Unusable
from schemas.credentials import ACCOUNT, DEFAULT


def scopes(workers: Sequence[AnyWorker]) -> Mapping[str, str]:
    """Provider -> the scope of its rate limit, for the providers of *workers*."""
    return {name: scope for w in workers if w.domain is not None for name, scope in w.domain.scopes.items()}


class UnknownName(Unusable):
    """There is no such worker and no such provider."""


def require_known(name: str, workers: Sequence[AnyWorker]) -> None:
    """Raises: UnknownName, with the names that there are, when *name* is neither a worker nor a provider of one, nor
    PROVIDER/ACCOUNT."""
    names = sorted({w.name for w in workers} | {channel for w in workers for channel in w.channels})
    provider, slash, account = name.partition("/")
    if name not in names and not (slash and provider in scopes(workers) and ACCOUNT.fullmatch(account)):
        raise UnknownName(f"there is no worker or provider {name}: there are {', '.join(names)}")


async def set_paused(
    pool: Pool,
    redis: Redis,
    workers: Sequence[AnyWorker],
    name: str,
    *,
    paused: bool,
    dry_run: bool = False,
    by: str = DAEMON,
    reason: str | None = None,
) -> bool:
    """Pause or resume *name* for every process. Returns whether that changes anything; *dry_run*: only that. *by*: the
    operator; *reason*: why they pause it. The audit log keeps both.

    Raises: UnknownName.
    """
    require_known(name, workers)
    provider, account = parted(name)
    if paused and account != DEFAULT and (provider, account) not in await credentials.names(pool):
        raise UnknownName(f"there is no account {name}: see `ferryman credentials list`")
    scope = None if paused or provider not in scopes(workers) else scope_of(scopes(workers)[provider], account)
    lifted = False
    with suppress(*StreamErrors):  # with Redis away each process waits by itself
        if scope is not None:
            lifted = await asked.seconds_left(redis, scope) > 0 if dry_run else await asked.lift(redis, scope)
            if not dry_run:
                await asked.resume(redis, scope)
    if dry_run:
        return lifted or (name in await pauses.paused(pool)) != paused
    async with pool.acquire() as conn, conn.transaction():
        changes = await (pauses.pause(conn, name, by, reason) if paused else pauses.resume(conn, name)) or lifted
        if changes:
            done, detail = ("paused", {"reason": reason}) if paused else ("resumed", {})
            await audit_log.add(conn, [Logged(by, f"operator.{done}", f"part:{name}", detail)])
    return changes


def document(pause: Pause) -> dict[str, Any]:
    """As JSON."""
    return {"since": pause.since, "by": pause.by, "reason": pause.reason}


def sentence(pause: Pause) -> str:
    """That something is paused, by whom and why, in words."""
    by, why = pause.by or "an operator", f' ("{pause.reason}")' if pause.reason else ""
    return f"{pause.name} is paused by {by} since {pause.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{why}"
