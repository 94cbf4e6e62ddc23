"""Records that tests write by the statement of the daemon, and a reader that pulls them as a replica does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Final
from uuid import uuid4

import orjson

from adapters.postgres.pool import Pool
from adapters.postgres.records.rows import ExitRow, RecordRow
from adapters.postgres.records.writing import Writes, write
from daemon.bus.worker import utc_now
from daemon.records.bell import Bell
from daemon.records.pulling.cursor import Cursor
from daemon.records.pulling.pulls import PullIn, PullOut
from daemon.records.pulling.service import Pulls
from daemon.records.wiring import METRICS
from daemon.telemetry.metrics import Metrics
from schemas.envelope import Event
from schemas.principals import Principal, audiences_of

ADMIN: Final = Principal(kind="installation", name="admin", role="admin")

Key = tuple[str, str]


def person(name: str) -> Principal:
    return Principal(kind="user", name=name, role="operate", token=abs(hash(name)))


def pulls_on(db: Pool, bell: Bell | None = None) -> Pulls:
    return Pulls(db, bell or Bell(), Metrics(METRICS), utc_now, ("Lead", "Payment"), "schema")


class Counted:
    """A pool that counts what it is asked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("fetch", "fetchrow", "fetchval", "execute"):
            self.count += 1
        return getattr(self._pool, name)


def event_of(row: RecordRow) -> Event:
    return Event(
        id=str(uuid4()),
        type="record.changed",
        source="records",
        subject=f"{row.model}:{row.record_id}",
        time=datetime.now(UTC),
        data=b"{}",
    )


@dataclass(frozen=True)
class Row:
    """A record as a test has written it."""

    id: str
    version: int
    owner: str | None = None
    branch: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False
    model: str = "Lead"
    expected: int | None = None

    def record(self) -> RecordRow:
        stamps = {name: [1, 0, "r", self.version, "p", 0] for name in self.data}
        return RecordRow(
            model=self.model,
            record_id=self.id,
            expected=self.version - 1 if self.expected is None else self.expected,
            version=self.version,
            owner_id=self.owner,
            branch=self.branch,
            deleted=self.deleted,
            erased=False,
            data=orjson.dumps(self.data).decode(),
            stamps=orjson.dumps(stamps).decode(),
            up_version=None,
            changed_at=datetime.now(UTC),
        )


async def put(db: Pool, *rows: Row, exits: Sequence[ExitRow] = ()) -> int:
    """Write *rows* in one statement; returns how many of them were."""
    records = [row.record() for row in rows]
    writes = Writes(records=records, events=[event_of(record) for record in records], exits=list(exits))
    return len((await write(db, writes)).outbox)


async def change(db: Pool, id: str, make: Callable[[Row | None], Row | None], model: str = "Lead") -> bool:
    """Read a record, write what *make* makes of it with the exits that follow from it. False: another was faster, or
    *make* wants nothing."""
    found = await db.fetchrow("SELECT * FROM records WHERE model = $1 AND record_id = $2", model, id)
    old = None
    if found is not None:
        data = orjson.loads(found["data"])
        old = Row(id, found["version"], found["owner_id"], found["branch"], data, found["deleted"], model)
    new = make(old)
    if new is None:
        return False
    new = replace(new, version=(old.version if old else 0) + 1)
    left = audiences_of(old.owner, old.branch) - audiences_of(new.owner, new.branch) if old else frozenset()
    return await put(db, new, exits=[ExitRow(audience, model, id) for audience in sorted(left)]) == 1


def at_random(random: Random, id: str, owners: Sequence[str]) -> Callable[[Row | None], Row]:
    """A change of the record *id*: its data, its owner, its end or its return."""

    def made(old: Row | None) -> Row:
        data = {"n": random.randrange(10**6)}
        if old is None:
            return Row(id, 1, random.choice(owners), None, data)
        match random.randrange(6):
            case 0:
                return replace(old, deleted=not old.deleted, data=data)
            case 1:
                return replace(old, owner=random.choice(owners), data=data)
            case _:
                return replace(old, deleted=False, data=data)

    return made


async def write_at_random(
    db: Pool, seed: int, count: int, ids: int, owners: Sequence[str] = ("alice", "bob"), pause_s: float = 0.0
) -> int:
    """Make *count* changes; returns how many times another writer was faster."""
    random, lost = Random(seed), 0
    while count:
        id = f"lead_{random.randrange(ids)}"
        if await change(db, id, at_random(random, id, owners)):
            count -= 1
            await asyncio.sleep(pause_s)
        else:
            lost += 1
    return lost


@dataclass
class Reader:
    """A replica that only reads. *rows*: what it has: version, owner and data. *seen*: every version that it was given,
    by record."""

    pulls: Pulls
    principal: Principal
    cursor: Cursor | None = None
    rows: dict[Key, tuple[int, str | None, Any]] = field(default_factory=dict)
    seen: dict[Key, list[int]] = field(default_factory=dict)
    pages: int = 0

    async def page(self, **asked: Any) -> PullOut:
        """Pull one page and take it."""

        async def reader() -> Principal:
            return self.principal

        page = await self.pulls.pull(reader, PullIn(since=self.cursor, **asked))
        self.take(told(page)["changes"])
        self.cursor = page.cursor
        self.pages += 1
        return page

    async def round(self, **asked: Any) -> None:
        """Pull to the end of a round."""
        while (await self.page(**asked)).more:
            pass

    def take(self, changes: Sequence[dict[str, Any]]) -> None:
        for one in changes:
            key = one["model"], one["id"]
            if one["op"] == "upsert":
                self.rows[key] = one["version"], one["owner_id"], one["data"]
                self.seen.setdefault(key, []).append(one["version"])
            else:
                self.rows.pop(key, None)


def told(page: PullOut) -> Any:
    """*page* as its reader has it."""
    return orjson.loads(orjson.dumps(page.document()))


async def visible(db: Pool, principal: Principal) -> dict[Key, tuple[int, str | None, Any]]:
    """What *principal* should have."""
    return {
        (row["model"], row["record_id"]): (row["version"], row["owner_id"], orjson.loads(row["data"]))
        for row in await db.fetch("SELECT * FROM records WHERE NOT deleted")
        if principal.reads(row["owner_id"], row["branch"])
    }
