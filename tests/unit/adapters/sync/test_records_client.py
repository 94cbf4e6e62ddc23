"""An app that is offline first: what it writes is seen at once, reaches the server once, and is never lost silently."""

from __future__ import annotations

import asyncio
import math
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adapters.records_client import BadOperation, ForeignFile, NoRecord, RecordExists, RecordsClient
from tests.support.daemons import environment
from tests.support.records_server import TOKEN, RecordsServer
from tests.support.until import until


async def data_of(client: RecordsClient, record_id: str, model: str = "Lead") -> dict[str, Any] | None:
    found = await client.get(model, record_id)
    return None if found is None else dict(found)


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


async def lost_answer(request: Any) -> Any:
    request.transport.close()
    raise asyncio.CancelledError


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


async def test_a_create_of_a_known_record_and_an_update_of_an_unknown_one_are_refused_at_once(
    client: RecordsClient,
) -> None:
    await client.create("Lead", "l1", {"name": "Ada"})
    with pytest.raises(RecordExists):
        await client.create("Lead", "l1", {"name": "Bo"})
    with pytest.raises(NoRecord):
        await client.update("Lead", "l2", {"name": "Bo"})
    assert not await client.delete("Lead", "l2")
    assert len(await client.pending()) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"note": "x" * 262_144}, "too-large"),
        ({"note": object()}, "type"),
        ({"f" * 3 + str(n): 1 for n in range(201)}, "too-large"),
        ({1: "x"}, "type"),
        ({"n": 2**70}, "type"),
        ({"n": [{"m": float("nan")}]}, "type"),
        ({"n": Decimal(1)}, "type"),
    ],
)
async def test_what_no_server_would_take_is_refused_at_once(
    client: RecordsClient, data: dict[Any, Any], reason: str
) -> None:
    with pytest.raises(BadOperation) as refused:
        await client.create("Lead", "l1", data)
    assert refused.value.reason == reason
    assert await data_of(client, "l1") is None
    assert await client.pending() == []


async def test_what_is_refused_leaves_the_view_is_kept_and_may_be_tried_again(
    client: RecordsClient, server: RecordsServer
) -> None:
    await client.create("Lead", "l1", {"fax": "1"})
    server.rejects = lambda one: {"reason": "field", "detail": "Lead has no field 'fax'"}
    done = await client.sync()
    assert done.failed == 1
    assert await data_of(client, "l1") is None
    (refused,) = await client.failed()
    assert (refused.reason, refused.detail, refused.data) == ("field", "Lead has no field 'fax'", {"fax": "1"})
    server.rejects = lambda one: None
    assert await client.retry_failed(refused.op_id) == 1
    assert await data_of(client, "l1") == {"fax": "1"}
    await client.sync()
    assert list(server.applied) == [str(refused.op_id)]
    assert (await client.status()).failed == 0


async def test_a_refused_operation_may_be_given_up(client: RecordsClient, server: RecordsServer) -> None:
    await client.create("Lead", "l1", {"fax": "1"})
    server.rejects = lambda one: {"reason": "field"}
    await client.sync()
    (refused,) = await client.failed()
    assert await client.dismiss(refused.op_id)
    assert await client.failed() == []
    assert await client.retry_failed() == 0


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


async def test_in_the_background_writes_go_out_at_once_and_news_come_at_once(
    client: RecordsClient, server: RecordsServer
) -> None:
    client.start()
    client.start()
    await until(lambda: server.waiting == 1, "a long poll")
    await client.create("Lead", "l1", {"name": "Ada"})
    await until(lambda: ("Lead", "l1") in server.state.rows, within_s=5)
    await until(lambda: server.waiting == 1, "a long poll")
    server.write("Lead", "l2", name="Bo")
    await until(lambda: client.get("Lead", "l2"), within_s=5)
    pulls = server.pulls
    await until(lambda: server.waiting == 1, "a long poll")
    assert server.pulls <= pulls + 2  # it does not run in circles
    done = await client.sync()
    assert done.error is None
    await until(lambda: server.waiting == 1, "the background goes on")
    await client.stop()
    await until(lambda: server.waiting == 0, "the end of the long poll")


