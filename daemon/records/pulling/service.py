"""Pulling: the changes of records that a reader has not had yet, page by page.

A first sync and every later one are the same query: the changes after a number, in the order of their commits. A round
ends at the head that it began at, however much is written meanwhile; what comes later belongs to the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from adapters.postgres.pool import Pool
from adapters.postgres.records import feed, marks
from adapters.postgres.records.feed import Asked, Head, Since
from daemon.records.bell import Bell
from daemon.records.pulling import paging
from daemon.records.pulling.cursor import REASONS, Cursor, Reason
from daemon.records.pulling.paging import Place, Scope
from daemon.records.pulling.pulls import MOST_BYTES, Expired, PullIn, PullOut
from daemon.records.pulling.rates import Rates
from daemon.records.pulling.watching import WAITERS, Watching
from daemon.telemetry.declared import Declared
from daemon.telemetry.metrics import Metrics
from schemas.principals import Principal

CHANGES: Final = "ferryman_sync_pull_changes_total"
RESYNCS: Final = "ferryman_sync_resyncs_total"

METRICS: Final = (
    Declared(CHANGES, "counter", "Changes of records that pulls have given."),
    Declared(
        RESYNCS,
        "counter",
        "Pulls whose cursor had expired, so that the replica begins anew, by why.",
        ("reason",),
        values={"reason": REASONS},
    ),
    Declared(WAITERS, "gauge", "Pulls that wait for a change in this process."),
)


class Pulls:
    """Answers pulls. *bell*: rings when this process has written records. *models*: those that there are; *schema*: the
    same, as a hash of all that they say."""

    def __init__(
        self,
        pool: Pool,
        bell: Bell,
        metrics: Metrics,
        now: Callable[[], datetime],
        models: Collection[str],
        schema: str,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._now = now
        self._schema = schema
        self._rates = Rates()
        self.models: Final = frozenset(models)
        self.watching: Final = Watching(pool, bell, metrics)

    async def pull(
        self, reader: Callable[[], Awaitable[Principal]], asked: PullIn, gone: Callable[[], bool] = lambda: False
    ) -> PullOut:
        """The next page; where there is nothing new, after *asked.wait_s* seconds at most. *reader*: tells who reads;
        it is asked before each look, since their rights may change while they wait. *gone*: whether nobody waits for
        the answer any more. Raises: Expired; Busy; what *reader* raises; as the store."""
        principal, begins = await reader(), asked.since is None or not asked.since.end
        if begins:
            self._rates.begin_round(principal)
        page, head = (begins and await self._unchanged(principal, asked)) or await self._page(principal, asked)
        if not page.changes and asked.wait_s > 0:
            with self._rates.waiting(principal):
                page = await self._waited(reader, principal, asked, page, head, gone)
        if page.changes:
            self._metrics.inc(CHANGES, n=len(page.changes))
        return page

    async def _waited(
        self,
        reader: Callable[[], Awaitable[Principal]],
        principal: Principal,
        asked: PullIn,
        page: PullOut,
        head: int,
        gone: Callable[[], bool],
    ) -> PullOut:
        """The first page with changes, or the last one without when the time is up. *page* was read at *head*."""
        clock = asyncio.get_running_loop().time
        until = clock() + asked.wait_s
        while not page.changes:
            audiences = paging.scope_of(principal, asked.models).audiences
            if not await self.watching.changed(audiences, head, until - clock(), gone):
                return replace(page, server_time=self._now())
            principal = await reader()
            page, head = await self._page(principal, asked)
        return page

    async def _unchanged(self, principal: Principal, asked: PullIn) -> tuple[PullOut, int] | None:
        """The empty page, and the head that it was found at, where it is plain that nothing is new."""
        scope, since = paging.scope_of(principal, asked.models), asked.since
        if since is None or since.scope != scope.name:
            return None
        most = since.mseq + paging.MARK_EVERY
        seen = Since(since.feed, since.epoch, since.seq, since.mseq, since.mark, most)
        head = await feed.unchanged(self._pool, seen, scope.owners, scope.branch)
        return None if head is None else (self._out([], since, more=False), head)

    async def _page(self, principal: Principal, asked: PullIn) -> tuple[PullOut, int]:
        """The page as it stands, and the head that it was read at. Raises: Expired; as the store."""
        scope, since = paging.scope_of(principal, asked.models), asked.since
        head, found = await feed.page(self._pool, _asked(asked, scope))
        if since is not None:
            self._go_on(since.expired(head) or (None if since.scope == scope.name else "scope"))
        rows, is_full = paging.taken(found, asked.limit, MOST_BYTES)
        place = paging.place_after(head, since, rows[-1]["seq"] if rows else None, is_full)
        cursor = await self._cursor(head, place, scope.name)
        return self._out(paging.changes(rows), cursor, more=place.more), head.seq

    def _out(self, changes: Sequence[dict[str, Any]], cursor: Cursor, *, more: bool) -> PullOut:
        return PullOut(
            changes=changes,
            cursor=cursor,
            more=more,
            server_time=self._now(),
            schema=self._schema,
        )

    async def _cursor(self, head: Head, place: Place, scope: str) -> Cursor:
        """The cursor of *place*. Only where no mark proves the history up to it, one is made."""
        if place.newest and head.mseq is not None and head.mark is not None:
            mseq, mark = head.mseq, head.mark
        else:
            mseq, mark = head.seq, await marks.made(self._pool, head.seq)
        return Cursor(
            feed=head.feed,
            epoch=head.epoch,
            seq=place.seq,
            snap=place.snap,
            end=place.end,
            scope=scope,
            mseq=mseq,
            mark=mark,
        )

    def _go_on(self, reason: Reason | None) -> None:
        """Raises: Expired where there is a *reason*."""
        if reason is not None:
            self._metrics.inc(RESYNCS, {"reason": reason})
            raise Expired(reason)


def _asked(asked: PullIn, scope: Scope) -> Asked:
    """The page that is asked for by a reader of *scope*."""
    since = asked.since
    return Asked(
        owners=scope.owners,
        branch=scope.branch,
        seq=0 if since is None else since.seq,
        snap=None if since is None else since.snap,
        limit=asked.limit,
        most_bytes=MOST_BYTES,
        models=None if asked.models is None else sorted(asked.models),
        stamps=asked.stamps,
        mseq=None if since is None else since.mseq,
        mark=None if since is None else since.mark,
    )
