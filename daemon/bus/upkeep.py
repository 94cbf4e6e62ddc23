"""Upkeep: what a process does from time to time beside its workers, each duty by itself.

The duties publish what a crash left in the outbox, follow the operator's pauses, measure, trim the streams, and make
and drop the tables of days.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Protocol

import structlog

from adapters.channel import Channel, Channels, parted, scope_of
from adapters.postgres.bus import burials, days, outbox, pauses, retention, spool, workers
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.pool import Pool, has_no_room, installation_is_wrong
from adapters.redis import pauses as asked
from adapters.redis.inspect import waiting_since
from adapters.redis.streams import Streams, stream_keys
from daemon.bus.consumer import Consumer
from daemon.bus.publisher import publish
from daemon.bus.trim import trim
from daemon.bus.unattended import unattended
from daemon.bus.worker import Duty
from daemon.lifecycle import Periodic
from daemon.settings.model import Settings
from daemon.stores.health import store_away
from daemon.telemetry.failures import fields
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.seldom import Seldom
from schemas.envelope import TOPICS

SWEEP_EVERY_S: Final = 1.0
PAUSES_EVERY_S: Final = 1.0
LAG_EVERY_S: Final = 1.0
MEASURE_EVERY_S: Final = 10.0
TRIM_EVERY_S: Final = 60.0
DAYS_EVERY_S: Final = 3600.0
RETENTION_EVERY_S: Final = 24 * 3600.0

OUTBOX_AGE_S: Final = 5.0
"""Younger rows are about to be published by the process that wrote them."""

BATCH: Final = 200

log = structlog.get_logger(__name__)


class _Survive:
    """The policy of a duty: no error of it ends the process, which serves without it. An outage is told by the store's
    watcher; any other error has its own line, and so has a full disk, where the watcher's looks may succeed."""

    def __init__(self, duty: str) -> None:
        self._duty = duty
        self._seldom = Seldom()

    def __call__(self, exc: Exception) -> bool:
        if (has_no_room(exc) or not store_away(exc)) and self._seldom.due():
            log.error("upkeep.failed", duty=self._duty, **fields(exc))
        return True


def _duty(name: str, act: Callable[[], Awaitable[None]], every_s: float) -> Periodic:
    return Periodic(name, act, every_s=every_s, skip=_Survive(name))


class Pausable(Protocol):
    """What an operator can pause."""

    paused: bool

    @property
    def name(self) -> str:
        """What the operator calls it."""
        ...


