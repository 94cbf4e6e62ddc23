"""What is visible of an installation from outside its processes: settings, stores, leases, backlogs, disk, port."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias

from aiohttp import ClientError, ClientSession, ClientTimeout

from adapters.postgres import sweeps
from adapters.postgres.bus import pauses, workers
from adapters.postgres.bus.workers import Registered
from adapters.postgres.migrate import MigrationError
from adapters.postgres.operator import orders
from adapters.postgres.operator.archive import ArchiveCounts, archive_counts
from adapters.postgres.operator.arrivals import Arrivals, read_arrivals
from adapters.postgres.operator.inspect import (
    PostgresServer,
    TableCounts,
    count_tables,
    inspect_server,
    open_events,
)
from adapters.postgres.pool import PostgresError, connect, single_connection, store_is_down
from adapters.postgres.pooler import ADVICE, PooledSessions, by_pooler, require_own_sessions
from adapters.postgres.sweeps import Swept
from adapters.redis import lease_table, streams
from adapters.redis.inspect import RedisServer, inspect_redis, waiting_since
from adapters.redis.lease_table import Table
from adapters.redis.pauses import seconds_left
from adapters.redis.streams import StreamErrors, Streams, stream_keys
from adapters.registry import SOURCES
from daemon.bus.unattended import unattended_of
from daemon.lifecycle import StartError
from daemon.operator import upstream
from daemon.operator.about import about
from daemon.operator.members import Member, Provider, providers, read_members, sources_off, workers_off
from daemon.operator.pauses import scopes
from daemon.operator.workers import kept_for
from daemon.rules.files import check
from daemon.rules.problems import Problem
from daemon.settings.load import masked_address
from daemon.settings.model import Settings
from daemon.stores.embedded.installation import require_programs
from daemon.stores.embedded.processes import EmbeddedError
from daemon.stores.located import Addresses, NoInstallation, located_stores
from daemon.telemetry.failures import failure
from daemon.telemetry.report import Report
from daemon.version import version
from daemon.web.place import from_here
from daemon.workers import WORKERS, rule_files

PATIENCE_S: Final = 5.0
"""Longest wait for one answer of a store or of a daemon."""

STORE_PATIENCE_S: Final = 8 * PATIENCE_S
"""Longest wait for all answers of one store."""

Port: TypeAlias = Literal["free", "any", "ready", "not ready", "taken", "not allowed", "no such address"]
"""What is at the address of the settings: nothing, a daemon of ours (accepting events or not), or another program."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """A worker's entries on its streams: *unread* and *pending* (read, not acknowledged), -1 where the server does not
    tell. *oldest_s*: how long the oldest of them has been on its stream, in seconds."""

    unread: int
    pending: int
    oldest_s: float | None


@dataclass(slots=True, kw_only=True)
class Inspection:
    """The state of an installation; None or empty: not known. *away*: store -> why it cannot be used. *workers_off*,
    *sources_off*: name -> why; these, *workers* and *unsigned* are what the live processes report, or where none does
    what a process of this shell would be (*shell*). *open_events*: worker -> accepted events that it has not ended
    with."""

    version: str
    settings: Settings
    now: datetime
    workers: tuple[str, ...] = ()
    workers_off: Mapping[str, str] = field(default_factory=dict)
    sources_off: Mapping[str, str] = field(default_factory=dict)
    unsigned: tuple[str, ...] = ()
    shell: Report = field(default_factory=Report)
    members: Sequence[Member] = ()
    """The live processes, as they report themselves."""
    wrong_rules: Sequence[Problem] = ()
    """What is wrong with the rule files of the settings."""
    port: Port = "any"
    disk: tuple[int, int] | None = None
    """(bytes used, bytes used and available) where the data directory is."""
    none_yet: str = ""
    """That there is no installation, in one line; "" where there is one."""
    away: dict[str, str] = field(default_factory=dict)
    redis: RedisServer | None = None
    nodes: tuple[RedisServer, ...] = ()
    """Each node of a cluster, else the one server; *redis* is what holds for all of them."""
    silent_nodes: tuple[str, ...] = ()
    postgres: PostgresServer | None = None
    tables: TableCounts | None = None
    paused: frozenset[str] = frozenset()
    asked_to_wait: dict[str, float] = field(default_factory=dict)
    """Provider -> for how many seconds it is asked nothing, because it said that we ask too often."""
    leases: Table | None = None
    backlogs: dict[str, Backlog] = field(default_factory=dict)
    open_events: dict[str, int] = field(default_factory=dict)
    orders: Mapping[str, int] | None = None
    """Status -> how many orders have it."""
    registered: Sequence[Registered] = ()
    """The workers of the installation."""
    unattended: dict[str, float] = field(default_factory=dict)
    """Worker of the installation -> for how many seconds its work waits without a process."""
    sweeps: Sequence[Swept] = ()
    """When Chatwoot was last looked through for messages that no webhook had brought."""
    archive: ArchiveCounts | None = None
    arrivals: Arrivals | None = None
    """What has come in from the webhook sources, where it was asked for."""
    upstream: upstream.Seen | None = None
    """How an edge stands with its upstream."""

    @property
    def partitions(self) -> int:
        """The number in force, else the number of the settings."""
        kept = self.tables.partitions if self.tables is not None else None
        return self.settings.ferryman_partitions if kept is None else kept

    @property
    def unseen(self) -> bool:
        """Whether a process may run that holds no lease: one that waits for Postgres at its start, or one that reported
        itself a moment ago, on a Redis that has just come up."""
        if self.leases is None or self.leases.members:
            return False
        return "Postgres" in self.away or bool(self.members)

    @property
    def sources_on(self) -> list[str]:
        """The webhook sources that are served, or that a process of this shell would serve."""
        return [source.name for source in SOURCES if source.name not in self.sources_off]

    @property
    def providers(self) -> dict[str, Provider]:
        """Every provider that a live process knows."""
        return providers(self.members)

    def believe(self, members: Sequence[Member]) -> None:
        """Take over what the live processes report of workers and sources. None: what this shell would run stays."""
        self.members = members
        if members:
            self.workers = tuple(dict.fromkeys(name for member in members for name in member.report.workers))
            self.workers_off, self.sources_off = workers_off(members), sources_off(members)
            self.unsigned = tuple(dict.fromkeys(name for member in members for name in member.report.unsigned))


async def inspect_installation(
    settings: Settings, *, count_open: bool = False, look_for_arrivals: bool = False, ask_upstream: bool = False
) -> Inspection:
    """Inspect everything that can be reached, and leave out the rest. *count_open*: count the open events and
    the orders too, which takes a while on a long journal. *look_for_arrivals*: also what has come in from whom.
    *ask_upstream*: ask an edge's upstream for an answer."""
    shell = about(settings, WORKERS, SOURCES)
    inspection = Inspection(
        version=version(),
        settings=settings,
        now=datetime.now(UTC),
        workers=shell.workers,
        workers_off=shell.workers_off,
        sources_off=shell.sources_off,
        unsigned=shell.unsigned,
        shell=shell,
        wrong_rules=check(settings.ferryman_rules_dir, rule_files()),
        port=await port_at(settings.ferryman_host, settings.ferryman_port, settings.ferryman_health_port),
    )
    try:
        async with located_stores(settings, make=False, join=True) as addresses:
            inspection.disk = disk_at(settings.ferryman_data_dir)
            await _inspect_postgres(inspection, addresses, count_open, look_for_arrivals, ask_upstream)
            await _inspect_redis(inspection, addresses)
    except NoInstallation as exc:
        inspection.none_yet = str(exc)
        try:
            require_programs(
                redis=settings.redis_url is None,
                postgres=settings.database_url is None,
                system=settings.ferryman_embedded == "system",
            )
        except EmbeddedError as lacking:
            inspection.away["the stores"] = str(lacking)
    except (StartError, EmbeddedError) as exc:
        inspection.away["the stores"] = str(exc)
    return inspection


