"""The composition root: the one place that names concrete things and puts them together."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog
from pydantic import SecretStr

from adapters.channel import Channels
from adapters.http import open_session
from adapters.ports import Source
from adapters.postgres.bus import days, meta
from adapters.postgres.pool import Pool, connect
from adapters.redis import durability, lease_table, streams
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
from daemon.bus.upkeep import Upkeep, publish_left
from daemon.bus.worker import AnyWorker, Domain, Outside, utc_now
from daemon.lifecycle import StartError
from daemon.operator.repartition import finish
from daemon.process import Daemon
from daemon.settings.model import Settings
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
READ_TIMEOUT_S: Final = 6.0  # longer than any BLOCK of ours

log = structlog.get_logger(__name__)


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
        pool = await stack.enter_async_context(connect(addresses.database_url))
        membership = Membership(addresses.database_url)
        stack.callback(membership.close)
        await membership.take_part()
        partitions = await _settled_partitions(pool, settings)
        membership.insist_on(partitions)
        stores = Stores(redis_watch(_client(stack, addresses, COMMAND_TIMEOUT_S, 2)), postgres_watch(membership.look))
        commands = _client(stack, addresses, COMMAND_TIMEOUT_S, 64)
        bus = Streams(commands, partitions, await _checked_redis(commands), recovers=True)
        await finish(pool, commands)
        known = WORKERS if workers is None else tuple(workers)
        running, off = enabled(settings, known)
        for name, reason in off.items():
            log.warning("worker.off", worker=name, reason=reason)
        await days.ensure_days(pool)
        if addresses.private:
            await lease_table.forget_all(commands)
        intake = Intake(bus, pool, stores, alone=addresses.private)
        recovery = Recovery(pool, bus, running, intake, days=settings.ferryman_inbox_days)
        await recovery.begin()
        intake.check_before_draining(recovery.check)

        metrics, channels = _metrics(known, sources), Channels()
        outside = Outside(
            settings=settings,
            pool=pool,
            redis=commands,
            session=await stack.enter_async_context(open_session()),
            channels=channels,
            metrics=metrics,
            now=utc_now,
        )
        by_name: dict[str, Consumer] = {}
        keeper = _keeper(settings, pool, bus, running, by_name)
        shared = Shared(
            settings=settings,
            pool=pool,
            streams=bus,
            leases=keeper,
            channels=channels,
            metrics=metrics,
            now=utc_now,
            suspect=recovery.suspect,
        )
        deps = await _opened(stack, running, outside)
        for worker in running:
            reads = Streams(_client(stack, addresses, READ_TIMEOUT_S, 2), partitions)
            by_name[worker.name] = Consumer(worker, deps.get(worker.domain), shared, reads)
        consumers = list(by_name.values())
        refusals = Refusals(pool)
        upkeep = Upkeep(settings, pool, bus, consumers, channels, metrics)
        await publish_left(pool, bus, older_than_s=0)
        yield Daemon(
            settings=settings,
            intake=intake,
            listener=_listener(settings, intake, refusals, metrics, sources),
            refusals=refusals,
            stores=stores,
            keeper=keeper,
            consumers=consumers,
            recovery=recovery,
            upkeep=upkeep,
            metrics=metrics,
        )


def _client(stack: AsyncExitStack, addresses: Addresses, timeout_s: float, connections: int) -> Redis:
    """A client with connections of its own, closed with *stack*."""
    client = streams.client(addresses.redis_url, timeout_s=timeout_s, connections=connections)
    stack.push_async_callback(client.aclose)
    return client


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
    settings: Settings, intake: Intake, refusals: Refusals, metrics: Metrics, sources: Sequence[Source]
) -> Listener:
    names = {name for source in sources for name in source.secrets}
    listener = Listener(
        intake,
        refusals,
        metrics,
        sources=sources,
        secrets={name: [_plain(secret) for secret in getattr(settings, name)] for name in names},
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
    """What the handlers of each domain of *workers* are given."""
    return {domain: await stack.enter_async_context(domain.opened(outside)) for domain in _domains(workers)}


def _plain(secret: SecretStr | str) -> str:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret


async def _settled_partitions(pool: Pool, settings: Settings) -> int:
    wanted = settings.ferryman_partitions
    kept = int(await meta.settle(pool, "partitions", str(wanted)))
    if kept != wanted:
        raise StartError(
            f"this database was set up with {kept} partitions and FERRYMAN_PARTITIONS says {wanted}:"
            f" set it to {kept}, or change the number with `ferryman partitions {wanted}` after a drain"
        )
    return kept


async def _checked_redis(redis: Any) -> streams.Durability:
    policy = await durability.eviction_policy(redis)
    if policy not in (None, "noeviction"):
        raise StartError(
            f"Redis has maxmemory-policy {policy} and would drop accepted events:"
            " set it to noeviction, or give Ferryman a Redis of its own"
        )
    found = await durability.of(redis)
    if found == "none":
        log.warning(
            "redis.not_durable",
            reason="no append-only file that can be waited for: a crash of Redis loses what it accepted last",
            advice="set appendonly yes and appendfsync always",
        )
    return found
