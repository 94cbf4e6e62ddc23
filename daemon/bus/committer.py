"""The committer: one transaction for a batch of outcomes, then one pipeline that publishes and acknowledges.

Batches form by themselves: whatever was settled while the last commit ran goes into the next one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from adapters.postgres.bus import burials, epochs, inbox, outbox
from adapters.postgres.pool import ACQUIRE_TIMEOUT_S, Connection, installation_is_wrong, store_is_down
from adapters.redis.streams import NotDurable, StreamErrors
from daemon.bus.endings import failure_row, farewell, inbox_row, is_bare_letter, is_failure, letter, without_rows
from daemon.bus.lanes import Entry
from daemon.bus.left import EntryRef
from daemon.bus.outcome import Turn
from daemon.bus.publisher import publish
from daemon.bus.settle import Finish, Retry, Written
from daemon.bus.shared import Shared
from daemon.bus.worker import AnyWorker
from daemon.telemetry.failures import failure, fields
from schemas.envelope import Event, InboxKey
from schemas.errors import Unwritten

LARGEST: Final = 500
STORE_RETRY_S: Final = 0.5

PUT_OFF_S: Final = 1.0
PUT_OFF_CAP_S: Final = 300.0
"""An event whose failure cannot be written is tried again after 1, 2, 4 … 300 seconds."""


log = structlog.get_logger(__name__)


class Settled(NamedTuple):
    """An entry, and what was decided about it at *now*."""

    entry: Entry
    verdict: Written
    now: datetime


class Committer:
    """Writes what one worker's handlers returned.

    *committed* is called with the entries whose verdicts are in Postgres, and returns what may be acknowledged.
    *lease_lost* is called with the partitions that another process has taken. *wait* puts an entry back into its lane
    for so many seconds; then `again` is to be asked about it.
    """

    def __init__(
        self,
        worker: AnyWorker,
        shared: Shared,
        committed: Callable[[Sequence[Settled]], Sequence[EntryRef]],
        lease_lost: Callable[[set[int]], None],
        wait: Callable[[Entry, float], None],
    ) -> None:
        self._worker = worker
        self._pool = shared.pool
        self._postgres = shared.stores.postgres
        self._streams = shared.streams
        self._leases = shared.leases
        self._committed = committed
        self._lease_lost = lease_lost
        self._wait = wait
        self._waiting: dict[EntryRef, tuple[Settled, int]] = {}  # put off so many times
        self._settled: list[Settled] = []
        self._acks: list[EntryRef] = []
        self._acking: list[EntryRef] = []
        self._outbox: list[tuple[int, Event]] = []
        self._wake = asyncio.Event()
        self._wake_after = asyncio.Event()
        self._closing = False
        self._closed = False  # everything submitted is committed: what follows the commits may end

    def submit(self, settled: Settled) -> None:
        """Write *settled* with the next batch."""
        self._settled.append(settled)
        self._wake.set()

    def ack(self, refs: Sequence[EntryRef]) -> None:
        """Acknowledge entries that need no commit (seen before, or not this worker's business)."""
        if refs:
            self._acks.extend(refs)
            self._wake_after.set()

    def unacknowledged(self) -> Counter[str]:
        """How many entries of each stream are done with and may still be pending."""
        return Counter(ref.key for ref in (*self._acks, *self._acking))

    def close(self) -> None:
        """Let `run` end once everything submitted is written."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Commit until closed. What Redis does not take in the end is repeated after the next start, harmlessly."""
        after = asyncio.create_task(self._run_after(), name=f"{self._worker.name}:after-commit")
        after.add_done_callback(lambda _: self._wake.set())
        try:
            while self._settled or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                if after.done():
                    after.result()  # an error of it must end the process, or entries pile up unacknowledged
                while self._settled:
                    batch, self._settled = self._settled[:LARGEST], self._settled[LARGEST:]
                    await self._commit(batch)
        finally:
            self._closed = True
            self._wake_after.set()
            await asyncio.wait({after}, timeout=3)
            after.cancel()

    async def _commit(self, batch: list[Settled]) -> None:
        """Commit *batch*. While Postgres is away, or the installation is wrong, wait; where Postgres refuses the data,
        halve the batch until the event at fault is alone. Failures have tables of their own, so where these are wrong,
        results still pass."""
        while True:
            try:
                async with asyncio.timeout(30):
                    await self._write(batch)
            except Exception as exc:
                away, wrong = store_is_down(exc), installation_is_wrong(exc)
                failures = [s for s in batch if is_failure(s.verdict)]
                if away and not (wrong and failures):
                    self._postgres.noticed(exc)
                    await asyncio.sleep(STORE_RETRY_S)
                elif len(batch) > 1:
                    for part in _parts(batch, failures):
                        await self._commit(part)
                    return
                elif away or is_bare_letter(batch[0].verdict):
                    self._put_off(batch[0], exc)
                    return
                else:
                    batch = [self._unwritable(batch[0], exc)]
                continue
            self._postgres.answered()
            return

    def again(self, entry: Entry) -> bool:
        """Whether *entry* was put off. Then what was decided about it is written now."""
        found = self._waiting.get(entry.ref)
        if found is None or found[0].entry is not entry:
            return False
        self.submit(found[0])
        return True

    def _put_off(self, settled: Settled, exc: Exception) -> None:
        """Neither the failure that *settled* tells of can be written nor a letter about it: its key waits, longer each
        time, and no other."""
        entry = settled.entry
        _, times = self._waiting.get(entry.ref, (settled, 0))
        self._waiting[entry.ref] = settled, times + 1
        if not times:
            log.error(
                "event.put_off",
                worker=self._worker.name,
                event_id=entry.event.id,
                error_class=type(exc).__name__,
                longest_pause_s=PUT_OFF_CAP_S,
            )
        self._wait(entry, min(PUT_OFF_S * 2.0 ** min(times, 30), PUT_OFF_CAP_S))

    def _unwritable(self, settled: Settled, exc: Exception) -> Settled:
        """The dead letter of an event whose results Postgres refuses, with what its worker says of such an end; of a
        dead letter, or of an event that waits, the same without the worker's rows. Named by class: the text may quote
        the data."""
        name = type(exc).__name__
        event_id = settled.entry.event.id
        log.error("event.unwritable", worker=self._worker.name, event_id=event_id, exc_info=exc, **fields(exc))
        if (bare := without_rows(settled.verdict)) is not None:
            return settled._replace(verdict=bare)
        error = Unwritten(f"its results cannot be written ({failure(exc).kind})")
        turn = Turn(now=settled.now, attempt=settled.entry.attempts + 1)
        rows = farewell(self._worker, settled.entry.event, error, turn)
        return Settled(settled.entry, Finish("dead", name, rows, error=error), settled.now)

    async def _write(self, batch: Sequence[Settled]) -> None:
        held = self._leases.held(self._worker.name)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as conn, conn.transaction():
            partitions = {s.entry.partition for s in batch}
            in_force = await epochs.current(conn, self._worker.name, list(partitions))
            lost = {p for p in partitions if p not in held or in_force.get(p) != held[p]}
            live = [s for s in batch if s.entry.partition not in lost and s.entry.epoch == held[s.entry.partition]]
            emitted = await self._write_live(conn, live) if live else []
        if lost:
            self._lease_lost(lost)
        if self._waiting:
            for settled in batch:
                self._waiting.pop(settled.entry.ref, None)
        self._outbox.extend(emitted)
        self._acks.extend(self._committed(live))
        self._wake_after.set()

    async def _write_live(self, conn: Connection, live: Sequence[Settled]) -> list[tuple[int, Event]]:
        name = self._worker.name
        ended = [(s.entry, s.verdict) for s in live if isinstance(s.verdict, Finish)]
        fresh = await inbox.insert(conn, name, [inbox_row(e, v) for e, v in ended]) if ended else set()
        rows = [row for s in live if _counts(s, fresh) for row in s.verdict.rows]
        found = await self._worker.record(conn, rows) if rows else None
        letters = [letter(e, v) for e, v in ended if v.outcome == "dead" and e.event.inbox_key in fresh]
        if letters:
            await burials.bury(conn, name, letters)
        failures = [
            failure_row(s.entry, s.verdict, s.now)
            for s in live
            if isinstance(s.verdict, Retry) and not s.verdict.limited
        ]
        if failures:
            await inbox.failed(conn, name, failures)
        if tried := [e.event.inbox_key for e, _ in ended if e.failures or e.attempts or e.taken_over]:
            await inbox.forget_attempts(conn, name, tried)
        emit = [event for e, v in ended if v.emit and e.event.inbox_key in fresh for event in v.emit]
        emit += found or ()
        emitted = list(zip(await outbox.emit(conn, emit), emit, strict=True)) if emit else []
        # kept by a commit whose answer was lost: not left to the sweeper, or what is emitted next overtakes it
        old = {event.id: event for e, v in ended if v.emit and e.event.inbox_key not in fresh for event in v.emit}
        left = await outbox.kept(conn, list(old)) if old else {}
        return [(seq, old[id]) for id, seq in left.items()] + emitted

    async def _run_after(self) -> None:
        """Publish and acknowledge what is committed. Redis away: keep it and try again."""
        while self._acks or self._outbox or not self._closed:
            await self._wake_after.wait()
            self._wake_after.clear()
            try:
                await self._publish()
                if self._acks:
                    self._acking, self._acks = self._acks, []
                    try:
                        await self._streams.ack(self._worker.name, self._acking)
                    except BaseException:
                        self._acks = self._acking + self._acks
                        raise
                    finally:
                        self._acking = []
            except (*StreamErrors, NotDurable):
                await asyncio.sleep(STORE_RETRY_S)
                self._wake_after.set()

    async def _publish(self) -> None:
        """Publish the outbox. What Redis does not take stays first in it, so that nothing later overtakes it."""
        if not self._outbox:
            return
        batch, self._outbox = self._outbox, []
        try:
            await publish(self._pool, self._streams, [event for _, event in batch])
        except BaseException:
            self._outbox = batch + self._outbox
            raise
        try:
            await outbox.published(self._pool, [seq for seq, _ in batch])
        except Exception as exc:
            if not store_is_down(exc):
                raise
            log.warning("outbox.published_twice_later", worker=self._worker.name, count=len(batch))


def _parts(batch: list[Settled], failures: list[Settled]) -> tuple[list[Settled], list[Settled]]:
    """*batch* in two: results and failures, or halves where it has one kind only."""
    results = [settled for settled in batch if not is_failure(settled.verdict)]
    if results and failures:
        return results, failures
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _counts(settled: Settled, fresh: set[InboxKey]) -> bool:
    return not isinstance(settled.verdict, Finish) or settled.entry.event.inbox_key in fresh
