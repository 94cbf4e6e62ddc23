"""Keeps refused requests, to answer "why was my webhook refused". Bounded, so that a flood of them costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

import orjson
import structlog

from adapters.postgres.operator import refusals
from adapters.postgres.operator.refusals import RefusedRequest
from adapters.postgres.pool import Pool
from daemon.lifecycle import Background, Periodic
from daemon.stores.health import store_away
from daemon.telemetry.redaction import redact_text

PER_WINDOW: Final = 60
"""Rows kept per source and reason in WINDOW_S seconds; the next row that is kept counts the rest."""

WINDOW_S: Final = 60.0
WRITE_EVERY_S: Final = 0.25
WAITING: Final = 1000
"""Most rows that wait for Postgres."""

VALUE_CAP: Final = 200

_PLAIN: Final = frozenset({
    "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "date", "host",
    "transfer-encoding", "user-agent", "webhook-id", "webhook-timestamp", "expect",
})  # fmt: skip

log = structlog.get_logger(__name__)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they may be kept: those about the transport as they are, the others as name and length."""
    return {
        name[:80]: redact_text(value[:VALUE_CAP]).replace("\x00", "")
        if name.lower() in _PLAIN
        else f"*** ({len(value)} characters)"
        for name, value in list(headers.items())[:64]
    }


@dataclass(frozen=True, slots=True)
class _Uncounted:
    """Refusals of one kind since the last row that was kept: their number, and the last of them."""

    count: int
    status: int
    remote: str | None
    at: datetime


class Refusals(Background):
    """Collects refused requests; as a service it writes them in batches. The rows and the counts in their column
    `suppressed` add up to all refusals."""

    def __init__(self, pool: Pool) -> None:
        super().__init__("refusals", self.run)
        self._pool = pool
        self._waiting: list[RefusedRequest] = []
        self._window: dict[tuple[str, str], tuple[float, int]] = {}
        self._suppressed: dict[tuple[str, str], _Uncounted] = {}

    def note(
        self,
        source: str,
        reason: str,
        status: int,
        *,
        at: datetime,
        remote: str | None,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> None:
        """Keep a refusal, if the bound allows."""
        key, now = (source, reason), at.timestamp()
        began, count = self._window.get(key, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        self._window[key] = (began, count + 1)
        if count >= PER_WINDOW or len(self._waiting) >= WAITING:
            before = self._suppressed.get(key)
            self._suppressed[key] = _Uncounted(1 if before is None else before.count + 1, status, remote, at)
            return
        before = self._suppressed.pop(key, None)
        self._waiting.append(
            RefusedRequest(
                source=source,
                reason=reason,
                status=status,
                remote=remote,
                headers=orjson.dumps(masked(headers)).decode(),
                body_bytes=None if body is None else len(body),
                body_sha256=None if body is None else sha256(body).hexdigest(),
                suppressed=0 if before is None else before.count,
                at=at,
            )
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Write the noted refusals until *stop*; then the rest of them, and a row for those that were only counted."""
        await Periodic(self.name, self._write, every_s=WRITE_EVERY_S).run(stop)
        self._count_the_rest()
        await self._write()
        _tell_lost(self._waiting)

    def _count_the_rest(self) -> None:
        """Make a row for each kind of refusal that no kept row has counted, with what is known of the last of them."""
        for (source, reason), rest in self._suppressed.items():
            self._waiting.append(
                RefusedRequest(
                    source=source,
                    reason=reason,
                    status=rest.status,
                    remote=rest.remote,
                    headers="{}",
                    body_bytes=None,
                    body_sha256=None,
                    suppressed=rest.count - 1,
                    at=rest.at,
                )
            )
        self._suppressed.clear()

    async def _write(self) -> None:
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        try:
            await refusals.insert(self._pool, batch)
        except Exception as exc:
            if not store_away(exc):
                raise
            if len(self._waiting) + len(batch) > WAITING:
                _tell_lost(batch)
                return
            self._waiting = batch + self._waiting


def _tell_lost(refused: Sequence[RefusedRequest]) -> None:
    if refused:
        log.warning("refusals.lost", count=sum(1 + one.suppressed for one in refused))