async def test_the_background_comes_back_by_itself(client: RecordsClient, server: RecordsServer) -> None:
    server.always = lost_answer
    client.start()

    async def offline() -> bool:
        return (await client.status()).online is False

    await until(offline)
    await client.create("Lead", "l1", {"name": "Ada"})
    server.always = None
    await until(lambda: ("Lead", "l1") in server.state.rows, within_s=20)


async def test_a_token_that_is_not_good_stops_everything_and_another_one_goes_on(
    server: RecordsServer, tmp_path: Path
) -> None:
    async with RecordsClient(tmp_path / "x", server.url, "old") as client:
        await client.create("Lead", "l1", {"name": "Ada"})
        client.start()

        async def told() -> bool:
            return (await client.status()).last_error == "http-401"

        await until(told)
        assert server.pushes == []
        client.use_token(TOKEN)
        await until(lambda: ("Lead", "l1") in server.state.rows)


async def test_that_the_server_is_back_is_known_before_it_has_news(
    client: RecordsClient, server: RecordsServer
) -> None:
    server.token = "another"
    client.start()
    await until(lambda: _online(client, False), "refused")
    client.use_token("another")
    await until(lambda: server.waiting == 1, "its answer is held")
    assert await _online(client, True)


async def _online(client: RecordsClient, expected: bool) -> bool:
    return (await client.status()).online is expected


async def test_a_copied_file_takes_a_new_name_and_keeps_its_queue(server: RecordsServer, tmp_path: Path) -> None:
    async with RecordsClient(tmp_path / "one", server.url, TOKEN) as one:
        await one.create("Lead", "l1", {"name": "Ada"})
        await one.sync()
    shutil.copy(tmp_path / "one", tmp_path / "two")
    for number in range(3):
        for name in ("one", "two"):
            async with RecordsClient(tmp_path / name, server.url, TOKEN) as client:
                await client.create("Lead", f"{name}-{number}", {"n": number})
                assert (await client.sync()).error is None
    assert len(server.state.rows) == 7
    assert len(server.state.acks) == 2
    assert len({body["replica"] for body in server.bodies[-2:]}) == 2


async def test_a_file_from_last_week_sends_nothing_twice_and_learns_what_it_wrote_since(
    server: RecordsServer, tmp_path: Path
) -> None:
    path = tmp_path / "phone"
    async with RecordsClient(path, server.url, TOKEN) as phone:
        await phone.create("Lead", "l1", {"name": "Ada", "n": 0})
        await phone.sync()
        await phone.update("Lead", "l1", {"n": 1})
    shutil.copy(path, tmp_path / "backup")
    async with RecordsClient(path, server.url, TOKEN) as phone:
        await phone.sync()
        await phone.update("Lead", "l1", {"n": 2})
        await phone.sync()
        await phone.create("Lead", "l2", {"name": "Bo"})
        await phone.sync()
    async with RecordsClient(tmp_path / "backup", server.url, TOKEN) as phone:
        done = await phone.sync()
        assert (done.error, done.synced) == (None, 1)
        assert await data_of(phone, "l1") == {"name": "Ada", "n": 2}
        assert await data_of(phone, "l2") == {"name": "Bo"}
        await phone.update("Lead", "l1", {"n": 3})
        await phone.sync()
    assert server.row("Lead", "l1").data["n"] == 3
    assert set(server.applied.values()) == {1}


