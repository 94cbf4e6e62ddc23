"""Servers that take over from each other: a cluster of six nodes, and a master with its replica under three sentinels.

All are processes of the embedded binary; each is ended by its own id, whatever the test did.
`python -m tests.support.cluster COMMAND…` runs a command with REDIS_URL naming such a cluster: the tests, for instance.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.crc import key_slot

from adapters.redis.streams import stream_key
from daemon.stores.embedded.binaries import valkey_binary
from tests.support.daemons import free_port
from tests.support.until import until

NODE_TIMEOUT_MS: Final = 2000
SLOTS: Final = 16384
TRIES: Final = 4
SERVICE: Final = "ferryman"

_DURABLE: Final = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


@dataclass
class Node:
    """One server process."""

    port: int
    bus: int
    process: asyncio.subprocess.Process
    redis: Redis
    argv: Sequence[str]
    home: Path

    async def ask(self, *command: str | int) -> Any:
        """Send *command* to this node itself."""
        untyped: Any = self.redis
        return await untyped.execute_command(*command)

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def restart(self) -> None:
        """Start it again in its place, after a kill, on the data that it has."""
        self.process = await _spawned(self.argv)
        await until(self.serves, f"a server on port {self.port}")

    async def serves(self) -> bool:
        """Whether it has its data and knows of its cluster."""
        try:
            return bool((await self.cluster_info())["cluster_state"] == "ok")
        except redis_errors.RedisError:
            return False

    async def cluster_info(self) -> dict[str, str]:
        """What it says of its cluster."""
        known = await self.ask("CLUSTER INFO")
        return known if isinstance(known, dict) else dict(_lines(known))

    def cut_tail(self, entries: Sequence[bytes]) -> None:
        """Cut its append-only file before the first command that names one of *entries*, as a power cut may."""
        (file,) = (self.home / "appendonlydir").glob("*.incr.aof")
        data = file.read_bytes()
        at = min(data.index(entry) for entry in entries)
        file.write_bytes(data[: data.rindex(b"*", 0, at)])

    async def answers(self) -> bool:
        """Whether it answers, itself and no other process that took the port first, or has ended."""
        if self.process.returncode is not None:
            return True
        try:
            return bool((await self.redis.info("server"))["process_id"] == self.process.pid)
        except redis_errors.RedisError:
            return False


@dataclass
class ClusterNodes:
    """Three primaries, and a replica of each behind them."""

    nodes: Sequence[Node]

    @property
    def url(self) -> str:
        """The address, with three of the nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[1:4])

    def first_primary_of(self, key: str) -> Node:
        """The node that held *key* before any failover."""
        return self.nodes[key_slot(key.encode()) * 3 // SLOTS]

    def replica_of(self, primary: Node) -> Node:
        """The replica that *primary* had at first."""
        return self.nodes[3 + self.nodes.index(primary)]

    def keys_of(self, primary: Node) -> list[str]:
        """The streams of orders that *primary* held at first, of sixteen partitions."""
        keys = [stream_key("orders", partition) for partition in range(16)]
        return [key for key in keys if self.first_primary_of(key) is primary]


@dataclass
class SentinelNodes:
    """A master, its replica, and the sentinels."""

    master: Node
    replica: Node
    sentinels: Sequence[Node]

    @property
    def url(self) -> str:
        """The address, with all sentinels."""
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels) + f"/{SERVICE}/0"


