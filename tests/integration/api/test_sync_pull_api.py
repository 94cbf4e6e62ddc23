"""`/api/v1/sync/pull` over HTTP: what it takes and gives, who sees what, and how it says no."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from adapters.postgres.records import marks
from daemon.api.sync_pull import OLD_PATH, PATH
from daemon.records.pulling import rates
from daemon.records.upkeep import compact
from daemon.settings.model import Settings
from schemas.api.sync_pull import SyncPulled
from tests.integration.api.conftest import TOKENS, Served
from tests.support.answers import check_fields
from tests.support.listening import Answer, check_problem
from tests.support.record_feed import Row, put
from tests.support.until import until


async def pull(served: Served, query: str = "", path: str = PATH, status: int = 200, **more: Any) -> Any:
    answer = await served.ask("GET", f"{path}?{query}", **more)
    if status != 200:
        plain = {name: value for name, value in answer.json.items() if name != "reason"}
        check_problem(Answer(answer.status, answer.headers, orjson.dumps(plain)), status)
        return answer.json | {"headers": answer.headers}
    assert answer.status == 200, answer.body
    check_fields(SyncPulled, answer.json)
    return answer.json


def since(page: Any, query: str = "") -> str:
    return f"since={quote(page['cursor'])}&{query}".rstrip("&")


async def test_a_replica_pulls_page_by_page_by_either_path_and_either_method(served: Served) -> None:
    await put(served.rig.db, *(Row(f"lead_{n}", 1, "alice", None, {"name": f"n{n}"}) for n in range(5)))
    page, found = await pull(served, "limit=2"), []
    while True:
        found += page["changes"]
        if not page["more"]:
            break
        path = (PATH, OLD_PATH)[len(found) % 2]
        body = orjson.dumps({"since": page["cursor"], "limit": 2, "stamps": False})
        page = (await served.ask("POST", path, body)).json
    assert [one["id"] for one in found] == [f"lead_{n}" for n in range(5)]
    assert found[0]["data"] == {"name": "n0"}
    assert (await pull(served, since(page), OLD_PATH))["changes"] == []
    assert (await pull(served, since(page), who="reader"))["changes"] == [], "a token that reads may pull"


async def test_stamps_are_given_where_they_are_asked_for(served: Served) -> None:
    await put(served.rig.db, Row("a", 1, "alice", None, {"name": "n"}))
    assert "stamps" not in (await pull(served))["changes"][0]
    for asked in ("1", "true"):
        assert (await pull(served, f"stamps={asked}"))["changes"][0]["stamps"] == {"name": [1, 0, "r"]}


async def test_models_are_named_with_commas_and_an_unknown_one_is_a_clear_problem(served: Served) -> None:
    await put(served.rig.db, Row("a", 1, "alice"), Row("p", 1, "alice", model="Payment"), Row("r", 1, model="Reminder"))
    page = await pull(served, "models=Lead,%20Payment")
    assert [one["model"] for one in page["changes"]] == ["Lead", "Payment"]
    problem = await pull(served, "models=Lead,Canary9b2e", status=422)
    assert (problem["type"], "Canary" in problem["detail"], "Lead" in problem["detail"]) == ("model", False, True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=-1",
        "wait=-1",
        "wait=nan",
        "wait=x",
        "stamps=perhaps",
        "limit=1&limit=2",
        "owner=bob",
    ],
)
async def test_a_query_that_makes_no_sense_is_a_clear_problem(served: Served, query: str) -> None:
    assert (await pull(served, query, status=400))["detail"]


async def test_a_page_and_a_wait_that_are_asked_for_too_large_are_as_large_as_they_may_be(served: Served) -> None:
    await put(served.rig.db, *(Row(f"a{n}", 1) for n in range(1100)))
    page = await pull(served, "limit=5000&wait=86400")
    assert (len(page["changes"]), page["more"]) == (1000, True)


@pytest.mark.parametrize("text", ["x", "AAAA", "%00", "eyJ2IjoxfQ", "9" * 3000])
async def test_a_cursor_that_is_none_is_malformed(served: Served, text: str) -> None:
    problem = await pull(served, f"since={text}", status=400)
    assert problem["type"] == "malformed"


async def test_a_cursor_that_was_tampered_with_is_malformed(served: Served) -> None:
    text = (await pull(served))["cursor"]
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    told = bytes(raw).replace(b'"seq":0', b'"seq":7')
    assert told != bytes(raw)
    changed = base64.urlsafe_b64encode(told).decode().rstrip("=")
    assert (await pull(served, f"since={changed}", status=400))["type"] == "malformed"


async def test_a_cursor_that_has_expired_says_why(served: Served) -> None:
    db = served.rig.db
    await put(db, Row("a", 1, "alice"), Row("b", 1, "alice"))
    page = await pull(served)

    async def why(query: str) -> tuple[str, str]:
        problem = await pull(served, query, status=410)
        return problem["type"], problem["reason"]

    assert await why(since(page, "models=Lead")) == ("cursor-expired", "scope")
    await put(db, Row("a", 2, "alice", deleted=True))
    await db.execute("UPDATE records SET deleted_at = now() - interval '91 days' WHERE deleted")
    await compact(db, Settings())
    assert await why(since(page)) == ("cursor-expired", "compacted")
    page = await pull(served)
    await marks.new_epoch(db)
    assert await why(since(page)) == ("cursor-expired", "epoch")
    page = await pull(served)
    await db.execute("UPDATE sync_clock SET feed = gen_random_uuid()")
    assert await why(since(page)) == ("cursor-expired", "feed")
    again = await pull(served, "since=0")
    assert [one["id"] for one in again["changes"]] == ["b"]
    assert (await pull(served, since(again)))["feed"] == again["feed"] != page["feed"]


async def test_a_head_has_no_body_and_a_connection_that_ends_is_answered_too(served: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKENS['admin']}"}
    url = f"http://127.0.0.1:{served.rig.port}{PATH}"
    async with served.rig.session.head(url, headers=headers) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    async with served.rig.session.get(url, headers=headers | {"Connection": "close"}) as answer:
        assert (await answer.json())["changes"] == []
    assert (await pull(served))["changes"] == [], "the next request on a kept connection is read as it was sent"


async def test_a_long_poll_is_answered_when_something_comes(served: Served) -> None:
    page = await pull(served)
    waiting = asyncio.create_task(pull(served, since(page, "wait=30")))
    await until(lambda: served.pulls.watching._waiters)
    await put(served.rig.db, Row("a", 1, "alice"))
    assert [one["id"] for one in (await asyncio.wait_for(waiting, 10))["changes"]] == ["a"]


async def test_a_waiter_that_hangs_up_is_forgotten(served: Served) -> None:
    page = await pull(served)
    waiting = asyncio.create_task(pull(served, since(page, "wait=30")))
    await until(lambda: served.pulls.watching._waiters)
    waiting.cancel()
    await until(lambda: not served.pulls.watching._waiters, within_s=5)


async def test_too_many_rounds_are_busy_and_the_pages_of_one_round_are_one(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(served.rig.db, *(Row(f"a{n}", 1) for n in range(9)))
    monkeypatch.setattr(rates, "ROUNDS_A_MINUTE", 2)
    page = await pull(served, "limit=1")
    while page["more"]:
        page = await pull(served, since(page, "limit=1"))
    await pull(served, since(page))
    problem = await pull(served, since(page), status=429)
    assert (problem["type"], problem["headers"]["Retry-After"]) == ("busy", "1")
