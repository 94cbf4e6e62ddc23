"""What the server cannot take leaves the way: nobody waits behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.records_client import RecordsClient
from adapters.sync import sending, verdicts
from tests.support.records_server import TOKEN, RecordsServer


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_BETWEEN_TRIES_S", 0.001)


def is_poison(one: dict[str, Any]) -> bool:
    return bool(one["data"].get("poison"))


async def test_fifty_one_poisoned_operations_do_not_keep_the_next_one_from_the_first_round(
    client: RecordsClient, server: RecordsServer
) -> None:
    for number in range(51):
        await client.create("Lead", f"l{number}", {"poison": True})
    await client.create("Lead", "good", {"name": "Ada"})
    server.fails = is_poison
    done = await client.sync()
    assert ("Lead", "good") in server.state.rows
    assert (done.synced, done.again, done.failed, done.error) == (1, 51, 0, None)
    assert {one.retries for one in await client.pending()} == {1}


async def test_one_operation_at_which_the_server_fails_costs_the_others_little(
    client: RecordsClient, server: RecordsServer
) -> None:
    for number in range(200):
        await client.create("Lead", f"l{number}", {"poison": number == 77})
    server.fails = is_poison
    done = await client.sync()
    assert (done.synced, done.again) == (199, 1)
    assert len(server.pushes) < 40


async def test_it_fails_for_good_after_three_attempts_and_may_be_retried(
    server: RecordsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "STAYS_S", 0.0)
    monkeypatch.setattr(verdicts, "pause", lambda failures: 0.0)
    async with RecordsClient(tmp_path / "x", server.url, TOKEN) as client:
        await client.create("Lead", "bad", {"poison": True})
        server.fails = is_poison
        done = await client.sync()
        assert (done.again, done.failed) == (0, 1)  # without a pause each attempt is in the same round
        (refused,) = await client.failed()
        assert (refused.reason, refused.retries) == ("internal", 3)
        server.fails = lambda one: False
        assert await client.retry_failed() == 1
        assert (await client.sync()).synced == 1


async def test_an_outage_costs_no_attempt_however_long_it_is(client: RecordsClient, server: RecordsServer) -> None:
    await client.create("Lead", "l1", {"poison": False})
    server.fails = lambda one: True

    async def down(request: Any) -> Any:
        server.always = server_down
        return await server.push(request)

    async def server_down(request: Any) -> Any:
        from aiohttp import web

        return web.Response(status=502)

    for _ in range(5):
        server.always, server.next_answers = None, [down]
        assert (await client.sync()).error is not None
    (waiting,) = await client.pending()
    assert waiting.retries == 0


async def test_what_is_too_large_for_the_server_is_sent_in_parts_and_alone_refused(
    client: RecordsClient, server: RecordsServer
) -> None:
    for number in range(30):
        await client.create("Lead", f"l{number}", {"note": "x" * 1000})
    await client.create("Lead", "big", {"note": "x" * 20_000})
    await client.create("Lead", "last", {})
    server.most_bytes = 10_000
    done = await client.sync()
    assert (done.synced, done.failed) == (31, 1)
    (refused,) = await client.failed()
    assert (refused.record_id, refused.reason) == ("big", "too-large")


async def test_no_push_is_larger_than_a_server_takes(client: RecordsClient, server: RecordsServer) -> None:
    for number in range(20):
        await client.create("Lead", f"l{number}", {"note": "x" * 250_000})
    assert (await client.sync()).synced == 20
    assert len(server.pushes) == 2


async def test_what_the_server_cannot_read_is_found_and_refused(client: RecordsClient, server: RecordsServer) -> None:
    for number in range(60):
        await client.create("Lead", f"l{number}", {"poison": number in (3, 55)})
    server.garbles = is_poison
    done = await client.sync()
    assert (done.synced, done.failed) == (58, 2)
    assert [one.reason for one in await client.failed()] == ["malformed", "malformed"]


async def test_later_operations_of_a_record_wait_for_the_one_that_is_delayed_and_others_do_not(
    client: RecordsClient, server: RecordsServer
) -> None:
    await client.create("Lead", "l1", {"n": 0})
    await client.sync()
    await client.update("Lead", "l1", {"poison": True})
    await client.update("Lead", "l1", {"n": 2})
    await client.create("Lead", "l2", {"n": 3})
    server.fails = is_poison
    await client.sync()
    assert ("Lead", "l2") in server.state.rows
    assert server.row("Lead", "l1").data == {"n": 0}
    assert [one.retries for one in await client.pending()] == [1, 0]
    assert dict((await client.get("Lead", "l1")) or {}) == {"n": 2, "poison": True}


async def test_what_waited_behind_a_refused_operation_goes_in_the_same_round(
    client: RecordsClient, server: RecordsServer
) -> None:
    await client.create("Lead", "l1", {"n": 0})
    await client.sync()
    await client.update("Lead", "l1", {"bad": True})
    await client.update("Lead", "l1", {"n": 2})
    state = {"behind": True}

    def rejects(one: dict[str, Any]) -> dict[str, Any] | None:
        if "bad" in one["data"]:
            return {"reason": "field"}
        if state.pop("behind", False):
            return {"reason": "predecessor", "retry": True}
        return None

    server.rejects = rejects
    done = await client.sync()
    assert (done.failed, done.synced, done.again) == (1, 1, 0)
    assert dict((await client.get("Lead", "l1")) or {}) == {"n": 2}


async def test_a_server_that_says_for_ever_to_wait_for_another_is_not_asked_in_circles(
    client: RecordsClient, server: RecordsServer
) -> None:
    await client.create("Lead", "l1", {"n": 0})
    server.rejects = lambda one: {"reason": "predecessor", "retry": True}
    await client.sync()
    assert len(server.pushes) == 2
    (waiting,) = await client.pending()
    assert waiting.retries == 0
