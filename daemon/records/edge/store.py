"""An edge as a replica: its queue, and the upstream's rows among its own records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, TypeAlias, cast
from uuid import UUID

import orjson
import structlog

from adapters.postgres.pool import Pool, locking
from adapters.postgres.records import pulled as pulled_rows
from adapters.postgres.records import queue, upstream
from adapters.postgres.records.pulled import State, Writes, Written
from adapters.postgres.records.queue import QueuedRow
from adapters.postgres.records.upstream import Standing
from adapters.postgres.records.writing import Overtaken
from adapters.sync.exchange import Unauthorized
from adapters.sync.store import HISTORY, Identity, Page, Queued, Rebuild, RebuildReason, Verdict
from daemon.bus.worker import Clock
from daemon.records import rows
from daemon.records.edge.deriving import Derived, Places
from daemon.records.edge.planning import Plan, Planning, Setting, answered, missing, pulled
from daemon.records.erasing import erase
from schemas.envelope import Event
from schemas.errors import Transient
from schemas.records.operation import Key, Operation, Verb

MOST_TURNS: Final = 20
"""How often rows that were written here meanwhile are made anew, before the round ends and the next one goes on."""

TURN: Final = 7_302_119_402_551_205
"""Of the session lock: one process of an installation sends."""

Tell: TypeAlias = Callable[[Sequence[Event], Sequence[int]], Awaitable[None]]
"""Hears of a commit that has changed records: its events, and their numbers in the outbox."""

UPSTREAM: Final = "upstream"
"""The origin, in events, of what has come from there."""

AT_ONCE: Final = 500
"""Records that the end of a rebuild looks at together."""

INSTALLATION: Final = "admin"
"""The name of the installation itself. What its token writes here goes up in the edge's own name: the upstream has
another installation."""

CONTENDED: Final = "records: other writers were faster, so the exchange with the upstream ended early"

log = structlog.get_logger(__name__)


class Contended(Transient):
    """Others were faster again and again, or another process exchanges with the upstream too. The next round goes on
    where this one has ended."""


class PostgresReplica:
    """The port `ReplicaStore` on `sync_queue`, `sync_base`, `sync_upstream` and `records`.

    *places*: where a model has its owner and its branch. *tell*: hears what has changed here. Two of them at once do no
    harm: each write compares the step that it has read (see `adapters.postgres.records.upstream`).
    """

    def __init__(self, pool: Pool, places: Callable[[str], Places], now: Clock, tell: Tell) -> None:
        self._pool = pool
        self._places = places
        self._now = now
        self._tell = tell
        self._copy: tuple[int, bool] | None = None
        """The copy that this round pulls into."""

    async def identity(self) -> Identity:
        """See ReplicaStore."""
        standing = await upstream.read(self._pool)
        self._copy = _copy_of(standing)
        rebuild = None
        if standing.rebuilding is not None:
            rebuild = Rebuild(cast(RebuildReason, standing.rebuild_reason), standing.rebuilding or None)
        return Identity(replica=str(standing.replica), ack=standing.ack, cursor=standing.cursor, rebuild=rebuild)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """See ReplicaStore. Raises: Contended where another process takes long over its own."""
        async with locking(self._pool) as connection:
            try:
                await connection.execute("SELECT pg_advisory_lock($1)", TURN)
            except TimeoutError:
                raise Contended(CONTENDED) from None
            yield

    async def due(self, limit: int, max_bytes: int) -> Sequence[Queued]:
        """See ReplicaStore."""
        chosen: list[Queued] = []
        left = max_bytes
        for row in await queue.due(self._pool, limit, self._now()):
            left -= len((row.data or "").encode()) + len((row.base or "").encode()) + 500
            if chosen and left < 0:
                break
            chosen.append(Queued(operation_of(row), row.retry_count))
        return chosen

    async def settle(self, ack: str | None, verdicts: Sequence[Verdict]) -> None:
        """See ReplicaStore. Raises besides: Contended."""
        by_id = {verdict.op_id: verdict for verdict in verdicts}
        keys = await queue.records_of(self._pool, list(by_id))

        def plan(state: State, setting: Setting) -> Plan:
            return answered(state, by_id, setting)

        await self._write(keys, plan, Writes(step=0, ack=ack))

    async def take(self, page: Page) -> int:
        """See ReplicaStore. Raises besides: Contended; Unauthorized where the page is this server's own."""
        if page.feed is not None and UUID(page.feed) == await upstream.own_feed(self._pool):
            raise Unauthorized("loop")
        changes = {(one.model, one.record_id): one for one in page.changes}  # of one record the last one holds
        for key, change in changes.items():
            if change.erased:
                await self._erase(key, change.version)

        def plan(state: State, setting: Setting) -> Plan:
            return pulled(state, changes[state.key], setting)

        rebuilding = self._copy is not None and self._copy[1]
        cursor, anew = (None, page.cursor) if rebuilding else (page.cursor, None)
        return await self._write(list(changes), plan, Writes(step=0, cursor=cursor, rebuilding=anew), see=rebuilding)

    async def begin_rebuild(self, reason: RebuildReason) -> None:
        """See ReplicaStore."""
        await upstream.begin_rebuild(self._pool, reason)
        self._copy = _copy_of(await upstream.read(self._pool))
        log.warning("records.rebuild_begun", reason=reason)

    async def end_rebuild(self) -> None:
        """See ReplicaStore. Raises besides: Contended."""
        after: Key = ("", "")
        while keys := await upstream.unseen(self._pool, after, AT_ONCE):
            await self._write(keys, missing, Writes(step=0))
            after = keys[-1]
        await upstream.end_rebuild(self._pool)
        self._copy = _copy_of(await upstream.read(self._pool))
        log.warning("records.rebuild_done")

    async def renew_identity(self) -> None:
        """See ReplicaStore."""
        await upstream.renew_replica(self._pool)
        log.warning("records.replica_renewed", reason="another copy of this database has pushed by its name")

    async def heard(self, error: str | None) -> None:
        """See ReplicaStore."""
        await upstream.heard(self._pool, online=error is None, error=error, complete=error is None)

    async def _erase(self, key: Key, version: int) -> None:
        """Erase the record *key*, which the upstream has erased at *version*. Raises: Contended."""
        try:
            erased = await erase(self._pool, key, self._now(), origin=UPSTREAM, up_version=version)
        except Overtaken:
            raise Contended(CONTENDED) from None
        if erased is not None:
            await self._tell([erased.event], [erased.seq])

    async def _write(self, keys: Sequence[Key], plan: Planning, rest: Writes, *, see: bool = False) -> int:
        """Plan each of these records by what it is now, and write it; those that others were faster with once more.
        Returns how many have changed here. *see*: for a copy that is built anew. Raises: Contended."""
        left, changed = list(keys), 0
        for _ in range(MOST_TURNS):
            standing = await upstream.read(self._pool)
            if self._copy not in (None, _copy_of(standing)):
                break
            setting = self._setting(standing)
            history = setting.rebuild in HISTORY
            states = await pulled_rows.states(self._pool, left, settled=history) if left else []
            plans = [plan(state, setting) for state in states]
            written = await pulled_rows.write(
                self._pool, _writes(plans, standing.step, rest, setting.now, left, see=see)
            )
            if not written.moved:
                continue
            await self._told(plans, written, setting)
            done = {one.state.key for one in plans if one.derived is None or one.derived.view is None} | written.won
            changed += sum(_is_visible(one) and one.state.key in written.won for one in plans)
            left = [key for key in left if key not in done]
            if not left:
                return changed
        raise Contended(CONTENDED)

    def _setting(self, standing: Standing) -> Setting:
        reason = None if standing.rebuilding is None else cast(RebuildReason, standing.rebuild_reason)
        return Setting(places=self._places, now=self._now(), rebuild=reason, generation=standing.generation)

    async def _told(self, plans: Sequence[Plan], written: Written, setting: Setting) -> None:
        if setting.rebuild in HISTORY:
            back = sum(one.put_back for one in plans)
            lost = sum(one.lost is not None and one.state.key in written.won for one in plans)
            if back or lost:
                log.warning("records.upstream_went_back", operations_put_back=back, records_with_losses=lost)
        if written.told:
            await self._tell([event for event, _ in written.told], [seq for _, seq in written.told])


