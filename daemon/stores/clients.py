"""The clients of the stores, which every part of the process is built on. They connect at their first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from adapters.postgres.bus import partitions
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.client import Redis
from adapters.redis.connections import WrongServers
from adapters.redis.streams import Streams
from daemon.settings.load import masked_address
from daemon.settings.model import Settings
from daemon.stores.health import Stores, postgres_watch, redis_watch
from daemon.stores.located import Addresses
from daemon.stores.membership import Membership

COMMAND_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The clients of one process. Those of Redis leave a wrong server together. *bus*: the streams, with the client for
    commands. *client*: makes a further client of Redis, with a time limit in seconds and at most so many
    connections."""

    addresses: Addresses
    pool: Pool
    membership: Membership
    bus: Streams
    stores: Stores
    client: Callable[[float, int], Redis]


async def clients(stack: AsyncExitStack, settings: Settings, addresses: Addresses) -> Clients:
    """The clients, closed with *stack*. Postgres is asked for the number of partitions, where it answers now."""
    pool = await stack.enter_async_context(connect(addresses.database_url, at_once=False))
    membership = Membership(addresses.database_url)
    stack.callback(membership.close)
    client = partial(_client, stack, addresses.redis_url, WrongServers())
    watched, commands = client(COMMAND_TIMEOUT_S, 2), client(COMMAND_TIMEOUT_S, 64)
    number = settings.given_partitions or await _kept_partitions(pool) or settings.ferryman_partitions
    return Clients(
        addresses=addresses,
        pool=pool,
        membership=membership,
        bus=Streams(commands, number, recovers=True),
        stores=Stores(
            redis_watch(watched, masked_address(addresses.redis_url)),
            postgres_watch(membership.look, masked_address(addresses.database_url)),
        ),
        client=client,
    )


def _client(stack: AsyncExitStack, url: str, wrong_servers: WrongServers, timeout_s: float, connections: int) -> Redis:
    client = streams.client(url, timeout_s=timeout_s, connections=connections, wrong_servers=wrong_servers)
    stack.push_async_callback(client.aclose)
    return client


async def _kept_partitions(pool: Pool) -> int | None:
    """The number of partitions that the database knows; None where it does not say it now: then the start finds out
    why."""
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            return await partitions.number(pool)
    except Exception:
        return None
