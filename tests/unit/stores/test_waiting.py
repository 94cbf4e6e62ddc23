"""Which errors of a start mean that the store is away and comes back, and which need a person."""

from __future__ import annotations

import socket
import ssl
from itertools import islice

import asyncpg
import pytest
from redis import exceptions as redis_errors
from redis.asyncio.sentinel import MasterNotFoundError

from adapters.postgres.pooler import PooledSessions
from adapters.redis.client import AddressError
from adapters.redis.cluster import ClusterAway
from adapters.redis.streams import NotDurable
from daemon.lifecycle import StartError
from daemon.stores.waiting import LONGEST_S, comes_back, pauses, raised_by


def because_of(cause: BaseException) -> Exception:
    """The connection error that the client of Redis makes of *cause*."""
    exc = redis_errors.ConnectionError(str(cause))
    exc.__cause__ = cause
    return exc


def name(exc: Exception) -> str:
    about = type(exc.__cause__).__name__ if exc.__cause__ else " ".join(map(str, exc.args))
    return f"{type(exc).__name__} {about}"


@pytest.mark.parametrize(
    "exc",
    [
        redis_errors.ConnectionError("refused"),
        redis_errors.TimeoutError("no answer"),
        because_of(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
        because_of(ConnectionRefusedError()),
        because_of(FileNotFoundError()),
        because_of(redis_errors.BusyLoadingError("loading the dataset in memory")),
        because_of(ssl.SSLEOFError()),
        redis_errors.BusyLoadingError("loading the dataset in memory"),
        redis_errors.ReadOnlyError("a replica"),
        redis_errors.MasterDownError("link with MASTER is down"),
        redis_errors.ClusterDownError("hash slot not served"),
        redis_errors.OutOfMemoryError("used memory > 'maxmemory'"),
        MasterNotFoundError("no master found"),
        redis_errors.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."),
        ClusterAway("no node answers"),
        NotDurable(),
        ConnectionRefusedError(),
        FileNotFoundError(),
        TimeoutError(),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.AdminShutdownError(),
        asyncpg.TooManyConnectionsError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.ReadOnlySQLTransactionError(),
        asyncpg.DiskFullError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ProtocolViolationError("pgbouncer cannot connect to server"),
        asyncpg.ProtocolViolationError("query_wait_timeout"),
    ],
    ids=name,
)
def test_a_store_that_is_away_or_refuses_for_now_is_worth_waiting_for(exc: Exception) -> None:
    assert comes_back(exc)


@pytest.mark.parametrize(
    "exc",
    [
        AddressError("it names no host"),
        redis_errors.AuthenticationError("invalid username-password pair"),
        because_of(redis_errors.AuthenticationError("invalid username-password pair")),
        because_of(redis_errors.ResponseError("DB index is out of range")),
        redis_errors.NoPermissionError("this user has no permissions to run the 'set' command"),
        redis_errors.ResponseError("unknown command"),
        redis_errors.InvalidResponse("Protocol Error"),
        because_of(ssl.SSLCertVerificationError()),
        because_of(PermissionError()),
        ClusterAway("Redis Cluster cannot be connected. Cluster mode is not enabled on this node"),
        asyncpg.InvalidPasswordError(),
        asyncpg.InvalidAuthorizationSpecificationError(),
        asyncpg.InvalidCatalogNameError(),
        asyncpg.InvalidSchemaNameError(),
        asyncpg.UndefinedTableError(),
        asyncpg.InsufficientPrivilegeError(),
        asyncpg.DuplicatePreparedStatementError(),
        asyncpg.exceptions.ClientConfigurationError("no such option"),
        asyncpg.UnsupportedClientFeatureError("gss"),
        asyncpg.ProtocolViolationError("no such database: ferryman"),
        asyncpg.ProtocolViolationError("unsupported startup parameter: search_path"),
        ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade'),
        ssl.SSLCertVerificationError(),
        PermissionError(),
        PooledSessions("a pooler"),
        StartError("the database lacks 3 migrations"),
        ValueError(),
        RuntimeError(),
    ],
    ids=name,
)
def test_what_a_person_has_to_put_right_is_not(exc: Exception) -> None:
    assert not comes_back(exc)


def test_the_pauses_grow_up_to_a_bound() -> None:
    first = list(islice(pauses(), 30))
    assert first == sorted(first)
    assert first[0] < 1.0
    assert first[-1] == LONGEST_S


@pytest.mark.parametrize(
    ("exc", "store"),
    [
        (redis_errors.TimeoutError(), "redis"),
        (NotDurable(), "redis"),
        (asyncpg.AdminShutdownError(), "postgres"),
        (asyncpg.InterfaceError("connection is closed"), "postgres"),
        (TimeoutError(), None),
        (ConnectionRefusedError(), None),
    ],
)
def test_an_error_names_its_store_where_only_one_raises_it(exc: Exception, store: str | None) -> None:
    assert raised_by(exc) == store
