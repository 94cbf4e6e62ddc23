"""What the sender of Chatwoot does, against its simulator over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession

from adapters.channel import FAILURES_TO_OPEN, Channel
from adapters.chatwoot.sender import ChatwootSender
from adapters.http import open_session
from adapters.ports import FetchedFile
from daemon.sandbox.chatwoot import ChatwootSandbox
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    LeaseLost,
    NotSent,
    OutsideWindow,
    Refused,
    Transient,
    Uncertain,
)
from schemas.messages import Choice, Choices, Content, Media, Reaction, Taken, Text
from schemas.phone import Phone
from tests.support.chatwoot_sending import CONFIRMATION, TEMPLATES, TEXT, FakeFiles, actions, is_safe, sender_on, to
from tests.support.sending import OUR_ID, PHONE, Claims, message, sends

URL = "https://files.example.test/visa.pdf"
PDF = FetchedFile("visa.pdf", "application/pdf", b"%PDF-1.7 canary")
JPEG = FetchedFile("front.jpg", "image/jpeg", b"\xff\xd8\xff canary")
TWO = (Choice("Keep", "keep"), Choice("Drop", "drop"))
MARKED = {"ferryman_message_id": str(OUR_ID)}


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.templates = TEMPLATES
        running.account.receive(PHONE.e164, "hello")
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def sender(sandbox: ChatwootSandbox, session: ClientSession) -> ChatwootSender:
    return sender_on(sandbox, session, files=FakeFiles(PDF))


@pytest.fixture
def claims(sandbox: ChatwootSandbox) -> Claims:
    return Claims(sandbox.ledger)


async def failing(sender: ChatwootSender, claims: Claims, content: Content = TEXT) -> FerrymanError:
    """The error of one send."""
    with pytest.raises(FerrymanError) as caught:
        await sender.send(message(content), claims)
    assert is_safe(caught.value)
    return caught.value


# what is sent

KEEP_OR_DROP = [{"title": "Keep", "value": "keep"}, {"title": "Drop", "value": "drop"}]


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (TEXT, {"content": "Your visa is ready", "content_attributes": MARKED}),
        (
            Choices("Keep it?", TWO),
            {
                "content": "Keep it?",
                "content_type": "input_select",
                "content_attributes": MARKED
                | {"items": KEEP_OR_DROP, "quick_reply": {"type": "quick_reply", "values": KEEP_OR_DROP}},
            },
        ),
        (
            CONFIRMATION,
            {
                "content": "Thank you, Noa!",
                "content_attributes": MARKED,
                "template_params": {
                    "name": "order_confirmation",
                    "language": "en_US",
                    "category": "UTILITY",
                    "processed_params": {"body": {"1": "Noa"}},
                },
            },
        ),
    ],
    ids=["text", "choices", "template"],
)
async def test_each_kind_of_content_is_sent_in_one_call(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims, content: Content, held: dict[str, Any]
) -> None:
    taken = await sender.send(message(content), claims)
    (made,) = sandbox.sent()
    assert taken == Taken(str(made.id))
    assert (made.status, made.source_id) == ("sent", f"wamid.{made.id}")
    _, body = sandbox.bodies[-1]
    assert body == held | {"message_type": "outgoing", "private": False}
    assert (claims.sent_before, sends(sandbox.ledger)) == ([0], 1)


@pytest.mark.parametrize(
    ("content", "file", "caption", "kept"),
    [
        (Media(URL, "document", "Visa", "Noa.pdf"), PDF, "Visa", ("Noa.pdf", "application/pdf")),
        (Media(URL, "document"), PDF, None, ("visa.pdf", "application/pdf")),
        (Media(URL, "document"), JPEG, None, ("front.jpg", "application/octet-stream")),
        (Media(URL, "image", "Front"), JPEG, "Front", ("front.jpg", "image/jpeg")),
        (Media(URL, "audio"), FetchedFile("a.ogg", "audio/ogg; codecs=opus", b"Ogg"), None, ("a.ogg", "audio/ogg")),
    ],
    ids=["document", "without a caption", "a picture as a document", "image", "audio"],
)
async def test_a_file_is_fetched_before_the_claim_and_sent_as_an_attachment(
    sandbox: ChatwootSandbox,
    session: ClientSession,
    claims: Claims,
    content: Media,
    file: FetchedFile,
    caption: str | None,
    kept: tuple[str, str],
) -> None:
    files = FakeFiles(file)
    await sender_on(sandbox, session, files=files).send(message(content), claims)
    (made,) = sandbox.sent()
    assert (made.content, made.content_attributes) == (caption, MARKED)
    assert made.attachments == [(*kept, file.body)]
    assert (files.fetched[0][0], claims.sent_before) == (URL, [0])


@pytest.mark.parametrize(
    ("content", "file", "error"),
    [
        (Media(URL, "image"), PDF, None),
        (Media(URL, "video"), JPEG, None),
        (Media(URL, "image"), JPEG, Refused("the file is not there")),
    ],
)
async def test_a_file_that_cannot_go_out_is_refused_before_the_claim(
    sandbox: ChatwootSandbox,
    session: ClientSession,
    claims: Claims,
    content: Media,
    file: FetchedFile,
    error: FerrymanError | None,
) -> None:
    sender = sender_on(sandbox, session, files=FakeFiles(file, error))
    assert isinstance(await failing(sender, claims, content), Refused)
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [])


async def test_without_a_way_to_fetch_files_none_is_sent_and_nothing_is_called(
    sandbox: ChatwootSandbox, session: ClientSession, claims: Claims
) -> None:
    error = await failing(sender_on(sandbox, session), claims, Media(URL, "document"))
    assert (type(error), error.code) == (Refused, "no-files")
    assert (sandbox.ledger.entries, claims.sent_before) == ([], [])


@pytest.mark.parametrize("content", [Text("{{contact.name}} {% if a %}"), Text("`{{contact.name}}` {{x}} {")])
async def test_a_text_arrives_as_it_was_written(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims, content: Text
) -> None:
    await sender.send(message(content), claims)
    (made,) = sandbox.sent()
    assert made.content is not None
    assert made.content.replace("\\", "") == content.body


async def test_the_token_is_asked_for_at_each_call(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    account = {"api_access_token": "old", "url": f"{sandbox.url}/"}
    sender = sender_on(sandbox, session, account=account)
    account["api_access_token"] = sandbox.token
    assert await sender.send(message(TEXT), Claims(sandbox.ledger))


# what is refused before it is queued


ROWS = [Choice(f"Row {n}", f"r{n}") for n in range(10)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (Text("x" * 4096), None),
        (Text("x" * 4097), "4097 characters, and at most 4096"),
        (Text(" \n"), "empty"),
        (Media("ftp://files.example.test/a", "image"), "https://"),
        (Media("https://[", "image"), "https://"),
        (Media(URL, "audio", "Listen"), "audio has no caption"),
        (Media(URL, "document", "x" * 1025), "caption has 1025"),
        (Choices("Pick", []), "0 choices"),
        (Reaction("7", "👍"), "no call for reactions"),
        (Choices(" ", TWO), "empty"),
        (Choices("Pick", [Choice("x" * 20, "v" * 256)]), None),
        (Choices("Pick", [Choice("x" * 21, "v")]), "title of a choice has 21"),
        (Choices("Pick", [Choice("x", "v" * 257)]), "value of a choice has 257"),
        (Choices("Pick", [Choice("Same", "a"), Choice("same", "b")]), "same title"),
        (Choices("Pick", [Choice("a", "same"), Choice("b", "same")]), "same value"),
        (Choices("Pick", [Choice(" ", "a")]), "empty"),
        (Choices("Pick", ROWS), None),
        (Choices("Pick", [*ROWS, Choice("11", "11")]), "11 choices"),
        (Choices("Pick", [*ROWS[:4], Choice("x" * 24, "v" * 200)]), None),
        (Choices("Pick", [*ROWS[:4], Choice("x" * 25, "v")]), "title of a choice has 25"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_whatsapp_cannot_carry_is_refused_with_a_reason_and_nothing_is_called(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims, content: Content, why: str | None
) -> None:
    refusal = sender.refusal(content)
    if why is None:
        assert refusal is None
        await sender.send(message(content), claims)
        assert len(sandbox.sent()) == 1
        return
    assert refusal is not None
    assert why in refusal
    assert isinstance(await failing(sender, claims, content), Refused)
    assert (sandbox.ledger.entries, claims.sent_before) == ([], [])


# the window


@pytest.mark.parametrize(
    "content", [TEXT, Choices("Keep it?", TWO), Media(URL, "document")], ids=["text", "choices", "file"]
)
async def test_outside_the_window_nothing_but_templates_is_sent(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims, content: Content
) -> None:
    for one in sandbox.account.conversations.values():
        one.messages[0].created_at -= 24 * 3600
    error = await failing(sender, claims, content)
    assert type(error) is OutsideWindow
    assert "window" in str(error)
    assert (sends(sandbox.ledger), claims.sent_before) == (0, [])
    await sender.send(message(CONFIRMATION), claims)
    assert [one.status for one in sandbox.sent()] == ["sent"]


async def test_a_window_that_closes_is_seen_although_the_conversation_is_remembered(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims
) -> None:
    await sender.send(message(TEXT), claims)
    for one in sandbox.account.conversations.values():
        one.messages[0].created_at -= 24 * 3600
    assert type(await failing(sender, claims)) is OutsideWindow


# what an answer means

CODES = [
    (400, "Wrong", Refused),
    (401, "You are not authorized to do this action", Transient),
    (402, "Payment required", Transient),
    (403, "API access is not enabled for this account", Transient),
    (404, "Resource could not be found", Transient),
    (408, "Timeout", Transient),
    (409, "Conflict", Refused),
    (413, "Too large", Refused),
    (422, "Validation failed: Noa is invalid", Refused),
    (422, "Validation failed: Too many messages", Transient),
    (422, "Error connecting to Redis on localhost:6379", Uncertain),
    (422, "PG::ConnectionBad: connection is closed", Uncertain),
    (422, "execution expired: Timeout::Error", Uncertain),
    (429, "Retry later", Transient),
    (500, "Noa has +972 50-555-0142", Uncertain),
    (502, "Noa has +972 50-555-0142", Uncertain),
    (503, "Noa has +972 50-555-0142", Uncertain),
    (599, "Noa has +972 50-555-0142", Uncertain),
]


@pytest.mark.parametrize(("status", "text", "expected"), CODES)
async def test_each_status_has_its_class(
    sender: ChatwootSender,
    sandbox: ChatwootSandbox,
    claims: Claims,
    status: int,
    text: str,
    expected: type[FerrymanError],
) -> None:
    """401, 402 and 403 while the inbox can be read are this message's own, as a role may be narrow."""
    kind = "limited" if status == 429 else "error"
    sandbox.faults.add(kind, path="/messages", method="POST", status=status, message=text)  # type: ignore[arg-type]
    error = await failing(sender, claims)
    assert type(error) is expected
    assert getattr(error, "limited", False) is (status == 429)
    assert (error.channel, error.operation) == ("chatwoot", "write")
    assert (claims.sent_before, sends(sandbox.ledger)) == ([0], 1)


