"""The layout of the partitions: the number in force, the streams, who owns what, and what waits there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.postgres.bus import meta, partitions
from adapters.postgres.operator import repartition
from adapters.postgres.pool import Connection
from adapters.redis import lease_table, stream_states
from adapters.redis.client import Redis, server_of
from adapters.redis.lease_table import Table
from adapters.redis.server import Server
from adapters.redis.stream_states import StreamState
from adapters.redis.streams import partition_in, stream_keys
from daemon.bus.marks import BEAT, MARK, tagged
from daemon.bus.worker import AnyWorker
from schemas.envelope import TOPICS


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the bus is laid out now.

    *number*: None before the first start. *streams*: those that exist, by key. *processes*: how many run or start.
    *changing*: `ferryman partitions` is changing the number. *lost*: Redis lost data that no process has restored yet.
    """

    number: int | None
    streams: Mapping[str, StreamState]
    leases: Table
    processes: int
    changing: bool
    spool: int
    outbox: int
    lost: bool

    def waiting(self, worker: AnyWorker) -> dict[int, tuple[int, int]]:
        """Partition -> (unread, pending) of *worker*."""
        found: dict[int, tuple[int, int]] = {}
        for key, state in self.streams.items():
            if topic_in(key) in worker.reads:
                unread, pending = state.waiting(worker.name)
                before = found.get(partition_in(key), (0, 0))
                found[partition_in(key)] = before[0] + unread, before[1] + pending
        return found

    def waits(self, worker: AnyWorker) -> int:
        """How many entries *worker* has not acknowledged."""
        return sum(unread + pending for unread, pending in self.waiting(worker).values())


async def read_layout(conn: Connection, redis: Redis, configured: int, *, up_to: int = 0) -> Layout:
    """Read the layout; changes nothing. *configured*: the number of the settings. *up_to*: read the streams of that
    many partitions, if it is the larger number. Raises: redis errors, what Postgres raises, OSError."""
    number = await partitions.number(conn)
    count = max(number or configured, up_to)
    processes, changing = await partitions.holders(conn)
    spool, outbox = await repartition.behind(conn)
    return Layout(
        number=number,
        streams=await stream_states.states(redis, stream_keys(TOPICS, range(count))),
        leases=await lease_table.read_table(redis),
        processes=processes,
        changing=changing,
        spool=spool,
        outbox=outbox,
        lost=await _has_lost(conn, redis, number or configured),
    )


async def _has_lost(conn: Connection, redis: Redis, number: int) -> bool:
    """Whether recovery would see a loss at the next start: an empty stream may then be a lost one. Changes nothing."""
    agreed = await meta.value(conn, "mark")
    if agreed is None:
        return False
    server = server_of(redis)
    names = server.parts(number)
    pipe = redis.pipeline(transaction=False)
    for tag in names:
        pipe.get(tagged(MARK, tag))
        pipe.get(tagged(BEAT, tag))
    found = await pipe.execute()
    kept = [int(beat) for beat in (await meta.value(conn, "beat") or "").split()]
    beats = [int(beat or 0) for beat in found[1::2]]
    servers = await meta.value(conn, "servers") if server.fails_over else None
    return (
        any(mark is None or mark.decode() != agreed for mark in found[::2])
        or (len(kept) == len(beats) and any(beat < before for beat, before in zip(beats, kept, strict=True)))
        or (servers is not None and servers != serving_marks(server, names))
    )


def serving_marks(server: Server, tags: Sequence[str]) -> str:
    """The servers that hold the marks of *tags*, as `ferryman_meta` keeps them."""
    return server.serving([tagged(MARK, tag) for tag in tags])


def topic_in(key: str) -> str:
    """The topic of a stream's key."""
    return key.rpartition(":")[2]


def document(layout: Layout, workers: Sequence[AnyWorker], configured: int) -> dict[str, Any]:
    """The layout as JSON. *configured*: the number of the settings."""
    return {
        "number": layout.number,
        "configured": configured,
        "processes": sorted(layout.leases.members),
        "changing": layout.changing,
        "lost_data": layout.lost,
        "spool": layout.spool,
        "outbox": layout.outbox,
        "streams": {topic: _topic(layout, topic) for topic in TOPICS},
        "workers": {worker.name: _shares(layout, worker, layout.number or configured) for worker in workers},
    }


def _topic(layout: Layout, topic: str) -> dict[str, int]:
    found = [state for key, state in layout.streams.items() if topic_in(key) == topic]
    return {"streams": len(found), "entries": sum(state.entries for state in found)}


def _shares(layout: Layout, worker: AnyWorker, count: int) -> list[dict[str, Any]]:
    waiting = layout.waiting(worker)
    return [
        {
            "partition": p,
            "owner": layout.leases.owners.get((worker.name, p)),
            "unread": waiting.get(p, (0, 0))[0],
            "pending": waiting.get(p, (0, 0))[1],
        }
        for p in sorted({*range(count), *waiting})
    ]
