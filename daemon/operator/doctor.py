"""The doctor: an inspection in, findings out. Every check is a plain function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from daemon.operator import archive, process_checks, senders, store_checks, sweeps, upstream
from daemon.operator.finding import Finding, Findings, age
from daemon.operator.inspection import Inspection
from daemon.settings import hints

FEW_DAYS: Final = 7
"""Day tables are made 14 days ahead, every hour."""

OLD_S: Final = 900.0
"""The age from which a waiting event is a finding."""


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


def rules(inspection: Inspection) -> Findings:
    """Rule files that keep a daemon from starting."""
    for problem in inspection.wrong_rules:
        yield Finding("error", str(problem), "mend it before the next start; then `ferryman rules check`")


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
        since = age((inspection.now - found.spool_since).total_seconds())
        yield Finding("warn", f"{found.spool} events wait in the spool, the oldest for {since}", "see Redis, above")
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
            text = f"the oldest open event of {worker} has waited for {age(found.oldest_s)}"
            yield Finding("warn", text, "`ferryman status`, and the daemon's log")


def unattended(inspection: Inspection) -> Findings:
    """Workers whose work waits while no process runs them."""
    for worker, seconds in inspection.unattended.items():
        if seconds:
            text = f"work waits for {worker}, which no process has run for {age(seconds)}"
            yield Finding("warn", text, "run it, or `ferryman workers forget` it: see `ferryman workers list`")


def _delay_s(inspection: Inspection) -> float:
    """The longest time for which a process lets an order wait on purpose."""
    texts = [member.report.settings.get("CGB_SYNC_DELAY_MS", "") for member in inspection.members]
    told = [int(text) for text in texts if text.isdigit()]
    return max(told, default=inspection.settings.cgb_sync_delay_ms) / 1000


CHECKS: Final[tuple[Callable[[Inspection], Findings], ...]] = (
    settings,
    rules,
    store_checks.stores,
    store_checks.redis,
    store_checks.postgres,
    store_checks.loss,
    store_checks.clocks,
    store_checks.disk,
    process_checks.processes,
    process_checks.port,
    process_checks.shell,
    process_checks.switched_off,
    process_checks.providers,
    senders.check,
    sweeps.check,
    archive.check,
    upstream.check,
    process_checks.owners,
    tables,
    backlog,
    unattended,
)
"""Every check, in the order in which its findings are shown."""