def operation_of(row: QueuedRow) -> Operation:
    """A row of the queue, as it is pushed."""
    return Operation(
        op_id=row.op_id,
        operation=cast(Verb, row.operation),
        model=row.model,
        record_id=row.record_id,
        data={} if row.data is None else orjson.loads(row.data),
        base_version=row.base_version,
        base=None if row.base is None else orjson.loads(row.base),
        changed_at=row.changed_at,
        tick=row.tick,
        origin=row.origin,
        user_id=None if row.user_id == INSTALLATION else row.user_id,
    )


def _copy_of(standing: Standing) -> tuple[int, bool]:
    return standing.generation, standing.rebuilding is not None


def _is_visible(plan: Plan) -> bool:
    return plan.derived is not None and plan.derived.view is not None and plan.derived.view.visible


def _writes(plans: Sequence[Plan], step: int, rest: Writes, now: datetime, keys: Sequence[Key], *, see: bool) -> Writes:
    made = [(one, one.derived) for one in plans if one.derived is not None and one.derived.view is not None]
    views = [derived.view for _, derived in made if derived.view is not None]
    return Writes(
        step=step,
        views=views,
        bases=[(one.state.key, one.base) for one, _ in made],
        ops=[change for one in plans for change in one.ops],
        exits=[(audience, one.state.key) for one, derived in made for audience in derived.left],
        lost=[one.lost for one in plans if one.lost is not None],
        events=[
            (one.state.key, _event(derived, now)) for one, derived in made if derived.view and derived.view.visible
        ],
        seen=keys if see else (),
        ack=rest.ack,
        cursor=rest.cursor,
        rebuilding=rest.rebuilding,
    )


def _event(derived: Derived, now: datetime) -> Event:
    view = derived.view
    assert view is not None
    return rows.changed(view.key, view.version, derived.fields, UPSTREAM, now, deleted=view.deleted)
