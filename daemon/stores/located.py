"""Where the stores are: the servers that the settings name, or embedded ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from redis import exceptions as redis_errors

from adapters.postgres import pooler
from adapters.postgres.migrate import migrate, pending
from adapters.postgres.pool import PostgresError, single_connection, store_is_down
from adapters.redis.client import AddressError
from daemon.lifecycle import StartError
from daemon.settings.load import masked_address
from daemon.settings.model import Settings
from daemon.stores.embedded.installation import installed
from daemon.stores.embedded.servers import embedded, in_use, kept_up
from daemon.telemetry.failures import failure


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the stores are. *private*: no other process uses this Redis (it is embedded, under this process's lock)."""

    redis_url: str
    database_url: str
    private: bool


class NoInstallation(StartError):
    """The settings name a data directory without an installation, and the command is none that makes one."""


@asynccontextmanager
async def located_stores(settings: Settings, *, make: bool, join: bool = False) -> AsyncIterator[Addresses]:
    """The stores that *settings* name; where they name none, embedded servers under FERRYMAN_DATA_DIR.

    *make*: make the installation there if there is none. *join*: use the embedded servers of a daemon that runs there,
    if one does. Raises: StartError (NoInstallation is one) or EmbeddedError, one line each.
    """
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    database_url = settings.database_url.get_secret_value() if settings.database_url else None
    if redis_url and database_url:
        with _reached(redis_url, database_url):
            yield Addresses(redis_url, database_url, private=False)
        return
    there = in_use(settings.ferryman_data_dir) if join else None
    if there is not None and there.redis_url and there.database_url:
        joined = redis_url or there.redis_url, database_url or there.database_url
        with _reached(*joined):
            yield Addresses(*joined, private=False)
        return
    if not make and not installed(settings.ferryman_data_dir, redis=redis_url is None, postgres=database_url is None):
        raise NoInstallation(
            f"there is no installation in {settings.ferryman_data_dir.absolute()}: `ferryman run` makes one;"
            " if there should be one, correct FERRYMAN_DATA_DIR"
        )
    async with (
        embedded(
            settings.ferryman_data_dir,
            redis=redis_url is None,
            postgres=database_url is None,
            system=settings.ferryman_embedded == "system",
        ) as servers,
        kept_up(servers),
    ):
        redis_here, database_here = redis_url or servers.redis_url, database_url or servers.database_url
        assert redis_here is not None
        assert database_here is not None
        if database_url is None:
            await _apply(database_here)
        with _reached(redis_here, database_here):
            yield Addresses(redis_here, database_here, private=redis_url is None)


@contextmanager
def _reached(redis_url: str, database_url: str) -> Iterator[None]:
    """Turn the error of a store that is away at the start into one line that names the store, without its password."""
    try:
        yield
    except AddressError as exc:
        raise StartError(f"REDIS_URL cannot be used: {exc}") from exc
    except redis_errors.RedisError as exc:
        place = masked_address(redis_url)
        raise StartError(f"cannot use Redis at {place} ({failure(exc)}): check REDIS_URL") from exc
    except Exception as exc:
        place = masked_address(database_url)
        if pooler.by_pooler(exc) or isinstance(exc, pooler.PooledSessions):
            raise StartError(f"cannot use Postgres at {place}: {pooler.ADVICE}") from exc
        if not isinstance(exc, PostgresError) and not store_is_down(exc):
            raise
        do = "check DATABASE_URL" if _by_the_address(exc) else "see the log of Postgres"
        raise StartError(f"cannot use Postgres at {place} ({failure(exc)}): {do}") from exc


def _by_the_address(exc: Exception) -> bool:
    """Whether another address may cure *exc*: no connection, a wrong account or database, a server that is away."""
    sqlstate = getattr(exc, "sqlstate", None)
    return not isinstance(sqlstate, str) or sqlstate[:2] in ("08", "28", "3D", "53", "57")


async def _apply(database_url: str) -> list[str]:
    async with single_connection(database_url) as connection:
        return await migrate(connection)


async def require_sessions(database_url: str) -> None:
    """Raises: PooledSessions where a pooler shares its sessions: no lock of this process would hold."""
    async with single_connection(database_url) as one, single_connection(database_url) as other:
        await pooler.require_own_sessions(one, other)


async def require_schema(database_url: str) -> None:
    """Raises: StartError when the database lacks migrations."""
    async with single_connection(database_url) as connection:
        missing = await pending(connection)
    if missing:
        raise StartError(f"the database lacks {len(missing)} migrations ({missing[0]} …): run `ferryman migrate` first")
