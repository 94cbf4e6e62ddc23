"""One client for every form of `REDIS_URL`: a single server, Sentinel's master, or a cluster.

None of them repeats a command by itself: after a connection error nobody knows whether an XADD was carried out, and a
repeated XREADGROUP strands entries. What a cluster node refuses with MOVED or ASK was not carried out, so that is sent
on to the right node. A cluster's map is asked for again after every error that may mean that it changed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis
from redis import exceptions as redis_errors
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.redis import address

__all__ = [
    "AddressError",
    "Cluster",
    "ClusterAway",
    "Command",
    "Redis",
    "ask_each",
    "client",
    "cluster",
    "fails_over",
    "packed",
    "ping",
    "serving",
]

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
CONNECT_S: Final = 2.0

Command: TypeAlias = tuple[str | bytes | int, ...]

_REDIRECTED: Final = (redis_errors.MovedError, redis_errors.AskError, redis_errors.TryAgainError)
_MAP_MAY_BE_OLD: Final = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.ClusterError,
    redis_errors.MovedError,
    redis_errors.AskError,
    redis_errors.ReadOnlyError,
    OSError,
)


class AddressError(redis_errors.RedisError):
    """The address cannot be used. The text names what is wrong and nothing of the address."""


class ClusterAway(redis_errors.ConnectionError):
    """No node of the cluster tells its map, or the map has a hole. The library's own errors are no RedisError."""


class Cluster(RedisCluster):
    """A cluster client that repeats nothing and looks at the map again after a failure."""

    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        """Ask for the map if it is old. Raises: redis errors, OSError, TimeoutError."""
        try:
            return await super().initialize(*args, **kwargs)
        except redis_errors.RedisClusterException as exc:
            raise ClusterAway(str(exc)) from exc

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As the library's. Raises: redis errors, OSError, TimeoutError."""
        try:
            return await super().execute_command(*args, **kwargs)
        except redis_errors.SlotNotCoveredError as exc:
            self.map_is_old()
            raise ClusterAway(str(exc)) from exc

    def map_is_old(self) -> None:
        """Ask for the cluster's map before the next command; open connections stay as they are."""
        self._initialize = True

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> ClusterPipeline:
        """Commands sent together, split by node. An error of any node's connection fails all of it."""
        made: Any = _Pipeline  # concrete, though its base declares an attribute abstract
        return cast("ClusterPipeline", made(self, transaction))

    async def run(
        self, commands: Sequence[tuple[str, Command]], last: Command | None = None
    ) -> tuple[list[Any], list[Any]]:
        """Run (key, command) pairs: those of one node together and in their order, the nodes side by side.

        *last* goes to each of these nodes, behind its commands on the same connection. Returns the answers in the order
        of *commands*, and those to *last*; a refused one's is the error. All that was begun is awaited.
        Raises: redis errors, OSError, TimeoutError, with any part of them carried out.
        """
        await self.initialize()
        shares: dict[str, tuple[ClusterNode, list[int]]] = {}
        try:
            for place, (key, _) in enumerate(commands):
                node = self.nodes_manager.get_node_from_slot(self.keyslot(key))
                shares.setdefault(node.name, (node, []))[1].append(place)
        except redis_errors.SlotNotCoveredError as exc:
            self.map_is_old()
            raise ClusterAway(str(exc)) from exc
        results = await asyncio.gather(
            *(
                self._run_on(node, [*(commands[at][1] for at in places), *([last] if last else [])])
                for node, places in shares.values()
            ),
            return_exceptions=True,
        )
        answers: list[Any] = [None] * len(commands)
        for (_, places), result in zip(shares.values(), results, strict=True):
            if isinstance(result, BaseException):
                raise result
            for at, answer in zip(places, result, strict=False):
                answers[at] = answer
        for at, answer in enumerate(answers):
            if isinstance(answer, _MAP_MAY_BE_OLD):
                self.map_is_old()
            if isinstance(answer, _REDIRECTED) and last is None:
                try:
                    answers[at] = await self.execute_command(*commands[at][1])
                except redis_errors.ResponseError as exc:
                    answers[at] = exc
        return answers, [result[-1] for result in results if not isinstance(result, BaseException)] if last else []

    async def _run_on(self, node: ClusterNode, commands: Sequence[Command]) -> list[Any]:
        connection = node.acquire_connection()
        answers: list[Any] = []
        try:
            await node.disconnect_if_needed(connection)
            await connection.send_packed_command(b"".join(packed(*command) for command in commands))
            for command in commands:
                try:
                    answers.append(await node.parse_response(connection, str(command[0])))
                except redis_errors.ResponseError as exc:
                    answers.append(exc)
        except _MAP_MAY_BE_OLD:
            self.map_is_old()
            await connection.disconnect()
            raise
        except BaseException:
            await connection.disconnect()  # answers may be left on it
            raise
        finally:
            node.release(connection)
        return answers


