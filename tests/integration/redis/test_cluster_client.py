"""The client of a cluster by itself."""

from __future__ import annotations

import asyncio

import pytest

from adapters.redis import client as redis_client
from tests.support.cluster import ClusterNodes

pytestmark = pytest.mark.slow


async def test_the_first_commands_of_a_client_go_to_the_nodes_of_their_keys(nodes: ClusterNodes) -> None:
    """Promise: commands that come together before the cluster's map is known are carried out, none is sent about."""
    client = redis_client.client(nodes.url, timeout_s=5)
    answers = await asyncio.gather(*(client.eval("return KEYS[1]", 1, f"key:{n}") for n in range(15)))
    assert answers == [f"key:{n}".encode() for n in range(15)]
    await client.aclose()
    refused = 0
    for node in nodes.nodes:
        refused += int((await node.redis.info("errorstats")).get("errorstat_MOVED", {}).get("count", 0))
    assert refused == 0
