"""The doctor: facts in, findings out. Every check is a plain function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from adapters.postgres.operator.inspect import Postgres
from adapters.redis.inspect import RedisServer
from daemon.operator.inspection import Facts

Level: TypeAlias = Literal["ok", "warn", "error"]

SKEW_WARN_S: Final = 1.0
SKEW_ERROR_S: Final = 60.0
FULL_WARN: Final = 0.8
FULL_ERROR: Final = 0.95
CONNECTIONS: Final = 15
"""What one process may open at most."""

OLD_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what is so, and, unless all is well, what to *do*."""

    level: Level
    text: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.level:5}  {self.text}" + (f" → {self.do}" if self.do else "")


Findings: TypeAlias = Iterator[Finding]


def examined(facts: Facts) -> list[Finding]:
    """Every finding, in the order of the checks."""
    return [finding for check in CHECKS for finding in check(facts)]


def stores(facts: Facts) -> Findings:
    """Stores that cannot be used."""
    for why in facts.away.values():
        yield Finding("error", why, "see that it runs, and check REDIS_URL and DATABASE_URL")


def redis(facts: Facts) -> Findings:
    """Version, role, append-only file, eviction, memory and disk errors of Redis, of a cluster for every node."""
    for server in facts.nodes:
        yield from _server(server)
    versions = sorted({server.version for server in facts.nodes})
    if len(versions) > 1:
        yield Finding("warn", f"the nodes run different versions: {', '.join(versions)}", "bring them to one")
    for address in facts.silent_nodes:
        yield Finding("warn", f"the node {address} does not answer", "start it: nothing takes over for its partner")


def _server(server: RedisServer) -> Findings:
    what = f"the node {server.address}" if server.address else "Redis"
    used = f"{server.used_memory / 1e6:.0f} MB"
    limit = f"of {server.max_memory / 1e6:.0f} MB" if server.max_memory else "and no limit"
    node = f"{server.address} {'primary' if server.role == 'master' else 'replica'}: " if server.address else ""
    yield Finding("ok", f"{node}{server.name} {server.version}, {_file(server)}, {used} used {limit}")
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
    """The state of its append-only file."""
    if server.appendonly is None:
        return "append-only file not known"
    if not server.appendonly:
        return "no append-only file"
    return f"append-only file, fsync {server.appendfsync or 'not known'}"


def postgres(facts: Facts) -> Findings:
    """Version, schema and connections of Postgres."""
    server = facts.postgres
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


def loss(facts: Facts) -> Findings:
    """The loss window of this configuration."""
    if facts.redis is None or facts.postgres is None:
        return
    text, do = loss_window(facts.redis, facts.postgres)
    yield Finding("warn" if do else "ok", text, do)


def loss_window(server: RedisServer, database: Postgres) -> tuple[str, str]:
    """(one sentence: what a crash could lose of what was answered 202, what to do about it: "" when it is nothing)."""
    lost, todo = [], []
    if server.durability == "none":
        lost.append(f"a crash of Redis loses {_redis_loses(server)}")
        todo.append("set appendonly yes and appendfsync always")
    if server.replicas:
        lost.append("a failover of Redis loses what its replica did not have yet and the journal neither")
        todo.append("see that replicas keep up")
    if not database.fsync:
        lost.append("a power failure of Postgres may lose all of it (fsync is off)")
        todo.append("set fsync on")
    elif database.synchronous_commit == "off":
        lost.append("a crash of Postgres loses the results of up to its last second, which are not worked out again")
        todo.append("set synchronous_commit on")
    if lost:
        return f"Loss window: {'; '.join(lost)}; a crash of Ferryman alone loses nothing.", ", ".join(todo)
    how = "every event is on Redis's disk before its answer" if server.durability == "always" else "WAITAOF confirms it"
    return f"Loss window: a crash of Redis, Postgres or Ferryman loses nothing that was answered 202: {how}.", ""


def _redis_loses(server: RedisServer) -> str:
    if server.appendonly is False:
        return "every event since its last snapshot that the journal has not copied yet"
    if server.appendfsync == "everysec":
        return "up to a second of events that the journal has not copied yet"
    return "the events that were not on its disk yet and not in the journal: as many as the system holds back"


def clocks(facts: Facts) -> Findings:
    """Clock skew of the stores against ours."""
    skews = {f"the node {node.address}" if node.address else "Redis": node.skew_s for node in facts.nodes}
    if facts.postgres is not None:
        skews["Postgres"] = facts.postgres.skew_s
    for store, skew in skews.items():
        if abs(skew) > SKEW_WARN_S:
            level: Level = "error" if abs(skew) > SKEW_ERROR_S else "warn"
            side = "ahead of" if skew > 0 else "behind"
            yield Finding(level, f"the clock of {store} is {abs(skew):.1f} s {side} ours", "synchronise the clocks")


