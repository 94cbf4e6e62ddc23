"""The last three of the twelve: many write, delete or come back at once. `test_twelve.py` has the table."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from adapters.postgres.pool import Pool, connect
from adapters.postgres.records import people
from adapters.records_client import RecordsClient
from daemon.bus.outcome import Done, Turn
from daemon.bus.worker import utc_now
from daemon.demo.offline_link import Link, linked
from daemon.records import record_sync
from daemon.records.record_sync import RecordDeps
from schemas.envelope import Event
from tests.support.daemons import free_port
from tests.support.offices import Server, change, hub_on, lead
from tests.support.record_clients import Open, synced, view
from tests.support.records import operation, person, pushed, records_of
from tests.support.tokens import made
from tests.support.until import until


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
    assert await view(phone) == await hub.rows()


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
