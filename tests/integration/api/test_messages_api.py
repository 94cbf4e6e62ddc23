"""`/api/v1/messages` over HTTP, on a real Postgres: who may, what is taken, and that a key stands for one message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.gate import Gate
from adapters.ports import Claim
from adapters.postgres import messages
from adapters.postgres.bus import outbox
from adapters.postgres.pool import Pool
from adapters.registry import SENDERS
from daemon.api.access import MOST_FAILURES, Access
from daemon.api.messages import JOBS_PATH, PATH, Api
from daemon.api.requests import MOST_BYTES
from daemon.bus.worker import utc_now
from daemon.operator.reading import outside_of
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.envelope import Event
from schemas.messages import Choices, Content, OutboundMessage, Taken

ADMIN: Final = "admin-token-0123456789"
READONLY: Final = "readonly-token-0123456789"
PHONE: Final = "+972505550142"
HELLO: Final = {"to": PHONE, "text": "hello"}


class Whapi:
    """A sender that carries no choices."""

    def __init__(self, gate: Gate, **given: Any) -> None: ...

    @staticmethod
    def refusal(content: Content) -> str | None:
        return "whapi carries no choices here: send text" if isinstance(content, Choices) else None

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        raise NotImplementedError


class Client:
    """The API as a program sees it. *hurried*: the events that were not left to the sweeper."""

    def __init__(self, http: TestClient[web.Request, web.Application], hurried: list[Event]) -> None:
        self._http = http
        self.hurried = hurried

    async def ask(
        self, method: str, path: str = PATH, body: Any = None, *, token: str | None = ADMIN, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        proof = {} if token is None else {"Authorization": f"Bearer {token}"}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self._http.request(method, path, data=data, headers=proof | given) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def send(self, body: Any = HELLO, **headers: str) -> tuple[int, Any]:
        status, document, _ = await self.ask("POST", PATH, body, **headers)
        return status, document


@pytest.fixture
async def client(db: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setitem(SENDERS, "whapi", lambda: Whapi)
    settings = Settings(whapi_token=SecretStr("w" * 20), messages_default_provider="whapi")
    hurried: list[Event] = []

    async def hurry(events: Sequence[Event], seqs: Sequence[int]) -> None:
        hurried.extend(events)

    access = Access({"admin": lambda: [ADMIN], "readonly": lambda: [READONLY]})
    app = web.Application()
    async with outside_of(db, settings, redis) as outside:
        app.add_routes(Api(db, InForce(settings), access, utc_now, hurry, outside).routes())
        async with TestClient(TestServer(app)) as http:
            yield Client(http, hurried)


async def test_a_message_is_taken_stored_and_on_its_way_at_once(client: Client, db: Pool) -> None:
    status, answer = await client.send()
    assert status == 202
    id = answer["message_id"]
    (event,) = client.hurried
    assert (event.type, event.subject, event.json()["message_id"]) == ("message.requested", PHONE, id)
    assert [one.id for _, one in await outbox.left(db, older_than_s=-1, limit=10)] == [event.id]
    status, shown, _ = await client.ask("GET", f"{PATH}/{id}", token=READONLY)
    assert status == 200
    wanted = {"id": id, "status": "queued", "provider": "whapi", "provider_message_id": None, "error": None}
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["content"] == {"body": "hello"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"to": PHONE}, "exactly one of"),
        ({"to": PHONE, "text": "a", "template": {"name": "n"}}, "exactly one of"),
        ({"to": PHONE, "text": " "}, "blank"),
        ({"to": PHONE, "text": "x" * 5000}, "text"),
        ({"to": "12", "text": "a"}, "phone"),
        (HELLO | {"fallback": ["pigeon"]}, "fallback"),
        (HELLO | {"fallback": "twilio"}, "fallback"),
        ({"text": "a"}, "to"),
        ({"to": PHONE, "text": "a", "provider": "pigeon"}, "provider"),
        ({"to": PHONE, "text": "a", "provider": "meta"}, "provider"),
        ({"to": PHONE, "text": "a", "account": "other"}, "account"),
        ({"to": PHONE, "text": "a", "txet": "b"}, "txet"),
        ({"to": PHONE, "media": {"url": "file:///etc/passwd", "type": "image"}}, "media.url"),
        ({"to": PHONE, "media": {"url": "https://example.com/a", "type": "gif"}}, "media.type"),
        ({"to": PHONE, "choices": {"text": "a", "items": []}}, "choices.items"),
        ({"to": PHONE, "choices": {"text": "a", "items": [{"title": "t", "value": "v"}]}}, "no choices"),
        ({"to": PHONE, "text": "a", "not_before": "2031-01-01T00:00:00"}, "not_before"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is_stored(
    client: Client, db: Pool, body: dict[str, Any], says: str
) -> None:
    status, answer = await client.send(body)
    assert (status, says in answer["detail"]) == (422, True), answer
    assert "555" not in answer["detail"]
    assert "x" * 20 not in answer["detail"]
    assert await db.fetchval("SELECT count(*) FROM messages") == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"to": 1e999}', b"{" * 5000])
async def test_a_body_that_is_no_json_object_is_a_clear_error(client: Client, body: bytes) -> None:
    status, answer = await client.send(body)
    assert status in (400, 422)
    assert answer["detail"]


async def test_a_body_that_is_too_large_is_not_read_to_its_end(client: Client) -> None:
    status, answer = await client.send(b"{" + b" " * MOST_BYTES + b"}")
    assert (status, "KiB" in answer["detail"]) == (413, True)


async def test_a_key_stands_for_one_message(client: Client, db: Pool) -> None:
    answers = await asyncio.gather(*(client.send(Idempotency_Key="k1") for _ in range(12)))
    assert {status for status, _ in answers} == {202}
    assert len({answer["message_id"] for _, answer in answers}) == 1
    assert await db.fetchval("SELECT count(*) FROM messages") == 1
    assert len(await outbox.left(db, older_than_s=-1, limit=10)) == 1
    status, answer = await client.send({**HELLO, "text": "other"}, Idempotency_Key="k1")
    assert (status, "another message" in answer["detail"]) == (409, True)
    _, other = await client.send(Idempotency_Key="k2")
    assert other["message_id"] != answers[0][1]["message_id"]


@pytest.mark.parametrize("key", ["", " ", "k" * 201])
async def test_a_key_that_makes_no_sense_is_refused(client: Client, key: str) -> None:
    assert (await client.send(Idempotency_Key=key))[0] == 400


@pytest.mark.parametrize(
    ("method", "token", "status"),
    [
        ("POST", None, 401),
        ("POST", "wrong", 401),
        ("GET", "wrong", 401),
        ("POST", READONLY, 403),
        ("DELETE", READONLY, 403),
        ("GET", READONLY, 200),
        ("GET", ADMIN, 200),
    ],
)
async def test_who_may_do_what(client: Client, method: str, token: str | None, status: int) -> None:
    path = f"{PATH}/{uuid4()}" if method == "DELETE" else PATH
    found, answer, headers = await client.ask(method, path, HELLO if method == "POST" else None, token=token)
    assert found == status
    if status == 401:
        assert headers["WWW-Authenticate"] == "Bearer"
        assert "FERRYMAN_ADMIN_TOKEN" in answer["detail"]


async def test_an_address_that_guesses_tokens_has_to_wait(client: Client) -> None:
    for _ in range(MOST_FAILURES):
        assert (await client.ask("GET", token="guess"))[0] == 401
    status, _, headers = await client.ask("GET", token=ADMIN)
    assert (status, 0 < int(headers["Retry-After"]) <= 61) == (429, True)


async def test_a_scheduled_message_waits_and_can_be_taken_back(client: Client, db: Pool) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    _, answer = await client.send({**HELLO, "not_before": later})
    assert (client.hurried, await outbox.left(db, older_than_s=-1, limit=10)) == ([], [])
    path = f"{PATH}/{answer['message_id']}"
    status, document, _ = await client.ask("DELETE", path)
    assert (status, document["status"]) == (200, "canceled")
    assert (await client.ask("GET", path))[1]["status"] == "canceled"
    status, document, _ = await client.ask("DELETE", path)
    assert (status, "is canceled" in document["detail"]) == (409, True)


async def test_a_message_that_is_being_sent_cannot_be_taken_back(client: Client, db: Pool) -> None:
    _, answer = await client.send()
    await messages.claim(db, await db.fetchval("SELECT id FROM messages"))
    assert (await client.ask("DELETE", f"{PATH}/{answer['message_id']}"))[0] == 409


@pytest.mark.parametrize("id", ["nobody", "6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11"])
async def test_a_message_that_is_not_there(client: Client, id: str) -> None:
    assert (await client.ask("GET", f"{PATH}/{id}"))[0] == 404
    assert (await client.ask("DELETE", f"{PATH}/{id}"))[0] == 404


async def test_a_list_goes_on_where_it_ended_and_shows_each_message_once(client: Client) -> None:
    sent = {(await client.send())[1]["message_id"] for _ in range(7)}
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page, _ = await client.ask("GET", f"{PATH}?limit=3{cursor}")
        found += [one["id"] for one in page["messages"]]
        cursor = None if page["next"] is None else f"&cursor={page['next']}"
    assert (len(found), set(found)) == (7, sent)
    _, page, _ = await client.ask("GET", f"{PATH}?to=%2B972505550142&status=queued")
    assert len(page["messages"]) == 7
    assert (await client.ask("GET", f"{PATH}?to=%2B46701740605"))[1]["messages"] == []


async def test_pages_hold_still_while_new_messages_come(client: Client) -> None:
    sent = [(await client.send())[1]["message_id"] for _ in range(6)]
    _, page, _ = await client.ask("GET", f"{PATH}?limit=2")
    found = [one["id"] for one in page["messages"]]
    while page["next"] is not None:
        await client.send()
        _, page, _ = await client.ask("GET", f"{PATH}?limit=2&cursor={page['next']}")
        found += [one["id"] for one in page["messages"]]
    assert found == sent[::-1]


async def test_a_list_is_of_what_its_filters_name(client: Client, db: Pool) -> None:
    ids = [(await client.send())[1]["message_id"] for _ in range(4)]
    await db.execute("UPDATE messages SET purpose = 'rule:visa', provider = 'meta' WHERE id = $1", ids[1])
    await db.execute("UPDATE messages SET direction = 'in', status = 'received' WHERE id = $1", ids[2])
    await db.execute("UPDATE messages SET created_at = '2026-01-01 12:00Z', status = 'failed' WHERE id = $1", ids[3])
    wanted: dict[str, set[str]] = {
        "provider=meta": {ids[1]},
        "purpose=rule:visa": {ids[1]},
        "direction=in": {ids[2]},
        "status=received": {ids[2]},
        "until=2026-01-02": {ids[3]},
        "until=2026-01-01T14:00:00%2B02:00": set(),
        "until=2026-01-01T14:00:01+02:00": {ids[3]},
        "since=2026-01-01T12:00:00Z&until=2026-02-01": {ids[3]},
        "since=2026-01-02": set(ids[:3]),
        "status=queued&provider=whapi&direction=out&to=%2B972505550142": {ids[0]},
    }
    for query, found in wanted.items():
        status, page, _ = await client.ask("GET", f"{PATH}?{query}", token=READONLY)
        assert (status, {one["id"] for one in page["messages"]}) == (200, found), query


@pytest.mark.parametrize(
    "query",
    [
        "stauts=queued",
        "status=gone",
        "provider=pigeon",
        "direction=up",
        "since=yesterday",
        "since=0001-01-01",
        "status=sent&status=read",
        "purpose=%00",
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_and_not_left_out(client: Client, query: str) -> None:
    status, answer, _ = await client.ask("GET", f"{PATH}?{query}")
    assert (status, bool(answer["detail"])) == (400, True)
    assert "yesterday" not in answer["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=201", "limit=9999999", "cursor=x", "cursor=eHg="])
async def test_a_query_that_makes_no_sense_is_a_clear_error(client: Client, query: str) -> None:
    status, answer, _ = await client.ask("GET", f"{PATH}?{query}")
    assert (status, bool(answer["detail"])) == (400, True)


@pytest.mark.parametrize(
    ("job", "kind", "content"),
    [
        ({"message": "hello"}, "text", {"body": "hello"}),
        (
            {"template": "visa_approved", "variables": {"name": "Noa", "fallback_message": "hi"}},
            "template",
            {"name": "visa_approved", "language": None, "variables": {"name": "Noa", "fallback_message": "hi"}},
        ),
        (
            {"fileUrl": "https://example.com/a.pdf", "fileType": "document"},
            "media",
            {"url": "https://example.com/a.pdf", "type": "document", "caption": None, "filename": None},
        ),
    ],
)
async def test_the_shapes_of_older_programs_are_taken(
    client: Client, db: Pool, job: dict[str, Any], kind: str, content: dict[str, Any]
) -> None:
    status, answer, _ = await client.ask("POST", JOBS_PATH, {"to": PHONE, **job})
    assert status == 202
    shown = (await client.ask("GET", f"{PATH}/{answer['message_id']}"))[1]
    assert (shown["kind"], shown["content"]) == (kind, content)


@pytest.mark.parametrize(
    "job", [{}, {"message": "a", "fileUrl": "https://example.com/a"}, {"text": "a"}, {"fileUrl": "a"}]
)
async def test_a_job_that_makes_no_sense_is_a_clear_error(client: Client, job: dict[str, Any]) -> None:
    status, answer, _ = await client.ask("POST", JOBS_PATH, {"to": PHONE, **job})
    assert (status, bool(answer["detail"])) == (422, True)
    assert (await client.ask("POST", JOBS_PATH, {"to": PHONE, "message": "a"}, token=READONLY))[0] == 403
