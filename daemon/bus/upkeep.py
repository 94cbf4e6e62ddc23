"""What has to happen now and then: publish what a crash left in the outbox, make tomorrow's partitions, measure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog

from adapters.channel import Channels
from adapters.postgres.bus import burials, days, outbox, pauses, payloads, spool
from adapters.postgres.pool import Pool, store_is_down
from adapters.redis.streams import NotDurable, StreamErrors, Streams, stream_key
from daemon.bus.consumer import Consumer
from daemon.bus.trim import JOURNAL, trim
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from schemas.envelope import TOPICS

SWEEP_S: Final = 1.0
OUTBOX_AGE_S: Final = 5.0
"""Younger rows are about to be published by the process that wrote them."""

MEASURE_EVERY: Final = 10
TRIM_EVERY: Final = 60
DAYS_EVERY: Final = 3600
BATCH: Final = 200

log = structlog.get_logger(__name__)


async def publish_left(pool: Pool, streams: Streams, *, older_than_s: float) -> None:
    """Publish what is in the outbox and older than that, oldest first. Twice is harmless."""
    while rows := await outbox.left(pool, older_than_s=older_than_s, limit=BATCH):
        await streams.append(await payloads.set_aside(pool, [event for _, event in rows]))
        await outbox.published(pool, [seq for seq, _ in rows])
        log.info("outbox.swept", count=len(rows))


class Pausable(Protocol):
    """What an operator can stop, by its name."""

    paused: bool

    @property
    def name(self) -> str: ...


class Maintenance:
    """Runs beside the workers of one process; several processes may do the same work without harm."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        streams: Streams,
        consumers: Sequence[Consumer],
        channels: Channels,
        measured: Metrics,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._streams = streams
        self._consumers = consumers
        self._channels = channels
        self._metrics = measured

    async def run(self, stop: asyncio.Event) -> None:
        """Work until *stop*. A store that is away is asked again at the next round."""
        loop, rounds = asyncio.get_running_loop(), 0
        while not stop.is_set():
            try:
                await publish_left(self._pool, self._streams, older_than_s=OUTBOX_AGE_S)
                await self._follow_pauses()
                if rounds % MEASURE_EVERY == 0:
                    await self._measure()
                if rounds % TRIM_EVERY == 1:
                    await self._trim()
                if rounds % DAYS_EVERY == 1:
                    await self._turn_of_days()
            except (*StreamErrors, NotDurable) as exc:
                log.debug("maintenance.redis_away", error_class=type(exc).__name__)
            except Exception as exc:
                if not store_is_down(exc):
                    raise
                log.debug("maintenance.postgres_away", error_class=type(exc).__name__)
            rounds += 1
            due = loop.time() + SWEEP_S
            try:
                await asyncio.wait_for(stop.wait(), SWEEP_S)
            except TimeoutError:
                self._metrics.set("ferryman_loop_lag_seconds", max(0.0, loop.time() - due))

    async def _follow_pauses(self) -> None:
        """Do as the operator's `pause` and `resume` say."""
        paused = await pauses.paused(self._pool)
        parts: list[Pausable] = [*self._consumers, *self._channels.all()]
        for part in parts:
            if part.paused != (part.name in paused):
                part.paused = not part.paused
                log.warning("operator.paused" if part.paused else "operator.resumed", part=part.name)

    async def _trim(self) -> None:
        keys = [stream_key(topic, p) for topic in TOPICS for p in range(self._streams.partitions)]
        if gone := await trim(self._streams, keys, datetime.now(UTC), self._settings.ferryman_stream_hours):
            log.info("streams.trimmed", entries=gone)

    async def _turn_of_days(self) -> None:
        await days.ensure_days(self._pool)
        types = {c.worker.name: sorted(c.worker.types) for c in self._consumers if c.worker.name != JOURNAL}
        dropped, kept = await days.drop_old_days(self._pool, self._settings.ferryman_inbox_days, types)
        if dropped:
            log.info("days.dropped", days=[str(day) for day in dropped])
        if kept:
            log.warning("days.kept", days=[str(day) for day in kept], reason="there is open work of these days")

    async def _measure(self) -> None:
        for channel in self._channels.all():
            self._metrics.set("ferryman_breaker_open", float(not channel.closed), {"provider": channel.name})
        self._metrics.set("ferryman_spool", await spool.size(self._pool))
        dead = await burials.open_letters(self._pool)
        now = datetime.now(UTC)
        for consumer in self._consumers:
            worker = consumer.worker
            labels = {"worker": worker.name}
            self._metrics.set("ferryman_dead_letters", dead.get(worker.name, 0), labels)
            oldest = consumer.lanes.oldest()
            age = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
            self._metrics.set("ferryman_oldest_seconds", age, labels)
            keys = [stream_key(topic, p) for topic in worker.reads for p in range(self._streams.partitions)]
            unread, pending = await self._streams.lag(worker.name, keys)
            if unread >= 0:
                self._metrics.set("ferryman_lag", unread + pending, labels)