class Upkeep:
    """The duties of one process. Several processes may do the same duty at the same time without harm.

    *lines_dropped*: how many log lines were dropped since the last call. *scopes*: channel -> what its rate limit
    counts by. *of_domains*: what the domains do by the clock.
    """

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        streams: Streams,
        consumers: Sequence[Consumer],
        channels: Channels,
        measured: Metrics,
        lines_dropped: Callable[[], int] = int,
        scopes: Mapping[str, str] = MappingProxyType({}),
        of_domains: Sequence[Duty] = (),
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._streams = streams
        self._consumers = consumers
        self._channels = channels
        self._metrics = measured
        self._scopes = scopes
        self._lines_dropped = lines_dropped
        self._resumed: dict[str, bytes | None] = {}
        """Channel -> the last resumption that was heard of."""
        self._waiting_since: dict[str, float | None] = {}
        """Worker -> when its oldest open event was appended, Unix seconds of Redis's clock."""

        self._lag = Periodic("loop-lag", self._measure_loop, every_s=LAG_EVERY_S, at_once=False)
        self.duties: Final[Sequence[Periodic]] = (
            self._lag,
            _duty("outbox", self._publish_left, SWEEP_EVERY_S),
            _duty("pauses", self._follow_pauses, PAUSES_EVERY_S),
            _duty("waits", self._follow_waits, PAUSES_EVERY_S),
            _duty("measures-process", self._measure_process, MEASURE_EVERY_S),
            _duty("measures-postgres", self._measure_postgres, MEASURE_EVERY_S),
            _duty("measures-redis", self._measure_redis, MEASURE_EVERY_S),
            _duty("measures-both", self._measure_both, MEASURE_EVERY_S),
            _duty("trim", self._trim, TRIM_EVERY_S),
            _duty("retention", self._remove_old, RETENTION_EVERY_S),
            _duty("days", self._turn_of_days, DAYS_EVERY_S),
            *(_duty(*duty) for duty in of_domains),
        )
        """Services, one per duty: a duty that waits for a store delays no other."""

    async def _publish_left(self) -> None:
        await publish_left(self._pool, self._streams, older_than_s=OUTBOX_AGE_S)

    async def _follow_pauses(self) -> None:
        """Do as the operator's `pause` and `resume` say."""
        paused = await pauses.paused(self._pool)
        parts: list[Pausable] = [*self._consumers, *self._channels.all()]
        changed = [part for part in parts if part.paused != _is_paused(part.name, paused)]
        for part in changed:
            part.paused = not part.paused
            log.warning("operator.paused" if part.paused else "operator.resumed", part=part.name)
        if changed:
            await self._measure_process()

    async def _follow_waits(self) -> None:
        """See which providers have asked us to wait, also where no call of this process has met it; and which ones an
        operator has resumed, whose calls are tried again although they had stopped."""
        named = {name: self._channels[name] for name in (*self._scopes, *self._channels.names)}.values()
        channels = [channel for channel in named if parted(channel.name)[0] in self._scopes]
        scopes = [scope_of(self._scopes[parted(channel.name)[0]], parted(channel.name)[1]) for channel in channels]
        longest: dict[str, float] = {}
        for channel, told in zip(channels, await asked.heard(self._streams.redis, scopes), strict=True):
            channel.heard(told.left_s)
            if told.resumed and told.resumed != self._resumed.setdefault(channel.name, told.resumed):
                channel.probe_now()
            self._resumed[channel.name] = told.resumed
            provider = parted(channel.name)[0]
            longest[provider] = max(told.left_s, longest.get(provider, 0.0))
        for provider, left_s in longest.items():
            self._metrics.set("ferryman_provider_wait_seconds", left_s, {"provider": provider})

    async def _trim(self) -> None:
        every = await workers.listed(self._pool)
        readers = {topic: [worker.name for worker in every if topic in worker.topics] for topic in TOPICS}
        if gone := await trim(self._streams, readers, datetime.now(UTC), self._settings.ferryman_stream_hours):
            log.info("streams.trimmed", entries=gone)

    async def _turn_of_days(self) -> None:
        """Make the tables of the days to come, and drop those that are too old and hold no open work."""
        await make_days(self._pool)
        every = [worker for worker in await workers.listed(self._pool) if worker.name != JOURNAL]
        dropped, kept = await days.drop_old_days(self._pool, self._settings.ferryman_inbox_days, every)
        if dropped:
            log.info("days.dropped", days=[str(day) for day in dropped])
        if kept:
            log.warning("days.kept", days=[str(day) for day in kept], reason="there is open work of these days")

    async def _remove_old(self) -> None:
        """Remove what is older than the settings keep, kind by kind."""
        terms = {kind: getattr(self._settings, f"ferryman_retention_{kind}_days") for kind in retention.KINDS}
        terms |= dict.fromkeys(retention.WITH_EVENTS, self._settings.ferryman_inbox_days)
        for kind, days_kept in terms.items():
            if removed := await retention.remove(self._pool, kind, days_kept):
                log.info("retention.removed", kind=kind, rows=removed, older_than_days=days_kept)

    async def _measure_loop(self) -> None:
        self._metrics.set("ferryman_loop_lag_seconds", self._lag.late_s)
        self._metrics.inc("ferryman_log_lines_dropped_total", n=self._lines_dropped())

    async def _measure_process(self) -> None:
        """What this process knows by itself, also while both stores are away."""
        by_provider: dict[str, list[Channel]] = {}
        for channel in self._channels.all():
            by_provider.setdefault(parted(channel.name)[0], []).append(channel)
        for provider, accounts in by_provider.items():  # the name of an account is no label
            is_open, is_paused = any(not one.closed for one in accounts), any(one.paused for one in accounts)
            self._metrics.set("ferryman_breaker_open", float(is_open), {"provider": provider})
            self._metrics.set("ferryman_provider_paused", float(is_paused), {"provider": provider})
        for consumer in self._consumers:
            self._metrics.set("ferryman_worker_paused", float(consumer.paused), {"worker": consumer.name})
            self._set_oldest(consumer)

    def _set_oldest(self, consumer: Consumer) -> None:
        """By the lanes of this process, and by what Redis had at the last look that it answered: while Redis is away,
        nothing there ends."""
        read, waiting = consumer.lanes.oldest(), self._waiting_since.get(consumer.name)
        since = [moment for moment in (read.timestamp() if read else None, waiting) if moment is not None]
        age = max(0.0, time.time() - min(since)) if since else 0.0
        self._metrics.set("ferryman_oldest_seconds", age, {"worker": consumer.name})

    async def _measure_postgres(self) -> None:
        self._metrics.set("ferryman_spool", await spool.size(self._pool))
        dead = await burials.open_letters(self._pool)
        for consumer in self._consumers:
            self._metrics.set("ferryman_dead_letters", dead.get(consumer.name, 0), {"worker": consumer.name})
        await workers.seen(self._pool, [consumer.name for consumer in self._consumers])

    async def _measure_redis(self) -> None:
        for consumer in self._consumers:
            worker = consumer.worker
            keys = stream_keys(worker.reads, range(self._streams.partitions))
            unread, pending = await self._streams.lag(worker.name, keys)
            if unread >= 0:
                self._metrics.set("ferryman_lag", unread + pending, {"worker": worker.name})
            self._waiting_since[worker.name] = await waiting_since(self._streams.redis, worker.name, keys)
            self._set_oldest(consumer)

    async def _measure_both(self) -> None:
        for name, seconds in (await unattended(self._pool, self._streams)).items():
            self._metrics.set("ferryman_unattended_seconds", seconds, {"worker": name})


def _is_paused(name: str, paused: Collection[str]) -> bool:
    """Whether *paused* stops the worker or the channel *name*: by its name, or its whole provider."""
    provider, account = parted(name)
    return name in paused or provider in paused or f"{provider}/{account}" in paused


async def make_days(pool: Pool) -> None:
    """Make the day tables, where this role may. Rows of a day without a table go to the default partition."""
    try:
        await days.ensure_days(pool)
    except Exception as exc:
        if not installation_is_wrong(exc):
            raise
        log.error("days.not_made", **fields(exc))


async def publish_left(pool: Pool, streams: Streams, *, older_than_s: float) -> None:
    """Publish what is in the outbox and older than that, oldest first. Publishing twice is harmless."""
    while rows := await outbox.left(pool, older_than_s=older_than_s, limit=BATCH):
        await publish(pool, streams, [event for _, event in rows])
        await outbox.published(pool, [seq for seq, _ in rows])
        log.info("outbox.swept", count=len(rows))