async def test_a_rate_that_is_refused_is_asked_again_in_the_next_minute_of_the_clock(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims
) -> None:
    sandbox.faults.add("limited", path="/messages", method="POST", times=1)
    error = await failing(sender, claims)
    assert isinstance(error, Transient)
    assert error.retry_after_s is not None
    assert 1 < error.retry_after_s <= 61
    assert isinstance(await failing(sender, claims), NotSent | Transient)
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 500, "performed": True},
        {"kind": "html", "status": 502, "performed": True},
        {"kind": "reset", "performed": True},
        {"kind": "hang", "seconds": 5},
        {"kind": "cut"},
        {"kind": "short"},
        {"kind": "raw", "performed": True, "body": ""},
        {"kind": "raw", "performed": True, "body": "[]"},
        {"kind": "raw", "performed": True, "body": "<html>canary</html>"},
        {"kind": "raw", "performed": True, "body": '{"id": null}'},
        {"kind": "raw", "performed": True, "body": '{"id": true}'},
        {"kind": "long", "size": 1024 * 1024 + 1},
    ],
    ids=str,
)
async def test_a_message_that_may_have_been_sent_is_uncertain_sent_once_and_found_by_its_mark(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(**fault, path="/messages", method="POST", times=1)
    assert type(await failing(sender, claims)) is Uncertain
    assert sandbox.sends() == {str(OUR_ID): 1}
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


async def test_a_service_that_is_not_there_is_transient(
    sandbox: ChatwootSandbox, session: ClientSession, claims: Claims
) -> None:
    assert type(await failing(sender_on(sandbox, session, account={"url": "http://127.0.0.1:1"}), claims)) is Transient
    assert claims.sent_before == []


@pytest.mark.parametrize(
    ("account", "role"),
    [
        ({"api_access_token": "wrong"}, "agent"),
        ({"account_id": "9"}, "agent"),
        ({"inbox_id": "99"}, "agent"),
        ({}, "bot"),
        ({}, "outsider"),
    ],
    ids=str,
)
async def test_a_wrong_account_stops_the_channel_and_claims_nothing(
    sandbox: ChatwootSandbox, session: ClientSession, account: dict[str, str], role: str
) -> None:
    sandbox.switches.role = role
    sender, claims = sender_on(sandbox, session, account=account), Claims(sandbox.ledger)
    for _ in range(2):
        with pytest.raises(FerrymanError) as caught:
            await sender.send(to(Phone("+46701740605"), CONFIRMATION), claims)
    assert type(caught.value) is ChannelClosed
    assert sends(sandbox.ledger) == 0


async def test_a_token_without_the_inbox_stops_the_channel_at_the_message(
    sender: ChatwootSender, sandbox: ChatwootSandbox, claims: Claims
) -> None:
    sandbox.switches.role = "outsider"
    assert type(await failing(sender, claims)) is ChannelDown
    assert type(await failing(sender, claims)) is ChannelClosed
    assert (sends(sandbox.ledger), sandbox.sent()) == (1, [])


# the claim


@pytest.mark.parametrize("error", [NotSent("canceled"), LeaseLost("lost"), RuntimeError("a fault of ours")])
async def test_what_the_claim_raises_stops_the_send(
    sender: ChatwootSender, sandbox: ChatwootSandbox, error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        await sender.send(message(TEXT), Claims(sandbox.ledger, error))
    assert caught.value is error
    assert (sends(sandbox.ledger), sandbox.sent()) == (0, [])


async def test_failures_in_a_row_open_the_breaker_and_then_nothing_is_claimed(
    sandbox: ChatwootSandbox, session: ClientSession, claims: Claims
) -> None:
    sandbox.faults.add("html", path="/messages", method="POST")
    sender = sender_on(sandbox, session, channel=Channel("chatwoot"))
    for n in range(FAILURES_TO_OPEN):
        phone = Phone(f"+97250555{n:04d}")
        sandbox.account.receive(phone.e164, "hello")
        with pytest.raises(Uncertain):
            await sender.send(to(phone), claims)
    assert type(await failing(sender, claims)) is ChannelClosed
    assert sends(sandbox.ledger) == len(claims.sent_before) == FAILURES_TO_OPEN


@pytest.mark.parametrize("kind", ["error", "reset", "html", "cut", "hang", "refused"])
async def test_whatever_goes_wrong_a_message_is_stored_at_most_once(
    sandbox: ChatwootSandbox, session: ClientSession, claims: Claims, kind: str
) -> None:
    sender, doubted = sender_on(sandbox, session), 0
    count = 4 if kind == "hang" else 25
    for n in range(count):
        phone, id = Phone(f"+97250555{n:04d}"), UUID(int=n + 1)
        sandbox.account.receive(phone.e164, "hello")
        if kind == "refused":
            sandbox.faults.add("error", path="/messages", method="POST", status=422, message="no", times=1)
        else:
            sandbox.faults.add(kind, path="/messages", method="POST", performed=n % 2 == 0, times=1)  # type: ignore[arg-type]
        try:
            await sender.send(to(phone, id=id), claims)
        except Uncertain:
            doubted += 1
        except Refused:
            assert kind == "refused"
        sandbox.faults.clear()
        await sender.send(to(phone, id=UUID(int=1000 + n)), claims)  # one that is answered, so that no breaker opens
    stored = sandbox.sends()
    assert max(stored.values()) == 1
    assert doubted == (0 if kind == "refused" else count)
    assert actions(sandbox).count("create") == 0