async def test_a_clock_that_was_ahead_is_set_right_and_the_operations_keep_their_order(
    server: RecordsServer, tmp_path: Path
) -> None:
    ahead = [timedelta(days=365)]
    server.rejects = lambda one: (
        {"reason": "clock-ahead", "retry": True}
        if datetime.fromisoformat(one["changed_at"]) > datetime.now(UTC) + timedelta(hours=25)
        else None
    )
    async with RecordsClient(tmp_path / "x", server.url, TOKEN, now=lambda: datetime.now(UTC) + ahead[0]) as client:
        await client.create("Lead", "l1", {"n": 0})
        await client.update("Lead", "l1", {"n": 1})
        await client.create("Lead", "l2", {"n": 0})
        ahead[0] = timedelta()
        done = await client.sync()
        assert (done.error, done.synced) == (None, 3)
        stamps = [(one["changed_at"], one.get("tick", 0)) for one in server.pushes[-1]]
        assert stamps == sorted(set(stamps))
        await client.update("Lead", "l1", {"n": 2})
        (waiting,) = await client.pending()
        assert waiting.changed_at < datetime.now(UTC) + timedelta(minutes=1)


async def test_the_clock_of_operations_never_goes_back(server: RecordsServer, tmp_path: Path) -> None:
    now = datetime(2026, 11, 27, 10, tzinfo=UTC)
    times = iter([now, now, now - timedelta(hours=2), now + timedelta(seconds=1)])
    moment = [now]
    async with RecordsClient(tmp_path / "x", server.url, TOKEN, now=lambda: moment[0]) as client:
        for number in range(4):
            moment[0] = next(times)
            await client.create("Lead", f"l{number}", {})
        await client.sync()
    stamps = [(one["changed_at"], one.get("tick", 0)) for one in server.pushes[0]]
    assert stamps == sorted(set(stamps))


async def test_a_file_of_another_program_is_left_alone(server: RecordsServer, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    with pytest.raises(ForeignFile):
        async with RecordsClient(tmp_path / "other", server.url, TOKEN):
            pass
    (tmp_path / "text").write_text("no database at all, " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        async with RecordsClient(tmp_path / "text", server.url, TOKEN):
            pass


async def test_the_file_is_for_its_owner_alone(client: RecordsClient, tmp_path: Path) -> None:
    await client.create("Lead", "l1", {"name": "Ada"})
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        RecordsClient(tmp_path / "x", url, TOKEN)


async def test_two_programs_share_a_file(server: RecordsServer, tmp_path: Path) -> None:
    path = tmp_path / "shared"
    async with RecordsClient(path, server.url, TOKEN) as one, RecordsClient(path, server.url, TOKEN) as two:
        await asyncio.gather(*(one.create("Lead", f"a{n}", {"n": n}) for n in range(40)))
        await asyncio.gather(*(two.create("Lead", f"b{n}", {"n": n}) for n in range(40)))
        done = await asyncio.gather(one.sync(), two.sync())
        assert [round_.error for round_ in done] == [None, None]
        assert len(await one.list("Lead")) == len(await two.list("Lead")) == 80
    assert set(server.applied.values()) == {1}


async def test_a_write_that_its_caller_gave_up_is_done_or_not_but_never_in_part(client: RecordsClient) -> None:
    for number in range(50):
        task = asyncio.create_task(client.create("Lead", f"l{number}", {"n": number}))
        await asyncio.sleep(0)
        task.cancel()
    records = {one.id for one in await client.list("Lead")}
    assert records == {one.record_id for one in await client.pending()}


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


async def test_a_client_that_is_closed_says_so_and_does_not_hang(server: RecordsServer, tmp_path: Path) -> None:
    async with RecordsClient(tmp_path / "x", server.url, TOKEN) as client:
        client.start()
        await client.create("Lead", "l1", {"n": 1})
    with pytest.raises(sqlite3.Error):
        await client.get("Lead", "l1")
    with pytest.raises(sqlite3.Error):
        await client.sync()


def test_an_app_needs_nothing_of_the_daemon_nor_of_its_stores() -> None:
    program = "import sys, adapters.records_client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded & {"daemon", "asyncpg", "redis", "pydantic", "typer", "structlog"} == set()
    assert "adapters.postgres" not in done.stdout.split()
