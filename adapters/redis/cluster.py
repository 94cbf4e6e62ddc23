"""A Redis cluster: its client, and what the bus asks of it.

The client repeats nothing by itself. What a node refuses with MOVED or ASK was not carried out, so that is sent on to
the right node. The cluster's map is asked for again after every error that may mean that it changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from redis import exceptions as redis_errors
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode, ClusterPipeline

from adapters.redis.server import (
    APPEND,
    WAITAOF,
    Command,
    Fields,
    Keyed,
    Known,
    Node,
    NotDurable,
    Part,
    Script,
    Server,
    Untrusted,
    packed,
    raise_first,
)

POLL_S: Final = 0.05
"""How often a cluster is asked for new entries: a blocking read would need a connection for every partition."""

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


class ClusterAway(redis_errors.ConnectionError):
    """No node of the cluster tells its map, or the map has a hole. The library's own errors are no RedisError."""


class Cluster(RedisCluster):
    """A cluster's client that repeats nothing and asks for the map again after a failure."""

    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        """Ask for the map if it is old. Raises: redis errors, OSError, TimeoutError."""
        try:
            return await super().initialize(*args, **kwargs)
        except redis_errors.RedisClusterException as exc:
            raise ClusterAway(str(exc)) from exc

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As the library's. Raises: redis errors, OSError, TimeoutError.

        Without a map the library sends a command to any node, and at the fifth refusal closes every connection under
        the commands that are under way. So the map comes first.
        """
        await self.initialize()
        try:
            return await super().execute_command(*args, **kwargs)
        except redis_errors.SlotNotCoveredError as exc:
            self.map_is_old()
            raise ClusterAway(str(exc)) from exc
        except _MAP_MAY_BE_OLD:
            self.map_is_old()
            raise

    def map_is_old(self) -> None:
        """Ask for the cluster's map before the next command; open connections stay as they are."""
        self._initialize = True

    def node_of(self, key: str) -> ClusterNode:
        """The primary that holds *key*, as the map says. Raises: ClusterAway."""
        try:
            found: ClusterNode = self.nodes_manager.get_node_from_slot(self.keyslot(key))
        except redis_errors.SlotNotCoveredError as exc:
            self.map_is_old()
            raise ClusterAway(str(exc)) from exc
        return found

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> ClusterPipeline:
        """Commands sent together, split by node. An error of any node's connection fails all of it."""
        made: Any = _Pipeline  # concrete, though its base declares an attribute abstract
        return cast("ClusterPipeline", made(self, transaction))


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


def beside(mark_key: str, key: str) -> str:
    """The key of the mark in the slot of *key*; *key* itself where there is none."""
    before, brace, tagged = mark_key.partition("{")
    return before + key[key.index("{") : key.index("}")] + tagged[tagged.index("}") :] if brace else key


