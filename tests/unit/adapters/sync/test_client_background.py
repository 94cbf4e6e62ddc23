"""A client that exchanges in the background, and one whose clock is wrong or that is closed."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.records_client import RecordsClient
from tests.support.records_server import TOKEN, RecordsServer, lost_answer
from tests.support.until import until


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


async def test_a_client_that_is_closed_says_so_and_does_not_hang(server: RecordsServer, tmp_path: Path) -> None:
    async with RecordsClient(tmp_path / "x", server.url, TOKEN) as client:
        client.start()
        await client.create("Lead", "l1", {"n": 1})
    with pytest.raises(sqlite3.Error):
        await client.get("Lead", "l1")
    with pytest.raises(sqlite3.Error):
        await client.sync()
