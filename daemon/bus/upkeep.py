"""Upkeep: what a process does from time to time beside its workers, each duty by itself.

The duties publish what a crash left in the outbox, follow the operator's pauses, measure, trim the streams, and make
and drop the tables of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog

from adapters.channel import Channels
from adapters.postgres.bus import burials, days, outbox, pauses, spool, workers
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from daemon.bus.consumer import Consumer
from daemon.bus.publisher import publish
from daemon.bus.trim import trim
from daemon.bus.unattended import unattended
from daemon.lifecycle import Periodic
from daemon.settings.model import Settings
from daemon.stores.health import store_away
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.outlet import take_dropped
from schemas.envelope import TOPICS

SWEEP_EVERY_S: Final = 1.0
PAUSES_EVERY_S: Final = 1.0
LAG_EVERY_S: Final = 1.0
MEASURE_EVERY_S: Final = 10.0
TRIM_EVERY_S: Final = 60.0
DAYS_EVERY_S: Final = 3600.0

OUTBOX_AGE_S: Final = 5.0
"""Younger rows are about to be published by the process that wrote them."""

BATCH: Final = 200

log = structlog.get_logger(__name__)


class Pausable(Protocol):
    """What an operator can pause."""

    paused: bool

    @property
    def name(self) -> str:
        """What the operator calls it."""
        ...


class Upkeep:
    """The duties of one process. Several processes may do the same duty at the same time without harm."""

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
        self._lag = Periodic("loop-lag", self._measure_loop, every_s=LAG_EVERY_S, at_once=False)
        self.duties: Final[Sequence[Periodic]] = (
            self._lag,
            Periodic("outbox", self._publish_left, every_s=SWEEP_EVERY_S, skip=store_away),
            Periodic("pauses", self._follow_pauses, every_s=PAUSES_EVERY_S, skip=store_away),
            Periodic("measures", self._measure, every_s=MEASURE_EVERY_S, skip=store_away),
            Periodic("trim", self._trim, every_s=TRIM_EVERY_S, skip=store_away),
            Periodic("days", self._turn_of_days, every_s=DAYS_EVERY_S, skip=store_away),
        )
        """Services, one per duty: a duty that waits for a store delays no other."""

    async def _publish_left(self) -> None:
        await publish_left(self._pool, self._streams, older_than_s=OUTBOX_AGE_S)

    async def _follow_pauses(self) -> None:
        """Do as the operator's `pause` and `resume` say."""
        paused = await pauses.paused(self._pool)
        parts: list[Pausable] = [*self._consumers, *self._channels.all()]
        for part in parts:
            if part.paused != (part.name in paused):
                part.paused = not part.paused
                log.warning("operator.paused" if part.paused else "operator.resumed", part=part.name)

    async def _trim(self) -> None:
        every = await workers.listed(self._pool)
        readers = {topic: [worker.name for worker in every if topic in worker.topics] for topic in TOPICS}
        if gone := await trim(self._streams, readers, datetime.now(UTC), self._settings.ferryman_stream_hours):
            log.info("streams.trimmed", entries=gone)

    async def _turn_of_days(self) -> None:
        """Make the tables of the days to come, and drop those that are too old and hold no open work."""
        await days.ensure_days(self._pool)
        every = [worker for worker in await workers.listed(self._pool) if worker.name != JOURNAL]
        dropped, kept = await days.drop_old_days(self._pool, self._settings.ferryman_inbox_days, every)
        if dropped:
            log.info("days.dropped", days=[str(day) for day in dropped])
        if kept:
            log.warning("days.kept", days=[str(day) for day in kept], reason="there is open work of these days")

    async def _measure_loop(self) -> None:
        self._metrics.set("ferryman_loop_lag_seconds", self._lag.late_s)
        self._metrics.inc("ferryman_log_lines_dropped_total", n=take_dropped())

    async def _measure(self) -> None:
        for channel in self._channels.all():
            self._metrics.set("ferryman_breaker_open", float(not channel.closed), {"provider": channel.name})
        self._metrics.set("ferryman_spool", await spool.size(self._pool))
        dead = await burials.open_letters(self._pool)
        await workers.seen(self._pool, [consumer.name for consumer in self._consumers])
        for name, seconds in (await unattended(self._pool, self._streams)).items():
            self._metrics.set("ferryman_unattended_seconds", seconds, {"worker": name})
        now = datetime.now(UTC)
        for consumer in self._consumers:
            worker = consumer.worker
            labels = {"worker": worker.name}
            self._metrics.set("ferryman_dead_letters", dead.get(worker.name, 0), labels)
            oldest = consumer.lanes.oldest()
            age = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
            self._metrics.set("ferryman_oldest_seconds", age, labels)
            keys = stream_keys(worker.reads, range(self._streams.partitions))
            unread, pending = await self._streams.lag(worker.name, keys)
            if unread >= 0:
                self._metrics.set("ferryman_lag", unread + pending, labels)


async def publish_left(pool: Pool, streams: Streams, *, older_than_s: float) -> None:
    """Publish what is in the outbox and older than that, oldest first. Publishing twice is harmless."""
    while rows := await outbox.left(pool, older_than_s=older_than_s, limit=BATCH):
        await publish(pool, streams, [event for _, event in rows])
        await outbox.published(pool, [seq for seq, _ in rows])
        log.info("outbox.swept", count=len(rows))
