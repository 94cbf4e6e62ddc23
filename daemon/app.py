"""The composition root: the one place that names concrete things and puts them together."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import structlog
from pydantic import SecretStr

from adapters.cgb import STYLES
from adapters.http import open_session
from adapters.postgres import contacts
from adapters.postgres.bus import journal, meta
from adapters.postgres.pool import Pool, connect
from adapters.redis import durability, lease_table, streams
from adapters.redis.client import Redis
from adapters.redis.lease_table import LeaseTable, Pair
from adapters.redis.limits import RateLimiter
from adapters.redis.streams import Streams
from adapters.registry import SOURCES
from daemon.bus.batcher import Batcher
from daemon.bus.breakers import Provider
from daemon.bus.consumer import Consumer
from daemon.bus.intake import Intake
from daemon.bus.leases import LeaseKeeper
from daemon.bus.outcome import Worker
from daemon.bus.recovery import Recovery
from daemon.bus.upkeep import Upkeep, publish_left
from daemon.deps import Deps
from daemon.guarded import GuardedDirectory
from daemon.lifecycle import StartError
from daemon.operator.partitions import finish
from daemon.process import Daemon
from daemon.settings.model import Settings
from daemon.stores.health import Stores, postgres_watch, redis_watch
from daemon.stores.located import Addresses
from daemon.stores.membership import Membership
from daemon.telemetry.metrics import Metrics
from daemon.web.listener import Listener
from daemon.web.refusals import Refusals
from daemon.workers import WORKERS, enabled

COMMAND_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 6.0  # longer than any BLOCK of ours
PROVIDERS: Final = ("cgb", "chatwoot", "meta", "twilio", "whapi")

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """The clock of the process."""
    return datetime.now(UTC)


@asynccontextmanager
async def assembled(settings: Settings, addresses: Addresses) -> AsyncIterator[Daemon]:
    """The daemon, put together and connected, with its streams, groups and partitions in place.

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
        bus = Streams(commands, partitions, await _checked_redis(commands))
        await finish(pool, commands)
        workers, off = enabled(settings, WORKERS)
        for name, reason in off.items():
            log.warning("worker.off", worker=name, reason=reason)
        await journal.ensure_days(pool)
        if addresses.private:
            await lease_table.forget_all(commands)
        intake = Intake(bus, pool, stores, alone=addresses.private)
        recovery = Recovery(pool, bus, workers, intake, days=settings.ferryman_inbox_days)
        await recovery.begin()
        intake.check_before_draining(recovery.check)

        metrics = Metrics(
            workers=[w.name for w in WORKERS], sources=[s.name for s in SOURCES], providers=list(PROVIDERS)
        )
        cgb = Provider("cgb")
        deps = await _deps(stack, settings, pool, commands, metrics, cgb)
        by_name: dict[str, Consumer] = {}
        keeper = _keeper(settings, pool, bus, workers, by_name)
        for worker in workers:
            by_name[worker.name] = Consumer(
                worker,
                reads=Streams(_client(stack, addresses, READ_TIMEOUT_S, 2), partitions),
                commands=bus,
                pool=pool,
                leases=keeper,
                deps=deps,
                provider=cgb if worker.provider == cgb.name else None,
                suspect=recovery.suspect,
            )
        consumers = list(by_name.values())
        refusals = Refusals(pool)
        upkeep = Upkeep(settings, pool, bus, consumers, [cgb], metrics)
        await publish_left(pool, bus, older_than_s=0)
        yield Daemon(
            settings=settings,
            intake=intake,
            listener=_listener(settings, intake, refusals, metrics),
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
    settings: Settings, pool: Pool, bus: Streams, workers: Sequence[Worker], consumers: Mapping[str, Consumer]
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


def _listener(settings: Settings, intake: Intake, refusals: Refusals, metrics: Metrics) -> Listener:
    names = {name for source in SOURCES for name in source.secrets}
    listener = Listener(
        intake,
        refusals,
        metrics,
        secrets={name: [_plain(secret) for secret in getattr(settings, name)] for name in names},
        unsigned=settings.ferryman_allow_unsigned,
        body_cap=settings.ferryman_max_body_bytes,
        now=utc_now,
    )
    for source in SOURCES:
        if not listener.served(source):
            wanted = " or ".join(name.upper() for name in source.secrets)
            log.warning("source.off", source=source.name, reason=f"set {wanted}")
        elif source.name in settings.ferryman_allow_unsigned:
            log.warning("source.unsigned", source=source.name, reason="FERRYMAN_ALLOW_UNSIGNED names it")
    return listener


async def _deps(
    stack: AsyncExitStack, settings: Settings, pool: Pool, redis: Any, metrics: Metrics, cgb: Provider
) -> Deps:
    directory = None
    if settings.cgb_api_key is not None:
        session = await stack.enter_async_context(open_session())
        directory = GuardedDirectory(
            STYLES[settings.cgb_api_style](
                session=session,
                base_url=settings.cgb_api_url,
                api_key=_plain(settings.cgb_api_key),
                timeout_s=settings.cgb_timeout / 1000,
                cache_s=settings.cgb_cache_timeout,
                limiter=RateLimiter(redis, per_minute=settings.cgb_rate_per_minute),
            ),
            cgb,
        )

    async def newest(phones: list[str]) -> list[tuple[datetime, datetime, str] | None]:
        found = await contacts.newest_orders(pool, phones)
        return [found.get(phone) for phone in phones]

    lookups: Batcher[str, tuple[datetime, datetime, str] | None] = Batcher(newest)
    return Deps(settings=settings, metrics=metrics, now=utc_now, newest_order=lookups.submit, directory=directory)


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
