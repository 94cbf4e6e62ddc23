"""The twelve nastiest tests of record sync, as its reference page counts them. Those that need whole processes or a
hand in the database stand elsewhere; the others are here, with the real server, the real client and a real edge.

| | what | where |
| --- | --- | --- |
| 1 | a number is taken, its writer stalls, another commits | `test_pulling.py`, `tests/e2e/test_records_frozen.py` |
| 2 | answers are lost, either side is killed; 10,000 operations | `tests/e2e/test_records_kills.py` |
| 3 | two queued edits with a foreign one between | here |
| 4 | the server is restored from an hour ago | `test_pull_histories.py`, `tests/e2e/test_records_restored.py` |
| 5 | a client's file is copied, or is from last week | here |
| 6 | away while records are deleted and compacted | here |
| 7 | the owner changes while the old one has operations and is mid-page | here |
| 8 | phone, edge and hub edit one field; the edge's clock is a day ahead; the line is cut | here |
| 9 | 51 poisoned operations at the head | here; `edge/test_pump.py`, `tests/unit/adapters/sync/test_starving.py` |
| 10 | a first sync while others write; the line breaks at every page | here; `test_pulling.py` |
| 11 | a deletion and an update at once; events in reverse | here |
| 12 | a captive portal; many devices after an outage | `tests/unit/adapters/sync/test_exchange.py`; here |
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from adapters.postgres.pool import Pool, connect
from adapters.postgres.records import people
from adapters.records_client import BadOperation, RecordsClient
from daemon.bus.outcome import Done, Turn
from daemon.bus.worker import utc_now
from daemon.demo.offline_link import Link, linked
from daemon.records import record_sync, upkeep
from daemon.records.pulling.cursor import read_cursor
from daemon.records.pulling.pulls import PullIn
from daemon.records.record_sync import RecordDeps
from daemon.settings.model import Settings
from schemas.envelope import Event
from schemas.principals import Principal
from tests.support.daemons import free_port
from tests.support.offices import Server, change, edge_of, hub_on, lead
from tests.support.records import operation, person, pushed, records_of
from tests.support.servers import fresh_database
from tests.support.tokens import made
from tests.support.until import until

ADMIN: Final = Principal(kind="installation", name="admin", role="admin")
Open = Callable[..., Awaitable[RecordsClient]]


@pytest.fixture
async def hub_db(postgres_url: str, template: str) -> AsyncIterator[Pool]:
    """A database that is no copy of `db`, as servers know each other by what a migration makes."""
    async with fresh_database(postgres_url, template) as url, connect(url, size=5) as pool:
        await pool.execute("UPDATE sync_clock SET feed = gen_random_uuid()")
        yield pool


@pytest.fixture
async def hub(db: Pool) -> AsyncIterator[Server]:
    async with hub_on(db) as server:
        yield server


@pytest.fixture
async def opened(db: Pool, hub: Server, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the client of a person, on the file *name*, by a token of theirs."""
    async with AsyncExitStack() as stack:

        async def open_(user: str, name: str = "", **more: Any) -> RecordsClient:
            token = (await made(db, user=user))["token"]
            path = tmp_path / f"{name or user}.sqlite"
            client = RecordsClient(path, more.pop("url", hub.url), token, **more)
            return await stack.enter_async_context(client)

        yield open_


async def synced(*clients: RecordsClient) -> None:
    """Each has made a whole round."""
    for client in clients:
        done = await client.sync()
        assert done.error is None, done


async def conflicts(db: Pool) -> list[tuple[Any, ...]]:
    """(record, fields, ours, theirs, decision) of each, the first one first."""
    rows = await db.fetch(
        "SELECT record_id, fields, ours::text, theirs::text, decision FROM sync_conflicts ORDER BY id"
    )
    return [(row[0], row[1], json.loads(row[2] or "null"), json.loads(row[3] or "null"), row[4]) for row in rows]


async def test_3_two_queued_edits_with_a_foreign_one_between(db: Pool, hub: Server, opened: Open) -> None:
    phone = await opened("ann")
    await phone.create("Lead", "l1", {"name": "Ada", "city": "Acre", "stage": "new"})
    await synced(phone)
    await phone.update("Lead", "l1", {"city": "Haifa"})
    await hub.push("ann", change("l1", 1, stage="won"), replica="laptop")
    await phone.update("Lead", "l1", {"stage": "lost"})
    await phone.update("Lead", "l1", {"stage": "open"})
    await synced(phone)
    assert (await hub.rows())["l1"] == (await _view(phone))["l1"]
    assert (await hub.rows())["l1"]["city"] == "Haifa", "a field of its own"
    met = {
        (ours["stage"], theirs["stage"]) for _, fields, ours, theirs, _ in await conflicts(db) if fields == ["stage"]
    }
    assert met == {("won", "lost"), ("lost", "open")}, "both, though the second came after one of its own"


