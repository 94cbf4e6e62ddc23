"""An edge and its hub, both real: what is written on either side is one in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.postgres.pool import Pool
from schemas.principals import Principal
from tests.support.offices import Server, change, edge_of, hub_on, lead
from tests.support.records import ADMIN, operation, pushed
from tests.support.tokens import made
from tests.support.until import until


@asynccontextmanager
async def both(db: Pool, hub_db: Pool) -> AsyncIterator[tuple[Server, Server]]:
    """(the hub, its edge for the records of alice and bob)."""
    async with hub_on(hub_db) as hub:
        token = (await made(hub_db, edge="office", owners=["alice", "bob"]))["token"]
        async with edge_of(db, hub.url, token) as edge:
            yield hub, edge


async def equal(hub: Server, edge: Server) -> bool:
    """Whether everything has gone out and come back, and the edge has what is for it."""
    reads = await hub.read(Principal(kind="edge", name="office", role="operate", owners=frozenset({"alice", "bob"})))
    return await edge.drained() and await edge.rows() == reads


async def test_what_a_phone_writes_at_the_edge_is_at_the_hub_and_its_echo_changes_nothing(
    db: Pool, hub_db: Pool
) -> None:
    async with both(db, hub_db) as (hub, edge):
        (answer,) = await edge.push("alice", lead("l1", stage="new"))
        assert answer["result"] == "applied"
        await until(lambda: equal(hub, edge), within_s=5)
        assert (await hub.rows())["l1"]["stage"] == "new"
        assert await edge.version("l1") == 1
        # the phone has queued two edits before it sees the echo of the first: none of them meets anything foreign
        for stage in ("contacted", "qualified"):
            (answer,) = await edge.push("alice", change("l1", 1, stage=stage))
            assert answer["result"] == "applied", answer
            await until(lambda: equal(hub, edge), within_s=5)
        assert (await hub.rows())["l1"]["stage"] == "qualified"
        assert await edge.version("l1") == 3
        for one in (db, hub_db):
            assert await one.fetchval("SELECT count(*) FROM sync_conflicts") == 0


async def test_a_correction_of_the_hub_reaches_the_phones_of_the_edge(db: Pool, hub_db: Pool) -> None:
    async with both(db, hub_db) as (hub, edge):
        await edge.push("alice", lead("l1", stage="new"))
        await until(lambda: equal(hub, edge), within_s=5)
        await hub.push("alice", change("l1", 1, stage="won"), replica="browser")
        await until(lambda: equal(hub, edge), within_s=5)
        assert (await edge.pull("alice"))["l1"]["stage"] == "won"
        assert await edge.version("l1") == 2
        # the phone has not seen it: its edit meets it, here
        (answer,) = await edge.push("alice", change("l1", 1, stage="lost"))
        assert answer["result"] == "conflict"
        await until(lambda: equal(hub, edge), within_s=5)
        assert (await hub.rows())["l1"]["stage"] == (await edge.rows())["l1"]["stage"]


async def test_two_offices_that_were_cut_off_agree_in_the_end_and_what_lost_is_kept(db: Pool, hub_db: Pool) -> None:
    async with hub_on(hub_db) as hub:
        port = int(hub.url.rsplit(":", 1)[1])
        token = (await made(hub_db, edge="office", owners=["alice", "bob"]))["token"]
        async with edge_of(db, hub.url, token) as edge:
            await edge.push("alice", lead("l1", stage="new"))
            await until(lambda: equal(hub, edge), within_s=5)
    async with edge_of(db, hub.url, token) as edge:
        await edge.push("alice", change("l1", 1, stage="won"))
        async with hub_on(hub_db, port) as hub:
            await hub.push("alice", change("l1", 1, stage="lost", name="Ada L."), replica="browser")
            await until(lambda: equal(hub, edge), within_s=15)
            row = (await hub.rows())["l1"]
            assert row["name"] == "Ada L."
            kept = await hub_db.fetch("SELECT ours->>'stage', theirs->>'stage', decision FROM sync_conflicts")
            assert len(kept) == 1
            assert {kept[0][0], kept[0][1]} == {"won", "lost"}
            assert row["stage"] in ("won", "lost")


async def test_a_record_that_gets_another_owner_leaves_the_edge(db: Pool, hub_db: Pool) -> None:
    async with both(db, hub_db) as (hub, edge):
        await edge.push("alice", lead("l1", stage="new"))
        await until(lambda: equal(hub, edge), within_s=5)
        (answer,) = await pushed(hub.records, ADMIN, change("l1", 1, owner_id="carol"), replica="admin")
        assert answer["result"] == "applied"
        await until(lambda: _gone(edge), within_s=5)
        assert await edge.pull("alice") == {}
        (answer,) = await edge.push("alice", change("l1", 1, stage="won"))
        assert answer["reason"] == "owner"
        assert await edge.db.fetchval("SELECT data::text FROM records") == "{}"


async def _gone(edge: Server) -> bool:
    return not await edge.rows()


async def test_a_write_and_its_operation_for_the_upstream_are_one(db: Pool, hub_db: Pool) -> None:
    async with edge_of(db, "http://127.0.0.1:9", "fmt_" + "x" * 43, pump=False) as edge:
        await edge.push("alice", lead("l1"))
        rows = await db.fetch("SELECT * FROM SyncQueue WHERE syncedAt IS NULL")  # as the seed has it
        assert [(one["operation"], one["model"], one["recordid"], one["userid"]) for one in rows] == [
            ("CREATE", "Lead", "l1", "alice")
        ]
        assert rows[0]["retrycount"] == 0
        await db.execute("ALTER TABLE sync_queue RENAME TO hidden_queue")
        with pytest.raises(Exception, match="sync_queue"):
            await edge.push("alice", lead("l2"))
        await db.execute("ALTER TABLE hidden_queue RENAME TO sync_queue")
        assert set(await edge.rows()) == {"l1"}


async def test_every_verb_of_many_phones_ends_equal(db: Pool, hub_db: Pool) -> None:
    async with both(db, hub_db) as (hub, edge):
        for n in range(40):
            await edge.push("alice" if n % 2 else "bob", lead(f"l{n}", stage="new"))
            await hub.push("alice" if n % 3 else "bob", lead(f"h{n}", stage="new"))
        for n in range(40):
            await edge.push("alice" if n % 2 else "bob", change(f"l{n}", 1, stage="won"))
        await until(lambda: equal(hub, edge), within_s=15)
        assert len(await edge.rows()) == 80
        for n in range(0, 40, 2):
            version = await edge.version(f"h{n}")
            who = "alice" if n % 3 else "bob"
            (answer,) = await edge.push(who, operation("DELETE", f"h{n}", _base_version=version))
            assert answer["result"] == "applied", answer
        await until(lambda: equal(hub, edge), within_s=15)
        assert len(await hub.rows()) == 60


async def test_what_the_hub_erases_is_erased_at_the_edge_with_its_operations(db: Pool, hub_db: Pool) -> None:
    async with both(db, hub_db) as (hub, edge):
        await edge.push("alice", lead("l1", stage="new"))
        await until(lambda: equal(hub, edge), within_s=5)
        await hub.records.erase("Lead", "l1", by="test")

        async def erased() -> bool:
            return bool(await db.fetchval("SELECT erased FROM records"))

        await until(erased, within_s=5)
        assert await db.fetchval("SELECT data::text || stamps FROM records") == "{}{}"
        assert await db.fetchval("SELECT count(*) FROM sync_queue") == 0
        (answer,) = await edge.push("alice", change("l1", 1, stage="won"))
        assert answer["result"] in ("rejected", "conflict")
        assert not await edge.rows()
