"""The document of the API: it names every route, and what is asked at random is answered as it says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from adapters.postgres import evidence, templates, windows
from adapters.postgres.windows import Written
from daemon.api.description import described_routes, undescribed
from daemon.api.routes import routes_of
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.api.answers import Problem
from schemas.templates import TemplateDefinition
from tests.integration.api.conftest import Served
from tests.support.answers import check_fields
from tests.support.conversations import ACCOUNT, archived, asking, buffered, chatwoot_chat, insert, letter, sent
from tests.support.listening import check_problem

NOBODY: Any = None
"""In place of a store that a route is given and does not ask here."""

ROUTES: Final = routes_of(InForce(Settings()), NOBODY, NOBODY, NOBODY, "", NOBODY, NOBODY)
CAMPAIGNS: Final = "/api/v1/campaigns"
CREDENTIALS: Final = "/api/v1/credentials"
PLACE: Final = re.compile(r"\{\w+\}")
MODELS: Final[Mapping[str, type[BaseModel]]] = {
    model.__name__: model for route in described_routes(ROUTES) if isinstance(model := route.description.gives, type)
}


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_route_of_the_api_is_in_its_document() -> None:
    assert undescribed(ROUTES) == []
    assert {route.path for route in ROUTES} == {route.path for route in described_routes(ROUTES)}


async def test_the_document_is_whole_and_asks_for_no_token(served: Served) -> None:
    document = served.document
    assert document["openapi"] == "3.1.0"
    assert {(m, p) for m, p, _ in operations(document)} == {(route.method, route.path) for route in ROUTES}
    refs = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert refs <= document["components"]["schemas"].keys()
    for own in ("operationId", "summary"):
        told = [operation[own] for _, _, operation in operations(document)]
        assert len(told) == len(set(told)), own
    assert all(operation["summary"] and operation["responses"] for _, _, operation in operations(document))


async def test_a_campaign_is_asked_for_by_its_name_too_and_a_sync_without_a_body(served: Served) -> None:
    def schemas(start: str) -> list[Any]:
        told = [operation["parameters"] for _, path, operation in operations(served.document) if path.startswith(start)]
        return [one["schema"] for parameters in told for one in parameters if one["name"] == "id"]

    assert schemas(CAMPAIGNS + "/{id}") == [{"type": "string"}] * 6
    assert schemas("/api/v1/messages/{id}") == [{"type": "string", "format": "uuid"}] * 3
    bodies = {
        path: one["requestBody"]["required"] for _, path, one in operations(served.document) if "requestBody" in one
    }
    assert [path for path, required in bodies.items() if not required] == ["/api/v1/templates/sync"]


@pytest.mark.parametrize(("method", "path"), [(route.method, route.path) for route in ROUTES])
async def test_who_may_call_a_route_is_as_the_document_says(served: Served, method: str, path: str) -> None:
    operation = served.document["paths"][path][method.lower()]
    who, told = operation["x-who"], operation["responses"].keys()
    where = PLACE.sub(str(uuid4()), path)
    nobody = await served.ask(method, where, who="nobody")
    reader = await served.ask(method, where, who="reader")
    assert (nobody.status == 401) == (who != "anybody") == ("401" in told) == bool(operation["security"])
    reveals = any(one["name"] == "reveal" for one in operation.get("parameters", ()))
    assert (reader.status == 403) == (who in ("admin", "writer"))
    assert (who not in ("anybody", "records")) == ("403" in told)
    if reveals:
        assert (await served.ask(method, f"{where}?reveal=true", who="reader")).status == 403


def given_by(told: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model of an answer, as the document has it; None: it has none."""
    schema = told["content"].get("application/json", {}).get("schema", {})
    return MODELS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else None


async def asked(served: Served, method: str, path: str, told: Any = None, /, status: int = 200, **place: str) -> Any:
    """What is answered: it has the fields that the document names, at every depth. *path*: as in the document."""
    body = None if told is None else json.dumps(told).encode()
    answer = await served.ask(method, PLACE.sub(lambda name: place[name[0][1:-1]], path), body)
    assert answer.status == status, answer.body
    model = given_by(served.document["paths"][path.partition("?")[0]][method.lower()]["responses"][str(status)])
    assert model is not None
    check_fields(model, answer.json)
    return answer.json


