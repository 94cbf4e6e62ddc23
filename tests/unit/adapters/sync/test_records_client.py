"""An app that is offline first: what it writes is seen at once, reaches the server once, and is never lost silently."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adapters.records_client import RecordsClient
from tests.support.daemons import environment
from tests.support.records_server import TOKEN, RecordsServer, lost_answer
from tests.unit.adapters.sync.conftest import data_of


async def test_what_is_written_offline_is_seen_at_once_and_reaches_the_server(
    client: RecordsClient, server: RecordsServer
) -> None:
    await client.create("Lead", "l1", {"name": "Ada", "stage": "new"})
    await client.update("Lead", "l1", {"stage": "won"})
    await client.create("Lead", "l2", {"name": "Bo"})
    assert await client.delete("Lead", "l2")
    assert await data_of(client, "l1") == {"name": "Ada", "stage": "won"}
    assert await data_of(client, "l2") is None
    assert (await client.status()).pending == 4
    done = await client.sync()
    assert (done.error, done.synced) == (None, 4)
    assert server.row("Lead", "l1").data == {"name": "Ada", "stage": "won"}
    assert server.row("Lead", "l2").deleted
    found = await client.get("Lead", "l1")
    assert found is not None
    assert (dict(found), found.version, found.pending) == ({"name": "Ada", "stage": "won"}, 2, False)
    status = await client.status()
    assert (status.pending, status.synced_today, status.online) == (0, 4, True)


async def test_what_others_write_comes_with_the_next_round(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", name="Ada")
    server.write("Lead", "l2", name="Bo")
    await client.sync()
    server.write("Lead", "l1", name="Eve")
    server.delete("Lead", "l2")
    done = await client.sync()
    assert done.pulled == 2
    assert await data_of(client, "l1") == {"name": "Eve"}
    assert await data_of(client, "l2") is None


async def test_a_record_that_was_taken_away_is_seen_no_more(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", name="Ada")
    await client.sync()
    await client.update("Lead", "l1", {"name": "Eve"})
    server.take_away("Lead", "l1")
    server.rejects = lambda one: {"reason": "owner", "detail": "another's"}
    await client.sync()
    assert await data_of(client, "l1") is None
    (refused,) = await client.failed()
    assert (refused.reason, refused.data) == ("owner", {"name": "Eve"})


async def test_fields_that_do_not_change_are_not_sent(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", name="Ada", stage="new", count=1)
    await client.sync()
    await client.update("Lead", "l1", {"name": "Ada", "stage": "won", "count": True})
    (waiting,) = await client.pending()
    assert waiting.data == {"stage": "won", "count": True}
    await client.update("Lead", "l1", {"name": "Ada"})
    assert len(await client.pending()) == 1


async def test_an_operation_tells_what_its_author_saw(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", name="Ada", stage="new")
    await client.sync()
    await client.update("Lead", "l1", {"stage": "won"})
    await client.update("Lead", "l1", {"stage": "lost"})
    await client.sync()
    first, second = server.pushes[-1]
    assert (first["base"], first["base_version"]) == ({"stage": "new"}, 1)
    assert (second["base"], second["base_version"]) == ({"stage": "won"}, 1)
    assert UUID(first["op_id"]).version == 7
    assert (first["changed_at"], first.get("tick", 0)) <= (second["changed_at"], second.get("tick", 0))


async def test_a_value_that_lost_is_shown_until_it_is_dismissed(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", name="Ada", stage="new")
    await client.sync()
    await client.update("Lead", "l1", {"name": "Eve"})
    server.write("Lead", "l1", name="Bo")
    await client.sync()
    assert await data_of(client, "l1") == {"name": "Bo", "stage": "new"}
    (met,) = await client.conflicts()
    assert (met.decision, met.data, met.conflict_id) == ("ours", {"name": "Eve"}, 7)
    assert (await client.status()).conflicts == 0
    assert await client.dismiss(met.op_id)
    assert list(await client.conflicts()) == []
    assert not await client.dismiss(met.op_id)


async def test_an_edit_of_a_record_that_is_gone_is_kept(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", name="Ada")
    await client.sync()
    await client.update("Lead", "l1", {"name": "Eve"})
    del server.state.rows["Lead", "l1"]
    await client.sync()
    (met,) = await client.conflicts()
    assert (met.decision, met.data) == ("gone", {"name": "Eve"})


async def test_an_own_acknowledged_write_does_not_leave_the_view_before_it_comes_back(
    client: RecordsClient, server: RecordsServer
) -> None:
    server.write("Lead", "l1", name="Ada")
    await client.sync()
    await client.update("Lead", "l1", {"name": "Eve"})
    server.next_answers = [server.push, lost_answer]
    assert (await client.sync()).error is not None
    assert await client.pending() == []
    found = await client.get("Lead", "l1")
    assert found is not None
    assert (dict(found), found.version, found.pending) == ({"name": "Eve"}, 1, True)
    await client.sync()
    found = await client.get("Lead", "l1")
    assert found is not None
    assert (dict(found), found.version, found.pending) == ({"name": "Eve"}, 2, False)


async def test_a_lost_answer_is_asked_for_again_and_nothing_is_applied_twice(
    client: RecordsClient, server: RecordsServer
) -> None:
    async def applied_and_lost(request: Any) -> Any:
        await server.push(request)
        return await lost_answer(request)

    for number in range(30):
        await client.create("Lead", f"l{number}", {"n": number})
        server.next_answers = [applied_and_lost, lost_answer]
        assert (await client.sync()).error is not None
    assert (await client.sync()).synced == 30
    assert set(server.applied.values()) == {1}
    assert {one.version for one in server.state.rows.values()} == {1}
    assert len(server.state.rows) == 30


async def test_a_list_has_filters_and_pages(client: RecordsClient, server: RecordsServer) -> None:
    for number in range(5):
        server.write("Lead", f"l{number}", stage="won" if number % 2 else "new", n=number, ok=number == 3)
    server.write("Payment", "p", stage="won")
    await client.sync()
    await client.update("Lead", "l0", {"stage": "won"})
    await client.delete("Lead", "l1")
    await client.create("Lead", "l9", {"stage": "won", "n": None})
    assert [one.id for one in await client.list("Lead", {"stage": "won"})] == ["l0", "l3", "l9"]
    assert [one.id for one in await client.list("Lead", {"n": 3})] == ["l3"]
    assert [one.id for one in await client.list("Lead", {"ok": True})] == ["l3"]
    assert [one.id for one in await client.list("Lead", {"n": None})] == ["l9"]
    assert [one.id for one in await client.list("Lead", limit=2)] == ["l0", "l2"]
    assert [one.id for one in await client.list("Lead", limit=2, after="l2")] == ["l3", "l4"]
    assert [dict(one) for one in await client.list("Payment")] == [{"stage": "won"}]
    with pytest.raises(ValueError):
        await client.list("Lead", {"x') OR 1=1 --": 1})
    with pytest.raises(ValueError):
        await client.list("Lead", {"tags": ["a"]})


async def test_only_the_models_that_are_asked_for_are_copied(server: RecordsServer, tmp_path: Path) -> None:
    asked: list[str] = []

    async def looked(request: Any) -> Any:
        asked.append(request.query["models"])
        return await server.pull(request)

    async with RecordsClient(tmp_path / "x", server.url, TOKEN, models=("Lead", "Payment")) as client:
        server.next_answers = [looked]
        await client.sync()
    assert asked == ["Lead,Payment"]


async def test_numbers_and_texts_come_back_as_they_were_written(client: RecordsClient, server: RecordsServer) -> None:
    data = {"a": 1, "b": 1.5, "c": "100.10", "d": None, "e": ["x"], "f": {"g": True}, "h": math.pi, "i": "שלום"}
    await client.create("Lead", "l1", data)
    assert await data_of(client, "l1") == data
    await client.sync()
    assert server.row("Lead", "l1").data == data
    assert await data_of(client, "l1") == data


async def test_a_value_that_an_own_one_hides_was_not_seen(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l1", name="Ada", stage="new")
    await client.sync()
    await client.update("Lead", "l1", {"name": "Eve"})
    server.write("Lead", "l1", name="Bo")

    async def away(request: Any) -> Any:
        return await lost_answer(request)

    server.next_answers = [away, away]
    await client.sync()  # pulls Bo; Eve waits on top of it
    await client.update("Lead", "l1", {"name": "Eva"})
    await client.update("Lead", "l1", {"stage": "won"})
    assert await data_of(client, "l1") == {"name": "Eva", "stage": "won"}
    await client.sync()
    assert [one["base_version"] for one in server.pushes[-1]] == [1, 1, 2]
    assert server.row("Lead", "l1").data == {"name": "Bo", "stage": "won"}
    assert [one.data for one in await client.conflicts()] == [{"name": "Eve"}, {"name": "Eva"}]


async def test_nothing_is_kept_of_a_record_that_was_erased(
    client: RecordsClient, server: RecordsServer, tmp_path: Path
) -> None:
    await client.create("Lead", "l1", {"name": "Ada"})
    await client.sync()
    await client.update("Lead", "l1", {"name": "Adaline"})
    cursor = server.cursor()

    async def erased(request: Any) -> Any:
        change = {"op": "delete", "model": "Lead", "id": "l1", "version": 9, "erased": True}
        return server.page_of([change], cursor)

    server.rejects = lambda one: {"reason": "erased"}
    server.next_answers = [server.push, erased]
    await client.sync()
    assert await data_of(client, "l1") is None
    assert [await client.pending(), await client.failed(), await client.conflicts()] == [[], [], []]
    rows = sqlite3.connect(tmp_path / "phone.sqlite").execute(
        "SELECT data FROM operations UNION ALL SELECT data FROM overlay UNION ALL SELECT data FROM base"
    )
    assert rows.fetchall() == [(None,)]


def test_an_app_needs_nothing_of_the_daemon_nor_of_its_stores() -> None:
    program = "import sys, adapters.records_client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded & {"daemon", "asyncpg", "redis", "pydantic", "typer", "structlog"} == set()
    assert "adapters.postgres" not in done.stdout.split()
