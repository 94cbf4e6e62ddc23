"""The committer: one transaction for a batch of outcomes, then one pipeline that publishes and acknowledges.

Batches form by themselves: whatever was settled while the last commit ran goes into the next one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson
import structlog

from adapters.postgres.bus import burials, epochs, inbox, outbox
from adapters.postgres.pool import ACQUIRE_TIMEOUT_S, Connection, store_is_down
from adapters.redis.streams import NotDurable, StreamErrors
from daemon.bus.aside import LARGE_BYTES
from daemon.bus.lanes import Entry, EntryRef
from daemon.bus.publisher import publish
from daemon.bus.settle import Finish, Retry, Wait
from daemon.bus.shared import Shared
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event, InboxKey
from schemas.errors import Permanent

LARGEST: Final = 500
STORE_RETRY_S: Final = 0.5
TEXT_CAP: Final = 500

log = structlog.get_logger(__name__)


class Settled(NamedTuple):
    """An entry, and what was decided about it at *now*."""

    entry: Entry
    verdict: Finish | Wait | Retry
    now: datetime


def body_hash(event: Event) -> bytes:
    """A digest of the payload that spacing and the order of keys do not change. Of a large one each byte counts: to
    read its objects would hold the event loop for seconds."""
    if len(event.data) > LARGE_BYTES:
        return blake2b(event.data, digest_size=16).digest()
    try:
        canonical = orjson.dumps(orjson.loads(event.data), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError):
        canonical = event.data
    return blake2b(canonical, digest_size=16).digest()


class Committer:
    """Writes what one worker's handlers returned.

    *committed* is called with the entries whose verdicts are in Postgres, and returns what may be acknowledged.
    *lease_lost* is called with the partitions that another process has taken.
    """

    def __init__(
        self,
        worker: AnyWorker,
        shared: Shared,
        committed: Callable[[Sequence[Settled]], Sequence[EntryRef]],
        lease_lost: Callable[[set[int]], None],
    ) -> None:
        self._worker = worker
        self._pool = shared.pool
        self._postgres = shared.stores.postgres
        self._streams = shared.streams
        self._leases = shared.leases
        self._committed = committed
        self._lease_lost = lease_lost
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
        """Commit *batch*. While Postgres is away, wait; where it refuses the data, halve the batch until the event at
        fault is alone."""
        while True:
            try:
                async with asyncio.timeout(30):
                    await self._write(batch)
            except Exception as exc:
                if store_is_down(exc):
                    self._postgres.noticed(exc)
                    await asyncio.sleep(STORE_RETRY_S)
                    continue
                if len(batch) > 1:
                    middle = len(batch) // 2
                    await self._commit(batch[:middle])
                    await self._commit(batch[middle:])
                    return
                batch = [self._unwritable(batch[0], exc)]
                continue
            self._postgres.answered()
            return

    def _unwritable(self, settled: Settled, exc: Exception) -> Settled:
        """The dead letter of an event whose results Postgres refuses. Named by class: the text may quote the data."""
        name = type(exc).__name__
        log.error(
            "event.unwritable",
            worker=self._worker.name,
            event_id=settled.entry.event.id,
            error_class=name,
            exc_info=exc,
        )
        error = Permanent(f"its results cannot be written ({name})")
        return Settled(settled.entry, Finish("dead", name, error=error), settled.now)

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
        self._outbox.extend(emitted)
        self._acks.extend(self._committed(live))
        self._wake_after.set()

    async def _write_live(self, conn: Connection, live: Sequence[Settled]) -> list[tuple[int, Event]]:
        name = self._worker.name
        ended = [(s.entry, s.verdict) for s in live if isinstance(s.verdict, Finish)]
        fresh = await inbox.insert(conn, name, [_inbox_row(e, v) for e, v in ended]) if ended else set()
        rows = [row for s in live if not isinstance(s.verdict, Retry) and _counts(s, fresh) for row in s.verdict.rows]
        if rows:
            await self._worker.record(conn, rows)
        letters = [_letter(e, v) for e, v in ended if v.outcome == "dead" and e.event.inbox_key in fresh]
        if letters:
            await burials.bury(conn, name, letters)
        failures = [
            _failure(s.entry, s.verdict, s.now) for s in live if isinstance(s.verdict, Retry) and s.verdict.counted
        ]
        if failures:
            await inbox.failed(conn, name, failures)
        if tried := [e.event.inbox_key for e, _ in ended if e.attempts or e.deliveries > 1]:
            await inbox.forget_attempts(conn, name, tried)
        emit = [event for e, v in ended if v.emit and e.event.inbox_key in fresh for event in v.emit]
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


def _text(text: str) -> str:
    """*text* as Postgres can keep it: errors may quote what an outside system wrote."""
    return text[:TEXT_CAP].replace("\x00", "\ufffd").encode(errors="replace").decode()


def _counts(settled: Settled, fresh: set[InboxKey]) -> bool:
    return not isinstance(settled.verdict, Finish) or settled.entry.event.inbox_key in fresh


def _inbox_row(entry: Entry, verdict: Finish) -> inbox.InboxRow:
    event = entry.event
    reason = _text(verdict.reason) if verdict.reason else None
    return inbox.InboxRow(event.id, event.replayid, verdict.outcome, reason, entry.attempts, body_hash(event))


def _letter(entry: Entry, verdict: Finish) -> burials.DeadLetter:
    error = verdict.error
    return burials.DeadLetter(entry.event, type(error).__name__, _text(str(error)), entry.attempts + 1)


def _failure(entry: Entry, verdict: Retry, now: datetime) -> inbox.Failure:
    return inbox.Failure(
        entry.event.id,
        entry.event.replayid,
        entry.attempts,
        type(verdict.error).__name__,
        _text(str(verdict.error)),
        now + timedelta(seconds=verdict.delay_s),
    )


def outcomes(batch: Sequence[Settled]) -> Counter[str]:
    """How many of *batch* ended how, for the metrics."""
    return Counter(s.verdict.outcome for s in batch if isinstance(s.verdict, Finish))
