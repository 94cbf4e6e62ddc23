"""Records for an operator: the queue to the upstream, one record with its history, and a round on request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.http import open_session
from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.pool import Pool
from adapters.postgres.records import history, queue
from adapters.postgres.records.queue import QueuedRow
from adapters.sync.round import Round
from daemon.bus.worker import utc_now
from daemon.records.edge import wiring
from daemon.records.edge.store import Contended
from daemon.records.edge.telling import sentence
from daemon.records.models.rules import MODELS
from daemon.rules.files import load
from daemon.settings.model import Settings
from schemas.envelope import Event
from schemas.errors import FerrymanError, UsageError

STATES: Final = ("pending", "conflict", "failed", "synced")
OPEN: Final = ("pending", "conflict", "failed")
"""The states of operations that a person may want to see."""

MOST_ROUNDS: Final = 5
"""That are begun, where another process exchanges with the upstream too and was faster."""


class NoUpstream(UsageError):
    """This server has no upstream to sync with."""


class NoRecord(FerrymanError):
    """Nothing is known of a record."""


async def sync_now(pool: Pool, settings: Settings) -> Round:
    """One round with the upstream, from here; a daemon may make its own at the same time, and then this one may have to
    begin again. Raises: NoUpstream; Contended where that was so again and again; WrongRules."""
    secret = settings.sync_upstream_token
    token = "" if secret is None else secret.get_secret_value()
    said = load(settings.ferryman_rules_dir, MODELS)
    async with open_session() as session:
        made = wiring.exchange(settings, said, pool, session, lambda: token, utc_now, _untold)
        if made is None:
            lacks = "SYNC_UPSTREAM_URL" if settings.sync_upstream_url is None else "SYNC_UPSTREAM_TOKEN"
            raise NoUpstream(f"this server has no upstream to sync with: set {lacks}")
        for _ in range(MOST_ROUNDS - 1):
            try:
                return await made.round()
            except Contended:
                continue
        return await made.round()


async def _untold(events: Sequence[Event], seqs: Sequence[int]) -> None:
    """The daemon's sweeper publishes them."""


def round_document(done: Round, pending: int) -> dict[str, Any]:
    """What a round has done, as JSON. *pending*: operations that wait yet."""
    return {
        "synced": done.synced,
        "conflicts": done.conflicts,
        "failed": done.failed,
        "pending": pending,
        "pulled": done.pulled,
        "rebuilt": done.rebuilt,
        "online": done.error is None,
        "error": None if done.error is None else sentence(done.error.code),
    }


async def put_back(pool: Pool, *, op_id: UUID | None, model: str | None, actor: str) -> list[UUID]:
    """Let failed operations go out again, under their ids and with all their attempts. Returns which."""
    async with pool.acquire() as conn, conn.transaction():
        found = await queue.retry_failed(conn, op_id=op_id, model=model)
        if found:
            subject = f"operation:{op_id}" if op_id is not None else f"operations:{model or 'all'}"
            await audit_log.add(conn, [Logged(actor, "records.retry_failed", subject, {"count": len(found)})])
    return found


async def queued(pool: Pool, states: Sequence[str], model: str | None, limit: int) -> list[dict[str, Any]]:
    """The operations in these states, oldest first."""
    return [operation_document(row) for row in await queue.listed(pool, states, model=model, limit=limit)]


def operation_document(row: QueuedRow) -> dict[str, Any]:
    """A row of the queue, as JSON."""
    told = row._asdict()
    del told["id"], told["settled"], told["tick"], told["base"], told["reason"]
    return told | {"op_id": str(row.op_id), "data": None if row.data is None else orjson.loads(row.data)}


async def shown(pool: Pool, model: str, record_id: str) -> dict[str, Any]:
    """A record with its stamps, and what happened to it in one line of time, the oldest first. Raises: NoRecord."""
    found = await history.record(pool, model, record_id)
    times = [
        *(_answered(one) for one in await history.operations(pool, model, record_id)),
        *(_met(one) for one in await history.conflicts(pool, model, record_id)),
        *(_queued(one) for one in await queue.of_record(pool, model, record_id, history.MOST)),
    ]
    if found is None and not times:
        raise NoRecord(f"nothing is known of the {model} with this id: look at its spelling, also of the model")
    document: dict[str, Any] = {"model": model, "id": record_id, "record": None}
    if found is not None:
        row = dict(found)
        base = row.pop("base")
        document["record"] = row | {
            "data": orjson.loads(row["data"]),
            "stamps": orjson.loads(row["stamps"]),
            "base": None if base is None else orjson.loads(base),
        }
    return document | {"timeline": sorted(times, key=_at)}


def _at(entry: dict[str, Any]) -> datetime:
    at: datetime = entry["at"]
    return at


def _answered(one: dict[str, Any]) -> dict[str, Any]:
    said = "decided " + one["decision"] if one["decision"] else one["result"]
    text = f"operation of {one['user_id']}: {said}, version {one['version'] or 0}"
    return {"at": one["at"], "what": "operation", "text": text, **one}


def _met(one: dict[str, Any]) -> dict[str, Any]:
    decision = one["decision"] or "waits for a person"
    text = f"conflict {one['id']} over {', '.join(one['fields']) or 'the record'} ({one['strategy']}): {decision}"
    return {"at": one["created_at"], "what": "conflict", "text": text, **one}


def _queued(row: QueuedRow) -> dict[str, Any]:
    why = f", {row.error}" if row.error else ""
    synced = "" if row.acked_version is None else f", version {row.acked_version} there"
    text = f"{row.operation} of {row.user_id} for the upstream: {row.state}{synced}{why}"
    told = {"op_id": str(row.op_id), "user_id": row.user_id, "state": row.state, "error": row.error}
    return {"at": row.created_at, "what": "upstream", "text": text, **told}
