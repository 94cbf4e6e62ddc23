"""The doctor's checks of the stores, and of the disk and the clocks that they need."""

from __future__ import annotations

from typing import Final

from adapters.redis.inspect import RedisServer
from daemon.operator.finding import Finding, Findings, Level
from daemon.operator.inspection import Inspection
from daemon.operator.lacks import ALLOW, UNTOLD
from daemon.operator.loss_window import loss_window

SKEW_WARN_S: Final = 1.0
SKEW_ERROR_S: Final = 60.0
FULL_WARN: Final = 0.8
FULL_ERROR: Final = 0.95
_ADDRESSES: Final = {"Postgres": "DATABASE_URL", "Redis": "REDIS_URL"}
CONNECTIONS: Final = 15
"""Connections to Postgres that one process may open at most."""


def stores(inspection: Inspection) -> Findings:
    """Stores that cannot be used, or are not there yet."""
    if inspection.none_yet:
        text, _, do = inspection.none_yet.partition(": ")
        yield Finding("warn", text, do)
    for store, why in inspection.away.items():
        yield Finding(
            "error", why, f"see that it runs, and check {_ADDRESSES.get(store, 'REDIS_URL and DATABASE_URL')}"
        )


def redis(inspection: Inspection) -> Findings:
    """Version, role, append-only file, eviction, memory and disk errors of Redis, or of every node of a cluster."""
    for server in inspection.nodes:
        yield from _server(server)
    for command in inspection.redis.lacks if inspection.redis is not None else ():
        yield Finding("warn", f"our user of Redis may not run {command}: {UNTOLD[command]}", ALLOW[command])
    versions = sorted({server.version for server in inspection.nodes})
    if len(versions) > 1:
        yield Finding("warn", f"the nodes run different versions: {', '.join(versions)}", "bring them to one")
    for address in inspection.silent_nodes:
        yield Finding("warn", f"the node {address} does not answer", "start it: nothing takes over for its partner")


def _server(server: RedisServer) -> Findings:
    what = f"the node {server.address}" if server.address else "Redis"
    limit = f"of {server.max_memory / 1e6:.0f} MB" if server.max_memory else "and no limit"
    memory = "memory not known" if "INFO" in server.lacks else f"{server.used_memory / 1e6:.0f} MB used {limit}"
    node = f"{server.address} {'primary' if server.role == 'master' else 'replica'}: " if server.address else ""
    yield Finding("ok", f"{node}{server.name} {server.version}, {_file(server)}, {memory}")
    if _major(server.version) < 7:
        yield Finding("error", f"{server.name} {server.version} is too old", "use Redis 7, Valkey 8 or newer")
    if server.role != "master" and not server.address:
        yield Finding("error", "Redis is a replica and takes no writes", "set REDIS_URL to the primary")
    if server.address and server.appendonly is False:
        yield Finding("warn", f"{what} has no append-only file", "set appendonly yes and appendfsync always")
    if server.policy not in (None, "noeviction"):
        text = f"maxmemory-policy of {what} is {server.policy}: it would drop accepted events"
        yield Finding("error", text, "set it to noeviction, or give Ferryman a Redis of its own")
    elif server.policy is None:
        yield Finding("warn", f"{what} does not tell its maxmemory-policy", "see that it is noeviction")
    if server.full > FULL_WARN:
        level: Level = "error" if server.full > FULL_ERROR else "warn"
        yield Finding(level, f"{what} has {server.full:.0%} of its memory in use", "raise maxmemory")
    for name in server.failing:
        yield Finding("error", f"{what} cannot write to its disk ({name})", "make room, and see its log")


def _file(server: RedisServer) -> str:
    """The state of the server's append-only file."""
    if server.appendonly is None:
        return "append-only file not known"
    if not server.appendonly:
        return "no append-only file"
    return f"append-only file, fsync {server.appendfsync or 'not known'}"


def postgres(inspection: Inspection) -> Findings:
    """Version, schema and connections of Postgres."""
    server = inspection.postgres
    if server is None:
        return
    yield Finding("ok", f"PostgreSQL {server.version}, {server.free_connections} connections free")
    if server.major < 15:
        yield Finding("error", f"PostgreSQL {server.version} is too old", "use PostgreSQL 15 or newer")
    if server.pending:
        text = f"the database lacks {len(server.pending)} migrations ({server.pending[0]} …)"
        yield Finding("error", text, "run `ferryman migrate`")
    else:
        yield Finding("ok", "the schema is up to date")
    if server.free_connections < CONNECTIONS:
        text = f"{server.free_connections} connections are free, and a process may open {CONNECTIONS}"
        yield Finding("warn", text, "raise max_connections")
    if not server.full_page_writes:
        yield Finding("warn", "full_page_writes is off: a power failure can damage tables", "set it to on")


def loss(inspection: Inspection) -> Findings:
    """How much a crash could lose with this configuration."""
    if inspection.redis is None or inspection.postgres is None:
        return
    text, do = loss_window(inspection.redis, inspection.postgres)
    yield Finding("warn" if do else "ok", text, do)


def clocks(inspection: Inspection) -> Findings:
    """The clocks of the stores against ours."""
    skews = {f"the node {node.address}" if node.address else "Redis": node.skew_s for node in inspection.nodes}
    if inspection.postgres is not None:
        skews["Postgres"] = inspection.postgres.skew_s
    for store, skew in skews.items():
        if abs(skew) > SKEW_WARN_S:
            level: Level = "error" if abs(skew) > SKEW_ERROR_S else "warn"
            side = "ahead of" if skew > 0 else "behind"
            yield Finding(level, f"the clock of {store} is {abs(skew):.1f} s {side} ours", "synchronise the clocks")


def disk(inspection: Inspection) -> Findings:
    """Free space on the disk of the data directory, in the share that `df` shows."""
    if inspection.disk is None or inspection.disk[1] == 0:
        return
    share = inspection.disk[0] / inspection.disk[1]
    text = f"the disk of {inspection.settings.ferryman_data_dir} is {share:.0%} full"
    if share > FULL_WARN:
        yield Finding("error" if share > FULL_ERROR else "warn", text, "make room")
    else:
        yield Finding("ok", text)


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 99
