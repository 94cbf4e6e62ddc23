"""Hubs and edges whose databases are restored, and offices that were apart for long: they come together again."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Final

import orjson
import pytest

from adapters.postgres.pool import Pool
from schemas.principals import Principal
from tests.support.offices import Server, change, edge_of, hub_on, lead
from tests.support.tokens import made
from tests.support.until import until

OFFICE: Final = Principal(kind="edge", name="office", role="operate", owners=frozenset({"alice", "bob"}))
SERVED: Final = ("sync_clock", "sync_marks", "records", "sync_ops", "sync_exits", "sync_replicas")
"""The tables of a server, but for what tokens and conflicts need to stay."""


async def save(db: Pool) -> None:
    """Keep the database as it is now."""
    for table in SERVED:
        await db.execute(f"CREATE TABLE saved_{table} AS TABLE {table}")


async def restore(db: Pool) -> None:
    """Put it back as it was."""
    async with db.acquire() as conn, conn.transaction():
        for table in SERVED:
            await conn.execute(f"DELETE FROM {table}")
            await conn.execute(f"INSERT INTO {table} TABLE saved_{table}")


async def equal(hub: Server, edge: Server) -> bool:
    return await edge.drained() and await edge.rows() == await hub.read(OFFICE)


async def test_a_hub_from_an_hour_ago_gets_back_what_the_edge_holds_and_the_rest_is_named(
    db: Pool, hub_db: Pool
) -> None:
    token = (await made(hub_db, edge="office", owners=["alice", "bob"]))["token"]
    async with hub_on(hub_db) as hub:
        async with edge_of(db, hub.url, token) as edge:
            await edge.push("alice", lead("l1", stage="new"), lead("l2", stage="new"))
            await until(lambda: equal(hub, edge), within_s=5)
            await save(hub_db)
            await edge.push("alice", change("l1", 1, stage="won"), lead("l3", stage="new"))
            await hub.push("bob", lead("h1", stage="of the hub"))
            await until(lambda: equal(hub, edge), within_s=5)
            assert "h1" in await edge.rows()
        await restore(hub_db)
    async with hub_on(hub_db) as hub, edge_of(db, hub.url, token) as edge:
        await until(lambda: equal(hub, edge), within_s=10)
        rows = await hub.rows()
        assert (rows["l1"]["stage"], set(rows)) == ("won", {"l1", "l2", "l3"})
        lost = await db.fetch("SELECT record_id, theirs->>'stage', strategy FROM sync_conflicts")
        assert [tuple(one) for one in lost] == [("h1", "of the hub", "restored")]
        await edge.push("alice", change("l1", await edge.version("l1"), stage="paid"))
        await until(lambda: equal(hub, edge), within_s=5)


async def test_an_edge_from_an_hour_ago_catches_up(db: Pool, hub_db: Pool) -> None:
    token = (await made(hub_db, edge="office", owners=["alice", "bob"]))["token"]
    async with hub_on(hub_db) as hub:
        async with edge_of(db, hub.url, token) as edge:
            await edge.push("alice", lead("l1", stage="new"))
            await until(lambda: equal(hub, edge), within_s=5)
        tables = ("records", "sync_clock", "sync_marks", "sync_ops", "sync_upstream", "sync_base")
        for table in tables:
            await db.execute(f"CREATE TABLE saved_{table} AS TABLE {table}")
        async with edge_of(db, hub.url, token) as edge:
            await edge.push("alice", change("l1", 1, stage="won"), lead("l2"))
            await until(lambda: equal(hub, edge), within_s=5)
        async with db.acquire() as conn, conn.transaction():
            for table in (*tables, "sync_queue"):
                await conn.execute(f"DELETE FROM {table}")
            for table in tables:
                await conn.execute(f"INSERT INTO {table} TABLE saved_{table}")
        async with edge_of(db, hub.url, token) as edge:
            await edge.push("alice", lead("l4"))
            await until(lambda: equal(hub, edge), within_s=10)
            assert (await edge.rows())["l1"]["stage"] == "won"
            assert set(await hub.rows()) == {"l1", "l2", "l4"}


async def test_an_epoch_that_is_raised_by_hand_costs_nothing(db: Pool, hub_db: Pool) -> None:
    token = (await made(hub_db, edge="office", owners=["alice", "bob"]))["token"]
    async with hub_on(hub_db) as hub, edge_of(db, hub.url, token) as edge:
        await edge.push("alice", *(lead(f"l{n}") for n in range(20)))
        await until(lambda: equal(hub, edge), within_s=5)
        versions = [await edge.version(f"l{n}") for n in range(20)]
        await hub_db.execute("UPDATE sync_clock SET epoch = epoch + 1")
        await hub.push("bob", lead("h1"))
        await until(lambda: equal(hub, edge), within_s=10)
        assert [await edge.version(f"l{n}") for n in range(20)] == versions
        assert await hub_db.fetchval("SELECT max(version) FROM records") == 1
        assert await db.fetchval("SELECT generation FROM sync_upstream") == 1


class Scribbling:
    """Writes at random on both sides, and remembers which values were written over by somebody who saw them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.written: dict[tuple[str, str], set[str]] = {}
        self.seen: set[str] = set()
        self.n = 0

    async def write(self, server: Server) -> None:
        """One edit, by a device that has seen the newest of *server*, or now and then only what was before that."""
        self.n += 1
        record, field = f"l{self.random.randrange(6)}", self.random.choice(("stage", "city", "company"))
        value = f"v{self.n}"
        row = await server.db.fetchrow("SELECT version, data::text, stamps FROM records WHERE record_id = $1", record)
        if row is None:
            one = lead(record, **{field: value})
        else:
            base = row["version"] - (self.random.random() < 0.2)
            one = change(record, base, **{field: value})
            stamp = orjson.loads(row["stamps"]).get(field)
            if stamp is not None and stamp[3] <= base:
                self.seen.add(str(orjson.loads(row["data"]).get(field)))
        (answer,) = await server.push("alice", one, replica=f"device-{self.n}")
        if answer["result"] == "rejected":
            assert answer["reason"] == "unknown-record", answer
            return
        self.written.setdefault((record, field), set()).add(value)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_written_on_both_sides_ends_equal_and_no_value_is_lost_silently(
    db: Pool, hub_db: Pool, seed: int
) -> None:
    token = (await made(hub_db, edge="office", owners=["alice", "bob"]))["token"]
    scribbling = Scribbling(seed)
    async with hub_on(hub_db) as hub:
        for turn in range(6):
            async with edge_of(db, hub.url, token, pump=turn % 2 == 1) as edge:
                for _ in range(30):
                    await scribbling.write(scribbling.random.choice((hub, edge)))
                if turn % 2:
                    await until(partial(equal, hub, edge), within_s=20)
        rows = await hub.rows()
    kept = set()
    for one in (hub_db, db):
        for ours, theirs in await one.fetch("SELECT ours::text, theirs::text FROM sync_conflicts"):
            kept |= {str(value) for text in (ours, theirs) if text for value in orjson.loads(text).values()}
    for (record, field), values in scribbling.written.items():
        lost = values - {rows[record][field]} - kept - scribbling.seen
        assert not lost, (record, field, lost)
    assert kept  # else nothing has met
