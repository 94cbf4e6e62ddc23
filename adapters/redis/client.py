"""One client for every form of `REDIS_URL`: a single server, Sentinel's master, or a cluster.

None of them repeats a command by itself: after a connection error it is not known whether an XADD was carried out, and
a repeated XREADGROUP leaves entries pending.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from redis import exceptions as redis_errors
from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.redis import address
from adapters.redis.cluster import Cluster, ClusterServer
from adapters.redis.connections import WrongServers, cancelable_master, cancelable_nodes, leave_wrong_servers
from adapters.redis.idle import Pool, SentinelPool
from adapters.redis.server import SentinelServer, Server

__all__ = ["AddressError", "Redis", "client", "server_of"]

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
CONNECT_S: Final = 2.0


class AddressError(redis_errors.RedisError):
    """The address cannot be used. The text names what is wrong and nothing of the address."""


class _SentinelMaster(Redis):
    """The master that the sentinels name; closes the connections to them too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.disconnect()
        await pool.sentinel_manager.aclose()


def client(url: str, *, timeout_s: float, connections: int = 16, wrong_servers: WrongServers | None = None) -> Redis:
    """A client that never repeats a command by itself. Connects at first use.

    *connections*: at most, to each server. *wrong_servers*: shared by clients that are to leave a wrong server
    together. A cluster's client is no `Redis`, but has the same methods.
    For Sentinel and Cluster the query may say `tls=true`, `ssl_ca_certs=FILE`, and `sentinel_username=` and
    `sentinel_password=` where the sentinels want others than none. Raises: AddressError.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, CONNECT_S),
        "retry": Retry(NoBackoff(), 0),
        "legacy_responses": False,
        "health_check_interval": 0,
        "max_connections": connections,
        "decode_responses": False,
    }
    try:
        url = address.read(url).url
    except ValueError as exc:
        raise AddressError(f"it {exc}") from exc
    scheme = url.partition("://")[0]
    if scheme == "redis+sentinel":
        return _sentinel_master(url, options)
    if scheme == "redis+cluster":
        return _cluster(url, options)
    made = Redis.from_pool(Pool.from_url(url, **options))
    leave_wrong_servers(made, wrong_servers or WrongServers())
    return made


def server_of(redis: Any) -> Server:
    """What *redis* talks to: one server, Sentinel's master or a cluster."""
    if isinstance(redis, Cluster):
        return ClusterServer(redis)
    return SentinelServer(redis) if isinstance(redis, _SentinelMaster) else Server(redis)


def _sentinel_master(url: str, options: dict[str, Any]) -> Redis:
    user, password, hosts, query = _parts(url, SENTINEL_PORT)
    path = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    if not path or len(path) > 2 or not re.fullmatch("[0-9]{0,9}", path[1] if len(path) == 2 else ""):
        raise AddressError("redis+sentinel:// needs the service's name after the hosts, and after it at most a number")
    for_sentinels = {
        "socket_timeout": min(options["socket_timeout"], CONNECT_S),
        "socket_connect_timeout": min(options["socket_connect_timeout"], 1.0),
        "retry": options["retry"],
        "username": query.pop("sentinel_username", None),
        "password": query.pop("sentinel_password", None),
        **_tls(query, dict(query)),
    }
    untyped: Any = Sentinel
    made: Redis = untyped(hosts, sentinel_kwargs=for_sentinels).master_for(
        path[0],
        redis_class=_SentinelMaster,
        connection_pool_class=SentinelPool,
        username=user,
        password=password,
        db=int(path[1]) if len(path) == 2 else 0,
        **options,
        **_tls(query, query),
    )
    _refuse(query)
    cancelable_master(made)
    return made


def _cluster(url: str, options: dict[str, Any]) -> Redis:
    user, password, hosts, query = _parts(url, REDIS_PORT)
    if urlsplit(url).path.strip("/") not in ("", "0"):
        raise AddressError("redis+cluster:// has no database number other than 0")
    tls = _tls(query, query)
    _refuse(query)
    made: Any = Cluster(
        startup_nodes=cast("Any", [_Place(*host) for host in hosts]),
        username=user,
        password=password,
        **options,
        **tls,
    )
    cancelable_nodes(made)
    return cast("Redis", made)


class _Place:
    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port


def _parts(url: str, default_port: int) -> tuple[str | None, str | None, list[tuple[str, int]], dict[str, str]]:
    """User, password, hosts and options of an address with several hosts."""
    split = urlsplit(url)
    account, _, places = split.netloc.rpartition("@")
    user, _, password = account.partition(":")
    hosts = []
    for place in filter(None, places.split(",")):
        found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", place)
        if found is None:
            raise AddressError("every host of REDIS_URL is written host or host:port")
        hosts.append((found[1] or found[2], int(found[3] or default_port)))
    if not hosts:
        raise AddressError("REDIS_URL names no host")
    return unquote(user) or None, unquote(password) or None, hosts, dict(parse_qsl(split.query))


def _tls(query: dict[str, str], taken_from: dict[str, str]) -> dict[str, Any]:
    """The options of the connection that *query* asks for; they leave *taken_from*."""
    asked = query.get("tls", "false").lower()
    certificates = query.get("ssl_ca_certs")
    taken_from.pop("tls", None)
    taken_from.pop("ssl_ca_certs", None)
    if asked not in ("true", "false"):
        raise AddressError("tls= in REDIS_URL is true or false")
    return {"ssl": True, "ssl_ca_certs": certificates} if asked == "true" else {}


def _refuse(query: dict[str, str]) -> None:
    if query:
        raise AddressError("REDIS_URL has an option that Sentinel and Cluster addresses do not know")
