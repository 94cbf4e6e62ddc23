"""Records in a database, as replicas push to them and people decide what met there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from adapters.postgres.operator.record_conflicts import Wanted
from adapters.postgres.pool import Pool
from daemon.operator import records_conflicts
from daemon.operator.reading import outside_of
from daemon.records.deciding.resolving import Take
from daemon.records.pushing.pushes import PushIn
from daemon.records.pushing.service import Records
from daemon.records.wiring import METRICS, open_records
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from schemas.principals import Principal
from schemas.records.answers import Answer
from tests.support.records import ack_of

ADMIN = Principal(kind="installation", name="dana", role="admin")


def person(name: str, **more: Any) -> Principal:
    """A person who may write."""
    return Principal(**({"kind": "user", "name": name, "role": "operate"} | more))


def op(verb: str, id: str, base: int | None = 0, *, model: str = "Lead", **data: Any) -> dict[str, Any]:
    """An operation, as a replica sends it."""
    return {
        "op_id": str(uuid4()),
        "operation": verb,
        "model": model,
        "record_id": id,
        "data": data,
        "base_version": base,
        "changed_at": datetime.now(UTC).isoformat(),
    }


@dataclass(frozen=True)
class Desk:
    """*upstream*: of an edge, its address."""

    db: Pool
    records: Records
    upstream: str | None = None

    async def push(self, who: str | Principal, replica: str, *operations: Mapping[str, Any]) -> list[Answer]:
        """What is answered to the operations of a replica."""
        principal = person(who) if isinstance(who, str) else who
        asked = PushIn(replica=replica, ack=await ack_of(self.records, replica), operations=list(operations))
        done = await self.records.push(principal, asked)
        return list(done.results)

    async def must(self, who: str, replica: str, *operations: Mapping[str, Any]) -> None:
        """Push what has to be applied."""
        answers = await self.push(who, replica, *operations)
        assert {one.result for one in answers} == {"applied"}, answers

    async def conflict(self, who: str, replica: str, operation: Mapping[str, Any]) -> int:
        """Push what has to meet something; the conflict's number."""
        (answer,) = await self.push(who, replica, operation)
        assert answer.result == "conflict", answer
        assert answer.conflict_id is not None
        return answer.conflict_id

    async def amounts(self, id: str = "l1") -> int:
        """A lead of ann of which two of her devices say another amount: 2 is stored, 3 was pushed."""
        await self.must("ann", "phone", op("CREATE", id, name="Somebody", amount="1", stage="new"))
        await self.must("ann", "laptop", op("UPDATE", id, 1, amount="2"))
        return await self.conflict("ann", "phone", op("UPDATE", id, 1, amount="3"))

    async def resolve(
        self,
        id: int,
        take: Take,
        fields: Mapping[str, Any] | None = None,
        *,
        who: Principal = ADMIN,
        version: int | None = None,
    ) -> Answer | None:
        """Decide a conflict, as the API does."""
        plan = await records_conflicts.plan(self.db, who, id, take, fields, self.upstream)
        return await records_conflicts.resolve(self.db, self.records, plan, by=who.name, version=version)

    async def shown(self, id: int, who: Principal = ADMIN) -> dict[str, Any]:
        """A conflict as JSON, as *who* is shown it."""
        return await records_conflicts.shown(self.db, who, id, self.upstream)

    async def listed(self, who: str | Principal = ADMIN, **wanted: Any) -> list[int]:
        """The numbers of the conflicts that somebody sees."""
        principal = person(who) if isinstance(who, str) else who
        return [one["id"] for one in await records_conflicts.listed(self.db, principal, Wanted(**wanted))]

    async def record(self, id: str = "l1", model: str = "Lead") -> Any:
        """(its version, whether it is deleted, its data) as stored; None: there is none."""
        row = await self.db.fetchrow(
            "SELECT version, deleted, data::text FROM records WHERE model = $1 AND record_id = $2", model, id
        )
        return None if row is None else (row[0], row[1], json.loads(row[2]))


@asynccontextmanager
async def desk_on(db: Pool, redis: Redis, **settings: Any) -> AsyncIterator[Desk]:
    """The records of a daemon with these settings."""
    given = Settings(**settings)
    async with outside_of(db, given, redis) as outside:
        records = open_records(replace(outside, metrics=Metrics(METRICS)))
        yield Desk(db, records, given.sync_upstream_url)
