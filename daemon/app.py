"""The composition root: the one place that names concrete things and puts them together."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from adapters.channel import Channels
from adapters.http import open_session
from adapters.ports import Source
from adapters.postgres.bus import meta
from adapters.postgres.bus import workers as workers_table
from adapters.postgres.pool import Pool, connect
from adapters.redis import lease_table, streams
from adapters.redis.client import Redis
from adapters.redis.lease_table import LeaseTable, Pair
from adapters.redis.streams import Streams
from adapters.registry import SOURCES
from daemon.bus.consumer import Consumer
from daemon.bus.intake import Intake
from daemon.bus.leases import LeaseKeeper
from daemon.bus.metrics import METRICS as BUS_METRICS
from daemon.bus.recovery import Recovery
from daemon.bus.shared import Shared
from daemon.bus.upkeep import Upkeep, make_days, publish_left
from daemon.bus.worker import AnyWorker, Domain, Outside, utc_now
from daemon.lifecycle import StartError
from daemon.operator.repartition import finish
from daemon.process import Daemon
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.stores.checked import checked_redis
from daemon.stores.health import Stores, postgres_watch, redis_watch
from daemon.stores.located import Addresses
from daemon.stores.membership import Membership
from daemon.telemetry.declared import Declared
from daemon.telemetry.metrics import Metrics
from daemon.web.listener import Listener
from daemon.web.metrics import METRICS as WEB_METRICS
from daemon.web.refusals import Refusals
from daemon.workers import WORKERS, enabled

COMMAND_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 6.0  # longer than any BLOCK of the readers

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What every part of the process is built on: the settings and the connected stores. *stack* closes what is opened.

    *bus*: the streams, with the client for commands.
    """

    stack: AsyncExitStack
    settings: Settings
    addresses: Addresses
    pool: Pool
    bus: Streams
    stores: Stores


@asynccontextmanager
async def assembled(
    settings: Settings,
    addresses: Addresses,
    *,
    workers: Sequence[AnyWorker] | None = None,
    sources: Sequence[Source] = SOURCES,
) -> AsyncIterator[Daemon]:
    """The daemon, put together and connected, with its streams, groups and partitions in place.

    *workers*, *sources*: those of the installation, of which the settings choose; the registries' where none are given.

    Raises: StartError, one line, when the stores cannot be used as they are.
    """
    async with AsyncExitStack() as stack:
        base = await _connected(stack, settings, addresses)
        yield await _built(base, WORKERS if workers is None else tuple(workers), sources)


async def _connected(stack: AsyncExitStack, settings: Settings, addresses: Addresses) -> _Base:
    """Connect the stores, and make sure that this process may use them with these settings. Raises: StartError."""
    pool = await stack.enter_async_context(connect(addresses.database_url))
    membership = Membership(addresses.database_url)
    stack.callback(membership.close)
    await membership.take_part()
    partitions = await _settled_partitions(pool, settings)
    membership.insist_on(partitions)
    watched = _client(stack, addresses, COMMAND_TIMEOUT_S, 2)
    commands = _client(stack, addresses, COMMAND_TIMEOUT_S, 64)
    return _Base(
        stack=stack,
        settings=settings,
        addresses=addresses,
        pool=pool,
        bus=Streams(commands, partitions, await checked_redis(commands), recovers=True),
        stores=Stores(redis_watch(watched), postgres_watch(membership.look)),
    )


async def _built(base: _Base, known: Sequence[AnyWorker], sources: Sequence[Source]) -> Daemon:
    """The daemon, on stores that are ready for it."""
    settings, pool, bus = base.settings, base.pool, base.bus
    await finish(pool, bus.redis)
    running = await _running(base, known)
    intake, recovery = await _recovered(base)
    metrics, channels, refusals = _metrics(known, sources), Channels(), Refusals(pool)
    in_force = InForce(settings)
    outside = Outside(
        settings=settings,
        secret=in_force.secret,
        pool=pool,
        redis=bus.redis,
        session=await base.stack.enter_async_context(open_session()),
        channels=channels,
        metrics=metrics,
        now=utc_now,
    )
    keeper, consumers = await _consuming(base, running, outside, recovery.suspect)
    await publish_left(pool, bus, older_than_s=0)
    return Daemon(
        settings=settings,
        in_force=in_force,
        channels=channels,
        intake=intake,
        listener=_listener(in_force, intake, refusals, metrics, sources),
        refusals=refusals,
        stores=base.stores,
        keeper=keeper,
        consumers=consumers,
        recovery=recovery,
        upkeep=Upkeep(settings, pool, bus, consumers, channels, metrics),
        metrics=metrics,
    )


def _client(stack: AsyncExitStack, addresses: Addresses, timeout_s: float, connections: int) -> Redis:
    """A client with connections of its own, closed with *stack*."""
    client = streams.client(addresses.redis_url, timeout_s=timeout_s, connections=connections)
    stack.push_async_callback(client.aclose)
    return client


async def _running(base: _Base, known: Sequence[AnyWorker]) -> list[AnyWorker]:
    """Those of *known* that run with these settings; logs why the others do not.

    Enters them in the table of the installation's workers. A worker that begins at everything is entered also while it
    is off: what comes meanwhile is kept for it.
    """
    running, off = enabled(base.settings, known)
    for name, reason in off.items():
        log.warning("worker.off", worker=name, reason=reason)
    kept_for = [worker for worker in known if worker.name in off and worker.begins == "everything"]
    entries = [worker.entry for worker in (*running, *kept_for)]
    await workers_table.register(base.pool, entries, [worker.name for worker in running])
    return running


