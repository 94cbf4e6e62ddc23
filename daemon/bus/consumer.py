"""One worker on the partitions that this process holds: reader, lanes, slots and committer put together."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from adapters import fence
from adapters.postgres.bus import inbox
from adapters.postgres.pool import Pool, store_is_down
from adapters.redis.streams import StreamErrors, Streams
from daemon.bus.breakers import Provider
from daemon.bus.committer import Committer, Settled, outcomes
from daemon.bus.deadline import Deadline
from daemon.bus.lanes import Held, Lanes
from daemon.bus.leases import Leases
from daemon.bus.outcome import Outcome, Row, Turn, Worker
from daemon.bus.reader import Reader
from daemon.bus.settle import Finish, LeaseOver, Park, Poison, Retry, StoreAway, Unexpected, Wait, decide
from daemon.deps import Deps
from schemas.errors import FerrymanError, Uncertain

PROBE_LOOK_S: Final = 0.25
LEASE_LOOK_S: Final = 1.0
PAUSED_LOOK_S: Final = 1.0
SUSPICIOUS: Final = 3
"""Deliveries from which on an event might be what kills the process."""

log = structlog.get_logger(__name__)


class Consumer:
    """Runs *worker*. *suspect* hears of signs that Redis has lost something.

    `run` returns when stopped and drained; what is still waiting then stays pending on the stream.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        reads: Streams,
        commands: Streams,
        pool: Pool,
        leases: Leases,
        deps: Deps,
        provider: Provider | None,
        suspect: Callable[[], None],
    ) -> None:
        settings = deps.settings
        self.worker = worker
        self.lanes = Lanes()
        self._deps = deps
        self._leases = leases
        self._provider = provider
        self._limit = worker.attempts(settings)
        self._deadline = Deadline(worker.deadline_s(settings))
        self._slots = worker.lanes(settings)
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._stopping = asyncio.Event()
        self._busy: dict[int, Held] = {}
        self._pool = pool
        self._poison = settings.ferryman_poison_deliveries
        self._alone = asyncio.Lock()

        self.committer = Committer(worker, pool, commands, leases, self._committed, self._fenced)
        self.reader = Reader(
            worker,
            reads,
            commands.appends,
            pool,
            self.lanes,
            self.committer,
            leases,
            in_flight=settings.ferryman_max_in_flight,
            suspect=suspect,
        )

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
        """Read nothing more and start nothing more; what is being handled may finish."""
        self._stopping.set()
        self.reader.stop()

    def hand_over(self, partition: int) -> bool:
        """Let go of what waits in *partition*; true once nothing of it is in hand or may still come in."""
        return self.lanes.drop_waiting(partition) == 0 and partition not in self.reader.reading

    async def run(self) -> None:
        """Work until stopped, then finish what is in hand."""
        commit = asyncio.create_task(self.committer.run(), name=f"{self.worker.name}:commit")
        read = asyncio.create_task(self.reader.run(), name=f"{self.worker.name}:read")
        slots = [asyncio.create_task(self._slot(n), name=f"{self.worker.name}:{n}") for n in range(self._slots)]
        side = [asyncio.create_task(self._probe(), name=f"{self.worker.name}:probe")] if self._provider else []
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

    async def _finish_slots(self, slots: Sequence[asyncio.Task[None]]) -> None:
        """Let the handlers under way come to their end; slots that wait for work end at once."""
        for number, slot in enumerate(slots):
            if number not in self._busy:
                slot.cancel()
        await asyncio.wait(set(slots))

    async def _slot(self, number: int) -> None:
        fence.check.set(lambda: self._check_lease(number))
        while not self._stopping.is_set():
            held = await self.lanes.next()
            if self._stopping.is_set():
                return
            if not self._leases.may_begin(self.worker.name, held.partition):
                self.lanes.again(held, LEASE_LOOK_S)  # Redis is away for longer than the lease: begin nothing
                continue
            if self.paused:
                self.lanes.again(held, PAUSED_LOOK_S)
                continue
            self._busy[number] = held
            try:
                if not self.committer.store_up.is_set():
                    await self._until_store_is_up()
                    if self._stopping.is_set():
                        return
                if held.deliveries < SUSPICIOUS:
                    await self._turn(held)
                elif held.begun == 0:
                    await self._turn_under_suspicion(held)
                else:
                    async with self._alone:
                        await self._turn_under_suspicion(held)
            finally:
                del self._busy[number]
            await asyncio.sleep(0)  # a handler that never waits must not keep the listener and the committer waiting

    def _check_lease(self, number: int) -> None:
        """Raises LeaseOver when what slot *number* has in hand may be another process's by now, or is over."""
        held = self._busy.get(number)
        if held is None or not self._leases.certain(self.worker.name, held.partition, held.epoch):
            raise LeaseOver("the lease has run out meanwhile")

    async def _until_store_is_up(self) -> None:
        """With Postgres away nothing can be recorded, so nothing is begun."""
        waits = {
            asyncio.create_task(self.committer.store_up.wait()),
            asyncio.create_task(self._stopping.wait()),
        }
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    async def _turn_under_suspicion(self, held: Held) -> None:
        """Handle an event that has been delivered often: one of these may be what kills the process.

        Deliveries alone prove nothing, since every restart makes one of everything pending. So it is written down
        before
        each is begun, and taken back when it is survived. What was under way when a process died is begun alone from
        then on, one such event at a time: the next death tells which it was.
        """
        try:
            begun = await inbox.begin(self._pool, self.worker.name, held.event)
        except Exception as exc:
            if not store_is_down(exc):
                raise
            self.lanes.again(held, PAUSED_LOOK_S)
            return
        if begun > self._poison - SUSPICIOUS + 1:
            text = f"the process died {begun - 1} times over it, and was restarted before"
            self._apply(held, Finish("dead", "Poison", error=Poison(text)), self._deps.now())
            return
        try:
            await self._turn(held)
        finally:  # also when the drain cuts it short: that is no death
            held.begun = 0
            await self._survived(held)

    async def _survived(self, held: Held) -> None:
        try:
            await inbox.survived(self._pool, self.worker.name, held.event)
        except Exception as exc:
            if not store_is_down(exc):
                raise

    async def _turn(self, held: Held) -> None:
        """Call the handler once and act on how it ended."""
        if held.dropped:
            return  # while it waited here its lease was lost: who holds the next one may have ended it by now
        began = time.monotonic()
        if held.began is None:
            held.began = began
        now = self._deps.now()
        result = await self._handle(held, now)
        if isinstance(result, LeaseOver):
            log.warning("lease.over", worker=self.worker.name, event_id=held.event.id, step=held.step)
            self.lanes.again(held, LEASE_LOOK_S)
            return
        answers = True
        if self._provider is not None and isinstance(result, FerrymanError):
            answers = self._provider.answered_since(held.failed_at if held.failures else began, result)
            if answers and held.failures == 1 and not held.attempts:
                held.attempts = 1  # the first failure was the event's own as well: the provider has answered since
        verdict = decide(
            result,
            attempts=held.attempts,
            failures=held.failures,
            limit=self._limit,
            provider_answers=answers,
            on_uncertain=self.worker.on_uncertain,
            rng=self._rng,
        )
        self._deps.metrics.observe("ferryman_event_seconds", time.monotonic() - began, {"worker": self.worker.name})
        self._apply(held, verdict, now)

    async def _handle(self, held: Held, now: datetime) -> Outcome | FerrymanError:
        turn = Turn(now=now, attempt=held.attempts + 1, step=held.step, memo=held.memo)
        call = self._deadline.call()
        try:
            with call:
                return await self.worker.handle(held.event, self._deps, turn)
        except FerrymanError as exc:
            return exc
        except Exception as exc:
            if call.expired:
                return Uncertain("the handler passed its deadline")
            if store_is_down(exc) or isinstance(exc, StreamErrors):
                return StoreAway(f"a store is away ({type(exc).__name__})")
            log.exception("event.handler_failed", worker=self.worker.name, event_id=held.event.id)
            return Unexpected(f"the handler raised {type(exc).__name__}")

    def _apply(self, held: Held, verdict: Finish | Wait | Retry | Park, now: datetime) -> None:
        match verdict:
            case Park():
                held.step, held.memo = "", None
                self.lanes.park(held)
            case Retry():
                held.step, held.memo = "", None
                held.failures += not verdict.limited
                held.attempts += verdict.counted
                held.failed_at = time.monotonic()
                log.warning(
                    "event.retry",
                    worker=self.worker.name,
                    event_id=held.event.id,
                    attempt=held.attempts,
                    error_class=type(verdict.error).__name__,
                    error=str(verdict.error),
                    delay_s=round(verdict.delay_s, 2),
                )
                self.committer.submit(Settled(held, verdict, now))
            case Finish(outcome="dead", error=error) if error is not None:
                turn = Turn(now=now, attempt=held.attempts + 1, step=held.step, memo=held.memo)
                rows = self._farewell(held, error, turn)
                self.committer.submit(Settled(held, Finish("dead", verdict.reason, rows, (), error), now))
            case _:
                self.committer.submit(Settled(held, verdict, now))

    def _farewell(self, held: Held, error: FerrymanError, turn: Turn) -> tuple[Row, ...]:
        """The worker's own rows for a dead letter. A fault in making them must not keep the letter from being
        written."""
        try:
            return tuple(self.worker.buried(held.event, error, turn))
        except Exception:
            log.exception("event.buried_failed", worker=self.worker.name, event_id=held.event.id)
            return ()

    def _committed(self, batch: Sequence[Settled]) -> list[tuple[str, str]]:
        """Let the lanes of *batch* go on; returns what may be acknowledged."""
        acks: list[tuple[str, str]] = []
        for settled in batch:
            held, verdict = settled.held, settled.verdict
            if isinstance(verdict, Finish):
                acks += self.lanes.done(held)
                self._report(held, verdict)
            elif isinstance(verdict, Wait):
                held.step, held.memo = verdict.step, verdict.memo
                self.lanes.again(held, (verdict.at - self._deps.now()).total_seconds())
            else:
                self.lanes.again(held, verdict.delay_s)
        for outcome, count in outcomes(batch).items():
            self._deps.metrics.inc("ferryman_events_total", {"worker": self.worker.name, "outcome": outcome}, count)
        return acks

    def _report(self, held: Held, verdict: Finish) -> None:
        """One line per event; the journal's, which only copies, at debug."""
        level = "debug" if self.worker.quiet and verdict.outcome == "done" else "info"
        getattr(log, level)(
            "event.settled",
            worker=self.worker.name,
            event_id=held.event.id,
            type=held.event.type,
            outcome=verdict.outcome,
            reason=verdict.reason,
            attempts=held.attempts,
            took_ms=None if held.began is None else round((time.monotonic() - held.began) * 1000, 1),
        )

    def _fenced(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._leases.lost(self.worker.name, partition)
        dropped = self.lanes.drop(partitions)
        log.warning("lease.fenced", worker=self.worker.name, partitions=sorted(partitions), dropped=dropped)

    async def _probe(self) -> None:
        """While the provider is away let one waiting lane at a time find out; when it is back, all of them."""
        assert self._provider is not None
        while True:
            await asyncio.sleep(PROBE_LOOK_S)
            if self.lanes.parked:
                if self._provider.closed:
                    self.lanes.unpark()
                elif self._provider.may_probe:
                    self.lanes.unpark(1)

    @property
    def oldest(self) -> datetime | None:
        """Arrival of the oldest event in hand."""
        return self.lanes.oldest()


def utc_now() -> datetime:
    """The wall clock that decisions are given."""
    return datetime.now(UTC)
