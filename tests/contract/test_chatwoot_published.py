"""What Ferryman asks of Chatwoot, against the description of its API that Chatwoot publishes, as of v4.16.2.

It is right about paths, methods and the fields of requests. It is no part of this repository: it is read from the file
that OPENAPI_OF_CHATWOOT names, else from `shared/contracts` beside the checkout, and where there is none the tests are
skipped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.http import open_session
from adapters.ports import FetchedFile
from daemon.sandbox.chatwoot import ChatwootSandbox
from schemas.messages import Choice, Choices, Media, Template
from schemas.phone import Phone
from tests.support.chatwoot_sending import CONFIRMATION, TEMPLATES, TEXT, FakeFiles, sender_on, to, unclaimed
from tests.support.sending import PHONE

ROOT: Final = Path(__file__).parents[2]
BESIDE: Final = ROOT.parent / "shared" / "contracts" / "chatwoot-openapi.json"
TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
UNDESCRIBED: Final = frozenset({"source_id"})
"""Parameters that the code has, and the description has not (app/finders/conversation_finder.rb)."""

FILE: Final = FetchedFile("visa.pdf", "application/pdf", b"%PDF-1.7")
CONTENTS: Final = (
    TEXT,
    Choices("Keep?", (Choice("Yes", "y"),)),
    Media("https://files.example.test/a.pdf", "document"),
    CONFIRMATION,
    Template("filed", "en_US", {"header": "https://files.example.test/a.pdf", "button_1": "x"}),
)
FILED: Final = {
    "name": "filed",
    "language": "en_US",
    "status": "APPROVED",
    "category": "UTILITY",
    "components": [
        {"type": "HEADER", "format": "DOCUMENT"},
        {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY"}, {"type": "URL", "url": "https://a.example/{{1}}"}]},
    ],
}


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    path = Path(os.environ.get("OPENAPI_OF_CHATWOOT", BESIDE))
    if not path.is_file():
        pytest.skip("Chatwoot's description of its API is not here")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@pytest.fixture
async def asked() -> AsyncIterator[ChatwootSandbox]:
    """A simulator after each kind of request that the sender makes."""
    async with ChatwootSandbox() as sandbox, open_session() as session:
        sandbox.switches.templates = [*TEMPLATES, FILED]
        sandbox.account.receive(PHONE.e164, "hello")
        sender = sender_on(sandbox, session, files=FakeFiles(FILE))
        for content in CONTENTS:
            await sender.send(to(PHONE, content), unclaimed)
        await sender.send(to(Phone("+46701740605"), CONFIRMATION), unclaimed)
        contact = await sandbox.account.make_contact({"phone_number": "+46701740606"})
        await sender.send(to(Phone("+46701740606"), CONFIRMATION), unclaimed)
        talk = next(iter(sandbox.account.conversations.values()))
        for _ in range(25):
            sandbox.account.post(talk, {"content": "a note", "private": True})
        for phone in (PHONE, Phone("+46701740607")):
            await sender.look_for(to(phone), EPOCH)
        assert contact.addresses
        yield sandbox


async def test_every_request_is_as_chatwoot_describes_it(published: dict[str, Any], asked: ChatwootSandbox) -> None:
    faults = [f"POST {path}: {fault}" for path, body in asked.bodies for fault in of_the_body(published, path, body)]
    faults += [
        f"GET {one.path}: {fault}"
        for one in asked.requests
        if one.method == "GET"
        for fault in of_the_query(published, one.path, one.query)
    ]
    assert faults == []
    made = {entry.action for entry in asked.ledger.entries}
    assert made == {"filter", "create", "list", "begin", "send", "read", "inbox"}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"content": 7}, "string"),
        ({"content": "a", "private": "no"}, "boolean"),
        ({"content": "a", "marks": {}}, "not described"),
        ({"content_type": "text"}, "missing"),
        ({"content": "a", "content_type": "buttons"}, "none of"),
        ({"content": "a", "template_params": {"name": "x"}}, "missing"),
    ],
    ids=str,
)
def test_a_request_that_is_otherwise_is_noticed(published: dict[str, Any], body: dict[str, Any], fault: str) -> None:
    found = list(of_the_body(published, "/api/v1/accounts/3/conversations/7/messages", body))
    assert found
    assert fault in found[0]


def operation(published: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    """What is described under the path whose pattern *path* is."""
    for pattern, methods in published["paths"].items():
        if method in methods and re.fullmatch(re.sub(r"\{\w+\}", "[0-9]+", pattern), path):
            found: dict[str, Any] = methods[method]
            return found
    raise AssertionError(f"{method} {path} is not described")


def of_the_query(published: dict[str, Any], path: str, query: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the parameters."""
    described = [resolved(published, one) for one in operation(published, "get", path).get("parameters", ())]
    yield from (f"{name} is not described" for name in query.keys() - {one["name"] for one in described} - UNDESCRIBED)


def of_the_body(published: dict[str, Any], path: str, body: Any) -> Iterator[str]:
    """What is wrong with a body: of JSON, or of a form, whose files the simulator shows as `attachments`."""
    content = operation(published, "post", path)["requestBody"]["content"]
    if "attachments" in body:
        schema = resolved(published, content["multipart/form-data"]["schema"])
        body = {("attachments[]" if name == "attachments" else name): value for name, value in body.items()}
        body["attachments[]"] = ["file"]
    else:
        schema = resolved(published, content["application/json"]["schema"])
    yield from (f"{name} is not described" for name in body.keys() - schema["properties"].keys())
    yield from wrong(published, schema, body, "")


def wrong(published: dict[str, Any], schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    """Where *value* is not what *schema* says. An absent value may be null: Rails makes no difference."""
    schema = resolved(published, schema)
    kinds = TYPES.get(schema.get("type", ""))
    if value is None or kinds is None:
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{at} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is none of {schema['enum']}"
    if isinstance(value, dict):
        yield from (f"{at}.{name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, inner in schema.get("properties", {}).items():
            yield from wrong(published, inner, value.get(name), f"{at}.{name}")
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from wrong(published, schema.get("items", {}), one, f"{at}[{number}]")


def resolved(published: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """*schema*, or what it refers to."""
    while "$ref" in schema:
        found: Any = published
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema
