"""The overview: is all well, and what needs a person?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.postgres.bus import burials
from adapters.postgres.bus.workers import Registered, listed
from adapters.postgres.operator import dead_letters, overview
from adapters.postgres.operator.dead_letters import LetterFilter, LetterGroup
from adapters.postgres.operator.overview import FlowMinute, LagMinute, Need
from adapters.postgres.pool import Pool
from daemon.bus.unattended import ATTENDED_S
from daemon.operator import members, pauses
from daemon.operator.why.circumstances import Circumstances, off, read_circumstances
from daemon.telemetry.redaction import redact_text

MINUTES: Final = 60
TREND_MIN: Final = 10
"""The minutes over which a trend is taken."""

FRESH_S: Final = 60.0
"""A measure that is older says nothing of now."""

GROUPS: Final = 20
"""Groups of dead letters that are named, at most."""

_NAMED: Final[Mapping[str, tuple[str, str]]] = {
    "uncertain": ("messages that may have been sent, and nobody knows", "/messages?status=uncertain"),
    "record conflicts": ("records with two values for one field", "/records?state=conflict"),
    "record operations": ("operations on records that the other side refuses", "/records?state=failed"),
    "conversations": ("conversations that a person has to answer", "/conversations?escalated=true"),
    "orders": ("orders that are not in CGB", "/orders?status=failed"),
    "unmapped": ("people who write to us and are no known users", "/conversations"),
    "archive": ("files that could not be archived", "/conversations"),
}
"""Kind -> what so many of it are, and the page that has them."""


async def read_overview(pool: Pool) -> dict[str, Any]:
    """The overview as JSON. It costs the same however many events are kept."""
    now = datetime.now(UTC)
    around = await read_circumstances(pool)
    dead = await burials.open_letters(pool)
    stored = await overview.stored(pool)
    groups = await dead_letters.groups(pool, LetterFilter())
    workers = await listed(pool)
    return {
        "at": now,
        "flow": flow_document(await overview.flow(pool, MINUTES), now),
        "workers": _workers(workers, await overview.lags(pool, MINUTES), dead, around, now),
        "providers": {name: provider.document() for name, provider in around.providers.items()},
        "stores": stored._asdict(),
        "processes": [members.document(member) for member in around.members],
        "pauses": {name: pauses.document(pause) for name, pause in around.pauses.items()},
        "needs": [*_letters(groups), *_needs(await overview.needs(pool)), *_stopped(around, workers)],
    }


def flow_document(found: Sequence[FlowMinute], now: datetime) -> dict[str, Any]:
    """Each source and worker with its MINUTES numbers, the current minute last. *since*: the first minute."""
    first = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    series: dict[str, dict[str, list[int]]] = {"in": {}, "out": {}}
    outcomes: dict[str, dict[str, dict[str, int]]] = {"in": {}, "out": {}}
    for one in found:
        place = round((one.minute - first).total_seconds() / 60)
        if 0 <= place < MINUTES:
            series[one.direction].setdefault(one.name, [0] * MINUTES)[place] += one.n
            total = outcomes[one.direction].setdefault(one.name, {})
            total[one.outcome] = total.get(one.outcome, 0) + one.n
    return {"since": first, "minutes": MINUTES, **series, "outcomes": outcomes}


def trend(then: float | None, now: float | None) -> str | None:
    """How a number has changed: a tenth, and one, is no change. None: not known."""
    if then is None or now is None:
        return None
    if abs(now - then) <= max(1.0, then / 10):
        return "steady"
    return "growing" if now > then else "falling"


def _workers(
    workers: Sequence[Registered],
    found: Sequence[LagMinute],
    dead: Mapping[str, int],
    around: Circumstances,
    now: datetime,
) -> dict[str, Any]:
    """How far each worker of the installation is. Null: nothing was measured of late, as where no process runs it."""
    documents = {}
    for worker in workers:
        theirs = [one for one in found if one.worker == worker.name]
        last = theirs[-1] if theirs and (now - theirs[-1].at).total_seconds() < FRESH_S else None
        before = [one for one in theirs if one.at <= now - timedelta(minutes=TREND_MIN)]
        then = before[-1] if before else (theirs[0] if len(theirs) > 1 else None)
        documents[worker.name] = {
            "state": _state(worker, around),
            "unread": None if last is None else last.unread,
            "pending": None if last is None else last.pending,
            "open": None if last is None else last.unread + last.pending,
            "oldest_seconds": None if last is None else round(last.oldest_s, 1),
            "open_trend": trend(_open(then), _open(last)),
            "oldest_trend": trend(None if then is None else then.oldest_s, None if last is None else last.oldest_s),
            "open_minutes": [[one.at, one.unread + one.pending] for one in theirs],
            "dead": dead.get(worker.name, 0),
        }
    return documents


def _open(one: LagMinute | None) -> float | None:
    return None if one is None else one.unread + one.pending


def _state(worker: Registered, around: Circumstances) -> str:
    if worker.name in around.pauses:
        return "paused"
    return "running" if around.running(worker.name) else f"off: {off(worker.name, around)}"


def _letters(groups: Sequence[LetterGroup]) -> Iterator[dict[str, Any]]:
    for group in groups[:GROUPS]:
        error = f"{group.error_class}: {redact_text(group.error_text)}"
        text = f"dead letters of {group.worker} ({error}), of {group.persons} persons"
        link = f"/letters?fingerprint={group.fingerprint}" if group.fingerprint else "/dead-letters"
        yield _need("dead letters", text, group.count, group.oldest, link)


def _needs(found: Sequence[Need]) -> Iterator[dict[str, Any]]:
    for need in found:
        if need.n:
            text, link = _NAMED[need.kind]
            yield _need(need.kind, text, need.n, need.oldest, link)


def _stopped(around: Circumstances, workers: Sequence[Registered]) -> Iterator[dict[str, Any]]:
    """What stands still until a person does something."""
    for pause in around.pauses.values():
        yield _need("paused", pauses.sentence(pause), 1, pause.since, "/")
    for provider in around.providers.values():
        if provider.state == "refused":
            yield _need("provider", provider.why, max(1, provider.waiting), provider.since, "/providers")
    for worker in workers:
        if worker.unseen_s > ATTENDED_S:
            text = f"{worker.name} is run by no process: {off(worker.name, around) or 'see `ferryman workers list`'}"
            yield _need("worker off", text, 1, worker.last_seen_at, "/bus")


def _need(kind: str, text: str, count: int, since: datetime | None, link: str) -> dict[str, Any]:
    return {"kind": kind, "text": text, "count": count, "since": since, "link": link}
