"""Subscribers: added, tried, given a new secret, disabled, enabled, removed. A secret is shown to whoever makes it,
once, and is stored sealed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import uuid4

import orjson

from adapters.postgres import audit_log, subscribers
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import webhooks
from adapters.postgres.pool import Pool
from adapters.postgres.subscribers import Subscriber
from adapters.subscribers.delivery import open_deliverer, why_not
from adapters.subscribers.signing import new_secret
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.settings.model import Settings
from daemon.stores.seal import NoKey, NotOpened, Seal, seal_of
from daemon.subscribers import secrets
from daemon.subscribers.secrets import Secret, in_force
from daemon.telemetry.redaction import redact_text
from schemas.envelope import Event
from schemas.subscriptions import PATTERNS, TEST, body_of

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
Backlog = Literal["send", "skip"]


class Wanted(NamedTuple):
    """A subscriber to add."""

    name: str
    url: str
    types: Sequence[str]
    full: bool


def wanted(settings: Settings, name: str, url: str, types: Sequence[str], *, full: bool = False) -> Wanted:
    """The subscriber, checked. Raises: Unusable."""
    if not NAME.fullmatch(name):
        raise Unusable("name must be 1 to 60 small letters, digits, dots, hyphens and underscores, the first no sign")
    if why := why_not(url, settings.ferryman_webhook_origins):
        raise Unusable(f"no webhooks go to this url: {why}")
    found = list(dict.fromkeys(types))
    if not found:
        raise Unusable(f"types must name at least one of {', '.join(PATTERNS)}")
    if not set(found) <= set(PATTERNS):
        raise Unusable(f"types must be of {', '.join(PATTERNS)}")
    return Wanted(name, url, found, full)


async def add(pool: Pool, settings: Settings, one: Wanted, by: str) -> dict[str, Any]:
    """Store it. Returns how it is shown, with the member `secret`: it is told here and never again. Raises: Conflict
    where the name is taken; Unusable where there is no key to seal with."""
    seal, made = _seal(settings, make=True), [Secret(new_secret())]
    sealed = secrets.sealed(seal, one.name, made)
    async with pool.acquire() as conn, conn.transaction():
        row = await subscribers.add(conn, one.name, one.url, one.types, one.full, sealed, seal.key_id, by)
        if row is None:
            raise Conflict(f"there is a subscriber {one.name} already: remove it first, or take another name")
        detail = {"types": list(one.types), "full": one.full}
        await audit_log.add(conn, [_logged(by, "webhook.added", one.name, detail)])
    return {**await _document(pool, settings, row), "secret": made[0].text}


async def listed(pool: Pool, settings: Settings) -> list[dict[str, Any]]:
    """All subscribers, by name."""
    return [await _document(pool, settings, row) for row in await subscribers.every(pool)]


async def shown(pool: Pool, settings: Settings, name: str) -> dict[str, Any]:
    """One of them, with its failed deliveries grouped by their reason. Raises: NotThere."""
    row = await the_subscriber(pool, name)
    groups = [group._asdict() for group in await webhooks.groups(pool, row.id)]
    return {**await _document(pool, settings, row), "failures_by_error": groups}


async def rotate(pool: Pool, settings: Settings, name: str, by: str) -> dict[str, Any]:
    """Give it a new secret; the former one signs beside it for 24 hours. Returns how it is shown, with the member
    `secret`. Raises: NotThere; Unusable where its secrets cannot be opened."""
    seal, now = _seal(settings), datetime.now(UTC)
    async with pool.acquire() as conn, conn.transaction():
        row = await the_subscriber(conn, name)
        new = secrets.rotated(_opened(seal, row), new_secret(), now)
        await subscribers.put_secrets(conn, row.id, secrets.sealed(seal, name, new), seal.key_id)
        await audit_log.add(conn, [_logged(by, "webhook.rotated", name, {})])
    return {**await shown(pool, settings, name), "secret": new[0].text}


async def disable(pool: Pool, settings: Settings, name: str, by: str, why: str = "") -> dict[str, Any]:
    """Send it nothing more; its events wait. One that is disabled stays as it is. Raises: NotThere."""
    now = datetime.now(UTC)
    async with pool.acquire() as conn, conn.transaction():
        row = await the_subscriber(conn, name)
        if await subscribers.disable(conn, row.id, now, by, why or "by an operator"):
            await audit_log.add(conn, [_logged(by, "webhook.disabled", name, {"why": why})])
    return await shown(pool, settings, name)


async def enable(pool: Pool, settings: Settings, name: str, by: str, backlog: Backlog | None) -> dict[str, Any]:
    """Send to it again. *backlog*: what becomes of the deliveries that wait. Raises: NotThere; Unusable where some wait
    and *backlog* is None."""
    row, now = await the_subscriber(pool, name), datetime.now(UTC)
    count, upto = await webhooks.backlog(pool, row.id)
    if row.state == "active":
        return await shown(pool, settings, name)
    if count and backlog is None:
        raise Unusable(f"{count} deliveries wait for {name}: say whether to send or to skip them (backlog)")
    skipped = 0
    while backlog == "skip":
        async with pool.acquire() as conn, conn.transaction():
            some = await webhooks.skip(conn, row.id, upto, now)
        skipped += some
        if not some:
            break
    async with pool.acquire() as conn, conn.transaction():
        if await subscribers.enable(conn, row.id):
            await webhooks.all_due(conn, row.id, now)
            detail = {"waiting": count - skipped, "skipped": skipped}
            await audit_log.add(conn, [_logged(by, "webhook.enabled", name, detail)])
    return await shown(pool, settings, name)


async def remove(pool: Pool, name: str, by: str) -> int:
    """Delete it with its deliveries; returns how many of them. Raises: NotThere."""
    row = await the_subscriber(pool, name)
    async with pool.acquire() as conn, conn.transaction():
        await subscribers.disable(conn, row.id, datetime.now(UTC), by, "being removed")
    count = await webhooks.remove(pool, row.id)
    async with pool.acquire() as conn, conn.transaction():
        await subscribers.remove(conn, row.id)
        await audit_log.add(conn, [_logged(by, "webhook.removed", name, {"deliveries": count})])
    return count


async def try_out(pool: Pool, settings: Settings, name: str) -> dict[str, Any]:
    """Send it a signed `ferryman.test` now, whatever its state is. Returns what came of it. Raises: NotThere; Unusable
    where its secrets cannot be opened."""
    row, now = await the_subscriber(pool, name), datetime.now(UTC)
    signing = in_force(_opened(_seal(settings), row), now)
    data = orjson.dumps({"subscriber": name})
    event = Event(id=str(uuid4()), type=TEST, source="ferryman", subject=name, time=now, data=data)
    body = body_of(event, full=False)
    async with open_deliverer(own=settings.ferryman_webhook_origins) as deliverer:
        answer = await deliverer.post(row.url, event.id, body, signing, now)
    return {
        "delivered": answer.delivered,
        "event_id": event.id,
        "status": answer.status,
        "error": answer.error or None,
        "answer": redact_text(answer.body) or None,
        "ms": answer.ms,
    }


async def the_subscriber(conn: Any, name: str) -> Subscriber:
    """The one of this *name*. Raises: NotThere."""
    row = await subscribers.find(conn, name) if NAME.fullmatch(name) else None
    if row is None:
        raise NotThere("there is no subscriber of this name: see `ferryman webhooks list`")
    return row


async def _document(pool: Pool, settings: Settings, row: Subscriber) -> dict[str, Any]:
    """The row as JSON, without its secrets. *error*: why it cannot be sent to, whatever its state."""
    counts = await webhooks.counts(pool, row.id)
    error, known = None, []
    try:
        known = _opened(seal_of(settings), row)
    except (NoKey, Unusable) as exc:
        error = str(exc)
    if why := why_not(row.url, settings.ferryman_webhook_origins):
        error = f"no webhooks go to its url: {why}"
    now = datetime.now(UTC)
    return {
        "name": row.name,
        "url": row.url,
        "types": row.types,
        "full": row.is_full,
        "state": row.state,
        "error": error,
        "disabled_at": row.disabled_at,
        "disabled_by": row.disabled_by,
        "disabled_why": row.disabled_why,
        "waiting": counts.waiting,
        "oldest_waiting_at": counts.oldest,
        "failed": counts.failed,
        "failures": row.failures,
        "failing_since": row.failing_since,
        "last_success_at": row.last_success_at,
        "not_before": row.not_before if row.not_before and row.not_before > now else None,
        "old_secrets_until": [one.until for one in known if one.until and one.until > now],
        "created_at": row.created_at,
        "created_by": row.created_by,
    }


def _opened(seal: Seal, row: Subscriber) -> list[Secret]:
    """Its secrets. Raises: Unusable."""
    try:
        return secrets.opened(seal, row.name, row.secrets)
    except NotOpened as exc:
        raise Unusable(f"the secret of {row.name} cannot be opened: {exc} (it needs key {row.key_id})") from None


def _seal(settings: Settings, *, make: bool = False) -> Seal:
    try:
        return seal_of(settings, make=make)
    except NoKey as exc:
        raise Unusable(str(exc)) from None


def _logged(by: str, action: str, name: str, detail: dict[str, Any]) -> Logged:
    return Logged(by, action, f"subscriber:{name}", detail)