@asynccontextmanager
async def cluster_of_six(directory: Path) -> AsyncIterator[ClusterNodes]:
    """A cluster whose replicas are in step, so that any primary may be killed."""
    async with AsyncExitStack() as stack:
        timing = ("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--repl-diskless-sync-delay", "0")
        nodes = [await _server(stack, directory, *_DURABLE, "--cluster-enabled", "yes", *timing) for _ in range(6)]
        bounds = [-(-SLOTS * n // 3) for n in range(4)]
        for n, node in enumerate(nodes):
            await node.ask("CLUSTER SET-CONFIG-EPOCH", n + 1)
            if n < 3:
                await node.ask("CLUSTER ADDSLOTSRANGE", bounds[n], bounds[n + 1] - 1)
        for node in nodes[1:]:
            await nodes[0].ask("CLUSTER MEET", "127.0.0.1", node.port, node.bus)
        for n, node in enumerate(nodes[3:]):
            primary = (await nodes[n].ask("CLUSTER MYID")).decode()

            async def follows(node: Node = node, primary: str = primary) -> bool:
                try:
                    await node.ask("CLUSTER REPLICATE", primary)
                except redis_errors.ResponseError:
                    return False  # it does not know that node yet
                return True

            await until(follows, "a node that knows its primary")
        for node in nodes:

            async def in_step(node: Node = node) -> bool:
                text = await node.cluster_info()
                role = await node.redis.info("replication")
                linked = role["role"] == "master" or role["master_link_status"] == "up"
                return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == 6 and bool(linked)

            await until(in_step, "a cluster in step")
        yield ClusterNodes(nodes)


@asynccontextmanager
async def sentinel_trio(directory: Path) -> AsyncIterator[SentinelNodes]:
    """A master whose replica is in step, watched by three sentinels that know each other."""
    async with AsyncExitStack() as stack:
        master, replica = await _replicated(stack, directory)
        sentinels = []
        for n in range(3):
            config = directory / f"sentinel-{n}.conf"
            config.write_text(
                f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 1000\n"
                f"sentinel failover-timeout {SERVICE} 4000\n"
            )
            sentinels.append(await _server(stack, directory, "--sentinel", config=config))

        async def acquainted() -> bool:
            answers: list[Any] = [await node.redis.sentinel_masters() for node in sentinels]
            states = [answer[SERVICE] for answer in answers]
            return all(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1 for state in states)

        await until(acquainted, "sentinels that know each other and the replica")
        yield SentinelNodes(master, replica, sentinels)


@asynccontextmanager
async def replicated_pair(directory: Path) -> AsyncIterator[tuple[Node, Node]]:
    """A master and its replica, in step."""
    async with AsyncExitStack() as stack:
        yield await _replicated(stack, directory)


async def _replicated(stack: AsyncExitStack, directory: Path) -> tuple[Node, Node]:
    master = await _server(stack, directory, *_DURABLE, "--repl-diskless-sync-delay", "0")
    replica = await _server(stack, directory, *_DURABLE, "--replicaof", "127.0.0.1", str(master.port))

    async def in_step() -> bool:
        return bool((await replica.redis.info("replication"))["master_link_status"] == "up")

    await until(in_step, "a replica in step")
    return master, replica


async def _server(stack: AsyncExitStack, directory: Path, *options: str, config: Path | None = None) -> Node:
    """A server on ports of its own; another try where another process takes a free port first."""
    for _ in range(TRIES):
        node = await _started(stack, directory, options, config)
        await until(node.answers, f"a server on port {node.port}")
        if node.process.returncode is None:
            return node
    raise AssertionError(f"{TRIES} servers ended at once")


async def _started(stack: AsyncExitStack, directory: Path, options: Sequence[str], config: Path | None) -> Node:
    port, bus = free_port(), free_port()
    home = directory / f"node-{port}"
    home.mkdir(parents=True, exist_ok=True)
    argv = (
        str(valkey_binary()),
        *([str(config)] if config is not None else []),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)),
        *(("--cluster-port", str(bus)) if "--cluster-enabled" in options else ()),
        *options,
    )
    redis = Redis(host="127.0.0.1", port=port, socket_timeout=5)
    node = Node(port, bus, await _spawned(argv), redis, argv, home)
    stack.push_async_callback(node.kill)
    stack.push_async_callback(node.redis.aclose)
    return node


async def _spawned(argv: Sequence[str]) -> asyncio.subprocess.Process:
    nothing = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(*argv, stdin=nothing, stdout=nothing, stderr=nothing)


def _lines(text: bytes) -> list[tuple[str, str]]:
    parts = [line.partition(":") for line in text.decode().splitlines()]
    return [(name, value.strip()) for name, _, value in parts]


async def _with_a_cluster(argv: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="ferryman-cluster-", ignore_cleanup_errors=True) as directory:
        async with cluster_of_six(Path(directory)) as nodes:
            process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, "REDIS_URL": nodes.url})
            return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(_with_a_cluster(sys.argv[1:])))