def disk_at(path: Path) -> tuple[int, int] | None:
    """(bytes used, bytes used and available) of the file system that *path* is on, or would be: what `df` goes by. What
    the file system keeps for root counts as neither."""
    there = next((place for place in (path, *path.resolve().parents) if place.exists()), None)
    if there is None:
        return None
    usage = shutil.disk_usage(there)
    return usage.used, usage.used + usage.free


async def port_at(host: str, port: int, health_port: int | None = None) -> Port:
    """What is at *host*:*port*. *health_port*: where a daemon there says how it is, if not at *port* itself."""
    if port == 0:
        return "any"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except socket.gaierror:
        return "no such address"
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return await _daemon_at(host, health_port or port)
        return "not allowed" if exc.errno == errno.EACCES else "no such address"
    return "free"


async def _daemon_at(host: str, port: int) -> Port:
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=PATIENCE_S)) as session,
            session.get(f"http://{from_here(host, port)}/readyz") as answer,
        ):
            document = await answer.json(content_type=None)
    except (ClientError, OSError, TimeoutError, ValueError):
        return "taken"
    if not isinstance(document, dict) or not {"ready", "leases"} <= document.keys():
        return "taken"
    return "ready" if document["ready"] else "not ready"


@asynccontextmanager
async def _bounded(inspection: Inspection, store: str, place: str) -> AsyncIterator[None]:
    """Records that *store* is away when its inspection fails or takes too long."""
    try:
        async with asyncio.timeout(STORE_PATIENCE_S):
            yield
    except (MigrationError, PooledSessions) as exc:
        inspection.away[store] = f"{store} at {masked_address(place)} cannot be used: {exc}"
    except Exception as exc:
        if by_pooler(exc):
            inspection.away[store] = f"{store} at {masked_address(place)} cannot be used: {ADVICE}"
            return
        known = isinstance(exc, (*StreamErrors, PostgresError))
        if not known and not store_is_down(exc):
            raise
        inspection.away[store] = f"{store} at {masked_address(place)} cannot be used ({failure(exc)})"