async def test_5_a_file_that_was_copied_to_a_second_machine(
    db: Pool, hub: Server, opened: Open, tmp_path: Path
) -> None:
    token = (await made(db, user="ann"))["token"]
    async with RecordsClient(tmp_path / "first.sqlite", hub.url, token) as first:
        await first.create("Lead", "l1", {"name": "Ada", "stage": "new"})
        await synced(first)
    shutil.copy(tmp_path / "first.sqlite", tmp_path / "second.sqlite")
    first, second = await opened("ann", "first"), await opened("ann", "second")
    for client, stage in ((first, "won"), (second, "lost")):
        await client.update("Lead", "l1", {"stage": stage})
        await client.create("Lead", f"of-{stage}", {"name": stage})
    await synced(first, second, first)
    assert (await _view(first)) == (await _view(second)) == await hub.rows()
    assert len(await hub.rows()) == 3
    assert [(ours, theirs) for _, _, ours, theirs, _ in await conflicts(db)] == [({"stage": "won"}, {"stage": "lost"})]
    assert await db.fetchval("SELECT count(*) FROM sync_replicas") == 2, "the copy has taken a name of its own"


async def test_5_a_file_from_last_week(db: Pool, hub: Server, opened: Open, tmp_path: Path) -> None:
    token = (await made(db, user="ann"))["token"]
    path, backup = tmp_path / "phone.sqlite", tmp_path / "backup.sqlite"
    async with RecordsClient(path, hub.url, token) as phone:
        await phone.create("Lead", "l1", {"name": "Ada", "stage": "new"})
        await synced(phone)
        await phone.update("Lead", "l1", {"city": "Acre"})  # waits while the backup is made
    shutil.copy(path, backup)
    async with RecordsClient(path, hub.url, token) as phone:
        await phone.update("Lead", "l1", {"stage": "won"})
        await synced(phone)
        await phone.create("Lead", "l2", {"name": "Bob"})
        await synced(phone)
    shutil.copy(backup, path)
    phone = await opened("ann", "phone")
    await phone.update("Lead", "l1", {"stage": "lost"})
    await synced(phone)
    assert await _view(phone) == await hub.rows()
    assert (await hub.rows()).keys() == {"l1", "l2"}, "it has learned what it wrote since"
    assert await db.fetchval("SELECT count(*) FROM sync_ops") == 5, "what waited in the backup was sent again, once"
    assert [(ours, theirs) for _, _, ours, theirs, _ in await conflicts(db)] == [({"stage": "won"}, {"stage": "lost"})]


async def test_6_away_while_records_were_deleted_and_compacted(db: Pool, hub: Server, opened: Open) -> None:
    phone, laptop = await opened("ann"), await opened("ann", "laptop")
    for id in ("l1", "l2", "l3"):
        await phone.create("Lead", id, {"name": id, "stage": "new"})
    await synced(phone, laptop)
    await phone.update("Lead", "l1", {"stage": "won"})
    await phone.delete("Lead", "l2")
    await phone.create("Lead", "l4", {"name": "l4"})
    for id in ("l1", "l2"):
        await laptop.delete("Lead", id)
    await synced(laptop)
    await db.execute("UPDATE records SET deleted_at = deleted_at - interval '100 days' WHERE deleted")
    assert (await upkeep.compact(db, Settings()))["tombstones"] == 2
    await synced(phone, laptop)
    assert (await hub.rows()).keys() == (await _view(phone)).keys() == (await _view(laptop)).keys() == {"l3", "l4"}
    assert await db.fetchval("SELECT count(*) FROM records") == 2, "nothing was resurrected"
    (shown,) = await phone.conflicts()
    assert (shown.record_id, shown.decision, shown.data) == ("l1", "gone", {"stage": "won"})
    assert [(id, theirs, decision) for id, _, _, theirs, decision in await conflicts(db)] == [
        ("l1", {"stage": "won"}, "gone")
    ]


