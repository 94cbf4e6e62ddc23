"""Copies of one source's webhooks for a developer's machine: posted as they are kept, signed anew, and never
acknowledged to anybody."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import trail
from adapters.postgres.operator.trail import EventFilter, FoundEvent
from adapters.postgres.pool import Pool, store_is_down
from daemon.operator.trail import NUMBERS_BEHIND, POLL_S
from daemon.telemetry.failures import failure

ANSWER_S: Final = 10.0
"""Longest wait for an answer."""

MOST: Final = 1000
"""Events from before the start, at most: the newest."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A webhook that was posted. *status*: of the answer; None: there was none, and *error* says why."""

    event: FoundEvent
    status: int | None
    ms: int
    error: str = ""


def made_secret() -> str:
    """A new secret of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, event_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers by which Standard Webhooks prove *body*, at a time in Unix seconds."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    proof = hmac.digest(key, f"{event_id}.{at}.".encode() + body, hashlib.sha256)
    signature = "v1," + base64.b64encode(proof).decode()
    return {"webhook-id": event_id, "webhook-timestamp": str(at), "webhook-signature": signature}


def is_here(url: str) -> bool:
    """Whether *url* is on this machine by its very name."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def forward(
    pool: Pool, source: str, url: str, secret: str, *, since: datetime | None, actor: str
) -> AsyncIterator[Copied]:
    """Post each webhook of *source* that arrives from now on, or has since *since*, to *url*, in the order of the
    journal. The copying is audited, as people's data leave. What is not answered is not posted again."""
    async with pool.acquire() as conn, conn.transaction():
        detail = {"here": is_here(url), "since": None if since is None else since.isoformat()}
        await audit_log.add(conn, [Logged(actor, "forward", f"source:{source}", detail)])
    async with ClientSession(timeout=ClientTimeout(total=ANSWER_S)) as session:
        async for event in _arriving(pool, source, since):
            body = (await trail.data_of(pool, [event.id])).get(event.id)
            if body is not None:  # it may have been deleted since
                yield await _posted(session, url, event, body, secret)


async def _posted(session: ClientSession, url: str, event: FoundEvent, body: bytes, secret: str) -> Copied:
    headers = {"content-type": "application/json", "user-agent": "ferryman-forward", "ferryman-type": event.type}
    headers |= signed(secret, event.id, int(time.time()), body)
    began = time.monotonic()
    status: int | None = None
    error = ""
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            status = answer.status
    except (ClientError, OSError, TimeoutError, ValueError) as exc:
        error = str(failure(exc))
    return Copied(event, status, round((time.monotonic() - began) * 1000), error)


async def _arriving(pool: Pool, source: str, since: datetime | None) -> AsyncIterator[FoundEvent]:
    """The events of *source* as they come into the journal, once each, those since *since* first. While Postgres is
    away there are none; they follow afterwards."""
    number, _ = await trail.newest(pool)
    seen = {found.id for _, found in await trail.arrived(pool, number - NUMBERS_BEHIND, NUMBERS_BEHIND)}
    if since is not None:
        before = await trail.listed(pool, EventFilter(source=source, since=since), {}, MOST)
        for found in reversed([one for one in before if one.place == "journal"]):
            seen.add(found.id)
            yield found
    while True:
        try:
            arrivals = await trail.arrived(pool, number - NUMBERS_BEHIND, 10 * NUMBERS_BEHIND)
        except Exception as exc:
            if not store_is_down(exc):
                raise
            arrivals = []
        for _, found in arrivals:
            if found.source == source and found.id not in seen:
                yield found
        if arrivals:
            seen = {found.id for _, found in arrivals}
            number = max(number, arrivals[-1][0])
        await asyncio.sleep(POLL_S)
