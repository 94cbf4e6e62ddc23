"""`/api/v1/campaigns` over HTTP, on a real Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.campaigns import PATH, CampaignsApi
from daemon.bus.worker import utc_now
from daemon.settings.in_force import InForce
from tests.support.campaigns import SETTINGS, fed, people, phone

ADMIN: Final = "admin-token-0123456789"
READONLY: Final = "readonly-token-0123456789"
NEWS: Final = {"name": "news", "template": {"name": "news", "language": "he"}, "recipients": people(5)}


class Client:
    """The API as a program sees it."""

    def __init__(self, http: TestClient[web.Request, web.Application]) -> None:
        self._http = http

    async def ask(
        self, method: str, path: str = "", body: Any = None, *, token: str = ADMIN, key: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} | ({} if key is None else {"Idempotency-Key": key})
        data = None if body is None else json.dumps(body).encode()
        async with self._http.request(method, PATH + path, data=data, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def make(self, key: str | None = None, **given: Any) -> tuple[int, Any]:
        return await self.ask("POST", "", NEWS | given, key=key)


@pytest.fixture
async def client(db: Pool) -> AsyncIterator[Client]:
    access = Access({"admin": lambda: [ADMIN], "readonly": lambda: [READONLY]})
    app = web.Application()
    app.add_routes(CampaignsApi(db, InForce(SETTINGS), access, utc_now).routes())
    async with TestClient(TestServer(app)) as http:
        yield Client(http)


async def test_a_campaign_is_made_started_looked_at_and_stopped(client: Client, db: Pool) -> None:
    status, made = await client.make()
    assert (status, made) == (201, {"id": made["id"], "name": "news", "recipients": 5, "duplicates": 0})
    path = f"/{made['id']}"
    status, found = await client.ask("GET", path, token=READONLY)
    assert (status, found["status"], found["counts"]["pending"]) == (200, "draft", 5)
    for verb, wanted in [("start", "running"), ("pause", "paused"), ("pause", "paused"), ("resume", "running")]:
        status, found = await client.ask("POST", f"{path}/{verb}")
        assert (status, found["status"]) == (200, wanted)
    await fed(db)
    status, found = await client.ask("GET", "/news")
    assert (found["counts"]["queued"], sum(found["counts"].values())) == (5, found["recipients"])
    status, problem = await client.ask("POST", f"{path}/start")
    assert (status, "is running" in problem["detail"]) == (409, True)
    status, found = await client.ask("POST", f"{path}/stop")
    assert (status, found["status"], found["counts"]["canceled"]) == (200, "stopped", 5)


async def test_its_recipients_come_in_pages(client: Client) -> None:
    _, made = await client.make()
    lines, path = [], f"/{made['id']}/recipients?limit=2"
    cursor = ""
    while True:
        status, page = await client.ask("GET", f"{path}{cursor}", token=READONLY)
        assert status == 200
        lines += [(one["line"], one["phone"], one["status"]) for one in page["recipients"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert lines == [(n + 1, phone(n), "pending") for n in range(5)]
    assert (await client.ask("GET", f"{path}&status=sent"))[1]["recipients"] == []
    for odd in ("status=gone", "cursor=x", "cursor=-1", "cursor=1_0", "limit=2", "state=sent"):
        assert (await client.ask("GET", f"{path}&{odd}"))[0] == 400, odd
    assert (await client.ask("GET", f"/{made['id']}/recipients?limit=1001"))[0] == 400


async def test_campaigns_are_listed_the_newest_first(client: Client) -> None:
    for n in range(3):
        await client.make(name=f"n{n}")
    status, page = await client.ask("GET", "?limit=2", token=READONLY)
    assert (status, [one["name"] for one in page["campaigns"]]) == (200, ["n2", "n1"])
    status, page = await client.ask("GET", f"?limit=2&cursor={page['next']}")
    assert ([one["name"] for one in page["campaigns"]], page["next"]) == (["n0"], None)
    assert page["campaigns"][0]["counts"]["pending"] == 5
    for odd in ("limit=201", "cursor=x", "status=draft"):
        assert (await client.ask("GET", f"?{odd}"))[0] == 400, odd


async def test_a_key_stands_for_one_campaign(client: Client, db: Pool) -> None:
    answers = await asyncio.gather(*(client.make("k1") for _ in range(8)))
    assert {status for status, _ in answers} == {201}
    assert {json.dumps(answer) for _, answer in answers} == {json.dumps(answers[0][1])}
    assert await db.fetchval("SELECT count(*) FROM campaigns") == 1
    status, problem = await client.make("k1", template="other")
    assert (status, "Idempotency-Key" in problem["detail"]) == (409, True)
    status, problem = await client.make("k2")
    assert (status, "name" in problem["detail"]) == (409, True)


async def test_bad_rows_are_named_by_their_lines_and_nothing_is_made(client: Client, db: Pool) -> None:
    rows = "".join(f"{'12' if n % 2 else phone(n)},Noa\n" for n in range(40))
    told = {"name": "n", "template": "t", "language": "he", "csv": f"phone,1\n{rows}"}
    status, problem = await client.ask("POST", "", told)
    assert status == 422
    assert [row["line"] for row in problem["rows"]] == list(range(3, 42, 2))
    assert "20 rows" in problem["detail"]
    assert "Noa" not in json.dumps(problem)
    assert await db.fetchval("SELECT count(*) FROM campaigns") == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"recipients": []}, "nobody"),
        ({"csv": "phone\n"}, "exactly one of"),
        ({"recipients": None, "orders": {}}, "at least one of"),
        ({"recipients": [{"phone": "12"}]}, "line 1"),
        ({"recipients": [*people(1), {"phone": phone(7), "variables": {"2": "b"}}]}, "line 2: its variables"),
        ({"recipients": [{"phone": phone(1), "variables": {"1": 5}}]}, "recipients.0.variables.1"),
        ({"category": "marketing"}, "consent"),
        ({"category": "spam"}, "category"),
        ({"rate": 0}, "rate"),
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"quiet": "9-5"}, "quiet"),
        ({"ends_at": "2031-01-01T00:00:00"}, "ends_at"),
        ({"ends_at": "9999-12-31T23:59:59-23:59"}, "ends_at"),
        ({"recipients": None, "orders": {"since": "0001-01-01T00:00:00+23:59"}}, "orders.since"),
        ({"templat": "t"}, "templat"),
    ],
)
async def test_what_is_no_campaign_is_refused(client: Client, db: Pool, given: dict[str, Any], says: str) -> None:
    status, problem = await client.make(**given)
    assert (status, says in problem["detail"]) == (422, True), problem
    assert await db.fetchval("SELECT count(*) FROM campaigns") == 0


@pytest.mark.parametrize("path", ["", "/start", "/pause", "/resume", "/stop"])
async def test_only_an_administrator_changes_anything(client: Client, path: str) -> None:
    _, made = await client.make()
    body = NEWS | {"name": "other"} if not path else None
    assert (await client.ask("POST", path and f"/{made['id']}{path}", body, token=READONLY))[0] == 403
    assert (await client.ask("POST", path and f"/{made['id']}{path}", body, token="wrong"))[0] == 401


async def test_what_is_not_there_is_not_found(client: Client) -> None:
    for path in (f"/{uuid4()}", "/nothing", "/%00", "/%FF", f"/{uuid4()}/recipients"):
        assert (await client.ask("GET", path))[0] == 404
    assert (await client.ask("POST", f"/{uuid4()}/start"))[0] == 404
