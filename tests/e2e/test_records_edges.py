"""A hub and two edges, each with people who write into the same records, while lines break and daemons die."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from adapters.records_client import RecordsClient
from tests.support.records_rig import Link, Site, linked, site
from tests.support.records_world import MODEL, Account, OfficeWriter, PhoneWriter, current, told
from tests.support.until import until

RECORDS: Final = [f"item-{n}" for n in range(8)]


@dataclass
class World:
    """A hub, two edges, a phone at each, and the four lines."""

    hub: Site
    edges: list[Site]
    phones: list[RecordsClient]
    lines: list[Link]
    pools: list[Pool]
    office: OfficeWriter


async def built(stack: AsyncExitStack, place: Path, postgres_url: str) -> World:
    """All of it, whole and idle; *stack* ends it."""
    hub = await stack.enter_async_context(site(place, "hub", postgres_url))
    edges, phones, lines = [], [], []
    for name in ("north", "south"):
        line = await stack.enter_async_context(linked(hub.port))
        token = await hub.token("--edge", name, "--owners", "noa")
        upstream = {"SYNC_UPSTREAM_URL": line.url, "SYNC_UPSTREAM_TOKEN": token}
        edge = await stack.enter_async_context(site(place, name, postgres_url, **upstream))
        signal = await stack.enter_async_context(linked(edge.port))
        token = await edge.token("--user", "noa")
        phone = await stack.enter_async_context(RecordsClient(place / f"{name}.sqlite", signal.url, token))
        phone.start()
        edges.append(edge)
        phones.append(phone)
        lines += [line, signal]
    pools = [await stack.enter_async_context(one.looked_into()) for one in (hub, *edges)]
    office = OfficeWriter(hub, await hub.token("--user", "dana", "--role", "admin"))
    return World(hub, edges, phones, lines, pools, office)


@pytest.mark.parametrize(
    ("seed", "seconds"),
    [
        (1, 6.0),
        *(pytest.param(n, 45.0, marks=[pytest.mark.slow, pytest.mark.timeout(400)]) for n in (2, 3, 4)),
    ],
)
@pytest.mark.timeout(200)
async def test_all_are_equal_in_the_end_and_no_value_is_lost_without_a_word(
    tmp_path: Path, postgres_url: str, seed: int, seconds: float
) -> None:
    async with AsyncExitStack() as stack:
        world, account = await built(stack, tmp_path, postgres_url), Account()
        over = asyncio.Event()
        writers: list[PhoneWriter | OfficeWriter] = [*(PhoneWriter(phone) for phone in world.phones), world.office]
        acting = [_write(writer, random.Random(seed * 100 + n), account, over) for n, writer in enumerate(writers)]
        breaking = _break(world, random.Random(seed), time.monotonic() + seconds, over)
        await asyncio.gather(breaking, *acting)
        await until(lambda: _equal(world), "the same at all places", 90, every_s=0.5)
        assert account.numbers > 20 * len(writers)
        assert account.lost(await current(world.pools[0]), await told(world.pools)) == []
        for phone in world.phones:
            assert await phone.failed() == []


async def _write(writer: PhoneWriter | OfficeWriter, rng: random.Random, account: Account, over: asyncio.Event) -> None:
    """Write, now and then, until it is over."""
    while not over.is_set():
        await writer.act(rng, rng.choice(RECORDS), account)
        await asyncio.sleep(rng.random() * 0.1)


async def _break(world: World, rng: random.Random, until_: float, over: asyncio.Event) -> None:
    """Break one thing after the other, and mend all of them in the end."""
    while time.monotonic() < until_:
        await asyncio.sleep(rng.random() * 0.4)
        what, line, daemon = rng.random(), rng.choice(world.lines), rng.choice([world.hub, *world.edges])
        if what < 0.7 and line.whole:
            await line.cut()
        elif what < 0.7:
            line.mend()
        elif what < 0.85:
            await daemon.kill()
            await daemon.start()
        else:
            with daemon.frozen():
                await asyncio.sleep(rng.random())
    over.set()
    for line in world.lines:
        line.mend()


async def _equal(world: World) -> bool:
    for phone in world.phones:
        await phone.sync()
    if any([(await phone.status()).pending for phone in world.phones]):
        return False
    waiting = "SELECT count(*) FROM sync_queue WHERE state = 'pending'"
    for edge, pool in zip(world.edges, world.pools[1:], strict=True):
        await edge.verb("records", "sync")
        if await pool.fetchval(waiting):
            return False
    copies = [await current(pool) for pool in world.pools]
    copies += [await _on(phone) for phone in world.phones]
    return all(one == copies[0] for one in copies)


async def _on(phone: RecordsClient) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for record in RECORDS:
        if (data := await phone.get(MODEL, record)) is not None:
            found[record] = dict(data)
    return found
