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
| 10 | a first sync while others write; the line breaks at every page | `test_twelve_crowds.py`; `test_pulling.py` |
| 11 | a deletion and an update at once; events in reverse | `test_twelve_crowds.py` |
| 12 | a captive portal; many come back at once | `tests/unit/adapters/sync/test_exchange.py`; `test_twelve_crowds.py` |
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.postgres.pool import Pool
from adapters.records_client import BadOperation, RecordsClient
from daemon.bus.worker import utc_now
from daemon.demo.offline_link import linked
from daemon.records import upkeep
from daemon.records.pulling.cursor import read_cursor
from daemon.records.pulling.pulls import PullIn
from daemon.settings.model import Settings
from schemas.principals import Principal
from tests.support.offices import Server, change, edge_of, hub_on, lead
from tests.support.record_clients import Open, conflicts, synced, view
from tests.support.records import ADMIN, person, pushed
from tests.support.tokens import made
from tests.support.until import until


async def test_3_two_queued_edits_with_a_foreign_one_between(db: Pool, hub: Server, opened: Open) -> None:
    phone = await opened("ann")
    await phone.create("Lead", "l1", {"name": "Ada", "city": "Acre", "stage": "new"})
    await synced(phone)
    await phone.update("Lead", "l1", {"city": "Haifa"})
    await hub.push("ann", change("l1", 1, stage="won"), replica="laptop")
    await phone.update("Lead", "l1", {"stage": "lost"})
    await phone.update("Lead", "l1", {"stage": "open"})
    await synced(phone)
    assert (await hub.rows())["l1"] == (await view(phone))["l1"]
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
    assert (await view(first)) == (await view(second)) == await hub.rows()
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
    assert await view(phone) == await hub.rows()
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
    assert (await hub.rows()).keys() == (await view(phone)).keys() == (await view(laptop)).keys() == {"l3", "l4"}
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
    assert (await view(phone)).keys() == {"l1", "l3"}
    (failed,) = await phone.failed()
    assert (failed.record_id, failed.reason, failed.data) == ("l2", "owner", {"stage": "won"}), "kept, and shown"
    bob = await opened("bob")
    await synced(bob)
    assert (await view(bob))["l2"]["name"] == "secret-l2"
    (back,) = await pushed(hub.records, ADMIN, change("l2", 2, owner_id="ann"))
    assert back["result"] == "applied"
    await synced(phone, bob)
    assert (set(await view(phone)), set(await view(bob))) == ({"l1", "l2", "l3"}, set())


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
    assert (await view(phone)).keys() == {"good"}
