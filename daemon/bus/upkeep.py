"""Upkeep: what a process does from time to time beside its workers, each duty by itself.

The duties publish what a crash left in the outbox, follow the operator's pauses, measure, trim the streams, and make
and drop the tables of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from adapters.postgres.bus import journal, outbox, pauses, payloads
from adapters.postgres.operator import metrics
from adapters.postgres.operator.retention import drop_old_days
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_key
from daemon.bus.breakers import Provider
from daemon.bus.consumer import Consumer
from daemon.lifecycle import Periodic
from daemon.settings.model import Settings
from daemon.stores.health import store_away
from daemon.telemetry.metrics import Metrics
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
JOURNAL: Final = "journal"

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
        providers: Sequence[Provider],
        measured: Metrics,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._streams = streams
        self._consumers = consumers
        self._providers = providers
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
        parts: list[Pausable] = [*self._consumers, *self._providers]
        for part in parts:
            if part.paused != (part.name in paused):
                part.paused = not part.paused
                log.warning("operator.paused" if part.paused else "operator.resumed", part=part.name)

    async def _trim(self) -> None:
        keys = [stream_key(topic, p) for topic in TOPICS for p in range(self._streams.partitions)]
        if gone := await trim(self._streams, keys, datetime.now(UTC), self._settings.ferryman_stream_hours):
            log.info("streams.trimmed", entries=gone)

    async def _turn_of_days(self) -> None:
        """Make the tables of the days to come, and drop those that are too old and hold no open work."""
        await journal.ensure_days(self._pool)
        types = {c.worker.name: sorted(c.worker.types) for c in self._consumers if c.worker.name != JOURNAL}
        dropped, kept = await drop_old_days(self._pool, self._settings.ferryman_inbox_days, types)
        if dropped:
            log.info("days.dropped", days=[str(day) for day in dropped])
        if kept:
            log.warning("days.kept", days=[str(day) for day in kept], reason="there is open work of these days")

    async def _measure_loop(self) -> None:
        self._metrics.set("ferryman_loop_lag_seconds", self._lag.late_s)

    async def _measure(self) -> None:
        for provider in self._providers:
            self._metrics.set("ferryman_breaker_open", float(not provider.closed), {"provider": provider.name})
        self._metrics.set("ferryman_spool", await outbox.spool_size(self._pool))
        dead = await metrics.open_dead_letters(self._pool)
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


async def publish_left(pool: Pool, streams: Streams, *, older_than_s: float) -> None:
    """Publish what is in the outbox and older than that, oldest first. Publishing twice is harmless."""
    while rows := await outbox.left(pool, older_than_s=older_than_s, limit=BATCH):
        await streams.append(await payloads.set_aside(pool, [event for _, event in rows]))
        await outbox.published(pool, [seq for seq, _ in rows])
        log.info("outbox.swept", count=len(rows))


async def trim(streams: Streams, keys: Sequence[str], now: datetime, hours: int) -> int:
    """Trim the streams *keys* by MINID; returns how many entries went. See `keep_from`."""
    pipe = streams.redis.pipeline(transaction=False)
    for key in keys:
        pipe.xinfo_groups(key)
    described: list[Any] = await pipe.execute(raise_on_error=False)
    named = [
        (key, [_text(group["name"]) for group in groups], groups)
        for key, groups in zip(keys, described, strict=True)
        if not isinstance(groups, Exception)
    ]
    pipe = streams.redis.pipeline(transaction=False)
    for key, names, _ in named:
        for name in names:
            pipe.xpending(key, name)
    pending = iter(await pipe.execute())
    pipe = streams.redis.pipeline(transaction=False)
    for key, names, groups in named:
        positions = []
        for name, group in zip(names, groups, strict=True):
            least = next(pending)["min"]
            positions.append((name, _text(group["last-delivered-id"]), None if least is None else _text(least)))
        if (least_id := keep_from(positions, now, hours)) is not None:
            pipe.execute_command("XTRIM", key, "MINID", least_id)
    return sum(int(count) for count in await pipe.execute())


def keep_from(groups: Sequence[tuple[str, str, str | None]], now: datetime, hours: int) -> str | None:
    """The oldest entry id to keep of one stream, or None: keep everything.

    What every group has acknowledged, the journal has committed and is older than *hours* may go. *groups*: (name, last
    delivered id, smallest pending id or None) of every group of the stream. Without the journal's group nothing goes,
    as no copy is known to exist.
    """
    if JOURNAL not in {name for name, _, _ in groups}:
        return None
    old = int((now - timedelta(hours=hours)).timestamp() * 1000)
    bounds = [(old, 0)]
    for _, delivered, pending in groups:
        bounds.append(_parsed(pending) if pending is not None else _parsed(delivered))
    ms, sequence = min(bounds)
    return f"{ms}-{sequence}"


def _parsed(entry_id: str) -> tuple[int, int]:
    """An entry id as numbers that compare."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
