"""Keeps refused requests, to answer "why was my webhook refused". Bounded, so that a flood of them costs nothing.

Of a proven sender the body is kept whole, within bounds of its own: such a request can be sent again after mending.
"""

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

KEPT_BYTES: Final = 128_000_000
"""Bytes of whole bodies that one process keeps in KEPT_WINDOW_S seconds. A body that comes again counts once."""

KEPT_WINDOW_S: Final = 3600.0
WAITING_BYTES: Final = 32_000_000
"""Bytes of whole bodies that wait for Postgres."""

VALUE_CAP: Final = 200

_PLAIN: Final = frozenset({
    "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "date", "host",
    "transfer-encoding", "user-agent", "webhook-id", "webhook-timestamp", "expect",
})  # fmt: skip

log = structlog.get_logger(__name__)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they may be kept: those about the transport as they are, the others as name and length."""
    return {
        name[:60]: _text(value) if name.lower() in _PLAIN else f"*** ({len(value)} characters)"
        for name, value in list(headers.items())[:32]
    }


def _text(value: str) -> str:
    """The beginning of *value*, without what looks secret or personal, as Postgres can hold it."""
    return redact_text(value[:VALUE_CAP]).replace("\x00", "").encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class _Uncounted:
    """Refusals of one kind since the last row that was kept: their number, and the last of them."""

    count: int
    status: int
    remote: str | None
    at: datetime


class _Whole:
    """Which bodies are kept whole."""

    def __init__(self) -> None:
        self._began = 0.0
        self._bytes = 0
        self._seen: set[str] = set()
        self.waiting = 0
        """Bytes that wait for Postgres."""

    def takes(self, digest: str, size: int, now: float) -> bool:
        """Whether a body is kept, which then waits."""
        if now - self._began >= KEPT_WINDOW_S:
            self._began, self._bytes = now, 0
            self._seen.clear()
        if digest in self._seen or self._bytes + size > KEPT_BYTES or self.waiting + size > WAITING_BYTES:
            return False
        self._seen.add(digest)
        self._bytes += size
        self.waiting += size
        return True


class Refusals(Background):
    """Collects refused requests; as a service it writes them in batches. The rows and the counts in their column
    `suppressed` add up to all refusals."""

    def __init__(self, pool: Pool) -> None:
        super().__init__("refusals", self.run)
        self._pool = pool
        self._waiting: list[RefusedRequest] = []
        self._window: dict[tuple[str, str], tuple[float, int]] = {}
        self._suppressed: dict[tuple[str, str], _Uncounted] = {}
        self._whole = _Whole()

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
        proven: bool = False,
        path: str | None = None,
    ) -> None:
        """Keep a refusal, if the bound allows. *proven*: the sender was; its *body* is kept whole."""
        key, now = (source, reason), at.timestamp()
        digest = None if body is None else sha256(body).hexdigest()
        whole = body if body and digest and proven and self._whole.takes(digest, len(body), now) else None
        began, count = self._window.get(key, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        self._window[key] = (began, count + 1)
        if whole is None and (count >= PER_WINDOW or len(self._waiting) >= WAITING):
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
                body_sha256=digest,
                suppressed=0 if before is None else before.count,
                at=at,
                path=None if path is None else _text(path),
                body=whole,
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
            self._wait_again(batch)
            return
        self._whole.waiting -= sum(len(row.body) for row in batch if row.body is not None)

    def _wait_again(self, batch: Sequence[RefusedRequest]) -> None:
        """Put *batch* back. Where too many wait, rows without a whole body are given up."""
        rows = [*batch, *self._waiting]
        if len(rows) > WAITING:
            _tell_lost([row for row in rows if row.body is None])
            rows = [row for row in rows if row.body is not None]
        self._waiting = rows


def _tell_lost(refused: Sequence[RefusedRequest]) -> None:
    if refused:
        log.warning("refusals.lost", count=sum(1 + one.suppressed for one in refused))