async def test_messages_have_the_fields_that_the_document_names(served: Served) -> None:
    told = {"to": "+972505550142", "text": "hello"}
    id = (await asked(served, "POST", "/api/v1/messages", told, status=202))["message_id"]
    assert len((await asked(served, "GET", "/api/v1/messages"))["messages"]) == 1
    await evidence.keep(served.rig.db, UUID(id), None, "not told", datetime.now(UTC))
    await served.rig.db.execute(
        "INSERT INTO delivery_updates (message_id, provider, provider_message_id, status, at, event_id)"
        " VALUES ($1, 'whapi', 'theirs', 'sent', now(), 'event')",
        id,
    )
    shown = await asked(served, "GET", "/api/v1/messages/{id}", id=id)
    assert (shown["evidence"]["text"], len(shown["updates"])) == ("not told", 1)
    await asked(served, "DELETE", "/api/v1/messages/{id}", id=id)


async def test_a_message_that_was_read_has_the_fields_that_the_document_names(served: Served) -> None:
    id = uuid4()
    written = Written("whapi", "+1", None, datetime.now(UTC), "text", {"text": "hello"}, "theirs", str(id), True)
    async with served.rig.db.acquire() as conn, conn.transaction():
        await windows.record(conn, [written])
    await served.rig.db.execute("UPDATE messages SET read_at = now() WHERE id = $1", id)
    assert (await asked(served, "POST", "/api/v1/messages/{id}/read", id=str(id)))["id"] == str(id)


async def test_conversations_have_the_fields_that_the_document_names(served: Served) -> None:
    db, question = served.rig.db, await sent(served.rig.db, "which tone?", minutes=1)
    await chatwoot_chat(db, 481, context_json=asking("tone", question))
    note = await archived(db, 9001, 481, "hello")
    await insert(db, "note_attachments", id=uuid4(), meeting_note_id=note, place=0, kind="voice")
    await buffered(db, 9001, 481)
    await letter(db, "event-9001", {})
    await insert(
        db, "content_orders", id=uuid4(), params_json={"topic": "x"}, chat=f"chatwoot:{ACCOUNT}:481", event_id="e"
    )
    path = "/api/v1/conversations"
    for reveal in ("", "?reveal=true"):
        assert len((await asked(served, "GET", path + reveal))["conversations"]) == 1
        shown = await asked(served, "GET", path + "/{id}" + reveal, id="481")
        assert [len(shown[name]) for name in ("timeline", "content_orders", "dead_letters")] == [2, 1, 1]
        assert shown["timeline"][0]["files"][0]["kind"] == "voice"


async def test_campaigns_have_the_fields_that_the_document_names(served: Served) -> None:
    people = [{"phone": f"+97250555014{n}", "variables": {"1": "Noa"}, "consent": "no" if n else "yes"} for n in (0, 1)]
    told = {"name": "news", "template": "news", "language": "en", "provider": "meta", "category": "marketing"}
    id = (await asked(served, "POST", CAMPAIGNS, told | {"recipients": people}, status=201))["id"]
    shown = await asked(served, "GET", CAMPAIGNS + "/{id}", id=id)
    assert (len(shown["errors"]), len(shown["waits"])) == (1, 1)
    assert len((await asked(served, "GET", CAMPAIGNS))["campaigns"]) == 1
    assert len((await asked(served, "GET", CAMPAIGNS + "/{id}/recipients", id="news"))["recipients"]) == 2
    for verb in ("start", "pause", "resume", "stop"):
        await asked(served, "POST", f"{CAMPAIGNS}/{{id}}/{verb}", id=id)


async def test_templates_have_the_fields_that_the_document_names(served: Served) -> None:
    told = TemplateDefinition(name="news", components=[{"type": "BODY", "text": "For {{1}}"}])
    async with served.rig.db.acquire() as conn, conn.transaction():
        await templates.store(conn, "meta", "default", [told], datetime.now(UTC))
    (found,) = (await asked(served, "GET", "/api/v1/templates"))["templates"]
    assert (found["name"], found["language"], found["variables"]) == ("news", None, ["1"])


async def test_accounts_have_the_fields_that_the_document_names_and_no_secret(served: Served) -> None:
    secret = {"access_token": "EAAcanary0123456789", "phone_number_id": "106000123456789"}
    told = {"provider": "meta", "account": "second", "secret": secret}
    token = {"token": "canary-of-whapi-0123", "provider": "whapi"}
    one = CREDENTIALS + "/{provider}/{account}"
    answers = [
        await asked(served, "POST", CREDENTIALS, told, status=201),
        await asked(served, "POST", CREDENTIALS, told, status=200),
        await asked(served, "POST", "/api/token", token),
        await asked(served, "GET", CREDENTIALS),
        await asked(served, "GET", one, provider="meta", account="second"),
        await asked(served, "DELETE", one, provider="meta", account="second"),
    ]
    assert answers[3]["settings"] == {"meta": True, "whapi": False}
    assert not any(value in json.dumps(answers) for value in (*secret.values(), token["token"]))


