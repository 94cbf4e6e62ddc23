"""The copy is built anew where it is of no use any more: the queue stays, nothing comes back from the dead, and what a
restored server has lost is sent again or named."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

from aiohttp import web

from adapters.records_client import Lost, RecordsClient
from adapters.sync.exchange import Expired
from tests.support.records_server import TOKEN, RecordsServer


async def view(client: RecordsClient) -> dict[str, dict[str, Any]]:
    return {one.id: dict(one) for one in await client.list("Lead")}


async def test_after_a_month_nothing_that_was_deleted_comes_back(client: RecordsClient, server: RecordsServer) -> None:
    for name in ("edited", "deleted", "kept", "gone"):
        server.write("Lead", name, n=0)
    await client.sync()
    await client.update("Lead", "edited", {"n": 1})
    await client.delete("Lead", "deleted")
    await client.create("Lead", "new", {"n": 2})
    await client.update("Lead", "kept", {"n": 3})
    for name in ("edited", "deleted", "gone"):
        server.delete("Lead", name)
    server.compact()
    done = await client.sync()
    assert (done.error, done.rebuilt) == (None, True)
    assert await view(client) == {"new": {"n": 2}, "kept": {"n": 3}}
    assert {name: row.data for (_, name), row in server.state.rows.items()} == await view(client)
    (met,) = await client.conflicts()
    assert (met.record_id, met.decision, met.data) == ("edited", "gone", {"n": 1})
    assert await client.lost() == []


async def test_what_is_seen_stays_until_the_new_copy_is_whole(client: RecordsClient, server: RecordsServer) -> None:
    for number in range(5):
        server.write("Lead", f"l{number}", n=number)
    await client.sync()
    server.delete("Lead", "l0")
    server.compact()
    server.page = 2
    await client.create("Lead", "mine", {"n": 9})

    async def hung_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        raise asyncio.CancelledError

    server.next_answers = [server.push, server.pull, server.pull, hung_up]
    assert (await client.sync()).error is not None
    assert await view(client) == {f"l{n}": {"n": n} for n in range(5)} | {"mine": {"n": 9}}
    pulls = server.pulls
    done = await client.sync()
    assert (done.error, done.rebuilt) == (None, True)
    assert server.pulls - pulls <= 4  # it goes on where it was
    assert await view(client) == {f"l{n}": {"n": n} for n in range(1, 5)} | {"mine": {"n": 9}}


async def test_a_server_that_asks_for_it_again_and_again_is_believed_once_in_a_round(
    client: RecordsClient, server: RecordsServer
) -> None:
    server.write("Lead", "l1", n=0)
    await client.sync()

    async def expired(request: web.Request) -> web.StreamResponse:
        document = {"type": "cursor-expired", "status": 410, "reason": "scope"}
        return web.json_response(document, status=410)

    server.always = expired
    await client.create("Lead", "mine", {"n": 1})
    done = await client.sync()
    assert isinstance(done.error, Expired)
    assert await view(client) == {"l1": {"n": 0}, "mine": {"n": 1}}
    server.always = None
    assert (await client.sync()).error is None
    assert server.row("Lead", "mine").data == {"n": 1}


async def test_a_server_restored_from_before_gets_back_what_this_replica_had_written(
    client: RecordsClient, server: RecordsServer
) -> None:
    server.write("Lead", "l1", a=0, b=0)
    await client.sync()
    await client.update("Lead", "l1", {"a": 1})
    await client.sync()
    backup = copy.deepcopy(server.state)
    await client.update("Lead", "l1", {"a": 2})
    await client.create("Lead", "l2", {"a": 1})
    await client.sync()
    await client.update("Lead", "l2", {"a": 3})
    server.state = backup
    server.epoch += 1
    done = await client.sync()
    assert (done.error, done.failed, done.rebuilt) == (None, 0, True)
    assert await view(client) == {"l1": {"a": 2, "b": 0}, "l2": {"a": 3}}
    assert {name: row.data for (_, name), row in server.state.rows.items()} == await view(client)
    assert await client.lost() == []
    assert server.state.ledger.keys() == server.applied.keys()


async def test_what_was_written_into_a_restored_server_meanwhile_is_not_overwritten(
    client: RecordsClient, server: RecordsServer
) -> None:
    server.write("Lead", "l1", a=0)
    await client.sync()
    backup = copy.deepcopy(server.state)
    await client.update("Lead", "l1", {"a": 1})
    await client.sync()
    server.state = backup
    server.epoch += 1
    server.write("Lead", "l1", a=5)
    server.write("Lead", "l1", b=6)
    await client.sync()
    assert await view(client) == {"l1": {"a": 5, "b": 6}}
    (met,) = await client.conflicts()
    assert (met.decision, met.data) == ("ours", {"a": 1})


async def test_what_only_others_can_bring_back_is_named(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", a=0)
    backup = copy.deepcopy(server.state)
    server.write("Lead", "l1", a=1)
    server.write("Lead", "l2", a=2)
    await client.sync()
    await client.update("Lead", "l1", {"b": 3})
    await client.sync()
    server.state = backup
    server.epoch += 1
    await client.sync()
    assert await view(client) == {"l1": {"a": 0, "b": 3}}
    assert await client.lost() == [
        Lost(model="Lead", record_id="l1", version=3, server_version=1, data={"a": 1, "b": 3}),
        Lost(model="Lead", record_id="l2", version=1, server_version=0, data={"a": 2}),
    ]
    assert (await client.status()).lost == 2


async def test_another_server_gets_the_queue_and_gives_its_own_rows(
    server: RecordsServer, tmp_path: Path, client: RecordsClient
) -> None:
    server.write("Lead", "l1", a=0)
    await client.sync()
    await client.create("Lead", "mine", {"a": 1})
    server.state.rows.clear()
    server.state.acks.clear()
    server.feed = "another"
    server.write("Lead", "l9", a=9)
    assert (await client.sync()).error is None
    assert await view(client) == {"mine": {"a": 1}, "l9": {"a": 9}}


async def test_what_was_acknowledged_while_the_copy_is_built_stays_seen(
    client: RecordsClient, server: RecordsServer
) -> None:
    for number in range(4):
        server.write("Lead", f"l{number}", n=0)
    await client.sync()
    server.delete("Lead", "l3")
    server.compact()
    server.page = 1
    seen: list[dict[str, Any]] = []

    async def looked(request: web.Request) -> web.StreamResponse:
        seen.append((await view(client)).get("l1", {}))
        return await server.pull(request)

    await client.update("Lead", "l1", {"n": 1})
    server.next_answers = [server.push, looked, looked, looked, looked]
    assert (await client.sync()).error is None
    assert seen == [{"n": 1}] * len(seen)
    assert len(seen) == 4
    assert (await view(client))["l1"] == {"n": 1}


async def test_a_first_copy_goes_on_where_it_was_cut_off(server: RecordsServer, tmp_path: Path) -> None:
    for number in range(50):
        server.write("Lead", f"l{number:02}", n=number)
    server.page = 7
    path = tmp_path / "x"
    for _ in range(20):

        async def gone(request: web.Request) -> web.StreamResponse:
            return web.Response(status=502)

        async with RecordsClient(path, server.url, TOKEN) as client:
            server.next_answers = [server.pull, gone]
            await client.sync()
            server.next_answers = []
            if len(await view(client)) == 50:
                break
    async with RecordsClient(path, server.url, TOKEN) as client:
        assert (await client.sync()).error is None
        assert len(await view(client)) == 50
    assert server.pulls <= 10
