"""Why an event is open for a worker, in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from adapters.postgres.bus import pauses
from adapters.postgres.operator.trail import FailedAttempts, by_ids
from adapters.postgres.pool import Pool
from daemon.bus.worker import AnyWorker
from daemon.operator.members import Member, Provider, providers, read_members, workers_off
from daemon.operator.trail import EventTrail, trail_of

NEXT: Final = "its turn has not come yet, or it is being worked on"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an open event may wait for. *paused*: what an operator has stopped. *members*: the live processes."""

    paused: frozenset[str] = frozenset()
    members: Sequence[Member] = ()
    providers: Mapping[str, Provider] = field(default_factory=dict)


async def read_circumstances(pool: Pool) -> Circumstances:
    """How things are now."""
    members = await read_members(pool)
    return Circumstances(await pauses.paused(pool), members, providers(members))


def reasons(found: EventTrail, workers: Sequence[AnyWorker], now: Circumstances) -> dict[str, str]:
    """Worker -> why the event is open for it."""
    failed = {one.worker: one for one in found.attempts if not one.replay_id}
    return {
        w.name: _reason(w, failed.get(w.name), found.put_off.get(w.name), now) for w in workers if w.name in found.open
    }


async def why_open(
    pool: Pool, workers: Sequence[AnyWorker], events: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """These events, as a list tells of them, as JSON, each with the reason by worker why it is open."""
    now = await read_circumstances(pool)
    documents = []
    for event in events:
        trails = [await trail_of(pool, workers, one) for one in await by_ids(pool, [event["id"]], 1)]
        why = {worker: reason for one in trails if one for worker, reason in reasons(one, workers, now).items()}
        documents.append({"id": event["id"], "type": event["type"], "time": event["time"], "why": why})
    return documents


def stopped(worker: str, now: Circumstances) -> str | None:
    """Why nothing of *worker* goes on; None: it runs."""
    if worker in now.paused:
        return f"{worker} is paused by an operator: `ferryman resume {worker}`"
    if not now.members:
        return "no daemon runs: `ferryman run`"
    if not any(worker in member.report.workers for member in now.members):
        return f"no process runs {worker}: {workers_off(now.members).get(worker, 'see `ferryman status`')}"
    return None


def _reason(worker: AnyWorker, failed: FailedAttempts | None, put_off: str | None, now: Circumstances) -> str:
    """The first thing that must change before the event can go on."""
    if (why := stopped(worker.name, now)) is not None:
        return why
    for name in worker.channels:
        if name in now.paused:
            return f"{name} is paused by an operator: `ferryman resume {name}`"
        if name in now.providers and now.providers[name].stopped:
            return _provider(now.providers[name])
    if failed is not None:
        return (
            f"{_attempts(failed.failures)} failed, the last with {failed.error_code or failed.error_class};"
            f" the next one is at {_shown(failed.next_at)} UTC"
        )
    return put_off or NEXT


def _provider(provider: Provider) -> str:
    if provider.state == "refused":
        return f"{provider.why}: mend the account, or renew its key; what waits goes on by itself then"
    return f"{provider.why}: what waits goes on by itself when it is back"


def _attempts(number: int) -> str:
    return "one attempt" if number == 1 else f"{number} attempts"


def _shown(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
