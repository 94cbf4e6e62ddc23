"""An edge with the records that its users write, as a push of a phone leaves them in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import orjson

from adapters.postgres.pool import Pool
from adapters.sync.store import Change, Page, Verdict
from daemon.bus.worker import Clock
from daemon.records.edge.deriving import Places
from daemon.records.edge.store import PostgresReplica
from schemas.envelope import Event

NOW: Final = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Edge:
    """An edge with the records that its users write; their pushes are another part's matter, and are made by hand."""

    def __init__(self, db: Pool, now: Clock = lambda: NOW) -> None:
        self.db = db
        self.now = now
        self.told: list[Event] = []
        self.store = PostgresReplica(db, lambda model: Places("owner_id", "branch_id"), now, self._tell)

    async def _tell(self, events: Sequence[Event], seqs: Sequence[int]) -> None:
        self.told += events

    async def write(self, verb: str, record: str, **data: Any) -> UUID:
        """What a push of a phone does here."""
        op_id, row = uuid4(), await self.row(record)
        was = {} if row is None else row["data"]
        version = 0 if row is None else row["version"]
        up = None if row is None else row["up_version"]
        stamps = {} if row is None else row["stamps"]
        new = {**was, **data}
        stamps = {**stamps, **{f: [1, 0, "phone", version + 1, "phone", 0] for f in data}}
        async with self.db.acquire() as conn, conn.transaction():
            seq = await conn.fetchval("UPDATE sync_clock SET seq = seq + 1 RETURNING seq")
            await conn.execute(
                "INSERT INTO records (model, record_id, version, prev, seq, owner_id, deleted, data, stamps,"
                " up_version, changed_at) VALUES ('Lead', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
                " ON CONFLICT (model, record_id)"
                " DO UPDATE SET version = excluded.version, prev = excluded.prev, seq = excluded.seq,"
                " deleted = excluded.deleted, data = excluded.data, stamps = excluded.stamps,"
                " owner_id = excluded.owner_id",
                record,
                version + 1,
                version,
                seq,
                new.get("owner_id"),
                verb == "DELETE",
                orjson.dumps(new).decode(),
                orjson.dumps(stamps).decode(),
                up,
                self.now(),
            )
            await conn.execute(
                "INSERT INTO sync_base (model, record_id, up_version, deleted, owner_id, data, stamps)"
                " VALUES ('Lead', $1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                record,
                up or 0,
                bool(row and row["deleted"]),
                was.get("owner_id"),
                None if row is None else orjson.dumps(was).decode(),
                None if row is None else orjson.dumps(row["stamps"]).decode(),
            )
            await conn.execute(
                "INSERT INTO sync_queue (op_id, operation, model, record_id, data, user_id, base_version, changed_at,"
                " origin, next_at) VALUES ($1, $2, 'Lead', $3, $4, 'alice', $5, $6, 'phone', $6)",
                op_id,
                verb,
                record,
                orjson.dumps(data).decode(),
                up or 0,
                self.now(),
            )
        return op_id

    async def row(self, record: str) -> dict[str, Any] | None:
        """The record as it is here."""
        found = await self.db.fetchrow("SELECT *, data::text AS text FROM records WHERE record_id = $1", record)
        if found is None:
            return None
        return {**found, "data": orjson.loads(found["text"]), "stamps": orjson.loads(found["stamps"])}

    async def op(self, op_id: UUID) -> dict[str, Any]:
        """The operation as it is in the queue."""
        found = await self.db.fetchrow("SELECT * FROM sync_queue WHERE op_id = $1", op_id)
        assert found is not None
        return dict(found)

    async def bases(self) -> int:
        """How many rows of the upstream's are kept beside the records."""
        return int(await self.db.fetchval("SELECT count(*) FROM sync_base"))

    async def pull(self, *changes: Change, cursor: str = "c1") -> int:
        """A page comes."""
        await self.store.identity()
        return await self.store.take(Page(changes=changes, cursor=cursor, more=False))

    async def answer(self, *verdicts: Verdict) -> None:
        """Answers to a push come."""
        await self.store.identity()
        await self.store.settle("ack", verdicts)