async def _inspect_postgres(
    inspection: Inspection, addresses: Addresses, count_open: bool, look_for_arrivals: bool, ask_upstream: bool
) -> None:
    async with (
        _bounded(inspection, "Postgres", addresses.database_url),
        single_connection(addresses.database_url) as one,
        connect(addresses.database_url, size=1, name="ferryman-cli") as pool,
    ):
        async with pool.acquire() as conn:
            await require_own_sessions(one, conn)
            inspection.postgres = await inspect_server(conn, time.time())
            if inspection.postgres.pending:
                return
            inspection.tables = await count_tables(conn)
            inspection.archive = await archive_counts(conn)
            if look_for_arrivals:
                inspection.arrivals = await read_arrivals(conn, [source.name for source in SOURCES])
        inspection.registered = await workers.listed(pool)
        inspection.paused = await pauses.paused(pool)
        inspection.sweeps = await sweeps.last(pool)
        inspection.believe(await read_members(pool))
        inspection.upstream = await upstream.inspect(pool, inspection.settings, inspection.now, ask=ask_upstream)
        if count_open:
            inspection.open_events = await open_events(pool, kept_for(WORKERS, inspection.registered))
            inspection.orders = await orders.counts(pool)


async def _inspect_redis(inspection: Inspection, addresses: Addresses) -> None:
    client = streams.client(addresses.redis_url, timeout_s=PATIENCE_S, connections=2)
    try:
        async with _bounded(inspection, "Redis", addresses.redis_url):
            found = await inspect_redis(client)
            inspection.redis, inspection.nodes, inspection.silent_nodes = found.whole, found.nodes, found.silent
            inspection.leases = await lease_table.read_table(client)
            for provider, scope in scopes(WORKERS).items():
                if (left_s := await seconds_left(client, scope)) > 0:
                    inspection.asked_to_wait[provider] = left_s
            bus = Streams(client, inspection.partitions)
            inspection.unattended = await unattended_of(inspection.registered, bus)
            kept = {worker.name for worker in kept_for(WORKERS, inspection.registered)}
            for worker in WORKERS:
                if inspection.registered and worker.name not in kept:
                    continue
                keys = stream_keys(worker.reads, range(inspection.partitions))
                since = await waiting_since(client, worker.name, keys)
                age = None if since is None else max(0.0, time.time() + inspection.redis.skew_s - since)
                inspection.backlogs[worker.name] = Backlog(*(await bus.lag(worker.name, keys)), age)
    finally:
        await client.aclose()