class ClusterServer(Server):
    """A cluster in the place of one server."""

    fails_over = True

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cast("Redis", cluster))
        self._cluster = cluster

    def serving(self, keys: Iterable[str]) -> str:
        """See Server."""
        return " ".join(self._cluster.node_of(key).name for key in keys)

    async def look(self) -> None:
        """See Server."""
        await asyncio.gather(*[node.ask("PING") for node in await self.nodes() if node.primary])

    def parts(self, partitions: int) -> list[str]:
        """See Server."""
        return [str(partition) for partition in range(partitions)]

    async def nodes(self) -> list[Node]:
        """See Server."""
        await self._cluster.initialize()
        primaries = self._cluster.get_primaries()
        found = [
            Node(node.name, node in primaries, partial(self._cluster.execute_command, target_nodes=node))
            for node in self._cluster.get_nodes()
        ]
        return sorted(found, key=lambda node: (not node.primary, node.address))

    async def given_up(self) -> set[str]:
        """See Server. The map does not name these nodes any more."""
        try:
            known = await (await self.nodes())[0].ask("CLUSTER NODES")
        except redis_errors.ResponseError:
            return set()  # managed servers forbid it
        return {address for address, node in known.items() if "fail" in node["flags"].split(",")}

    def together(self, keys: Iterable[str]) -> list[list[str]]:
        """See Server: the keys of one command share a slot."""
        found: dict[int, list[str]] = {}
        for key in keys:
            found.setdefault(self._cluster.keyslot(key), []).append(key)
        return list(found.values())

    async def run(self, commands: Sequence[Keyed]) -> list[Any]:
        """See Server. Any part may be carried out when it raises."""
        answers, _ = await self._on_nodes(commands)
        for at, answer in enumerate(answers):
            if isinstance(answer, _REDIRECTED):
                try:
                    answers[at] = await self._cluster.execute_command(*commands[at][1])
                except redis_errors.ResponseError as exc:
                    answers[at] = exc
        raise_first(answers)
        return answers

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> bool:
        """See Server; false after POLL_S, whatever there is."""
        await asyncio.sleep(min(POLL_S, block_ms / 1000))
        return False

    async def knows(self, script: Script) -> bool:
        """See Server: whether every primary has *script*."""
        primaries = [node for node in await self.nodes() if node.primary]
        found = await asyncio.gather(*[node.ask("SCRIPT EXISTS", script.sha) for node in primaries])
        lacking = [node for node, (known,) in zip(primaries, found, strict=True) if not known]
        await asyncio.gather(*[node.ask("SCRIPT LOAD", script.source) for node in lacking])
        return not lacking

    async def append(
        self, keys: Sequence[str], entries: Sequence[Fields], *, wait_for_disk: bool, known_by: Known | None = None
    ) -> list[bytes]:
        """See Server. Each node's part takes one round trip, and the disk is confirmed by each node that wrote. Where a
        node is not the one that was known, other nodes may have appended their parts."""
        script, mark_key, mark = known_by or (APPEND, "", "")
        places: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(self._cluster.keyslot(key), []).append(place)
        run: Command = ("EVAL", script.source) if known_by is None else ("EVALSHA", script.sha)
        commands: list[Keyed] = []
        for some in places.values():
            first = keys[some[0]]
            parts: list[Part] = [1 + len(some), beside(mark_key, first), *(keys[at] for at in some), mark]
            for at in some:
                parts += [len(entries[at]), *entries[at]]
            commands.append((first, (*run, *parts)))
        found: list[bytes] = [b""] * len(keys)
        for some, ids in zip(places.values(), await self._appended(commands, wait_for_disk), strict=True):
            for at, entry_id in zip(some, ids, strict=True):
                found[at] = entry_id
        return found

    async def _appended(self, commands: Sequence[Keyed], wait_for_disk: bool) -> list[Any]:
        """The answers to *commands*, which append. Raises: Untrusted, NotDurable."""
        try:
            if not wait_for_disk:
                return await self.run(commands)
            answers, confirmed = await self._on_nodes(commands, WAITAOF)
            raise_first(answers)
        except redis_errors.NoScriptError:
            raise Untrusted("a node of the cluster was started again, or another has taken its place") from None
        except redis_errors.ResponseError as exc:
            if str(exc).startswith("UNTRUSTED"):
                raise Untrusted("a node of the cluster was emptied") from None
            raise
        if any(int(answer[0]) < 1 for answer in confirmed):
            raise NotDurable("a node of the cluster did not confirm its append-only file in time")
        return answers

    async def _on_nodes(self, commands: Sequence[Keyed], last: Command | None = None) -> tuple[list[Any], list[Any]]:
        """Run *commands*: those of one node together and in their order, the nodes side by side.

        *last* goes to each of these nodes, behind its commands on the same connection. Returns the answers in the order
        of *commands*, and those to *last*; a refused one's is the error. All that was begun is awaited.
        """
        await self._cluster.initialize()
        shares: dict[str, tuple[ClusterNode, list[int]]] = {}
        for place, (key, _) in enumerate(commands):
            node = self._cluster.node_of(key)
            shares.setdefault(node.name, (node, []))[1].append(place)
        results = await asyncio.gather(
            *(
                self._on_node(node, [*(commands[at][1] for at in places), *([last] if last else [])])
                for node, places in shares.values()
            ),
            return_exceptions=True,
        )
        answers: list[Any] = [None] * len(commands)
        to_last: list[Any] = []
        for (_, places), result in zip(shares.values(), results, strict=True):
            if isinstance(result, BaseException):
                raise result
            for at, answer in zip(places, result, strict=False):
                answers[at] = answer
            to_last.append(result[-1])
        if any(isinstance(answer, _MAP_MAY_BE_OLD) for answer in answers):
            self._cluster.map_is_old()
        return answers, to_last if last else []

    async def _on_node(self, node: ClusterNode, commands: Sequence[Command]) -> list[Any]:
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
            self._cluster.map_is_old()
            await connection.disconnect()
            raise
        except BaseException:
            await connection.disconnect()  # answers may be left on it
            raise
        finally:
            node.release(connection)
        return answers
