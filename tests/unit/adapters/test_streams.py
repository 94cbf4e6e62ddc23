"""The commands of the bus on fakeredis. Reading, whose answers have another shape there, is tested on real servers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from adapters.redis import durability
from adapters.redis.streams import CONSUMER, Streams, partition_in, stream_key
from schemas.envelope import Event, from_fields
from schemas.partitions import partition_of

GROUP = "some-worker"


def event(number: int, subject: str = "+15550000001") -> Event:
    return Event(
        id=f"e{number}",
        type="order.received",
        source="orders",
        subject=subject,
        time=datetime(2031, 2, 14, tzinfo=UTC),
        data=b'{"n":%d}' % number,
    )


async def kept(streams: Streams, key: str) -> list[tuple[str, dict[bytes, bytes]]]:
    """What the stream *key* holds."""
    answer: Any = await streams.redis.xrange(key)
    return [(entry_id.decode(), fields) for entry_id, fields in answer]


@pytest.fixture
def streams() -> Streams:
    return Streams(FakeAsyncRedis(), partitions=4)


def test_a_stream_s_name_tells_its_partition_in_a_hash_tag() -> None:
    assert stream_key("orders", 3) == "ferryman:{3}:orders"
    assert partition_in(stream_key("orders", 3)) == 3


async def test_events_are_appended_to_the_partition_of_their_key_in_order(streams: Streams) -> None:
    await streams.append([event(1), event(2)])
    key = stream_key("orders", partition_of("+15550000001", 4))
    assert [from_fields(fields).id for _, fields in await kept(streams, key)] == ["e1", "e2"]


async def test_groups_are_made_once_and_again_where_they_are_missing(streams: Streams) -> None:
    keys = [stream_key("orders", p) for p in range(4)]
    await streams.ensure_groups(GROUP, keys)
    await streams.ensure_groups(GROUP, keys)
    await streams.redis.delete(keys[0])
    await streams.ensure_groups(GROUP, keys)
    for key in keys:
        assert len(await streams.redis.xinfo_groups(key)) == 1


async def test_what_is_acknowledged_is_not_pending_any_more(streams: Streams) -> None:
    key = stream_key("orders", partition_of("+15550000001", 4))
    await streams.ensure_groups(GROUP, [key])
    await streams.append([event(1), event(2)])
    assert await streams.lag(GROUP, [key]) == (2, 0)
    await streams.redis.xreadgroup(GROUP, CONSUMER, {key: ">"})
    assert await streams.lag(GROUP, [key]) == (0, 2)
    entries = [(key, entry_id) for entry_id, _ in await kept(streams, key)]
    await streams.ack(GROUP, entries)
    await streams.ack(GROUP, entries)
    assert await streams.lag(GROUP, [key]) == (0, 0)


async def test_a_server_that_keeps_no_file_is_known_as_not_durable() -> None:
    server = FakeAsyncRedis()
    await server.config_set("appendonly", "no")
    assert await durability.of(server) == "none"
