"""Records without the rest of a daemon: their service on a pool, and operations as replicas send them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

from adapters.channel import Channels
from adapters.postgres.pool import Pool
from daemon.bus.worker import Clock, Outside, utc_now
from daemon.records.pushing.pushes import PushIn
from daemon.records.pushing.service import Records
from daemon.records.wiring import METRICS, open_records
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from schemas.envelope import Event
from schemas.principals import Principal, Role

ADMIN = Principal(kind="installation", name="admin", role="admin")
NOBODY: Any = None
"""In place of what a test does not use."""


async def _left(events: Sequence[Event], seqs: Sequence[int]) -> None:
    pass


def outside_of(
    db: Pool,
    settings: Settings | None = None,
    *,
    now: Clock = utc_now,
    hurry: Callable[[Sequence[Event], Sequence[int]], Awaitable[None]] = _left,
    metrics: Metrics | None = None,
) -> Outside:
    """What the domain needs of the outside, and nothing else."""
    return Outside(
        settings=settings or Settings(),
        secret=lambda name: "",
        pool=db,
        redis=NOBODY,
        session=NOBODY,
        channels=Channels([]),
        metrics=metrics or Metrics(METRICS),
        now=now,
        hurry=hurry,
    )


def records_of(db: Pool, settings: Settings | None = None, **more: Any) -> Records:
    """The records of a process on *db*. *more*: as `outside_of` takes it."""
    return open_records(outside_of(db, settings, **more))


def person(name: str, role: Role = "operate", token: int = 1) -> Principal:
    """The bearer of a person's token."""
    return Principal(kind="user", name=name, role=role, token=token)


def edge(name: str, *owners: str, branch: str | None = None) -> Principal:
    """The bearer of an edge's token."""
    return Principal(kind="edge", name=name, role="operate", owners=frozenset(owners), branch=branch, token=2)


def operation(verb: str, record_id: str, /, **more: Any) -> dict[str, Any]:
    """An operation as JSON has it, on a Lead where `_model` is not given; *more*: its data, and with an underscore
    before it what else an operation says."""
    said = {name[1:]: value for name, value in more.items() if name.startswith("_")}
    data = {name: value for name, value in more.items() if not name.startswith("_")}
    base = {"base_version": 0} if verb == "CREATE" else {}
    names = {"op_id": str(uuid4()), "operation": verb, "model": "Lead", "record_id": record_id}
    return names | base | ({"data": data} if data else {}) | said


async def pushed(
    records: Records, who: Principal, *operations: object, replica: str | None = "phone-1", **more: Any
) -> list[dict[str, Any]]:
    """The answers to a push of *operations*, as JSON has them, by a replica that knows its last answer."""
    more = {"ack": await ack_of(records, replica)} | more
    done = await records.push(who, PushIn(replica=replica, operations=operations, **more))
    return [answer.document() for answer in done.results]


async def create(records: Records, who: Principal, *ids: str, replica: str = "phone-1", **data: Any) -> None:
    made = [operation("CREATE", id, **{"name": id} | data) for id in ids]
    answers = await pushed(records, who, *made, replica=replica)
    assert [answer["result"] for answer in answers] == ["applied"] * len(ids)


def said(answer: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(answer.get(name) for name in ("result", *names))


async def ack_of(records: Records, replica: str | None) -> str | None:
    """What the *replica* sends with its next push; None: it has not pushed yet."""
    found = await records._outside.pool.fetchval("SELECT ack FROM sync_replicas WHERE replica = $1", replica)
    return None if found is None else str(found)
