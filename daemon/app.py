"""The composition root: the one place that names concrete things and puts them together."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog

from adapters.channel import Channels
from adapters.http import open_session
from adapters.ports import Source
from adapters.postgres.bus.workers import Registered
from adapters.redis.lease_table import LeaseTable, Pair
from adapters.redis.streams import Streams
from adapters.registry import SOURCES
from daemon.api.routes import routes_of
from daemon.bus.consumer import Consumer
from daemon.bus.intake import Intake
from daemon.bus.leases import LeaseKeeper
from daemon.bus.metrics import METRICS as BUS_METRICS
from daemon.bus.presence import Presence
from daemon.bus.publisher import hurry
from daemon.bus.recovery import Recovery
from daemon.bus.shared import Shared
from daemon.bus.upkeep import Upkeep, publish_left
from daemon.bus.worker import AnyWorker, Domain, Duty, Outside, utc_now
from daemon.conversations import sweeping
from daemon.lifecycle import Background
from daemon.opening import Opening
from daemon.operator.about import about
from daemon.operator.pauses import scopes
from daemon.operator.repartition import finish
from daemon.process import Daemon
from daemon.records.duties import duties as records_duties
from daemon.records.edge import wiring as edge
from daemon.records.wiring import METRICS as RECORDS_METRICS
from daemon.records.wiring import open_pulls, open_records
from daemon.renewing import Renewing
from daemon.rules.files import SHIPPED, Rules
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.stores.clients import Clients, clients
from daemon.stores.credentials import Credentials
from daemon.stores.located import Addresses
from daemon.stores.seal import keys_of
from daemon.telemetry.declared import Declared
from daemon.telemetry.metrics import Metrics
from daemon.web.listener import Listener
from daemon.web.metrics import METRICS as WEB_METRICS
from daemon.web.refusals import Refusals
from daemon.workers import WORKERS, enabled

READ_TIMEOUT_S: Final = 6.0  # longer than any BLOCK of the readers

log = structlog.get_logger(__name__)


@asynccontextmanager
async def assembled(
    settings: Settings,
    addresses: Addresses,
    *,
    workers: Sequence[AnyWorker] | None = None,
    sources: Sequence[Source] = SOURCES,
    rules: Rules = SHIPPED,
    lines_dropped: Callable[[], int] = int,
    made_token: str = "",
) -> AsyncIterator[Daemon]:
    """The daemon, put together. Nothing but the number of partitions is asked of the stores before it runs.

    *workers*, *sources*: those of the installation, of which the settings choose; the registries' where none are given.
    *rules*: what the rule files say. *lines_dropped*: how many log lines were dropped since the last call.
    *made_token*: the admin token that was made for embedded stores.
    """
    async with AsyncExitStack() as stack:
        base = await clients(stack, settings, addresses)
        known = WORKERS if workers is None else tuple(workers)
        yield await _built(stack, settings, base, known, sources, rules, lines_dropped, made_token)


async def _built(
    stack: AsyncExitStack,
    settings: Settings,
    base: Clients,
    known: Sequence[AnyWorker],
    sources: Sequence[Source],
    rules: Rules,
    lines_dropped: Callable[[], int],
    made_token: str,
) -> Daemon:
    """The daemon, on *base*; *stack* closes what is opened. *known*: the workers of the installation."""
    pool, bus = base.pool, base.bus
    running, entries = _running(settings, known, rules)
    intake, recovery = _recovered(settings, base)
    metrics, refusals, me = _metrics(known, sources), Refusals(pool), uuid.uuid4().hex
    credentials = Credentials(pool, lambda: keys_of(in_force.settings))
    in_force = InForce(settings, credentials)
    since: dict[str, datetime] = {}
    outside = await _outside(stack, base, in_force, credentials, known, running, metrics, rules)
    channels, records = outside.channels, open_records(outside)
    pulls = open_pulls(outside, records)
    deps = await _opened(stack, running, replace(outside, wake=records.woke.ring))
    keeper, consumers = _consuming(base, me, running, deps, outside, recovery.suspect, since)
    told = partial(about, workers=known, sources=sources, rules=rules, beside=credentials.beside)
    listener = _listener(in_force, intake, refusals, metrics, sources, credentials.awaited)
    presence = Presence(pool, me, told(settings), consumers, channels, credentials=lambda: credentials.states)
    renewing = Renewing(
        credentials=credentials,
        in_force=in_force,
        listener=listener,
        channels=channels,
        presence=presence,
        about=told,
    )
    of_domains = [*_duties(running, outside, deps), *sweeping.duties(outside), *records_duties(outside, records)]
    duties = [*of_domains, renewing.duty]
    return Daemon(
        settings=settings,
        in_force=in_force,
        about=told,
        channels=channels,
        opening=_opening(settings, base, intake, recovery, running, entries, since),
        intake=intake,
        listener=listener,
        refusals=refusals,
        stores=base.stores,
        keeper=keeper,
        consumers=consumers,
        recovery=recovery,
        presence=presence,
        upkeep=Upkeep(settings, pool, bus, consumers, channels, metrics, lines_dropped, scopes(known), duties),
        metrics=metrics,
        routes=routes_of(in_force, pool, bus, outside, made_token, records, pulls),
        waits=[Background("record-pulls", pulls.watching.run), *edge.services(outside, records.woke)],
    )


async def _outside(
    stack: AsyncExitStack,
    base: Clients,
    in_force: InForce,
    credentials: Credentials,
    known: Sequence[AnyWorker],
    running: Sequence[AnyWorker],
    metrics: Metrics,
    rules: Rules,
) -> Outside:
    """What the domains are given. *stack* closes it."""
    at_once = calls_at_once(in_force.settings, running)
    return Outside(
        settings=in_force.settings,
        secret=in_force.secret,
        pool=base.pool,
        redis=base.bus.redis,
        session=await stack.enter_async_context(open_session(per_host=at_once)),
        channels=Channels(_providers(known)),
        metrics=metrics,
        now=utc_now,
        rules=rules,
        credentials=credentials,
        at_end=stack.callback,
        hurry=partial(hurry, base.pool, base.bus),
    )


def calls_at_once(settings: Settings, workers: Sequence[AnyWorker]) -> int:
    """How many calls to one provider the lanes of *workers* may have under way: a lane waits for no connection."""
    lanes = (sum(w.lanes(settings) for w in workers if name in w.channels) for name in _providers(workers))
    return max(lanes, default=1)


def _providers(workers: Sequence[AnyWorker]) -> list[str]:
    """The names of the channels of *workers*, each once."""
    return sorted({channel for worker in workers for channel in worker.channels})


def _opening(
    settings: Settings,
    base: Clients,
    intake: Intake,
    recovery: Recovery,
    running: Sequence[AnyWorker],
    entries: Sequence[Registered],
    since: dict[str, datetime],
) -> Opening:
    return Opening(
        addresses=base.addresses,
        pool=base.pool,
        membership=base.membership,
        bus=base.bus,
        stores=base.stores,
        intake=intake,
        recovery=recovery,
        finish_change=partial(finish, base.pool, base.bus.redis),
        entries=entries,
        running=[worker.name for worker in running],
        given_partitions=settings.given_partitions is not None,
        since=since,
    )


def _running(settings: Settings, known: Sequence[AnyWorker], rules: Rules) -> tuple[list[AnyWorker], list[Registered]]:
    """Those of *known* that run with these settings and rules, and the entries for the table of the installation's
    workers; logs why the others do not run.

    A worker that begins at everything is entered also while it is off: what comes meanwhile is kept for it.
    """
    running, off = enabled(settings, known, rules)
    for name, reason in off.items():
        log.warning("worker.off", worker=name, reason=reason)
    kept_for = [worker for worker in known if worker.name in off and worker.begins == "everything"]
    return running, [worker.entry for worker in (*running, *kept_for)]


def _recovered(settings: Settings, base: Clients) -> tuple[Intake, Recovery]:
    """The intake and the recovery, which looks before each drain of the spool."""
    intake = Intake(base.bus, base.pool, base.stores, alone=base.addresses.private, closed=True)
    days, in_flight = settings.ferryman_inbox_days, settings.ferryman_max_in_flight
    recovery = Recovery(base.pool, base.bus, intake, days=days, in_flight=in_flight)
    intake.check_before_draining(recovery.check)
    return intake, recovery


def _consuming(
    base: Clients,
    me: str,
    running: Sequence[AnyWorker],
    deps: Mapping[Domain[Any] | None, Any],
    outside: Outside,
    suspect: Callable[[], None],
    since: Mapping[str, datetime],
) -> tuple[LeaseKeeper, list[Consumer]]:
    """The keeper of the leases, and a consumer with a client of its own for each worker. *deps*: as `_opened` has
    them."""
    by_name: dict[str, Consumer] = {}
    keeper = _keeper(base, me, running, by_name, outside.settings.ferryman_lease_seconds)
    shared = Shared(
        settings=outside.settings,
        stores=base.stores,
        pool=base.pool,
        streams=base.bus,
        leases=keeper,
        channels=outside.channels,
        metrics=outside.metrics,
        now=outside.now,
        suspect=suspect,
        since=since,
    )
    for worker in running:
        reads = Streams(base.client(READ_TIMEOUT_S, 2), base.bus.partitions)
        by_name[worker.name] = Consumer(worker, deps.get(worker.domain), shared, reads)
    return keeper, list(by_name.values())


def _keeper(
    base: Clients, me: str, workers: Sequence[AnyWorker], consumers: Mapping[str, Consumer], ttl_s: float
) -> LeaseKeeper:
    """The keeper of this process's leases. *consumers* may be filled later: they are asked at a hand-over."""
    bus = base.bus

    def drain(pair: Pair) -> bool:
        return consumers[pair[0]].hand_over(pair[1])

    return LeaseKeeper(
        LeaseTable(bus.redis, me, [w.name for w in workers], ttl_s),
        base.pool,
        me=me,
        pairs=[(w.name, p) for w in workers for p in range(bus.partitions)],
        ttl_s=ttl_s,
        drain=drain,
        publish_left=partial(publish_left, base.pool, bus, older_than_s=0),
    )


