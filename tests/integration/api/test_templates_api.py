"""`/api/v1/templates`, and messages that are checked against the templates, over HTTP on real stores."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.postgres.bus import pauses
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api import messages, templates
from daemon.api.access import Access
from daemon.bus.worker import utc_now
from daemon.operator.reading import outside_of
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import WABA_ID, definition
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.api.template_answers import ListsRead
from schemas.envelope import Event
from tests.support.answers import check_fields

ADMIN: Final = "admin-token-0123456789"
READONLY: Final = "readonly-token-0123456789"
PHONE: Final = "+972505550142"
REPLY: Final = {"type": "QUICK_REPLY", "text": "Stop"}


class Client:
    """The API as a program sees it."""

    def __init__(self, http: TestClient[web.Request, web.Application]) -> None:
        self._http = http

    async def ask(self, method: str, path: str, body: Any = None, token: str = ADMIN) -> tuple[int, Any]:
        headers, data = {"Authorization": f"Bearer {token}"}, None if body is None else json.dumps(body)
        async with self._http.request(method, path, data=data, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def send(self, name: str = "parcel_ready", language: str | None = "en_US", **more: Any) -> tuple[int, Any]:
        variables = {key.replace("_", "", 1) if key[1:].isdigit() else key: value for key, value in more.items()}
        told = {"name": name, "language": language, "variables": variables}
        return await self.ask("POST", messages.PATH, {"to": PHONE, "template": told})

    async def sync(self, **given: Any) -> tuple[int, Any]:
        return await self.ask("POST", f"{templates.PATH}/sync", given or None)


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as running:
        yield running


@pytest.fixture
def settings(meta: MetaSandbox) -> Settings:
    return Settings(
        meta_graph_url=meta.url,
        meta_phone_number_id=PHONE_NUMBER_ID,
        meta_waba_id=WABA_ID,
        meta_access_token=SecretStr(meta.token),
        messages_default_provider="meta",
    )


@pytest.fixture
async def client(db: Pool, redis: Redis, settings: Settings) -> AsyncIterator[Client]:
    async def hurry(events: Sequence[Event], seqs: Sequence[int]) -> None: ...

    access = Access({"admin": lambda: [ADMIN], "readonly": lambda: [READONLY]})
    app = web.Application()
    async with outside_of(db, settings, redis) as outside:
        app.add_routes(messages.Api(db, InForce(settings), access, utc_now, hurry, outside).routes())
        app.add_routes(templates.Api(db, Streams(redis, 4), InForce(settings), access).routes())
        async with TestClient(TestServer(app)) as http:
            yield Client(http)


async def synced(client: Client, meta: MetaSandbox, *rows: dict[str, Any]) -> None:
    meta.switches.templates = list(rows)
    assert (await client.sync())[0] == 200


# messages


async def test_where_no_list_was_read_every_template_goes_on_its_way(client: Client, db: Pool) -> None:
    assert (await client.send("whatever", "he", _1="a"))[0] == 202
    assert await db.fetchval("SELECT category FROM messages") is None


@pytest.mark.parametrize(
    ("variables", "row", "says"),
    [
        ({}, None, "no template of this name"),
        ({"_1": "Noa"}, definition(body="For {{1}}", language="he"), "there in he"),
        ({"_1": "Noa"}, definition(body="For {{1}}", status="PAUSED"), "paused"),
        ({}, definition(body="For {{1}}"), "give 1 as well"),
        ({"_1": "Noa", "_2": "secret"}, definition(body="For {{1}}"), "1 more"),
        ({"_1": "  "}, definition(body="For {{1}}"), "empty"),
        ({"secret": "Noa"}, definition(body="For {{1}}"), "numbered 1"),
        ({}, definition(header="IMAGE"), "an image"),
        ({"header": "https://cdn.example.test/secret"}, definition(header="Hello"), "header takes nothing"),
        ({"button_0": "secret"}, definition(), "button 0 takes nothing"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_a_message_that_does_not_fit_its_template_is_refused_and_not_stored(
    client: Client,
    meta: MetaSandbox,
    db: Pool,
    variables: dict[str, str],
    row: dict[str, Any] | None,
    says: str,
) -> None:
    await synced(client, meta, *([] if row is None else [row]))
    status, answer = await client.send(**variables)
    assert (status, says in answer["detail"], "secret" in answer["detail"]) == (422, True, False), answer
    assert await db.fetchval("SELECT count(*) FROM messages") == 0


async def test_a_message_that_fits_is_taken_with_the_category_of_its_template(
    client: Client, meta: MetaSandbox, db: Pool
) -> None:
    await synced(client, meta, definition(body="For {{1}}", header="IMAGE", buttons=[REPLY], category="MARKETING"))
    file = "https://cdn.example.test/files?id=7"
    assert (await client.send(_1="Noa", header=file, button_0="STOP"))[0] == 202
    (row,) = await db.fetch("SELECT category, content ->> 'variables' AS variables FROM messages")
    assert row["category"] == "marketing"
    named = {"1": "Noa", "header_image": file, "button_0_payload": "STOP"}
    assert json.loads(row["variables"]) == named, "a file's kind and a button's are told by the template"


@pytest.mark.parametrize(
    ("given", "rows", "kept"),
    [
        ("utility", None, "utility"),
        (None, None, None),
        ("utility", [definition(category="MARKETING")], "marketing"),
        ("marketing", [definition(category=None)], "marketing"),
    ],
)
async def test_the_category_of_a_known_template_goes_before_the_given_one(
    client: Client, meta: MetaSandbox, db: Pool, given: str | None, rows: Sequence[dict[str, Any]] | None, kept: str
) -> None:
    if rows is not None:
        await synced(client, meta, *rows)
    told = {"to": PHONE, "category": given, "template": {"name": "parcel_ready", "language": "en_US"}}
    assert (await client.ask("POST", messages.PATH, told))[0] == 202
    assert await db.fetchval("SELECT category FROM messages") == kept
    assert (await client.ask("POST", messages.PATH, told | {"category": "spam"}))[0] == 422


async def test_a_template_that_no_list_has_makes_the_list_be_read_soon(
    client: Client, meta: MetaSandbox, db: Pool
) -> None:
    await synced(client, meta, definition(body="For {{1}}"))
    await client.send(_1="Noa", _2="b")
    assert await db.fetchval("SELECT wanted_at FROM template_syncs") is None
    await client.send("newer_than_the_list")
    assert await db.fetchval("SELECT wanted_at > synced_at FROM template_syncs")


async def test_other_contents_are_not_checked_against_templates(client: Client, meta: MetaSandbox) -> None:
    await synced(client, meta)
    assert (await client.ask("POST", messages.PATH, {"to": PHONE, "text": "hello"}))[0] == 202


# the list


async def test_a_list_goes_on_where_it_ended_and_can_be_narrowed(client: Client, meta: MetaSandbox) -> None:
    rows = [definition(f"t{n}", language) for n in range(4) for language in ("en_US", "he")]
    await synced(client, meta, *rows, definition("t9", status="PAUSED"))
    found: list[tuple[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page = await client.ask("GET", f"{templates.PATH}?limit=2{cursor}", token=READONLY)
        found += [(one["name"], one["language"]) for one in page["templates"]]
        cursor = None if page["next"] is None else f"&cursor={quote(page['next'])}"
    assert found == [(row["name"], row["language"]) for row in rows] + [("t9", "en_US")]
    for query, wanted in (("status=paused", 1), ("name=t2", 2), ("provider=cgb", 0), ("provider=meta&limit=200", 9)):
        assert len((await client.ask("GET", f"{templates.PATH}?{query}"))[1]["templates"]) == wanted


async def test_a_template_is_shown_with_what_a_message_gives_it(client: Client, meta: MetaSandbox) -> None:
    await synced(client, meta, definition(body="For {{1}}", header="IMAGE", buttons=[REPLY]))
    (shown,) = (await client.ask("GET", templates.PATH))[1]["templates"]
    wanted = {
        "provider": "meta",
        "account": "default",
        "name": "parcel_ready",
        "language": "en_US",
        "category": "UTILITY",
        "status": "APPROVED",
        "parameter_format": "positional",
        "quality": "UNKNOWN",
        "variables": ["header", "1", "(button_0)"],
    }
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["components"][1] == {"type": "BODY", "text": "For {{1}}"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "cursor=x",
        "cursor=W10=",
        "cursor=WzEsMiwzLDRd",
        "name=%00",
        "status=",
        "provider=pigeon",
        "nam=t2",
        "name=t2&name=t3",
    ],
)
async def test_a_query_that_makes_no_sense_is_a_clear_error(client: Client, query: str) -> None:
    status, answer = await client.ask("GET", f"{templates.PATH}?{query}")
    assert (status, bool(answer["detail"])) == (400, True)


# reading it


async def test_a_sync_says_what_is_new_changed_and_gone(client: Client, meta: MetaSandbox) -> None:
    meta.switches.templates = [definition("a"), definition("b")]
    status, answer = await client.sync(dry_run=True)
    assert (status, answer["new"]) == (200, 2)
    assert (await client.ask("GET", templates.PATH))[1]["templates"] == []
    await client.sync(provider="meta")
    meta.switches.templates = [definition("b", status="PAUSED"), definition("c")]
    status, answer = await client.sync()
    counts = {"new": 1, "changed": 1, "gone": 1, "total": 2}
    assert (status, answer) == (200, counts | {"providers": [{"provider": "meta", **counts, "error": None}]})
    check_fields(ListsRead, answer)


async def test_a_list_that_cannot_be_read_changes_nothing(client: Client, meta: MetaSandbox) -> None:
    await synced(client, meta, definition())
    meta.faults.add("bad_token", times=None)
    status, answer = await client.sync()
    assert (status, "meta: Meta:" in answer["detail"]) == (502, True)
    assert len((await client.ask("GET", templates.PATH))[1]["templates"]) == 1


async def test_a_paused_provider_is_not_asked(client: Client, meta: MetaSandbox, db: Pool) -> None:
    await pauses.pause(db, "meta")
    status, answer = await client.sync()
    assert (status, "resume meta" in answer["detail"], meta.ledger.entries) == (502, True, [])


@pytest.mark.parametrize(
    ("given", "says"),
    [({"provider": "whapi"}, "take one of"), ({"provider": "cgb"}, "CGB_API_KEY"), ({"all": True}, "all")],
)
async def test_a_sync_that_makes_no_sense_is_a_clear_error(client: Client, given: dict[str, Any], says: str) -> None:
    status, answer = await client.sync(**given)
    assert (status, says in answer["detail"]) == (422, True)


async def test_who_may_do_what(client: Client) -> None:
    assert (await client.ask("POST", f"{templates.PATH}/sync", token=READONLY))[0] == 403
    assert (await client.ask("GET", templates.PATH, token=READONLY))[0] == 200
    assert (await client.ask("GET", templates.PATH, token="wrong"))[0] == 401
