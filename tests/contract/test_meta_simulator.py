"""The simulator of Meta's Cloud API refuses what Meta refuses, or nothing that is tested against it would mean much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, FormData, web
from aiohttp.test_utils import TestServer

from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_chats import OLDEST_S
from daemon.sandbox.meta_templates import definition
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.support.until import until

TO = "972505550142"
TEXT = {"type": "text", "text": {"body": "hello"}}


@pytest.fixture
async def sandbox() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as running:
        yield running


async def ask(sandbox: MetaSandbox, body: Any, *, token: str | None = None, path: str | None = None) -> Any:
    """The code of the error that *body* is answered with; None where it is taken."""
    url = f"{sandbox.url}/{path or PHONE_NUMBER_ID}/messages"
    headers = {"Authorization": f"Bearer {token or sandbox.token}"}
    async with ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        told = await answer.json()
        assert (answer.status == 200) is ("messages" in told)
        return told["error"]["code"] if "error" in told else None


def to(body: dict[str, Any], person: str = TO, **members: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "to": f"+{person}", **body, **members}


def buttons(*replies: tuple[str, str]) -> dict[str, Any]:
    items = [{"type": "reply", "reply": {"id": id, "title": title}} for id, title in replies]
    question = {"type": "button", "body": {"text": "?"}, "action": {"buttons": items}}
    return {"type": "interactive", "interactive": question}


def rows(*sections: int, label: str = "Open") -> dict[str, Any]:
    made = [
        {"rows": [{"id": f"{s}-{n}", "title": f"{s}-{n}"} for n in range(count)]} for s, count in enumerate(sections)
    ]
    question = {"type": "list", "body": {"text": "?"}, "action": {"button": label, "sections": made}}
    return {"type": "interactive", "interactive": question}


def template(*texts: str, name: str = "parcel_ready", language: str = "en_US") -> dict[str, Any]:
    body = {"type": "body", "parameters": [{"type": "text", "text": text} for text in texts]}
    return {"type": "template", "template": {"name": name, "language": {"code": language}, "components": [body]}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (to(TEXT), None),
        (to(TEXT) | {"messaging_product": "sms"}, 100),
        (to(TEXT) | {"to": None}, 100),
        (to(TEXT) | {"to": "noa"}, 100),
        (to({"type": "poem", "poem": {}}), 100),
        (to({"type": "text", "text": "hello"}), 100),
        (to({"type": "text", "text": {"body": ""}}), 131009),
        (to({"type": "text", "text": {"body": "x" * 4097}}), 131009),
        (to(TEXT, biz_opaque_callback_data="x" * 513), 131009),
        (to({"type": "image", "image": {"caption": "x"}}), 131009),
        (to({"type": "image", "image": {"link": "/a.jpg"}}), 131009),
        (to({"type": "audio", "audio": {"link": "https://cdn.example.test/a", "caption": "x"}}), 131009),
        (to({"type": "document", "document": {"id": "7", "caption": "x" * 1025}}), 131009),
        (to({"type": "reaction", "reaction": {"emoji": "x"}}), 131009),
        (to(buttons(*((str(n), str(n)) for n in range(3)))), None),
        (to(buttons(*((str(n), str(n)) for n in range(4)))), 131009),
        (to(buttons()), 131009),
        (to(buttons(("a", "Keep"), ("b", "Keep"))), 131009),
        (to(buttons(("a", "Keep"), ("a", "Drop"))), 131009),
        (to(buttons(("a", "x" * 21))), 131009),
        (to(rows(5, 5)), None),
        (to(rows(5, 6)), 131009),
        (to(rows(1, label="x" * 21)), 131009),
        (to(template("a", "b")), None),
        (to(template("two\nlines")), 131009),
        (to(template("five     blanks")), 131009),
        (to(template("")), 131009),
        ([1], 100),
    ],
    ids=str,
)
async def test_a_message_is_taken_or_refused_by_its_shape(sandbox: MetaSandbox, body: Any, code: int | None) -> None:
    assert await ask(sandbox, body) == code
    assert len(sandbox.sent) == (code is None)


async def test_a_wrong_token_or_number_takes_nothing(sandbox: MetaSandbox) -> None:
    assert await ask(sandbox, to(TEXT), token="EAAWrong") == 190
    assert await ask(sandbox, to(TEXT), path="999") == 100
    assert sandbox.sent == []


async def test_templates_are_those_of_the_account(sandbox: MetaSandbox) -> None:
    sandbox.switches.templates = [definition(body="{{1}} {{2}}")]
    assert await ask(sandbox, to(template("a", "b"))) is None
    assert await ask(sandbox, to(template("a"))) == 132000
    assert await ask(sandbox, to(template("a", "b", language="he"))) == 132001
    assert await ask(sandbox, to(template("a", "b", name="parcel"))) == 132001
    assert await ask(sandbox, to(TEXT)) is None


async def test_a_person_and_the_number_have_limits_of_their_own(sandbox: MetaSandbox) -> None:
    sandbox.switches.pair_burst = 2
    assert [await ask(sandbox, to(TEXT)) for _ in range(3)] == [None, None, 131056]
    assert await ask(sandbox, to(TEXT, "46701740606")) is None
    sandbox.switches.per_second = 0
    assert await ask(sandbox, to(TEXT, "46701740605")) == 130429


async def upload(
    sandbox: MetaSandbox, body: bytes, type: str, *, said: str | None = None, product: str = "whatsapp"
) -> Any:
    """What an upload is answered with. *said*: the type that it names beside that of the file."""
    form = FormData({"messaging_product": product, "type": said or type})
    form.add_field("file", body, filename="a", content_type=type)
    url, headers = f"{sandbox.url}/{PHONE_NUMBER_ID}/media", {"Authorization": f"Bearer {sandbox.token}"}
    async with ClientSession() as http, http.post(url, data=form, headers=headers) as answer:
        return await answer.json()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"body": b"x", "type": "application/zip"}, 100),
        ({"body": b"x", "type": "image/gif"}, 100),
        ({"body": b"x", "type": "image/png", "said": "image/jpeg"}, 100),
        ({"body": b"x", "type": "image/png", "product": "other"}, 100),
        ({"body": b"", "type": "image/png"}, 131053),
        ({"body": bytes(5 * 1024 * 1024 + 1), "type": "image/png"}, 131053),
    ],
)
async def test_a_file_that_meta_does_not_take_has_no_id(sandbox: MetaSandbox, how: dict[str, Any], code: int) -> None:
    assert (await upload(sandbox, **how))["error"]["code"] == code
    assert sandbox.media.taken == []


async def test_a_message_names_a_file_by_an_id_that_is_known_still(sandbox: MetaSandbox) -> None:
    id = (await upload(sandbox, bytes(5 * 1024 * 1024), "image/png"))["id"]
    header = {"type": "header", "parameters": [{"type": "image", "image": {"id": id}}]}
    with_header = template("Noa")
    with_header["template"]["components"].insert(0, header)
    for body in ({"type": "image", "image": {"id": id}}, with_header):
        assert await ask(sandbox, to(body)) is None
    sandbox.media.expire()
    for body in ({"type": "image", "image": {"id": id}}, with_header):
        assert await ask(sandbox, to(body)) == 100


async def test_a_mark_needs_a_message_that_somebody_has_written(sandbox: MetaSandbox) -> None:
    assert await ask(sandbox, to(TEXT)) is None
    sandbox.chats.note("wamid.theirs", TO, theirs=True)
    url, headers = f"{sandbox.url}/{PHONE_NUMBER_ID}/messages", {"Authorization": f"Bearer {sandbox.token}"}
    async with ClientSession() as http:
        for id, status in (("wamid.theirs", 200), (sandbox.sent[0].id, 400), ("wamid.none", 400)):
            body = {"messaging_product": "whatsapp", "status": "read", "message_id": id}
            async with http.post(url, json=body, headers=headers) as answer:
                assert answer.status == status
    assert sandbox.read == ["wamid.theirs"]


async def test_what_becomes_of_a_reaction_is_told_by_a_status(sandbox: MetaSandbox) -> None:
    told: list[Any] = []

    async def hear(request: web.Request) -> web.Response:
        told.extend((await request.json())["entry"][0]["changes"][0]["value"]["statuses"])
        return web.json_response({"event_ids": []}, status=202)

    app = web.Application()
    app.router.add_post("/webhooks/meta", hear)
    async with TestServer(app) as server:
        sandbox.callback_url = str(server.make_url("")).rstrip("/")
        for id, person in (("wamid.new", TO), ("wamid.old", TO), ("wamid.other", "972505550143")):
            sandbox.chats.note(id, person, theirs=True)
        sandbox.chats.said["wamid.old"].at -= OLDEST_S + 1
        for target in ("wamid.new", "wamid.old", "wamid.other", "wamid.none", "a reaction"):
            asked = {"message_id": sandbox.sent[0].id if target == "a reaction" else target, "emoji": "👍"}
            assert await ask(sandbox, to({"type": "reaction", "reaction": asked})) is None
            await until(lambda: len(told) == len(sandbox.sent))
        codes = [one.get("errors", [{}])[0].get("code") for one in told]
        assert ([one["status"] for one in told], codes) == (["sent"] + ["failed"] * 4, [None] + [131009] * 4)