def disk(facts: Facts) -> Findings:
    """Room where the data directory is."""
    if facts.disk is None or facts.disk[1] == 0:
        return
    share = facts.disk[0] / facts.disk[1]
    text = f"the disk of {facts.settings.ferryman_data_dir} is {share:.0%} full"
    if share > FULL_WARN:
        yield Finding("error" if share > FULL_ERROR else "warn", text, "make room")
    else:
        yield Finding("ok", text)


def switched_off(facts: Facts) -> Findings:
    """Sources and workers that are off, and why."""
    for name, why in facts.sources_off.items():
        yield Finding("warn", f"the source {name} is not served: nothing proves its sender", why)
    for name in facts.settings.ferryman_allow_unsigned:
        yield Finding("warn", f"anybody may send to the source {name}", "take it out of FERRYMAN_ALLOW_UNSIGNED")
    for name, why in facts.workers_off.items():
        yield Finding("warn", f"the worker {name} is off: {why}", "set what it needs, or leave it so")
    for name in sorted(facts.paused):
        yield Finding("warn", f"{name} is paused", f"`ferryman resume {name}`")


def port(facts: Facts) -> Findings:
    """Whether a daemon could listen here."""
    place = f"{facts.settings.ferryman_host}:{facts.settings.ferryman_port}"
    match facts.port:
        case "free":
            yield Finding("ok", f"{place} is free")
        case "ready":
            yield Finding("ok", f"a daemon takes events at {place}")
        case "not ready":
            yield Finding("warn", f"the daemon at {place} takes no events now", "see its stores, above")
        case "taken":
            yield Finding("error", f"another program has {place}", "set FERRYMAN_PORT, or stop it")
        case "not allowed":
            yield Finding("error", f"this user may not listen on {place}", "set FERRYMAN_PORT to 1024 or above")
        case "no such address":
            yield Finding("error", f"{place} is no address of this machine", "set FERRYMAN_HOST")


def owners(facts: Facts) -> Findings:
    """Whether everything has an owner."""
    if facts.leases is None:
        return
    if not facts.leases.members:
        yield Finding("warn", "no daemon runs: events wait", "`ferryman run`")
        return
    for worker in facts.workers:
        lacking = [p for p in range(facts.partitions) if (worker, p) not in facts.leases.owners]
        if lacking:
            text = f"{len(lacking)} of {facts.partitions} partitions of {worker} have no owner"
            yield Finding("warn", text, "look again in a moment; then see the log of the daemon")


def tables(facts: Facts) -> Findings:
    """What the tables say that somebody should look at."""
    found = facts.tables
    if found is None:
        return
    wanted = facts.settings.ferryman_partitions
    if found.partitions not in (None, wanted):
        text = f"the database was set up with {found.partitions} partitions, and FERRYMAN_PARTITIONS says {wanted}"
        yield Finding("error", text, f"set it to {found.partitions}, or `ferryman partitions {wanted}`")
    for table, rows in found.stray.items():
        if rows:
            text = f"{rows} rows of {table} are of days that have no partition of their own"
            yield Finding("warn", text, "keep a daemon running, which makes the days")
    if found.spool and found.spool_since is not None:
        age = _age((facts.now - found.spool_since).total_seconds())
        yield Finding("warn", f"{found.spool} events wait in the spool, the oldest for {age}", "see Redis, above")
    for worker, count in sorted(found.dead_letters.items()):
        yield Finding("warn", f"{count} open dead letters of {worker}", "`ferryman dead-letters list`")


def backlog(facts: Facts) -> Findings:
    """How long events have waited."""
    for worker, found in facts.backlogs.items():
        if worker in facts.workers and found.oldest_s is not None and found.oldest_s > OLD_S + _delay_s(facts):
            text = f"the oldest open event of {worker} has waited for {_age(found.oldest_s)}"
            yield Finding("warn", text, "`ferryman status`, and the daemon's log")


def _delay_s(facts: Facts) -> float:
    return facts.settings.cgb_sync_delay_ms / 1000


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 99


CHECKS: Final[tuple[Callable[[Facts], Findings], ...]] = (
    stores,
    redis,
    postgres,
    loss,
    clocks,
    disk,
    port,
    switched_off,
    owners,
    tables,
    backlog,
)
"""Every check, in the order in which its findings are shown."""
