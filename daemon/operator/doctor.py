"""The doctor: an inspection in, findings out. Every check is a plain function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from adapters.redis.inspect import RedisServer
from daemon.operator.inspection import Inspection
from daemon.operator.lacks import ALLOW, UNTOLD
from daemon.operator.loss_window import loss_window
from daemon.settings import hints
from daemon.web import place as web_place

Level: TypeAlias = Literal["ok", "warn", "error"]

SKEW_WARN_S: Final = 1.0
SKEW_ERROR_S: Final = 60.0
FULL_WARN: Final = 0.8
FULL_ERROR: Final = 0.95
CONNECTIONS: Final = 15
"""Connections to Postgres that one process may open at most."""

FEW_DAYS: Final = 7
"""Day tables are made 14 days ahead, every hour."""

OLD_S: Final = 900.0
"""The age from which a waiting event is a finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was found, and what to *do* about it, "" when nothing."""

    level: Level
    text: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.level:5}  {self.text}" + (f" → {self.do}" if self.do else "")


Findings: TypeAlias = Iterator[Finding]


def examine(inspection: Inspection) -> list[Finding]:
    """Every finding, in the order of the checks."""
    return [finding for check in CHECKS for finding in check(inspection)]


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether no finding is an error."""
    return all(finding.level != "error" for finding in findings)


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as JSON."""
    return {"ok": healthy(findings), "findings": [asdict(finding) for finding in findings]}


def settings(inspection: Inspection) -> Findings:
    """Settings that are probably not what was meant."""
    for name in hints.quoted(inspection.settings):
        text = f"{name} is in quotes, which are part of the value"
        yield Finding("warn", text, "take them off: Docker's env files keep quotes, other readers drop them")
    for name, option in hints.ignored_options(inspection.settings):
        pooler = option == "pgbouncer"
        do = (
            "use the pooler's address for whole sessions, not for transactions"
            if pooler
            else "take it out, or leave it"
        )
        yield Finding("warn", f"the option {option} of {name} changes nothing here", do)


def stores(inspection: Inspection) -> Findings:
    """Stores that cannot be used, or are not there yet."""
    if inspection.none_yet:
        text, _, do = inspection.none_yet.partition(": ")
        yield Finding("warn", text, do)
    for why in inspection.away.values():
        yield Finding("error", why, "see that it runs, and check REDIS_URL and DATABASE_URL")


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
    """Free space on the disk of the data directory."""
    if inspection.disk is None or inspection.disk[1] == 0:
        return
    share = inspection.disk[0] / inspection.disk[1]
    text = f"the disk of {inspection.settings.ferryman_data_dir} is {share:.0%} full"
    if share > FULL_WARN:
        yield Finding("error" if share > FULL_ERROR else "warn", text, "make room")
    else:
        yield Finding("ok", text)


def switched_off(inspection: Inspection) -> Findings:
    """Sources and workers that are off, and why."""
    for name, why in inspection.sources_off.items():
        yield Finding("warn", f"the source {name} is not served: nothing proves its sender", why)
    for name in inspection.settings.ferryman_allow_unsigned:
        yield Finding("warn", f"anybody may send to the source {name}", "take it out of FERRYMAN_ALLOW_UNSIGNED")
    for name, why in inspection.workers_off.items():
        yield Finding("warn", f"the worker {name} is off: {why}", "set what it needs, or leave it so")
    for name in sorted(inspection.paused):
        yield Finding("warn", f"{name} is paused", f"`ferryman resume {name}`")


def port(inspection: Inspection) -> Findings:
    """Whether a daemon could listen here."""
    place = web_place.place(inspection.settings.ferryman_host, inspection.settings.ferryman_port)
    match inspection.port:
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


def owners(inspection: Inspection) -> Findings:
    """Partitions without an owner."""
    if inspection.leases is None:
        return
    if not inspection.leases.members:
        yield Finding("warn", "no daemon runs: events wait", "`ferryman run`")
        return
    for worker in inspection.workers:
        lacking = [p for p in range(inspection.partitions) if (worker, p) not in inspection.leases.owners]
        if lacking:
            text = f"{len(lacking)} of {inspection.partitions} partitions of {worker} have no owner"
            yield Finding("warn", text, "run the doctor again in a moment; then see the daemon's log")


def tables(inspection: Inspection) -> Findings:
    """Counts of the tables that an operator should look at."""
    found = inspection.tables
    if found is None:
        return
    wanted = inspection.settings.given_partitions
    if wanted is not None and found.partitions not in (None, wanted):
        text = f"the database was set up with {found.partitions} partitions, and FERRYMAN_PARTITIONS says {wanted}"
        yield Finding("error", text, f"set it to {found.partitions}, or `ferryman partitions {wanted}`")
    if not found.makes_days:
        do = "make it the owner of inbox and event_journal, and grant it CREATE on their schema"
        yield Finding("error", f"this role may not make day tables; there are {found.days_ahead} for days to come", do)
    elif found.partitions is not None and found.days_ahead < FEW_DAYS:
        text = f"there are day tables for {found.days_ahead} days to come"
        yield Finding("warn", text, "keep a daemon running: it makes the day tables")
    for table, rows in found.stray.items():
        if rows:
            text = f"{rows} rows of {table} are of days that have no day table"
            yield Finding("warn", text, "keep a daemon running: it makes the day tables")
    if found.spool and found.spool_since is not None:
        age = _age((inspection.now - found.spool_since).total_seconds())
        yield Finding("warn", f"{found.spool} events wait in the spool, the oldest for {age}", "see Redis, above")
    for worker, count in sorted(found.dead_letters.items()):
        yield Finding("warn", f"{count} open dead letters of {worker}", "`ferryman dead-letters list`")


def backlog(inspection: Inspection) -> Findings:
    """Workers whose oldest event has waited for too long."""
    for worker, found in inspection.backlogs.items():
        if (
            worker in inspection.workers
            and found.oldest_s is not None
            and found.oldest_s > OLD_S + _delay_s(inspection)
        ):
            text = f"the oldest open event of {worker} has waited for {_age(found.oldest_s)}"
            yield Finding("warn", text, "`ferryman status`, and the daemon's log")


def unattended(inspection: Inspection) -> Findings:
    """Workers whose work waits while no process runs them."""
    for worker, seconds in inspection.unattended.items():
        if seconds:
            text = f"work waits for {worker}, which no process has run for {_age(seconds)}"
            yield Finding("warn", text, "run it, or `ferryman workers forget` it: see `ferryman workers list`")


def _delay_s(inspection: Inspection) -> float:
    return inspection.settings.cgb_sync_delay_ms / 1000


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 99


CHECKS: Final[tuple[Callable[[Inspection], Findings], ...]] = (
    settings,
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
    unattended,
)
"""Every check, in the order in which its findings are shown."""
