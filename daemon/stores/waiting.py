"""Which stores are worth waiting for: one that is away comes back; one that cannot be used as it is needs a person."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Final, Literal

import asyncpg
from redis import exceptions as redis_errors

from adapters.postgres.pool import installation_is_wrong, store_is_down
from adapters.redis.streams import NotDurable

SHORTEST_S: Final = 0.25
LONGEST_S: Final = 5.0
GROWTH: Final = 1.5

_REDIS_COMES_BACK: Final = (
    redis_errors.ConnectionError,  # of which LOADING is one
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,  # of which MASTERDOWN is one
    redis_errors.TryAgainError,
    redis_errors.OutOfMemoryError,
    NotDurable,
)
_REDIS_IS_WRONG: Final = (
    redis_errors.AuthenticationError,  # both are connection errors for the library
    redis_errors.AuthorizationError,
)
_REDIS_COMES_BACK_WORDS: Final = ("MISCONF", "NOREPLICAS", "BUSY ")
"""The first words of other refusals that pass: the disk is full, the replicas are away, a script is running."""

_POSTGRES_IS_WRONG: Final = (asyncpg.UnsupportedClientFeatureError, asyncpg.exceptions.UnsupportedServerFeatureError)
_NO_SUCH: Final = re.compile(
    "unsupported (options )?startup parameter|no such (database|user)|does not exist|authentication failed|rejected"
    "|config error|SSL required"
)
"""What PgBouncer says with 08P01, its code for all errors of its own, where a person has to put something right."""

_NO_CLUSTER: Final = "Cluster mode is not enabled"

_TLS_WITHOUT_AN_END: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError)
_REFUSES_TLS: Final = "rejected SSL upgrade"  # asyncpg tells it by this text alone


def pauses() -> Iterator[float]:
    """The seconds to wait before each new try: they grow."""
    pause_s = SHORTEST_S
    while True:
        yield pause_s
        pause_s = min(LONGEST_S, pause_s * GROWTH)


def raised_by(exc: BaseException) -> Literal["redis", "postgres"] | None:
    """The store that *exc* came from; None where both may raise it, as OSError and TimeoutError."""
    if isinstance(exc, redis_errors.RedisError | NotDurable):
        return "redis"
    if isinstance(exc, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return "postgres"
    return None


def comes_back(exc: BaseException) -> bool:
    """Whether the store that raised *exc* is away, or refuses for now: the same start may succeed later.

    Not so of a wrong address, account, database, schema or right, and of a certificate that does not match.
    """
    cause: BaseException | None = exc
    while cause is not None:  # the client of Redis raises a connection error because of a refusal
        if isinstance(cause, Exception) and _needs_a_person(cause):
            return False
        cause = cause.__cause__
    return True


def _needs_a_person(exc: Exception) -> bool:
    if isinstance(exc, redis_errors.RedisError | NotDurable):
        if isinstance(exc, _REDIS_COMES_BACK):
            return isinstance(exc, _REDIS_IS_WRONG) or _NO_CLUSTER in str(exc)
        return not str(exc).startswith(_REDIS_COMES_BACK_WORDS)
    if isinstance(exc, ssl.SSLError):
        return not isinstance(exc, _TLS_WITHOUT_AN_END)
    if isinstance(exc, OSError):
        return isinstance(exc, PermissionError) or _REFUSES_TLS in str(exc)
    if isinstance(exc, asyncpg.ProtocolViolationError):
        return _NO_SUCH.search(str(exc)) is not None
    return not store_is_down(exc) or installation_is_wrong(exc) or isinstance(exc, _POSTGRES_IS_WRONG)