async def _recovered(base: _Base) -> tuple[Intake, Recovery]:
    """The intake and the recovery, after the first look for losses: what Redis has lost is published again."""
    await make_days(base.pool)
    if base.addresses.private:
        await lease_table.forget_all(base.bus.redis)
    intake = Intake(base.bus, base.pool, base.stores, alone=base.addresses.private)
    days, in_flight = base.settings.ferryman_inbox_days, base.settings.ferryman_max_in_flight
    recovery = Recovery(base.pool, base.bus, intake, days=days, in_flight=in_flight)
    await recovery.begin()
    intake.check_before_draining(recovery.check)
    return intake, recovery


async def _consuming(
    base: _Base, running: Sequence[AnyWorker], outside: Outside, suspect: Callable[[], None]
) -> tuple[LeaseKeeper, list[Consumer]]:
    """The keeper of the leases, and a consumer with a client of its own for each worker."""
    by_name: dict[str, Consumer] = {}
    keeper = _keeper(base.settings, base.pool, base.bus, running, by_name)
    shared = Shared(
        settings=base.settings,
        stores=base.stores,
        pool=base.pool,
        streams=base.bus,
        leases=keeper,
        channels=outside.channels,
        metrics=outside.metrics,
        now=outside.now,
        suspect=suspect,
        since={worker.name: worker.since for worker in await workers_table.listed(base.pool)},
    )
    deps = await _opened(base.stack, running, outside)
    for worker in running:
        reads = Streams(_client(base.stack, base.addresses, READ_TIMEOUT_S, 2), base.bus.partitions)
        by_name[worker.name] = Consumer(worker, deps.get(worker.domain), shared, reads)
    return keeper, list(by_name.values())


def _keeper(
    settings: Settings, pool: Pool, bus: Streams, workers: Sequence[AnyWorker], consumers: Mapping[str, Consumer]
) -> LeaseKeeper:
    """The keeper of this process's leases. *consumers* may be filled later: they are asked at a hand-over."""
    me = uuid.uuid4().hex

    def drain(pair: Pair) -> bool:
        return consumers[pair[0]].hand_over(pair[1])

    return LeaseKeeper(
        LeaseTable(bus.redis, me, [w.name for w in workers], settings.ferryman_lease_seconds),
        pool,
        me=me,
        pairs=[(w.name, p) for w in workers for p in range(bus.partitions)],
        ttl_s=settings.ferryman_lease_seconds,
        drain=drain,
        publish_left=partial(publish_left, pool, bus, older_than_s=0),
    )


def _listener(
    in_force: InForce, intake: Intake, refusals: Refusals, metrics: Metrics, sources: Sequence[Source]
) -> Listener:
    settings, names = in_force.settings, {name for source in sources for name in source.secrets}
    listener = Listener(
        intake,
        refusals,
        metrics,
        sources=sources,
        secrets={name: in_force.secrets(name) for name in names},
        unsigned=settings.ferryman_allow_unsigned,
        body_cap=settings.ferryman_max_body_bytes,
        public_url=settings.ferryman_public_url or "",
        now=utc_now,
    )
    for source in sources:
        if not listener.served(source):
            wanted = " or ".join(name.upper() for name in source.secrets)
            log.warning("source.off", source=source.name, reason=f"set {wanted}")
        elif source.name in settings.ferryman_allow_unsigned:
            log.warning("source.unsigned", source=source.name, reason="FERRYMAN_ALLOW_UNSIGNED names it")
    return listener


def _domains(workers: Sequence[AnyWorker]) -> list[Domain[Any]]:
    """The domains of *workers*, each once."""
    return list(dict.fromkeys(worker.domain for worker in workers if worker.domain is not None))


def declared(workers: Sequence[AnyWorker]) -> list[Declared]:
    """Every metric of a process that runs *workers*."""
    return [*BUS_METRICS, *WEB_METRICS, *(metric for domain in _domains(workers) for metric in domain.metrics)]


def _metrics(workers: Sequence[AnyWorker], sources: Sequence[Source]) -> Metrics:
    return Metrics(
        declared(workers),
        workers=[worker.name for worker in workers],
        sources=[source.name for source in sources],
        providers=sorted({channel for worker in workers for channel in worker.channels}),
    )


async def _opened(
    stack: AsyncExitStack, workers: Sequence[AnyWorker], outside: Outside
) -> dict[Domain[Any] | None, Any]:
    """Domain -> what its handlers are given, for the domains of *workers*."""
    return {domain: await stack.enter_async_context(domain.opened(outside)) for domain in _domains(workers)}


async def _settled_partitions(pool: Pool, settings: Settings) -> int:
    """The number of partitions in force, which the first start of all takes from *settings*. Raises: StartError where
    the settings give another number."""
    kept = int(await meta.settle(pool, "partitions", str(settings.ferryman_partitions)))
    wanted = settings.given_partitions
    if wanted not in (None, kept):
        raise StartError(
            f"this database was set up with {kept} partitions and FERRYMAN_PARTITIONS says {wanted}: leave it out,"
            f" set it to {kept}, or change the number with `ferryman partitions {wanted}` after a drain"
        )
    return kept