class _Pipeline(ClusterPipeline):
    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        client = cast("Cluster", self.cluster_client)
        try:
            answers: list[Any] = await super().execute(raise_on_error, allow_redirections)
        except redis_errors.SlotNotCoveredError as exc:
            client.map_is_old()
            raise ClusterAway(str(exc)) from exc
        except _MAP_MAY_BE_OLD:
            client.map_is_old()
            raise
        for answer in answers:
            if isinstance(answer, _MAP_MAY_BE_OLD):
                client.map_is_old()
            if isinstance(answer, redis_errors.ConnectionError | redis_errors.TimeoutError | OSError):
                raise answer  # as with one server: only what a server said is an answer
        return answers


class _SentinelMaster(Redis):
    """The master that the sentinels name; closes the connections to them too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.disconnect()
        await pool.sentinel_manager.aclose()


def client(url: str, *, timeout_s: float, connections: int = 16) -> Redis:
    """A client that never repeats a command by itself. Connects at first use.

    *connections*: at most, to each server. A cluster's client is no `Redis`, but has the same methods: `cluster` tells.
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
    made: Redis = Redis.from_url(url, **options)
    return made


def cluster(redis: object) -> Cluster | None:
    """*redis* when it is a cluster's client."""
    return redis if isinstance(redis, Cluster) else None


def fails_over(redis: object) -> bool:
    """Whether another server may take the place of one that *redis* writes to, and lack what that answered last."""
    return isinstance(redis, Cluster | _SentinelMaster)


def serving(redis: Redis, keys: Iterable[str]) -> str:
    """The addresses of the servers that hold *keys*, as the last command found them; "" where no other can."""
    if (parted := cluster(redis)) is not None:
        slots = (parted.keyslot(key) for key in keys)
        try:
            return " ".join(parted.nodes_manager.get_node_from_slot(slot).name for slot in slots)
        except redis_errors.SlotNotCoveredError as exc:
            raise ClusterAway(str(exc)) from exc
    if isinstance(redis, _SentinelMaster):
        pool: Any = redis.connection_pool
        host, port = pool.master_address or ("", 0)
        return f"{host}:{port}"
    return ""


async def ping(redis: Redis) -> None:
    """Whether the store answers: every primary of a cluster does. Raises: redis errors, OSError, TimeoutError."""
    if (parted := cluster(redis)) is None:
        await redis.ping()
        return
    await parted.initialize()
    asked = [parted.execute_command("PING", target_nodes=node) for node in parted.get_primaries()]
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException):
            parted.map_is_old()
            raise answer


async def ask_each(redis: Redis, *command: str | int) -> list[Any]:
    """The answers of the server, or of every node of a cluster: replicas too, as they may be the next primaries.

    A replica that does not answer is left out. Raises: redis errors, OSError, TimeoutError.
    """
    if (parted := cluster(redis)) is None:
        return [await cast("Any", redis).execute_command(*command)]
    await parted.initialize()
    answers = []
    for node in parted.get_nodes():
        try:
            answers.append(await parted.execute_command(*command, target_nodes=node))
        except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError):
            if node in parted.get_primaries():
                raise
    return answers


def packed(*parts: str | bytes | int) -> bytes:
    """A command as it goes over the wire."""
    command: Any = parts
    made: bytes = hiredis.pack_command(command)
    return made


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
        username=user,
        password=password,
        db=int(path[1]) if len(path) == 2 else 0,
        **options,
        **_tls(query, query),
    )
    _refuse(query)
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
