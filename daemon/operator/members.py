"""The processes of the installation as they report themselves, and how this shell differs from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from adapters.channel import WORST, reason
from adapters.postgres.bus import members
from adapters.postgres.pool import Connection, Pool
from daemon.telemetry.report import ProviderReport, Report, report_from

OF_ONE_PROCESS: Final = frozenset({"FERRYMAN_HOST", "FERRYMAN_PORT", "FERRYMAN_HEALTH_PORT", "FERRYMAN_ENV_FILE"})
"""Settings that two processes of one installation have each for itself: the same file may have two names."""

OF_ITS_PLACE: Final = frozenset({*OF_ONE_PROCESS, "FERRYMAN_WORKERS", "FERRYMAN_DATA_DIR", "FERRYMAN_LOG_LEVEL"})
"""Settings in which processes of one installation may well differ from each other."""

_STOPPED: Final = ("asked", "away", "refused", "paused")


@dataclass(frozen=True, slots=True)
class Member:
    """A live process: its name in the table of leases, what it reports, and how many seconds ago it did."""

    id: str
    report: Report
    seen_s: float = 0.0

    @property
    def named(self) -> str:
        """How a line names it."""
        return f"process {self.id[:8]} on {self.report.host} (pid {self.report.pid})"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider over all live processes. *state* and *error* are those of the process that is worst off; *waiting*:
    how many keys wait for it in all. *processes*: how many are in that state, of *of*. *lacks*: as any process
    reports it."""

    name: str
    state: str
    since: datetime | None
    error: str
    error_at: datetime | None
    waiting: int
    processes: int
    of: int
    lacks: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """Why calls to it are stopped; "" where they are not."""
        return reason(self.name, self.state, self.error)

    @property
    def stopped(self) -> bool:
        """Whether some process makes no calls to it now."""
        return self.state in _STOPPED

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "state": self.state,
            "why": self.why,
            "since": self.since,
            "error": self.error or None,
            "error_at": self.error_at,
            "waiting": self.waiting,
            "processes": self.processes,
            "lacks": list(self.lacks),
        }


async def read_members(conn: Connection | Pool) -> list[Member]:
    """The live processes, the longest running first."""
    found = [Member(told.id, report_from(told.report), told.seen_s) for told in await members.live(conn)]
    return sorted(found, key=lambda member: (str(member.report.started_at), member.id))


def providers(found: Sequence[Member]) -> dict[str, Provider]:
    """Every provider that a live process knows, by its name."""
    reports: dict[str, list[ProviderReport]] = {}
    for member in found:
        for name, report in member.report.providers.items():
            reports.setdefault(name, []).append(report)
    return {name: _together(name, each) for name, each in sorted(reports.items())}


def _together(name: str, reports: Sequence[ProviderReport]) -> Provider:
    worst = max(reports, key=lambda report: _rank(report.state))
    return Provider(
        name,
        worst.state,
        worst.since,
        worst.error,
        worst.error_at,
        sum(report.waiting for report in reports),
        sum(report.state == worst.state for report in reports),
        len(reports),
        tuple(sorted({name for report in reports for name in report.lacks})),
    )


def _rank(state: str) -> int:
    """How much *state* stops; a word of another version counts least."""
    return [*WORST].index(state) if state in WORST else 0


def differences(mine: Report, found: Sequence[Member]) -> list[str]:
    """Names of the settings for which no live process has the value of *mine*. Values of secrets are not compared: only
    whether they are set, and how many entries they have."""
    names = sorted({name for member in found for name in member.report.settings} | mine.settings.keys())
    return [
        name
        for name in names
        if found
        and name not in OF_ONE_PROCESS
        and all(member.report.settings.get(name) != mine.settings.get(name) for member in found)
    ]


def disagreements(found: Sequence[Member]) -> list[str]:
    """Names of the settings in which the live processes differ from each other, and should not."""
    names = sorted({name for member in found for name in member.report.settings} - OF_ITS_PLACE)
    return [name for name in names if len({member.report.settings.get(name) for member in found}) > 1]


def sources_off(found: Sequence[Member]) -> dict[str, str]:
    """Source -> why no live process serves it."""
    served = {name for member in found for name in member.report.sources}
    return {name: why for name, why in _last(member.report.sources_off for member in found) if name not in served}


def workers_off(found: Sequence[Member]) -> dict[str, str]:
    """Worker -> why no live process runs it."""
    running = {name for member in found for name in member.report.workers}
    return {name: why for name, why in _last(member.report.workers_off for member in found) if name not in running}


def credentials(found: Sequence[Member]) -> dict[str, str]:
    """PROVIDER/ACCOUNT -> why a live process cannot use what is stored of it, "" where all can."""
    together: dict[str, str] = {}
    for member in found:
        for name, why in member.report.credentials.items():
            together[name] = why or together.get(name, "")
    return dict(sorted(together.items()))


def _last(each: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Name -> why, sorted; of several reasons the last one."""
    together: dict[str, str] = {}
    for one in each:
        together |= one
    return sorted(together.items())


def document(member: Member) -> Mapping[str, Any]:
    """*member* as JSON, without its settings: `ferryman config show --running` has those."""
    report = member.report
    return {
        "id": member.id,
        "host": report.host,
        "pid": report.pid,
        "version": report.version,
        "started_at": report.started_at,
        "seen_seconds": round(member.seen_s, 1),
        "listens": report.listens,
        "workers": list(report.workers),
        "workers_off": dict(report.workers_off),
        "sources": list(report.sources),
        "sources_off": dict(report.sources_off),
        "settings_digest": report.settings_digest,
        "settings_at": report.settings_at,
        "providers": {
            name: {"state": one.state, "since": one.since, "error": one.error or None, "error_at": one.error_at}
            for name, one in report.providers.items()
        },
    }