def _listener(
    in_force: InForce,
    intake: Intake,
    refusals: Refusals,
    metrics: Metrics,
    sources: Sequence[Source],
    awaited: Callable[[str], bool],
) -> Listener:
    settings = in_force.settings
    names = {name for source in sources for name in (*source.secrets, *source.challenge_secrets)}
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
        awaited=awaited,
    )
    for source in sources:
        if why := listener.lacks(source):
            log.warning("source.off", source=source.name, reason=why)
        elif source.name in settings.ferryman_allow_unsigned:
            log.warning("source.unsigned", source=source.name, reason="FERRYMAN_ALLOW_UNSIGNED names it")
    return listener


def _domains(workers: Sequence[AnyWorker]) -> list[Domain[Any]]:
    """The domains of *workers*, each once."""
    return list(dict.fromkeys(worker.domain for worker in workers if worker.domain is not None))


def _duties(workers: Sequence[AnyWorker], outside: Outside, deps: Mapping[Domain[Any] | None, Any]) -> list[Duty]:
    """What the domains of *workers* do by the clock. *deps*: as `_opened` has them."""
    return [duty for domain in _domains(workers) for duty in domain.duties(outside, deps[domain])]


def declared(workers: Sequence[AnyWorker]) -> list[Declared]:
    """Every metric of a process that runs *workers*."""
    return [
        *BUS_METRICS,
        *WEB_METRICS,
        *sweeping.METRICS,
        *RECORDS_METRICS,
        *(metric for domain in _domains(workers) for metric in domain.metrics),
    ]


def _metrics(workers: Sequence[AnyWorker], sources: Sequence[Source]) -> Metrics:
    return Metrics(
        declared(workers),
        workers=[worker.name for worker in workers],
        sources=[source.name for source in sources],
        providers=_providers(workers),
    )


async def _opened(
    stack: AsyncExitStack, workers: Sequence[AnyWorker], outside: Outside
) -> dict[Domain[Any] | None, Any]:
    """Domain -> what its handlers are given, for the domains of *workers*."""
    return {domain: await stack.enter_async_context(domain.opened(outside)) for domain in _domains(workers)}
