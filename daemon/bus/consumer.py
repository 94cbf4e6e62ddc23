"""One worker on the partitions that this process holds: reader, lanes, slots and committer put together."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog

from adapters import permit
from adapters.postgres.bus import inbox, payloads
from adapters.postgres.pool import store_is_down
from adapters.redis.streams import StreamErrors, Streams
from daemon.bus import waiting
from daemon.bus.committer import Committer, Settled
from daemon.bus.deadline import Deadline
from daemon.bus.endings import farewell
from daemon.bus.lanes import SHARE, Entry, Lanes
from daemon.bus.left import EntryRef
from daemon.bus.outcome import Outcome, Turn
from daemon.bus.reader import Reader
from daemon.bus.settle import (
    Finish,
    Park,
    PayloadAbsent,
    Poison,
    Retry,
    StandInLine,
    Unexpected,
    Verdict,
    Wait,
    Yield,
    decide,
)
from daemon.bus.shared import Shared
from daemon.bus.tally import Tally
from daemon.bus.worker import AnyWorker
from schemas.errors import FerrymanError, LeaseLost, StoreAway, Uncertain

PROBE_LOOK_S: Final = 0.25
LEASE_LOOK_S: Final = 1.0
PAUSED_LOOK_S: Final = 1.0
BREATH_S: Final = 0.002
"""Longest time that handlers which wait for nothing keep the event loop to themselves."""

KEYS_AT_LEAST: Final = 10
"""So many keys can wait with all that they may hold before nothing more is read."""

SUSPICIOUS: Final = 2
"""An event that was taken over so often might be what kills the process."""

LEAST_DEATHS: Final = 2
"""Nothing is buried for fewer recorded deaths: at the first one others may have been under way, at the second none."""

log = structlog.get_logger(__name__)


class Consumer:
    """Runs *worker*, whose handlers are given *deps*. *reads*: streams on a client of its own.

    `run` returns when stopped and drained; what is still waiting then stays pending on the stream.
    """

    def __init__(self, worker: AnyWorker, deps: Any, shared: Shared, reads: Streams) -> None:
        settings = shared.settings
        self.worker = worker
        self.lanes = Lanes(min(SHARE, max(1, settings.ferryman_max_in_flight // KEYS_AT_LEAST)))
        self._deps = deps
        self._shared = shared
        self._limit = worker.attempts(settings)
        self._deadline = Deadline(worker.deadline_s(settings))
        self._slots = worker.lanes(settings)
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._stopping = asyncio.Event()
        self._busy: dict[int, Entry] = {}
        self._poison = settings.ferryman_poison_deliveries
        self._alone = asyncio.Lock()
        self._tally = Tally(worker.name, shared.metrics)
        self._breath_at = 0.0
        self._took = shared.metrics.observer("ferryman_event_seconds", {"worker": worker.name})
        self.committer = Committer(worker, shared, self._committed, self._lease_lost, self.lanes.again)
        self.reader = Reader(worker, shared, reads, self.lanes, self.committer)

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.worker.name

    @property
    def paused(self) -> bool:
        """Whether an operator has stopped this worker: it reads nothing and begins nothing."""
        return self.reader.paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self.reader.paused = paused

    def stop(self) -> None:
        """Read and begin nothing more; handlers under way may finish."""
        self._stopping.set()
        self.reader.stop()

    def hand_over(self, partition: int) -> bool:
        """Drop what waits in *partition*; true once nothing of it is in hand or may still come in."""
        return self.lanes.drop_waiting(partition) == 0 and partition not in self.reader.reading

    def _open(self) -> int:
        """How many entries were read and have not ended."""
        return len(self.lanes) + len(self.lanes.left)

    async def run(self) -> None:
        """Work until stopped, then finish what is in hand."""
        commit = asyncio.create_task(self.committer.run(), name=f"{self.worker.name}:commit")
        read = asyncio.create_task(self.reader.run(), name=f"{self.worker.name}:read")
        slots = [asyncio.create_task(self._slot(n), name=f"{self.worker.name}:{n}") for n in range(self._slots)]
        side = [
            asyncio.create_task(self._tally.tell(self._open), name=f"{self.worker.name}:tell"),
            asyncio.create_task(self._probe(), name=f"{self.worker.name}:probe"),
        ]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({commit, read, stopped, *slots, *side}, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await asyncio.wait({read})
            await self._finish_slots(slots)
            self.committer.close()
            await asyncio.wait({commit})
            for task in (*done, read, commit):
                if not task.cancelled() and (exc := task.exception()) is not None:
                    raise exc
        finally:
            self.stop()  # also when cancelled: redis-py now and then swallows a cancellation
            self.committer.close()
            self.lanes.close()
            self._deadline.close()
            everything = [stopped, commit, read, *slots, *side]
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)
            self._tally.tell_now(self._open())

    async def _finish_slots(self, slots: Sequence[asyncio.Task[None]]) -> None:
        """Let the handlers under way come to their end; slots that wait for work end at once."""
        for number, slot in enumerate(slots):
            if number not in self._busy:
                slot.cancel()
        await asyncio.wait(set(slots))

    async def _slot(self, number: int) -> None:
        mine = permit.Permit(lambda: self._check_lease(number))
        permit.current.set(mine)
        while not self._stopping.is_set():
            entry = await self.lanes.next()
            if self._stopping.is_set():
                return
            if not self._may_begin(entry):
                self.lanes.again(entry, LEASE_LOOK_S)
                continue
            if self.paused:
                self.lanes.again(entry, PAUSED_LOOK_S)
                continue
            self._busy[number] = entry
            try:
                if not self._shared.stores.postgres.up:  # nothing can be recorded, so nothing is begun
                    await self._shared.stores.postgres.wait_up(self._stopping)
                    if self._stopping.is_set():
                        return
                if self.committer.again(entry):
                    pass
                elif entry.taken_over < SUSPICIOUS:
                    await self._turn(entry, mine)
                elif entry.begun == 0:
                    await self._turn_under_suspicion(entry, mine)
                else:
                    async with self._alone:
                        await self._turn_under_suspicion(entry, mine)
            finally:
                del self._busy[number]
            if time.monotonic() >= self._breath_at:  # else handlers that wait for nothing would starve the listener
                await asyncio.sleep(0)
                self._breath_at = time.monotonic() + BREATH_S

    def _may_begin(self, entry: Entry) -> bool:
        """False while Redis is away for longer than the lease, and for what was read under an earlier lease than the
        one that is held now: another process may have ended it in between. The reader drops it at its next round."""
        return self._shared.leases.may_begin(self.worker.name, entry.partition, entry.epoch)

    def _check_lease(self, number: int) -> None:
        """Raises LeaseLost when what slot *number* has in hand may be another process's by now, or is over."""
        entry = self._busy.get(number)
        if entry is None or not self._shared.leases.certain(self.worker.name, entry.partition, entry.epoch):
            raise LeaseLost("the lease has run out meanwhile")

    async def _turn_under_suspicion(self, entry: Entry, mine: permit.Permit) -> None:
        """Handle an event that was taken over twice, and may be what kills the process.

        That alone proves nothing, since every restart takes over everything pending. So this notes each such event
        before it begins, and takes the note back when the process has survived it. An event that was under way when a
        process died is begun alone from then on, so the next death tells which event it was.
        """
        try:
            begun = await inbox.begin(self._shared.pool, self.worker.name, entry.event)
        except Exception as exc:
            if not store_is_down(exc):
                raise
            self._shared.stores.postgres.noticed(exc)
            self.lanes.again(entry, PAUSED_LOOK_S)
            return
        deaths = begun - 1
        if deaths >= max(LEAST_DEATHS, self._poison - SUSPICIOUS):
            text = f"the process died {deaths} times over it, and was restarted before"
            self._apply(entry, Finish("dead", "Poison", error=Poison(text)), self._shared.now())
            return
        try:
            await self._turn(entry, mine)
        finally:  # also when the drain cuts it short: that is no death
            entry.begun = 0
            await self._survived(entry)

    async def _survived(self, entry: Entry) -> None:
        try:
            await inbox.survived(self._shared.pool, self.worker.name, entry.event)
        except Exception as exc:
            if not store_is_down(exc):
                raise

    async def _turn(self, entry: Entry, mine: permit.Permit) -> None:
        """Call the handler once and act on how it ended."""
        if entry.dropped:
            return  # its lease was lost while it waited here: the next lease holder may have ended it by now
        began = time.monotonic()
        if entry.began is None:
            entry.began = began
        mine.begin(entry.ticket, "bulk" if self.worker.is_bulk(entry.event) else "live")
        entry.ticket = None
        now = self._shared.now()
        result = await self._handle(entry, now)
        answers = True
        if isinstance(result, FerrymanError):
            answers = self._channel_answers(entry, result, began)
        verdict = decide(
            result,
            attempts=entry.attempts,
            failures=entry.failures,
            limit=self._limit,
            channel_answers=answers,
            on_uncertain=self.worker.on_uncertain,
            rng=self._rng,
        )
        self._took(time.monotonic() - began)
        self._apply(entry, verdict, now)

    def _channel_answers(self, entry: Entry, error: FerrymanError, began: float) -> bool:
        """Whether the channel that *error* came from has answered since the event failed before: then the fault is the
        event's own."""
        channel = self._shared.channels.get(error.channel)
        if channel is None:
            return True
        answers = channel.answered_since(entry.failed_at if entry.failures else began, error)
        if answers and entry.failures == 1 and not entry.attempts:
            entry.attempts = 1  # the first failure was the event's own as well: the channel has answered since
        return answers

    async def _handle(self, entry: Entry, now: datetime) -> Outcome | FerrymanError:
        behind = partial(self.lanes.behind, entry)
        turn = Turn(now, entry.attempts + 1, entry.step, entry.memo, entry.ref.id, behind)
        call = self._deadline.call()
        try:
            with call:
                if entry.event.dataref:
                    await self._fetch(entry)
                return await self.worker.handle(entry.event, self._deps, turn)
        except FerrymanError as exc:
            return exc
        except Exception as exc:
            if call.expired:
                return Uncertain("the handler passed its deadline")
            if store_is_down(exc) or isinstance(exc, StreamErrors):
                return StoreAway(f"a store is away ({type(exc).__name__})")
            log.exception("event.handler_failed", worker=self.worker.name, event_id=entry.event.id)
            return Unexpected(f"the handler raised {type(exc).__name__}")

    async def _fetch(self, entry: Entry) -> None:
        """Ask again for the payload of a large event, which was absent. Raises: PayloadAbsent."""
        reference = entry.event.id, entry.event.dataref
        data = (await payloads.fetch(self._shared.pool, [reference])).get(reference)
        if data is None:
            raise PayloadAbsent("the event's payload is not in the table payloads: put it back from a backup")
        entry.event = entry.event.with_data(data)

    def _apply(self, entry: Entry, verdict: Verdict, now: datetime) -> None:
        match verdict:
            case Finish(outcome="dead" | "uncertain", error=error) if error is not None:
                turn = Turn(now=now, attempt=entry.attempts + 1, step=entry.step, memo=entry.memo)
                rows = farewell(self.worker, entry.event, error, turn)
                self.committer.submit(Settled(entry, verdict._replace(rows=rows), now))
            case Finish() | Wait():
                entry.told = ""  # the rows of the verdict may take back what they said before
                self.committer.submit(Settled(entry, verdict, now))
            case Retry():
                rows = waiting.rows(self.worker, entry, waiting.failed(verdict, now), now, after_failure=True)
                self._fail(entry, verdict)
                self.committer.submit(Settled(entry, verdict._replace(rows=rows), now))
            case Park():
                why = waiting.closed(self._shared.channels[verdict.channel])
                self._wait(entry, verdict._replace(rows=waiting.rows(self.worker, entry, why, now)), now)
            case StandInLine():
                why = waiting.asked(verdict)
                self._wait(entry, verdict._replace(rows=waiting.rows(self.worker, entry, why, now)), now)
            case Yield():
                log.warning("lease.over", worker=self.worker.name, event_id=entry.event.id, step=entry.step)
                self.lanes.again(entry, LEASE_LOOK_S)

    def _wait(self, entry: Entry, verdict: Park | StandInLine, now: datetime) -> None:
        """Write down why *entry* waits, where that is to be told, then let it wait."""
        if verdict.rows:
            self.committer.submit(Settled(entry, verdict, now))
        elif isinstance(verdict, StandInLine):
            self.lanes.stand_in_line(entry, verdict.ticket)
        else:
            entry.step, entry.memo = "", None
            self.lanes.park(entry, verdict.channel, *verdict.instead)

    def _fail(self, entry: Entry, verdict: Retry) -> None:
        """Note that a call of the handler has failed, and begin again at the handler's first step."""
        entry.step, entry.memo = "", None
        entry.failures += not verdict.limited
        entry.attempts += verdict.counted
        entry.failed_at = time.monotonic()
        self._tally.failed(entry, verdict)

    def _committed(self, batch: Sequence[Settled]) -> Sequence[EntryRef]:
        """Let the lanes of *batch* go on; returns what may be acknowledged."""
        acks: list[EntryRef] = []
        ended: list[tuple[Entry, Finish]] = []
        for entry, verdict, _ in batch:
            if isinstance(verdict, Finish):
                acks += self.lanes.done(entry)
                ended.append((entry, verdict))
            elif isinstance(verdict, Wait):
                entry.step, entry.memo = verdict.step, verdict.memo
                self.lanes.again(entry, (verdict.at - self._shared.now()).total_seconds())
            elif isinstance(verdict, Park | StandInLine):
                self._wait(entry, verdict._replace(rows=()), self._shared.now())
            else:
                self.lanes.again(entry, verdict.delay_s)
        self._tally.ended(ended)
        return acks

    def _lease_lost(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._shared.leases.lost(self.worker.name, partition)
        dropped = self.lanes.drop(partitions)
        log.warning("lease.fenced", worker=self.worker.name, partitions=sorted(partitions), dropped=dropped)

    async def _probe(self) -> None:
        """While a channel is away let one of the lanes that wait for it find out; when it is back, all of them."""
        while True:
            await asyncio.sleep(PROBE_LOOK_S)
            for names in self.lanes.awaited:
                channel, *instead = (self._shared.channels[name] for name in names)
                if channel.closed or any(one.closed for one in instead):
                    self.lanes.unpark(*names)
                elif channel.may_probe or not all(one.shut for one in instead):
                    self.lanes.unpark(*names, count=1)
