"""The document of the API: it names every route, and what is asked at random is answered as it says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from daemon.api.description import described_routes, undescribed
from daemon.api.routes import routes_of
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.api.answers import MessageOut, MessageWithUpdates, Problem
from tests.integration.api.conftest import Served
from tests.support.listening import check_problem

NOBODY: Any = None
"""In place of a store that a route is given and does not ask here."""

ROUTES: Final = routes_of(InForce(Settings()), NOBODY, NOBODY, "")
PLACE: Final = re.compile(r"\{\w+\}")


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
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(operation["summary"] and operation["responses"] for _, _, operation in operations(document))


async def test_who_may_call_a_route_is_as_the_document_says(served: Served) -> None:
    for method, path, operation in operations(served.document):
        where = PLACE.sub(str(uuid4()), path)
        told = operation["responses"].keys()
        nobody = await served.ask(method, where, who="nobody")
        reader = await served.ask(method, where, who="reader")
        who = operation["x-who"]
        assert (nobody.status == 401) == (who != "anybody") == ("401" in told) == bool(operation["security"]), path
        assert (reader.status == 403) == (who == "admin") == ("403" in told), path


async def test_the_rows_of_messages_have_the_fields_that_the_document_names(served: Served) -> None:
    body = json.dumps({"to": "+972505550142", "text": "hello"}).encode()
    id = (await served.ask("POST", "/api/v1/messages", body)).json["message_id"]
    (listed,) = (await served.ask("GET", "/api/v1/messages", who="reader")).json["messages"]
    assert listed.keys() == MessageOut.model_fields.keys()
    shown = (await served.ask("GET", f"/api/v1/messages/{id}", who="reader")).json
    assert shown.keys() == MessageWithUpdates.model_fields.keys()
    MessageWithUpdates.model_validate(shown)


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
    assert len(answer.body) < 100_000


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
    where = PLACE.sub(lambda _: quote(draw(st.sampled_from([str(uuid4()), "x", "ü/../"])), safe=""), path)
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


MODELS: Final[Mapping[str, type[BaseModel]]] = {
    model.__name__: model for route in described_routes(ROUTES) if isinstance(model := route.description.gives, type)
}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_is_asked_is_answered_as_the_document_says(served: Served, data: st.DataObject) -> None:
    method, path, where, body, headers = data.draw(requests(served.document))
    answer = await served.ask(method, where, body, headers=headers)
    told = served.document["paths"][path][method.lower()]["responses"].get(str(answer.status))
    assert told is not None, (method, where, answer.status, answer.body)
    kind = answer.headers["Content-Type"].partition(";")[0]
    schema = told["content"][kind]["schema"]
    if kind == "application/problem+json":
        assert Problem.model_validate(answer.json).status == answer.status
    elif "$ref" in schema:
        TypeAdapter(MODELS[schema["$ref"].rpartition("/")[2]]).validate_python(answer.json)
