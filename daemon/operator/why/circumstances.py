"""How the installation is while an event waits: what is paused, which processes live, how the providers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.postgres.bus import pauses
from adapters.postgres.bus.pauses import Pause
from adapters.postgres.pool import Pool
from daemon.operator.members import Member, Provider, providers, read_members, workers_off
from daemon.operator.why.sentence import shown


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an open event may wait for. *pauses*: what an operator has stopped. *members*: the live processes."""

    pauses: Mapping[str, Pause] = field(default_factory=dict)
    members: Sequence[Member] = ()
    providers: Mapping[str, Provider] = field(default_factory=dict)

    def running(self, worker: str) -> list[Member]:
        """The live processes that run *worker*."""
        return [member for member in self.members if worker in member.report.workers]


async def read_circumstances(pool: Pool) -> Circumstances:
    """How things are now."""
    members = await read_members(pool)
    return Circumstances(await pauses.listed(pool), members, providers(members))


def stopped(worker: str, now: Circumstances) -> str | None:
    """Why nothing of *worker* goes on; None: it runs."""
    if worker in now.pauses:
        return paused(now.pauses[worker])
    return off(worker, now)


def off(worker: str, now: Circumstances) -> str | None:
    """Why no process runs *worker*; None: one does."""
    if not now.members:
        return "no daemon runs: `ferryman run`"
    if not now.running(worker):
        return f"no process runs {worker}: {workers_off(now.members).get(worker, 'see `ferryman status`')}"
    return None


def paused(pause: Pause) -> str:
    """That an operator has stopped something, and how it goes on."""
    by = "" if pause.by is None else f" ({pause.by}, since {shown(pause.since)})"
    why = f': "{pause.reason}"' if pause.reason else ""
    return f"{pause.name} is paused by an operator{by}{why}: `ferryman resume {pause.name}`"


def provider_stopped(provider: Provider) -> str:
    """Why calls to a provider are stopped, and what ends that."""
    if provider.state == "refused":
        return f"{provider.why}: mend the account, or renew its key; what waits goes on by itself then"
    return f"{provider.why}: what waits goes on by itself when it is back"