async def test_7_the_owner_changes_while_the_old_one_is_mid_page(db: Pool, hub: Server, opened: Open) -> None:
    phone = await opened("ann")
    for id in ("l1", "l2", "l3"):
        await phone.create("Lead", id, {"name": f"secret-{id}"})
    await synced(phone)

    async def pulled(who: str, since: str | None) -> Any:
        async def reader() -> Principal:
            return person(who)

        asked = PullIn(since=None if since is None else read_cursor(since), limit=1)
        page = await hub.pulls.pull(reader, asked)
        return orjson.loads(orjson.dumps(page.document(), default=str))

    first = await pulled("ann", None)
    assert [one["id"] for one in first["changes"]] == ["l1"]
    await phone.update("Lead", "l2", {"stage": "won"})
    (given,) = await pushed(hub.records, ADMIN, change("l2", 1, owner_id="bob"))
    assert given["result"] == "applied"
    seen: list[Any] = []
    since = first["cursor"]
    while page := await pulled("ann", since):
        seen, since = [*seen, *page["changes"]], page["cursor"]
        if not page["changes"]:
            break
    assert {one["id"]: one["op"] for one in seen} == {"l2": "remove", "l3": "upsert"}
    assert [one for one in seen if one["op"] == "remove"] == [{"op": "remove", "model": "Lead", "id": "l2"}]
    await synced(phone)
    assert (await _view(phone)).keys() == {"l1", "l3"}
    (failed,) = await phone.failed()
    assert (failed.record_id, failed.reason, failed.data) == ("l2", "owner", {"stage": "won"}), "kept, and shown"
    bob = await opened("bob")
    await synced(bob)
    assert (await _view(bob))["l2"]["name"] == "secret-l2"
    (back,) = await pushed(hub.records, ADMIN, change("l2", 2, owner_id="ann"))
    assert back["result"] == "applied"
    await synced(phone, bob)
    assert (set(await _view(phone)), set(await _view(bob))) == ({"l1", "l2", "l3"}, set())


async def test_8_phone_edge_and_hub_edit_one_field_while_the_line_is_cut(db: Pool, hub_db: Pool) -> None:
    ahead = timedelta(days=1)
    async with hub_on(hub_db) as hub, linked(int(hub.url.rpartition(":")[2])) as line:
        token = (await made(hub_db, edge="office", owners=["ann"]))["token"]
        async with edge_of(db, line.url, token, now=lambda: utc_now() + ahead) as edge:

            async def equal() -> bool:
                return await edge.drained() and await edge.rows() == await hub.rows() != {}

            await hub.push("ann", lead("l1", stage="new"), replica="browser")
            await until(equal)
            for round in range(3):
                await line.cut()
                version, seen = await edge.version("l1"), await hub.version("l1")
                values = [f"{who}-{round}" for who in ("phone", "desk", "browser")]
                await edge.push("ann", change("l1", version, stage=values[0]), replica="phone")
                await edge.push("ann", change("l1", version, stage=values[1]), replica="desk")
                await hub.push("ann", change("l1", seen, stage=values[2]), replica="browser")
                line.mend()
                await until(equal)
                stands = (await hub.rows())["l1"]["stage"]
                kept = json.dumps([await conflicts(db), await conflicts(hub_db)])
                assert [one for one in values if one != stands and one not in kept] == [], "lost without a word"


async def test_9_poisoned_operations_at_the_head_hold_nobody_up(db: Pool, hub: Server, opened: Open) -> None:
    phone = await opened("ann")
    await pushed(hub.records, person("bob"), *(lead(f"bobs-{n}") for n in range(50)))
    for n in range(50):
        await phone.create("Lead", f"bobs-{n}", {"name": "taken"})
    await phone.create("Lead", "odd", {"name": "Ada", "details": {"deep": "x" * 200}, "birthday": "no date"})
    await phone.create("Lead", "good", {"name": "Ada"})
    with pytest.raises(BadOperation):
        await phone.create("Lead", "large", {"name": "Ada", "notes": "x" * (256 * 1024 + 1)})
    await synced(phone)
    assert "good" in await hub.rows(), "in the first round"
    reasons = Counter(one.reason for one in await phone.failed())
    assert reasons == {"owner": 50, "type": 1}
    assert (await _view(phone)).keys() == {"good"}