@pytest.mark.parametrize(
    ("method", "path", "status", "named"),
    [
        ("GET", "/api/v1/nothing", 404, ""),
        ("GET", "/api/v1/mesages", 404, "/api/v1/messages"),
        ("GET", "/api/", 404, ""),
        ("PUT", "/api/v1/messages", 405, "GET"),
        ("DELETE", "/api/send-message", 405, "POST"),
    ],
)
async def test_a_path_or_method_that_is_not_there_is_a_problem_document(
    served: Served, method: str, path: str, status: int, named: str
) -> None:
    answer = await served.ask(method, path)
    check_problem(answer, status)
    assert named in answer.json["detail"]


async def test_the_page_shows_every_route_and_every_model_and_loads_nothing(served: Served) -> None:
    answer = await served.ask("GET", "/api/v1/docs", who="nobody")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = answer.body.decode()
    for method, path, operation in operations(served.document):
        assert f"<b class=method>{method}</b> <code>{path}</code>" in text
        assert operation["summary"] in text
    told = {status for _, _, one in operations(served.document) for status in one["responses"] if status >= "400"}
    failures = text.partition("<h2 id=failures>")[2].partition("<h2")[0]
    assert set(re.findall(r"<code>(\d+)</code>", failures)) == told
    assert all(f'<section id="{name}">' in text for name in served.document["components"]["schemas"])
    assert "<script" not in text
    assert not re.search(r"\s(?:on\w+|style)=", text)
    loaded = re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", text)
    assert all(place.startswith(("#", "/api/v1/", "data:,")) for place in loaded)
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert len(answer.body) < 150_000


WORDS: Final = ("+972505550142", "whapi", "meta", "queued", "2031-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "\x00")
ODD: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=30), st.sampled_from(WORDS)
)
VALUES: Final = st.recursive(
    ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
TEXTS: Final = st.text(max_size=20) | st.sampled_from(["1", "out", "2031-01-01", "2031-01-01T00:00:00 02:00", "\x00"])
PLACES: Final = (
    str(uuid4()),
    "x",
    "ü/../",
    "\x00",
    "481",
    "june-news",
    "june-file",
    "meta",
    "twilio",
    "second",
    "default",
    "Lead",
)
"""Among them what the examples of the models are called."""


@st.composite
def requests(draw: st.DrawFn, document: Mapping[str, Any]) -> tuple[str, str, str, bytes | None, dict[str, str]]:
    """A request that its operation knows the names of, and little more: method, path of the document, place, body,
    headers."""
    method, path, operation = draw(st.sampled_from(list(operations(document))))
    named = operation.get("parameters", [])
    query = [
        f"{one['name']}={quote(draw(TEXTS), safe='')}" for one in named if one["in"] == "query" and draw(st.booleans())
    ]
    headers = {one["name"]: "k" + str(draw(st.integers(0, 5))) for one in named if one["in"] == "header"}
    where = PLACE.sub(lambda _: quote(draw(st.sampled_from(PLACES)), safe=""), path)
    return method, path, f"{where}?{'&'.join(query)}", _body(draw, document, operation), headers


def _body(draw: st.DrawFn, document: Mapping[str, Any], operation: Mapping[str, Any]) -> bytes | None:
    """An example of the model, with some of its values changed."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return draw(st.binary(max_size=40)) if "requestBody" in operation else None
    model = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    body = dict(draw(st.sampled_from([*model.get("examples", []), {}])))
    for name in draw(st.lists(st.sampled_from([*model["properties"], "other"]), max_size=3)):
        body[name] = draw(VALUES)
    return draw(st.just(json.dumps(body).encode()) | st.binary(max_size=20))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_is_asked_is_answered_as_the_document_says(served: Served, data: st.DataObject) -> None:
    method, path, where, body, headers = data.draw(requests(served.document))
    answer = await served.ask(method, where, body, headers=headers)
    told = served.document["paths"][path][method.lower()]["responses"].get(str(answer.status))
    assert told is not None, (method, where, answer.status, answer.body)
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if kind == "application/problem+json":
        assert Problem.model_validate(answer.json).status == answer.status
    elif "content" in told and (model := given_by(told)):
        check_fields(model, answer.json)
