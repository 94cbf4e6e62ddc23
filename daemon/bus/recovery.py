"""Recovery: notices within seconds that Redis has lost data, and puts it back without a person.

Redis holds a mark, and a beat that every process raises once a second. A loss shows in a mark that is gone or that
another process has set, or in a beat that went back: the server lost everything (it was emptied) or its newest part
(its append-only file was cut). Recovery then publishes again what the journal has and some worker has not ended with,
and what this process published a moment ago. An event that is on the stream twice does no harm, as the inbox drops the
second. Recovery makes the groups last, so no process reads before everything is in place. New events wait in the spool
meanwhile, so a recovered event of a key goes before a newer one.

Beside these signs, `comparison.py` looks whether what is open stands on its stream, `groups.py` whether a stream is
gone, and `rewind.py` whether Postgres went back.

On a cluster every partition has a mark and a beat of its own, as each node can lose data alone. With a cluster or
Sentinel, recovery also counts it as a loss when another server takes over: that server may lack what the former one
answered in its last moment, which no beat need show. While a server is away there, new events wait in the spool.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from adapters.postgres.bus import looked, meta, partitions
from adapters.postgres.pool import Connection, Pool, locking
from adapters.redis.streams import NotDurable, StreamErrors, Streams
from daemon.bus import groups as bus_groups
from daemon.bus.comparison import Comparison
from daemon.bus.losses import Losses
from daemon.bus.marks import Marks
from daemon.bus.rewind import Rewind
from daemon.lifecycle import Periodic
from daemon.stores.health import store_away

EVERY_S: Final = 1.0
SETTLE_S: Final = 2 * EVERY_S
"""How long every process needs to look, and to publish what it alone knows."""

LONGEST_SETTLE_S: Final = 10.0
MEANWHILE_S: Final = 0.2

CHECKPOINT_EVERY: Final = 5
COMPARE_EVERY: Final = 2
RETRY_S: Final = 1.0
TRIES: Final = 10

log = structlog.get_logger(__name__)


class Held(Protocol):
    """The intake, as far as recovery must hold it back."""

    def hold(self) -> None:
        """Spool whatever comes, until `release`."""
        ...

    def release(self) -> None:
        """Go on, after the spool is drained."""
        ...


class Recovery:
    """Watches for losses, and mends them. *streams*: made with `recovers=True`. *days*: how far back the journal is
    looked at. *in_flight*: the entries that a worker may hold at a time."""

    def __init__(self, pool: Pool, streams: Streams, intake: Held, *, days: int, in_flight: int = 10_000) -> None:
        self._pool = pool
        self._streams = streams
        self._intake = intake
        self._losses = Losses(pool, streams, days)
        self._comparison = Comparison(pool, streams, days)
        self._rewind = Rewind(pool, streams, in_flight)
        self._id = uuid.uuid4().hex
        self._mark: str | None = None
        self._marks = Marks(streams)
        self._beats = [0] * len(self._marks)
        self._servers: str | None = None
        self._waiting = False
        self._rounds = 0
        self._suspect = asyncio.Event()
        self._looking = asyncio.Lock()

    def suspect(self) -> None:
        """A reader saw a sign of loss (a group that is gone): look now."""
        self._suspect.set()

    async def begin(self) -> None:
        """Look for the first time, and mend before anything is read or appended. Raises what the stores raise; it may
        be called again then."""
        self._mark = await meta.value(self._pool, "mark")
        beats = [int(beat) for beat in (await meta.value(self._pool, "beat") or "").split()]
        if len(beats) == len(self._marks):
            self._beats = beats
        if self._streams.server.fails_over:
            self._servers = await meta.value(self._pool, "servers")
        for _ in range(TRIES):
            try:
                await self._look(groups=True)
                await self._tell(self._pool)
                return
            except NotDurable as exc:  # a server that is busy rewriting its file, for instance
                log.warning("recovery.not_durable_yet", error=str(exc))
                await asyncio.sleep(RETRY_S)
        raise NotDurable("Redis does not confirm its append-only file: run `ferryman doctor`")

    async def run(self, stop: asyncio.Event) -> None:
        """Look once a second until *stop*, and at once after `suspect`."""

        async def look() -> None:
            if rounds.woken:
                await asyncio.sleep(0.05)  # many readers see the same sign at once
                self._suspect.clear()
            try:
                await self._look(groups=rounds.woken)
                self._go_on()
            except (*StreamErrors, NotDurable):
                self._wait()
                raise

        rounds = Periodic("recovery", look, every_s=EVERY_S, skip=store_away, wake=self._suspect)
        await rounds.run(stop)

    def _wait(self) -> None:
        """Hold the intake back: another server may be taking over, which lacks what was written last; nothing newer may
        go before that."""
        if self._streams.server.fails_over:
            if not self._waiting:
                log.warning("recovery.server_away")
            self._waiting = True
            self._streams.recent.hold()
            self._intake.hold()

    def _go_on(self) -> None:
        if self._waiting:
            self._waiting = False
            self._streams.recent.release()
            self._intake.release()
            log.info("recovery.server_back")

    async def check(self) -> None:
        """Look now, and mend: before what waited for Redis goes there. Raises what the stores raise."""
        await self._look(groups=False)

    async def _look(self, *, groups: bool) -> None:
        async with self._looking:  # a beat that another look of this process has raised is no sign
            await self._look_alone(groups=groups)

    async def _look_alone(self, *, groups: bool) -> None:
        restarted = await self._streams.appends.restarted()
        marks, beats, now_ms = await self._marks.look()
        servers = self._streams.server.serving(self._marks.keys)
        went_back = any(beat <= before for beat, before in zip(beats, self._beats, strict=True))
        # no beat need be among what is lost
        went_back = went_back or ((restarted or groups) and await self._streams.lacks_recent())
        gone = groups and await bus_groups.lost(self._pool, self._streams)
        taken_over = self._servers is not None and servers != self._servers
        postgres_back = self._rounds % CHECKPOINT_EVERY == 0 and await self._rewind.postgres_went_back()
        signs = marks != {self._mark} or self._mark is None or went_back or gone or taken_over or postgres_back
        absent = 0 if signs else await self._absent(groups=groups)
        if signs or absent:
            await self._mend(
                gone=None in marks,
                went_back=went_back,
                stream_gone=gone,
                taken_over=taken_over,
                absent=absent,
                postgres_back=postgres_back,
            )
            self._comparison.forget()
        else:
            if groups:
                await bus_groups.ensure(self._pool, self._streams)
            if restarted and self._rounds:
                await self._let_others_mend()
        self._streams.appends.trust(self._marks.keys[0], self._mark or "")
        if servers != (self._servers or ""):
            await meta.put(self._pool, "servers", servers)
            self._servers = servers
        self._beats = beats
        self._rounds += 1
        if self._rounds % CHECKPOINT_EVERY == 0:
            await meta.put(self._pool, "beat", " ".join(map(str, beats)))
            await self._comparison.checkpoint()
            await self._rewind.checkpoint(now_ms)
            await looked.forget_old(self._pool)

    async def _absent(self, *, groups: bool) -> int:
        """How many open events are not on their streams; of all, at the start, and of some, now and then."""
        if not self._rounds:
            return await self._comparison.lost_by_now()
        return await self._comparison.lost() if groups or self._rounds % COMPARE_EVERY == 0 else 0

    async def _let_others_mend(self) -> None:
        """Hold the intake back for SETTLE_S: this process sees no loss, but another may, and a recovered event goes
        before new ones. When another process has mended, publish what this process alone knows, too."""
        self._intake.hold()
        try:
            until = time.monotonic() + SETTLE_S
            while time.monotonic() < until:
                await asyncio.sleep(MEANWHILE_S)
                marks = await self._marks.now()
                if marks != {self._mark}:
                    await self._mend(gone=None in marks)
                    return
        finally:
            self._intake.release()

    async def _mend(
        self,
        *,
        gone: bool,
        went_back: bool = False,
        stream_gone: bool = False,
        taken_over: bool = False,
        absent: int = 0,
        postgres_back: bool = False,
    ) -> None:
        """Find out what happened, one process at a time, and put it right."""
        self._intake.hold()
        self._streams.appends.distrust()
        try:
            async with locking(self._pool) as conn:
                await conn.execute("SELECT pg_advisory_lock(hashtext('ferryman.recovery'))", timeout=60)
                if postgres_back:
                    await self._rewind.rewind()
                told = {
                    "mark": "gone" if gone else "there",
                    "beat_went_back": went_back,
                    "stream_gone": stream_gone,
                    "taken_over": taken_over,
                    "absent": absent,
                    "postgres_went_back": postgres_back,
                }
                await self._mend_alone(conn, told)
                await self._tell(conn)
            # every process drains the same spool, and what another process recovers goes before it
            await self._wait_for_others(SETTLE_S if self._rounds else 0.0)
        finally:
            self._intake.release()

    async def _tell(self, conn: Connection | Pool) -> None:
        """Say that this process has published what it alone knew."""
        if self._mark is not None:
            await looked.tell(conn, self._id, self._mark)

    async def _wait_for_others(self, least_s: float) -> None:
        """Wait until every living process has published what it alone knew, or until there is another loss to look at.

        A process that does not say so is waited for LONGEST_SETTLE_S at most; one that is starting says so, too.
        """
        assert self._mark is not None
        began = time.monotonic()
        await asyncio.sleep(least_s)
        while time.monotonic() - began < LONGEST_SETTLE_S:
            if await self._marks.now() != {self._mark}:
                return
            alive, _ = await partitions.holders(self._pool)
            if await looked.count(self._pool, self._mark) >= alive:
                return
            await asyncio.sleep(MEANWHILE_S)
        log.warning("recovery.process_is_silent", waited_s=LONGEST_SETTLE_S)

    async def _mend_alone(self, conn: Connection, told: Mapping[str, str | int]) -> None:
        agreed = await meta.value(conn, "mark")
        marks = await self._marks.now()
        self._streams.recent.forget_ids()
        new = self._mark is None and agreed is None and marks == {None}
        mended = agreed is not None and marks == {agreed} and agreed != self._mark
        recovered = [] if new or mended else await self._losses.missing(conn)
        recovered += await self._losses.unknown({event.id for event in recovered})
        if recovered:
            await self._losses.publish(recovered)
        await bus_groups.ensure(self._pool, self._streams)
        if not mended:
            agreed = uuid.uuid4().hex
            await looked.forget_all(conn)
            # first: by an older beat with the new mark, a process that starts now would find another loss
            await meta.put(conn, "beat", " ".join(map(str, await self._marks.beats())))
            await meta.put(conn, "mark", agreed)
            await self._marks.set(agreed)
            if not new:
                log.warning("redis.lost_data", published_again=len(recovered), **told)
        self._mark = agreed
