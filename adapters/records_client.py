"""Records for an app that is offline first: it reads and writes a file, and the file is kept level with a server.

`daemon/records/README.md` has the protocol and examples.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from uuid import UUID

from yarl import URL

from adapters.http import open_session
from adapters.sync.exchange import FileOfAnother, Upstream, UpstreamError
from adapters.sync.pacing import Pacing
from adapters.sync.round import Round, run_round
from adapters.sync.sqlite import Owner, SqliteReplica, Status
from adapters.sync.sqlite_copy import Lost
from adapters.sync.sqlite_file import ForeignFile
from adapters.sync.sqlite_queue import BadOperation, NoRecord, RecordExists
from adapters.sync.sqlite_shown import Written
from adapters.sync.sqlite_view import Record
from adapters.sync.verdicts import STAYS_S

__all__ = [
    "BadOperation",
    "FileOfAnother",
    "ForeignFile",
    "Lost",
    "NoRecord",
    "Record",
    "RecordExists",
    "RecordsClient",
    "Round",
    "Status",
    "Written",
]

INTERVAL_S: Final = 300.0
"""Between rounds, where the server does not hold its answers."""

WAIT_S: Final = 25.0
"""How long the server holds an answer for, while there is nothing new."""

_SHORT_S: Final = 1.0


class RecordsClient:
    """The records of a token's owner, in a file on this machine.

    Reads and writes need no server: they are done when the call returns, and survive a kill and a power cut. `start`
    exchanges with the server in the background: at once after a write, and as soon as others write there. `sync` does
    so once. An own write is seen at once, and stays seen until the server decides otherwise.

    Use it as an async context manager. Methods raise sqlite3.Error where the file cannot be read or written.
    """

    def __init__(
        self,
        path: Path | str,
        url: str,
        token: str,
        *,
        models: Sequence[str] = (),
        interval_s: float = INTERVAL_S,
        wait_s: float = WAIT_S,
        batch: int = 50,
        zone: tzinfo = UTC,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """*path*: of the file, which is made where it is missing. *url*: the server's address, without a path. *token*:
        of a person. *models*: those to copy; none: all. *interval_s*: between rounds, where no answers are held.
        *wait_s*: for how long it is asked to hold them. *batch*: operations in a push. *zone*: where `synced_today`
        begins. *now*: this machine's clock. Raises: ValueError: *url* is not an address."""
        if URL(url).scheme not in ("http", "https") or not URL(url).host:
            raise ValueError("url must be an address such as https://records.example.com")
        self._path, self._url, self._token = Path(path), url, token
        self._models, self._interval_s, self._wait_s, self._batch = tuple(models), interval_s, wait_s, batch
        self._zone = zone
        self._store, self._now = SqliteReplica(now), now
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pacing = Pacing()
        self._reached = True  # the last round was complete: a write is worth another one at once
        self._loop: asyncio.Task[None] | None = None
        self._open = AsyncExitStack()
        self._said: str | None = None  # whose the token is, by the server
        self._own = False  # the file is known to be theirs
        self._upstream: Upstream

    async def __aenter__(self) -> RecordsClient:
        """Open the file. Raises: ForeignFile, sqlite3.Error, OSError."""
        async with AsyncExitStack() as stack:
            await self._store.open(self._path)
            stack.push_async_callback(self._store.close)
            session = await stack.enter_async_context(open_session())
            self._upstream = Upstream(session, self._url, self._token, self._now, self._hear)
            stack.push_async_callback(self.stop)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def create(self, model: str, record_id: str, data: Mapping[str, Any]) -> None:
        """Make a record. Raises: RecordExists; BadOperation: no server would take it."""
        await self._write(self._store.write("CREATE", model, record_id, data))

    async def update(self, model: str, record_id: str, data: Mapping[str, Any]) -> None:
        """Write some fields of a record. Those that have these values already are left out, so that they meet nobody
        else's. Raises: NoRecord; BadOperation."""
        await self._write(self._store.write("UPDATE", model, record_id, data))

    async def delete(self, model: str, record_id: str) -> bool:
        """Delete a record. Whether there was one."""
        return await self._write(self._store.write("DELETE", model, record_id, {})) is not None

    async def get(self, model: str, record_id: str) -> Record | None:
        """A record; None: there is none."""
        return await self._store.get(model, record_id)

    async def list(
        self, model: str, where: Mapping[str, Any] | None = None, *, limit: int = 1000, after: str = ""
    ) -> Sequence[Record]:
        """The records of *model* whose fields have the values of *where*, at most *limit*, by their ids: from the one
        behind *after*. Raises: ValueError: what cannot be asked for."""
        return await self._store.list(model, where or {}, limit, after)

    async def sync(self) -> Round:
        """Exchange with the server now: send what waits, fetch what is new. What stopped it is in `error` of the
        result; being offline is no exception."""
        done = await self._round(0.0)
        while done.more and done.error is None:
            done = _both(done, await self._round(0.0))
        return done

    def start(self) -> None:
        """Exchange with the server in the background, from now on."""
        if self._loop is None:
            self._loop = asyncio.create_task(self._run(), name="records")

    async def stop(self) -> None:
        """End the exchange in the background. What is under way is sent again by the next start."""
        running, self._loop = self._loop, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])

    def use_token(self, token: str) -> None:
        """Go on with another token, of the same person: one of another's is refused by the next round, as the file is
        theirs whom the server has named first."""
        self._token, self._said, self._own = token, None, False
        self._upstream = replace(self._upstream, token=token)
        self._woken.set()

    async def pending(self) -> Sequence[Written]:
        """The operations that wait, oldest first."""
        return await self._store.shown("pending")

    async def failed(self) -> Sequence[Written]:
        """The operations that were refused, oldest first, with the reasons. They are not seen in the records any more;
        they are kept until they are retried or dismissed."""
        return await self._store.shown("failed")

    async def retry_failed(self, op_id: UUID | None = None) -> int:
        """Send refused operations again: all, or one. Returns how many they are."""
        count = await self._store.retry_failed(op_id)
        self._woken.set()
        return count

    async def conflicts(self) -> Sequence[Written]:
        """The operations that met what others had written, oldest first. *decision* says whose value stands."""
        return await self._store.shown("conflicts")

    async def dismiss(self, op_id: UUID) -> bool:
        """Show an operation no longer among `failed` or `conflicts`; one that failed is given up. Whether it was
        there."""
        return await self._store.dismiss(op_id)

    async def lost(self) -> Sequence[Lost]:
        """Records of which the server has lost something, by a restore from a backup, that others made: this replica's
        own operations were sent again by themselves."""
        return await self._store.lost()

    async def status(self) -> Status:
        """How this replica stands."""
        return await self._store.status(self._zone)

    async def _write(self, writing: Awaitable[UUID | None]) -> UUID | None:
        op_id = await writing
        if op_id is not None and self._reached:
            self._woken.set()
        return op_id

    async def _round(self, wait_s: float) -> Round:
        self._woken.set()  # a round that waits for news gives its turn away
        async with self._turn:
            self._woken.clear()
            done = await self._exchange(wait_s)
            self._reached = done.error is None
            return done

    async def _exchange(self, wait_s: float) -> Round:
        try:
            await self._require_own()
        except UpstreamError as error:
            await self._store.heard(error.code)
            return Round(error=error)
        done = await run_round(
            self._store,
            self._upstream,
            batch=self._batch,
            wait_s=wait_s,
            woken=self._woken,
            models=self._models,
        )
        await self._keep_owner()
        return done

    def _hear(self, principal: str) -> None:
        self._said = principal

    async def _require_own(self) -> None:
        """Raises: FileOfAnother, where the file is another's than the token; UpstreamError, where that cannot be asked.
        Asked is only by a token that is new to a file whose owner is known."""
        if self._own:
            return
        owner = await self._store.owner()
        if owner.name is None or owner.token == _digest(self._token):
            return
        if self._said is None:
            await self._upstream.pull(None, limit=1)
        if self._said is not None and self._said != owner.name:
            raise FileOfAnother
        await self._keep_owner()

    async def _keep_owner(self) -> None:
        if self._said is not None and not self._own:
            await self._store.belongs(Owner(self._said, _digest(self._token)))
            self._own = True

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        level = False  # only then the server holds its answer: that it is back is known at once, not when news come
        while True:
            begun, was_level, level = clock(), level, False
            try:
                done = await self._round(self._wait_s if was_level else 0.0)
            except Exception as error:  # of the file, as a full disk: one failure must not end the exchange for good
                await self._fell(error)
                continue
            if done.error is not None:
                await self._pause(self._pacing.failed(done.error))
                continue
            self._pacing.done()
            level = True
            if done.again:
                await self._pause(STAYS_S)
            elif was_level and done.is_idle and clock() - begun < _SHORT_S:
                await self._pause(self._interval_s)

    async def _fell(self, error: Exception) -> None:
        self._reached = False
        with suppress(sqlite3.Error):
            await self._store.heard(f"here-{type(error).__name__}")
        await self._pause(self._pacing.failed(None))

    async def _pause(self, seconds: float) -> None:
        """Wait; *seconds*, or until there is something to do at once."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _both(one: Round, other: Round) -> Round:
    """Two rounds as one."""
    return Round(
        synced=one.synced + other.synced,
        conflicts=one.conflicts + other.conflicts,
        failed=one.failed + other.failed,
        again=other.again,
        pulled=one.pulled + other.pulled,
        more=other.more,
        rebuilt=one.rebuilt or other.rebuilt,
        error=other.error,
    )
