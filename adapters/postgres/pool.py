"""The pool of Postgres connections, every wait of it bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

from adapters.postgres import address

T = TypeVar("T")

Record: TypeAlias = asyncpg.Record
PostgresError = asyncpg.PostgresError
"""Any error that the server answers."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

COMMAND_TIMEOUT_S = 10.0
"""Longest wait for one statement. asyncpg has none by default, and a frozen server then holds the caller for ever."""

ACQUIRE_TIMEOUT_S = 5.0
"""Longest wait for a new connection of a pool."""

QUEUE_TIMEOUT_S: Final = 10.0
"""Longest wait for a connection of a pool whose connections are all in use. asyncpg has none by default, and a frozen
server holds every connection."""

CONNECT_TIMEOUT_S: Final = 10.0

IDLE_S: Final = 30.0
"""How long a connection of a pool stays open without use: longer than the pauses between the periodic duties. The last
one used is used next, so those of a burst are left alone from then on."""

IDLE_TRANSACTION_MS: Final = 3000
"""How long a transaction may stand still: the next lease holder waits for the rows that it has locked."""

# not startup parameters of the connection: PgBouncer refuses those that it does not track (its page of settings,
# "ignore_startup_parameters")
_LIMITS: Final = f"""
SET statement_timeout = 30000;
SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_MS}
"""


class _BoundedPool(asyncpg.Pool):
    """A pool whose users wait for a connection for a limited time; `Pool.execute` and the like take no such limit."""

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext[asyncpg.Record]:
        """A connection, within *timeout* seconds."""
        if timeout is None and not self.get_idle_size():  # a limit costs a task, and one that is idle comes at once
            timeout = QUEUE_TIMEOUT_S
        return super().acquire(timeout=timeout)


async def _limit(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Set the limits of the server for a new connection."""
    await connection.execute(_LIMITS)


async def _as_it_is(connection: object) -> None:
    """Leave the session of a connection that comes back as it is: see `connect`."""


@asynccontextmanager
async def connect(dsn: str, *, size: int = 10, name: str = "ferryman", at_once: bool = True) -> AsyncIterator[Pool]:
    """A pool on *dsn*, closed on exit. *at_once*: connect now, and raise OSError or asyncpg.PostgresError when the
    server cannot be reached; else its first user does.

    A connection that comes back is not reset, which would take a round trip after every statement: nothing here changes
    its session, and session locks are taken within `locking`. An open transaction is rolled back all the same.
    """
    at = address.read(dsn)
    pool = await _BoundedPool(
        at.dsn,
        ssl=at.tls,
        min_size=1 if at_once else 0,
        max_size=size,
        max_queries=50_000,
        setup=None,
        init=_limit,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        timeout=ACQUIRE_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        max_inactive_connection_lifetime=IDLE_S,
        reset=_as_it_is,
        server_settings={"application_name": name, "timezone": "UTC"},
    )
    try:
        yield pool
    finally:
        pool.terminate()


@asynccontextmanager
async def locking(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of *pool* for session locks: they are released on exit, if need be with the connection."""
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        try:
            yield connection
            await connection.execute("SELECT pg_advisory_unlock_all()")
        except BaseException:
            connection.terminate()
            raise


@asynccontextmanager
async def single_connection(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """One connection on *dsn*, closed on exit: for work beyond a pool's time limits, like migrations. After an error it
    is not closed in an orderly way, which a frozen server would hold up for ever. Raises as `connect`."""
    at = address.read(dsn)
    connection = await asyncpg.connect(at.dsn, ssl=at.tls, timeout=CONNECT_TIMEOUT_S)
    try:
        yield connection
        await connection.close(timeout=CONNECT_TIMEOUT_S)
    except BaseException:
        connection.terminate()
        raise


async def within(seconds: float, asking: Coroutine[Any, Any, T]) -> T:
    """What *asking* gives. Raises: TimeoutError after *seconds*, also where a connection of *asking* ends no sooner:
    asyncpg waits until the server has canceled the statement, which one that is frozen does not."""
    task = asyncio.create_task(asking)
    task.add_done_callback(_heard)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError
    return task.result()


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of the error of a task that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


_CONNECTION_ERRORS: Final = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_OF_THE_DATA: Final = frozenset({"21", "22", "23", "44", "54", "P0", "XX"})
"""Classes of SQLSTATE that speak of the values: cardinality, data exception, constraint, check option of a view, a
limit that a value exceeds, an exception that a trigger raises. XX is an internal error: it may come of a value, and
does not pass by itself."""

_BROKEN_STORAGE: Final = frozenset({"XX001", "XX002"})

_AWAY: Final = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""Classes of a server that is away, full, read-only, or asks to try again. The other classes mean the installation: a
missing table, column or right, a wrong password, a server without a feature."""


def store_is_down(exc: BaseException) -> bool:
    """Whether *exc* is the fault of the store or of the installation and not of the data: the same transaction may
    succeed later (asyncpg counts a bad argument among the interface errors)."""
    if isinstance(exc, asyncpg.PostgresError):
        state = exc.sqlstate or ""
        return state in _BROKEN_STORAGE or state[:2] not in _OF_THE_DATA
    return isinstance(exc, _CONNECTION_ERRORS) and not isinstance(exc, ValueError)


def has_no_room(exc: BaseException) -> bool:
    """Whether the server has refused to write, as its disk is full: nothing of the statement was done."""
    return isinstance(exc, asyncpg.DiskFullError)


def installation_is_wrong(exc: BaseException) -> bool:
    """Whether the server serves, and refuses a statement because of a table, a column or a right: others may pass."""
    return isinstance(exc, asyncpg.PostgresError) and store_is_down(exc) and (exc.sqlstate or "")[:2] not in _AWAY


_DataErrors: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,  # asyncpg's own for an argument that it cannot write, and Python's for bytes that are no text
)


def refuses_data(exc: BaseException) -> bool:
    """Whether *exc* is the fault of the data: the same rows will be refused again, and others may be taken."""
    return isinstance(exc, _DataErrors) and not store_is_down(exc)
