"""The doctor's checks of the processes: which run, what they report of themselves and of the providers, what is off."""

from __future__ import annotations

import socket
from typing import Final

from daemon.operator.finding import Finding, Findings, age
from daemon.operator.inspection import Inspection
from daemon.operator.members import differences, disagreements
from daemon.web import place as web_place

_RENEW: Final = "mend the account, or renew its key in the file of the settings and `ferryman reload`"
_WAIT: Final = "see the other side; what waits goes on by itself when it answers"


def processes(inspection: Inspection) -> Findings:
    """The processes that live, as they report themselves."""
    for member in inspection.members:
        report = member.report
        at = f" at {report.listens}" if report.listens else ""
        does = f"takes {_names(report.sources)}{at} and runs {_names(report.workers)}"
        yield Finding("ok", f"{member.named}, {report.version}, {does}")


def shell(inspection: Inspection) -> Findings:
    """Whether this shell has the settings of the processes, and they those of each other."""
    if names := differences(inspection.shell, inspection.members):
        text = f"this shell's settings differ from the daemon's: {', '.join(names)}"
        do = "give the daemon's with `--env-file FILE`; `ferryman config show --running` has its values"
        yield Finding("warn", text, do)
    if names := disagreements(inspection.members):
        text = f"the processes have different settings: {', '.join(names)}"
        yield Finding("warn", text, "give them the same, and restart them; see `ferryman config show --running`")


def providers(inspection: Inspection) -> Findings:
    """The providers, as the processes report them. One that an operator has paused is told with what is off."""
    for name, found in inspection.providers.items():
        since = "" if found.since is None else f" for {age((inspection.now - found.since).total_seconds())}"
        people = "1 person's" if found.waiting == 1 else f"{found.waiting} people's"
        waits = f"; {people} events wait" if found.waiting else ""
        match found.state:
            case "up":
                yield Finding("ok", f"{name} answers")
            case "asked":
                yield Finding("warn", f"{found.why}", f"none; `ferryman resume {name}` goes on at once")
            case "away":
                yield Finding("error", f"{found.why}{since}{waits}", _WAIT)
            case "refused":
                yield Finding("error", f"{found.why}{since}{waits}", _RENEW)
        if found.lacks:
            text = f"the account at {name} has no field of these names, so they are not written: {_names(found.lacks)}"
            yield Finding("warn", text, f"make them there, or leave it so; {name} is asked again within an hour")


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def switched_off(inspection: Inspection) -> Findings:
    """Sources and workers that are off, and why."""
    for name, why in inspection.sources_off.items():
        yield Finding("warn", f"the source {name} is not served: nothing proves its sender", f"{why}, or leave it so")
    for name in inspection.unsigned:
        yield Finding("warn", f"anybody may send to the source {name}", "take it out of FERRYMAN_ALLOW_UNSIGNED")
    for name, why in inspection.workers_off.items():
        yield Finding("warn", f"the worker {name} is off: {why}", "set or enable what it needs, or leave it so")
    for name in sorted(inspection.paused):
        yield Finding("warn", f"{name} is paused", f"`ferryman resume {name}`")


def port(inspection: Inspection) -> Findings:
    """Whether a daemon could listen here; of a daemon that runs here already, only whether it takes events."""
    here = socket.gethostname()
    if inspection.port not in ("ready", "not ready") and any(m.report.host == here for m in inspection.members):
        return
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
    """Partitions without an owner, of the workers that the processes run or that this shell would run."""
    if inspection.leases is None:
        return
    if inspection.unseen:
        text = "no process has begun; while Postgres is away, nothing tells whether one waits for it"
        yield Finding("warn", text, "bring Postgres back; then run the doctor again")
        return
    if not inspection.leases.members:
        yield Finding("warn", "no daemon runs: events wait", "`ferryman run`")
        return
    for worker in dict.fromkeys((*inspection.workers, *inspection.shell.workers)):
        lacking = [p for p in range(inspection.partitions) if (worker, p) not in inspection.leases.owners]
        if lacking:
            text = f"{len(lacking)} of {inspection.partitions} partitions of {worker} have no owner"
            yield Finding("warn", text, "run the doctor again in a moment; then see the daemon's log")