async def test_10_a_first_sync_ends_though_others_write_and_its_line_breaks(
    db: Pool, hub: Server, opened: Open
) -> None:
    for begin in range(0, 1500, 50):
        await pushed(hub.records, person("ann"), *(lead(f"l{n}") for n in range(begin, begin + 50)))
    stop = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            id = f"l{(number * 37 + writer) % 1500}"
            verb = "DELETE" if number % 5 == 0 else "UPDATE"
            data = {} if verb == "DELETE" else {"stage": f"{writer}-{number}"}
            version = await db.fetchval("SELECT version FROM records WHERE record_id = $1", id)
            await hub.push("ann", operation(verb, id, _base_version=version, **data), replica=f"w{writer}")

    async with linked(int(hub.url.rpartition(":")[2])) as line:
        phone = await opened("ann", url=line.url)
        writers = [asyncio.create_task(write(n)) for n in range(5)]
        broken = 0
        try:
            while broken < 12:
                under_way = asyncio.create_task(phone.sync())
                await until(partial(_begun, line, under_way))
                await line.cut()
                broken += (await under_way).error is not None
                line.mend()
        finally:
            stop.set()
            await asyncio.gather(*writers)
        await synced(phone)
    assert await _view(phone) == await hub.rows()


async def test_11_a_deletion_and_an_update_at_once_and_their_events_in_reverse(db: Pool, database_url: str) -> None:
    async with connect(database_url, size=4) as other:
        one, two = records_of(db), records_of(other)
        await pushed(one, person("ann"), *(lead(f"l{n}", phone="+972505550001") for n in range(20)))
        await asyncio.gather(
            *(
                pushed(one, person("ann"), operation("DELETE", f"l{n}", _base_version=1), replica=f"a{n}")
                for n in range(20)
            ),
            *(
                pushed(two, person("ann"), change(f"l{n}", 1, phone="+972505550002"), replica=f"b{n}")
                for n in range(20)
            ),
        )
    rows = await db.fetch("SELECT record_id, version, deleted, data ->> 'phone' AS phone FROM records")
    told = [orjson.loads(row[0]) for row in await db.fetch("SELECT data FROM outbox ORDER BY seq")]
    newest = {event["id"]: event for event in sorted(told, key=lambda event: event["version"])}
    assert {(row["record_id"], row["version"], row["deleted"]) for row in rows} == {
        (event["id"], event["version"], event["deleted"]) for event in newest.values()
    }, "what the last event says is what became of the row"
    assert Counter(event["id"] for event in told) == {row["record_id"]: row["version"] for row in rows}
    events = await db.fetch("SELECT id, type, source, subject, time, data FROM outbox ORDER BY seq DESC")
    await _told(db, [Event(**{**event, "data": event["data"].encode()}) for event in events])
    lines = {row[0]: row[1] for row in await db.fetch("SELECT record_id, line FROM record_people")}
    assert lines == {row["record_id"]: None if row["deleted"] else row["phone"] for row in rows}


async def test_12_many_devices_come_back_at_once_and_no_attempt_is_burned(db: Pool, tmp_path: Path) -> None:
    port, devices = free_port(), 60
    async with AsyncExitStack() as stack:
        clients = []
        for n in range(devices):
            token = (await made(db, user=f"u{n}"))["token"]
            client = RecordsClient(tmp_path / f"{n}.sqlite", f"http://127.0.0.1:{port}", token)
            clients.append(await stack.enter_async_context(client))
        for n, client in enumerate(clients):
            await client.create("Lead", f"l{n}", {"name": "Ada"})
        for done in await asyncio.gather(*(client.sync() for client in clients)):
            assert done.error is not None
        async with hub_on(db, port) as hub:
            for done in await asyncio.gather(*(client.sync() for client in clients)):
                assert done.error is None, done
            assert len(await hub.rows()) == devices
            assert await db.fetchval("SELECT count(*) FROM sync_ops") == devices
        for client in clients:
            assert await client.failed() == []
            assert await client.pending() == []


def _begun(line: Link, under_way: asyncio.Task[Any]) -> bool:
    return line.carries or under_way.done()


async def _view(client: RecordsClient) -> dict[str, Any]:
    """Record id -> its fields, as the file has them."""
    found: dict[str, Any] = {}
    while page := await client.list("Lead", after=max(found, default="")):
        found |= {one.id: dict(one) for one in page}
    return found


async def _told(db: Pool, events: list[Event]) -> None:
    """The worker record-sync handles *events*."""

    async def find(asked: people.Asked) -> people.Found | None:
        (found,) = await people.find(db, [asked])
        return found

    deps = RecordDeps(phones={"Lead": "phone"}, find=find, wake=lambda: None)
    for event in events:
        outcome = await record_sync.handle(event, deps, Turn(utc_now()))
        assert isinstance(outcome, Done)
        async with db.acquire() as conn, conn.transaction():
            await record_sync.record(conn, outcome.rows)
