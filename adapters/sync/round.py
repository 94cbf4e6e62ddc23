"""One round of an exchange: send what waits, then fetch what is new.

The two do not need each other: what was not sent stays on top of what is fetched.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from adapters.sync.exchange import Expired, Unauthorized, Upstream, UpstreamError
from adapters.sync.sending import Sending
from adapters.sync.store import Page, ReplicaStore

MOST_PAGES: Final = 100
"""In one round: then what waits here has its turn, also while others write faster than we read."""


@dataclass(slots=True)
class Round:
    """What a round has done: how many operations ended in which state, and how many changes were new. *again*: how many
    were sent and wait all the same. *error*: what stopped it; None: it is complete. *more*: changes wait at the server,
    for the next round. *rebuilt*: the copy of the rows was built anew. *cut*: the wait for news was ended."""

    synced: int = 0
    conflicts: int = 0
    failed: int = 0
    again: int = 0
    pulled: int = 0
    more: bool = False
    rebuilt: bool = False
    cut: bool = False
    error: UpstreamError | None = None

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.synced or self.conflicts or self.failed or self.pulled or self.more or self.cut)


async def run_round(
    store: ReplicaStore,
    upstream: Upstream,
    *,
    batch: int = 50,
    wait_s: float = 0.0,
    woken: asyncio.Event | None = None,
    models: Sequence[str] = (),
    stamps: bool = False,
    via: Sequence[str] = (),
) -> Round:
    """Send every operation that is due, at most *batch* at a time, then pull to the head that the server shows.

    Where the server has nothing new, it is asked to hold its answer until it has, for *wait_s* seconds; *woken* ends
    that wait. *models*: only those are pulled; *stamps*: with the stamps of fields. *via*: the feeds that the
    operations have come through, this replica's own among them, where it is a server itself. An UpstreamError does not
    leave here: it is in the result. Raises: as *store*.
    """
    running = _Running(store, upstream, Sending(store, upstream, via, batch), models, stamps)
    if (await store.identity()).rebuild is not None:
        await running.fetch(0.0, None)  # what waits has to be read against the new copy
    if running.done.error is None:
        await running.send()
    if not _is_stopped(running.done.error):
        await running.fetch(0.0 if running.done.error else wait_s, woken)
    if running.done.rebuilt and running.done.error is None:
        await running.send()
    done = running.done
    states = Counter(running.sending.states.values())
    done.synced, done.conflicts = states["synced"], states["conflict"]
    done.failed, done.again = states["failed"], states["pending"]
    if not done.cut or done.error is not None:  # else nothing is known of the server
        await store.heard(None if done.error is None else done.error.code)
    return done


def _is_stopped(error: UpstreamError | None) -> bool:
    """Whether nothing may be fetched either. A token that only reads still does; one that is not good does not, and
    another person's must not: their records would come into this replica."""
    return isinstance(error, Unauthorized) and error.code != "http-403"


@dataclass(slots=True)
class _Running:
    store: ReplicaStore
    upstream: Upstream
    sending: Sending
    models: Sequence[str]
    stamps: bool
    done: Round = field(default_factory=Round)

    async def send(self) -> None:
        """Send what is due, but for a time in which it cannot be read against the copy of the rows."""
        try:
            if (await self.store.identity()).rebuild is None:
                await self.sending.all_due()
        except Expired as expired:
            await self._begin(expired)
        except UpstreamError as error:
            self.done.error = error

    async def fetch(self, wait_s: float, woken: asyncio.Event | None) -> None:
        """Pull to the head; where the copy is of no use any more, build it anew, once in a round."""
        try:
            await self._pages(wait_s, woken)
        except Expired as expired:
            if await self._begin(expired):
                await self.fetch(0.0, None)
        except UpstreamError as error:
            self.done.error = self.done.error or error

    async def _begin(self, expired: Expired) -> bool:
        """Whether a copy may be built anew now. A server that asks for it again is not believed in this round."""
        if self.done.rebuilt:
            self.done.error = expired
            return False
        self.done.rebuilt = True
        await self.store.begin_rebuild(expired.reason)
        return True

    async def _pages(self, wait_s: float, woken: asyncio.Event | None) -> None:
        """Raises: UpstreamError; as the store."""
        for _ in range(MOST_PAGES):
            identity = await self.store.identity()
            building = identity.rebuild
            cursor = identity.cursor if building is None else building.cursor
            page = await self._page(cursor, wait_s if building is None else 0.0, woken)
            if page is None:
                self.done.cut = True
                return
            self.done.pulled += await self.store.take(page)
            self.done.more, wait_s = page.more, 0.0
            if not page.more:
                if building is not None:
                    await self.store.end_rebuild()
                    self.done.rebuilt = True
                return

    async def _page(self, cursor: str | None, wait_s: float, woken: asyncio.Event | None) -> Page | None:
        """The next page; None: the wait for it was ended. Raises: UpstreamError."""
        asking = asyncio.ensure_future(
            self.upstream.pull(cursor, models=self.models, wait_s=wait_s, stamps=self.stamps)
        )
        if wait_s <= 0 or woken is None:
            return await asking
        ringing = asyncio.ensure_future(woken.wait())
        try:
            await asyncio.wait((asking, ringing), return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            for task in (asking, ringing):
                task.cancel()
            with suppress(asyncio.CancelledError, UpstreamError):
                await asking
