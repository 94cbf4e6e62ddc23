"""What the sender of Whapi does, against its simulator over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.channel import DOWN_PROBE_S, FAILURES_TO_OPEN, Channel
from adapters.http import open_session
from adapters.ports import ReadMarker, Sender
from adapters.redis.limits import RateLimiter
from adapters.registry import SENDERS
from daemon.sandbox.whapi import WhapiSandbox
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    LeaseLost,
    NotSent,
    Refused,
    Transient,
    Uncertain,
)
from schemas.messages import Choice, Choices, Content, Media, Reaction, Taken, Template, Text
from schemas.phone import Phone
from tests.support.gates import gate_on
from tests.support.made_up_files import NO_FILES
from tests.support.sending import PHONE, Claims, message, sends

TEXT = Text("Your visa is ready")
URL = "https://files.example.test/visa.pdf"
PRIVATE = (PHONE.digits, "5550142", "visa is ready", "sandbox-channel-token", "555-0142", "Noa", "canary")
TWO = (Choice("Keep", "keep"), Choice("Drop", "drop"))


@pytest.fixture
async def sandbox() -> AsyncIterator[WhapiSandbox]:
    async with WhapiSandbox() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def sender_on(
    sandbox: WhapiSandbox,
    session: ClientSession,
    *,
    url: str | None = None,
    token: str | None = None,
    channel: Channel | None = None,
) -> Sender:
    limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
    gate = gate_on(session, limiter=limiter, channel=channel or Channel("whapi"), timeout_s=2.0)
    account = {"url": url or sandbox.url, "token": token or sandbox.token}
    return SENDERS["whapi"]()(gate, account=lambda: account, public_url=None, files=NO_FILES)


@pytest.fixture
def sender(sandbox: WhapiSandbox, session: ClientSession) -> Sender:
    return sender_on(sandbox, session)


@pytest.fixture
def claims(sandbox: WhapiSandbox) -> Claims:
    return Claims(sandbox.ledger)


async def failing(sender: Sender, claims: Claims, content: Content = TEXT) -> FerrymanError:
    """The error of one send; its text must hold nothing personal."""
    with pytest.raises(FerrymanError) as caught:
        await sender.send(message(content), claims)
    error = caught.value
    assert not any(part in f"{error.full_text} {error!r} {error.__cause__!r}" for part in PRIVATE)
    assert error.__suppress_context__ or error.__context__ is None
    return error


# what is sent


@pytest.mark.parametrize(
    ("content", "kind", "held"),
    [
        (TEXT, "text", {"body": "Your visa is ready"}),
        (Media(URL, "image", "Front"), "image", {"media": URL, "caption": "Front"}),
        (Media(URL, "video"), "video", {"media": URL}),
        (Media(URL, "audio"), "audio", {"media": URL}),
        (
            Media(URL, "document", "Visa", "visa.pdf"),
            "document",
            {"media": URL, "caption": "Visa", "filename": "visa.pdf"},
        ),
        (
            Choices("Keep it?", TWO),
            "interactive",
            {
                "type": "button",
                "body": {"text": "Keep it?"},
                "action": {
                    "buttons": [
                        {"type": "quick_reply", "title": "Keep", "id": "keep"},
                        {"type": "quick_reply", "title": "Drop", "id": "drop"},
                    ]
                },
            },
        ),
        (
            Choices("Pick", [Choice(f"0{n}:00", f"m{n}") for n in range(4)]),
            "interactive",
            {
                "type": "list",
                "body": {"text": "Pick"},
                "action": {
                    "list": {
                        "label": "☰",
                        "sections": [{"rows": [{"id": f"m{n}", "title": f"0{n}:00"} for n in range(4)]}],
                    }
                },
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_kind_of_content_is_sent_in_one_call(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims, content: Content, kind: str, held: dict[str, Any]
) -> None:
    taken = await sender.send(message(content), claims)
    (kept,) = sandbox.messages.taken
    assert (kept["type"], kept["chat_id"], kept[kind]) == (kind, f"{PHONE.digits}@s.whatsapp.net", held)
    assert taken == Taken(kept["id"], wa_id=PHONE.digits)
    assert claims.sent_before == [0]
    assert len(sandbox.ledger.entries) == 1


@pytest.mark.parametrize("emoji", ["👍", ""])
async def test_a_reaction_is_put_on_its_message_in_one_claimed_call(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims, emoji: str
) -> None:
    sandbox.messages.heard.add("Psq/IN-01")  # what is in a path is quoted
    assert await sender.send(message(Reaction("Psq/IN-01", emoji)), claims) == Taken(None)
    assert sandbox.messages.reactions == {"Psq/IN-01": emoji}
    assert (claims.sent_before, len(sandbox.ledger.entries)) == ([0], 1)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "reset", "performed": True}, Uncertain),
        ({"kind": "raw", "body": '{"sent": true}'}, Uncertain),
        ({"kind": "raw", "body": '{"success": false}'}, Refused),
        (None, Refused),
    ],
    ids=str,
)
async def test_a_reaction_that_is_not_answered_well_is_in_doubt_or_refused(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims, fault: dict[str, Any] | None, expected: type[FerrymanError]
) -> None:
    if fault is not None:
        sandbox.messages.heard.add("Psq-IN01")
        sandbox.faults.add(**fault, times=1)
    assert type(await failing(sender, claims, Reaction("Psq-IN01", "👍"))) is expected


async def test_a_message_is_marked_as_read_and_done_twice_does_no_harm(
    sandbox: WhapiSandbox, session: ClientSession
) -> None:
    marker = sender_on(sandbox, session)
    assert isinstance(marker, ReadMarker)
    sandbox.messages.heard.add("Psq-IN01")
    for _ in range(2):
        await marker.mark_read("Psq-IN01")
    assert sandbox.messages.read == ["Psq-IN01"] * 2
    with pytest.raises(Refused):
        await marker.mark_read("Psq-none")
    for fault in ({"kind": "html", "status": 502}, {"kind": "raw", "body": "{}"}):
        sandbox.faults.add(**fault, times=1)
        with pytest.raises(Transient):
            await marker.mark_read("Psq-IN01")
    sandbox.faults.add("raw", body='{"success": false}', times=1)
    with pytest.raises(Refused):
        await marker.mark_read("Psq-IN01")


async def test_a_mark_that_whapi_answers_404_stops_no_channel_that_is_there(
    sandbox: WhapiSandbox, session: ClientSession
) -> None:
    channel = Channel("whapi")
    marker = sender_on(sandbox, session, channel=channel)
    assert isinstance(marker, ReadMarker)
    sandbox.faults.add("error", path="/messages/", code=404, status=404, message="Not found", times=1)
    with pytest.raises(Transient):
        await marker.mark_read("Psq-IN01")
    assert channel.closed


async def test_the_id_of_whatsapp_is_the_one_that_whapi_has_found(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims
) -> None:
    answer = '{"sent": true, "message": {"id": "P-1", "chat_id": "5215512345678@s.whatsapp.net"}}'
    sandbox.faults.add("raw", body=answer, times=1)
    assert await sender.send(message(TEXT), claims) == Taken("P-1", wa_id="5215512345678")
    sandbox.faults.add("raw", body='{"message": {"id": "P-2", "chat_id": "100000000000042@lid"}}', times=1)
    assert await sender.send(message(TEXT), claims) == Taken("P-2", wa_id=None)


async def test_the_token_is_asked_for_at_each_call(
    sandbox: WhapiSandbox, session: ClientSession, claims: Claims
) -> None:
    account = {"url": f"{sandbox.url}/", "token": "old"}
    sender = SENDERS["whapi"]()(gate_on(session), account=lambda: account, public_url=None, files=NO_FILES)
    account["token"] = sandbox.token
    assert (await sender.send(message(TEXT), claims)).provider_id is not None


# what is refused before it is queued


ROWS = [Choice(f"Row {n}", f"r{n}") for n in range(10)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (Text("x" * 4096), None),
        (Text("x" * 4097), "4097 characters, and at most 4096"),
        (Text(" \n"), "empty"),
        (Template("visa_ready", "en"), "no templates"),
        (Media("ftp://files.example.test/a", "image"), "https://"),
        (Media("files/a.jpg", "image"), "https://"),
        (Media(URL, "audio", "Listen"), "audio has no caption"),
        (Media(URL, "image", "x" * 1024), None),
        (Media(URL, "image", "x" * 1025), "caption has 1025"),
        (Choices("Pick", []), "no choices"),
        (Choices(" ", TWO), "empty"),
        (Choices("x" * 1025, TWO), "1025 characters"),
        (Choices("Pick", [Choice("x" * 20, "v" * 256)]), None),
        (Choices("Pick", [Choice("x" * 21, "v")]), "title of choice 1 has 21"),
        (Choices("Pick", [Choice("x", "v" * 257)]), "value of choice 1 has 257"),
        (Choices("Pick", [Choice("Same", "a"), Choice("Same", "b")]), "same title"),
        (Choices("Pick", [Choice("a", "same"), Choice("b", "same")]), "same value"),
        (Choices("Pick", [Choice(" ", "a")]), "no title"),
        (Choices("Pick", [Choice("a", "")]), "no title or no value"),
        (Choices("Pick", ROWS), None),
        (Choices("Pick", [*ROWS, Choice("11", "11")]), "11 choices"),
        (Choices("Pick", [*ROWS[:4], Choice("x" * 24, "v" * 200)]), None),
        (Choices("Pick", [*ROWS[:4], Choice("x" * 25, "v")]), "title of choice 5 has 25"),
        (Choices("Pick", [*ROWS[:4], Choice("x", "v" * 201)]), "value of choice 5 has 201"),
        (Reaction("Psq-IN01", "no"), "one emoji"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_whapi_cannot_carry_is_refused_with_a_reason_and_nothing_is_called(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims, content: Content, why: str | None
) -> None:
    refusal = sender.refusal(content)
    if why is None:
        assert refusal is None
        await sender.send(message(content), claims)
        assert len(sandbox.messages.taken) == 1
        return
    assert refusal is not None
    assert why in refusal
    assert isinstance(await failing(sender, claims, content), Refused)
    assert (sandbox.ledger.entries, claims.sent_before) == ([], [])


# what an answer means

CODES = [
    (400, "Wrong request parameters", Refused),
    (401, "Unauthorized", ChannelDown),
    (402, "Trial version limit exceeded", ChannelDown),
    (403, "Forbidden", ChannelDown),
    (404, "Channel not found", ChannelDown),
    (404, "Specified chat not found", Refused),
    (404, "Media not found", Refused),
    (405, "Method not allowed", ChannelDown),
    (408, "Timeout", Transient),
    (409, "Conflict", Refused),
    (413, "Too large", Refused),
    (415, "Unsupported type", Refused),
    (429, "Too many requests", Transient),
    (500, "Noa has +972 50-555-0142", Uncertain),
    (502, "Noa has +972 50-555-0142", Uncertain),
    (503, "Noa has +972 50-555-0142", Uncertain),
    (599, "Noa has +972 50-555-0142", Uncertain),
]


@pytest.mark.parametrize("inside", [False, True], ids=["status", "inside a 200"])
@pytest.mark.parametrize(("code", "text", "expected"), CODES)
async def test_each_code_has_its_class_whatever_the_status(
    sender: Sender,
    sandbox: WhapiSandbox,
    claims: Claims,
    code: int,
    text: str,
    expected: type[FerrymanError],
    inside: bool,
) -> None:
    how = {"code": code, "status": 200 if inside else code, "message": text}
    sandbox.faults.add("error", **how)
    error = await failing(sender, claims)
    assert isinstance(error, expected)
    assert isinstance(error, Transient) and error.limited if code == 429 else not getattr(error, "limited", False)
    assert (error.channel, error.operation) == ("whapi", "write")
    assert claims.sent_before == [0]
    assert sends(sandbox.ledger) == 1


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
        {"kind": "raw", "performed": True, "body": '{"sent": true}'},
        {"kind": "raw", "performed": True, "body": '{"sent": true, "message": {"id": " "}}'},
        {"kind": "raw", "performed": True, "body": '{"sent": true, "message": {"id": 7}}'},
        {"kind": "raw", "performed": True, "body": '{"sent": true, "message": "canary"}'},
        {"kind": "raw", "performed": True, "body": '{"error": {"message": "Noa"}}'},
        {"kind": "long", "size": 1024 * 1024 + 1},
    ],
    ids=str,
)
async def test_a_message_that_may_have_been_sent_is_uncertain_and_sent_once(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(**fault)
    assert type(await failing(sender, claims)) is Uncertain
    assert len(sandbox.messages.taken) == 1
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


async def test_a_success_that_says_that_nothing_was_sent_is_none(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims
) -> None:
    sandbox.faults.add("raw", body='{"sent": false, "message": {"id": "P-1"}}')
    assert isinstance(await failing(sender, claims), Refused)


async def test_a_service_that_is_not_there_is_transient(
    sandbox: WhapiSandbox, session: ClientSession, claims: Claims
) -> None:
    assert type(await failing(sender_on(sandbox, session, url="http://127.0.0.1:1"), claims)) is Transient


async def test_a_refusal_of_the_rate_pauses_the_channel_and_then_nothing_is_claimed(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims
) -> None:
    sandbox.faults.add("limited", times=1, retry_after="7")
    error = await failing(sender, claims)
    assert isinstance(error, Transient)
    assert (error.limited, error.retry_after_s) == (True, 7.0)
    assert isinstance(await failing(sender, claims), Transient)
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


async def test_a_404_of_unknown_words_is_the_channel_s_fault_where_the_channel_itself_is_not_found(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims
) -> None:
    """Promise: one message that Whapi does not find a chat for never stops the others."""
    sandbox.faults.add("error", path="/messages/", code=404, status=404, message="Not found", times=2)
    error = await failing(sender, claims)
    assert (type(error), error.code) == (Transient, "http-404")
    sandbox.faults.add("error", path="/health", code=404, status=404, message="Not found")
    assert isinstance(await failing(sender, claims), ChannelDown)
    assert type(await failing(sender, claims)) is ChannelClosed
    assert (sends(sandbox.ledger), claims.sent_before) == (2, [0, 1])


async def test_a_plan_that_is_used_up_or_a_text_about_a_chat_changes_no_class(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims
) -> None:
    sandbox.faults.add("error", code=404, status=404, message="Specified chat not found", times=1)
    assert isinstance(await failing(sender, claims, Text("Let us chat about your channel")), Refused)
    sandbox.faults.add("error", path="/messages/", code=402, status=402, message="Trial version limit exceeded")
    assert isinstance(await failing(sender, claims), ChannelDown)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_token_that_is_not_known_stops_the_channel(
    sandbox: WhapiSandbox, session: ClientSession, claims: Claims, status: int
) -> None:
    sandbox.switches.bad_token = status
    sender = sender_on(sandbox, session, token="wrong")
    assert isinstance(await failing(sender, claims), ChannelDown)
    assert type(await failing(sender, claims)) is ChannelClosed
    assert (sends(sandbox.ledger), claims.sent_before) == (1, [0])


async def test_a_plan_that_is_used_up_stops_the_channel(sender: Sender, sandbox: WhapiSandbox, claims: Claims) -> None:
    sandbox.switches.sends_left = 1
    await sender.send(message(TEXT), claims)
    assert isinstance(await failing(sender, claims), ChannelDown)
    assert len(sandbox.messages.taken) == 1


# the claim


@pytest.mark.parametrize("error", [NotSent("canceled"), LeaseLost("lost"), RuntimeError("a fault of ours")])
async def test_what_the_claim_raises_stops_the_send(sender: Sender, sandbox: WhapiSandbox, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await sender.send(message(TEXT), Claims(sandbox.ledger, error))
    assert caught.value is error
    assert sandbox.ledger.entries == []


async def test_failures_in_a_row_open_the_breaker_and_then_nothing_is_claimed(
    sandbox: WhapiSandbox, session: ClientSession, claims: Claims
) -> None:
    sandbox.faults.add("html", path="/messages/")
    sender = sender_on(sandbox, session)
    for n in range(FAILURES_TO_OPEN):
        with pytest.raises(Uncertain):
            await sender.send(message(TEXT, to=Phone(f"+97250555{n:04d}")), claims)
    assert type(await failing(sender, claims)) is ChannelClosed
    assert sends(sandbox.ledger) == len(claims.sent_before) == FAILURES_TO_OPEN


# a channel that has lost its phone


async def test_a_channel_without_its_phone_leaves_one_message_in_doubt_and_the_others_wait(
    sandbox: WhapiSandbox, session: ClientSession, claims: Claims
) -> None:
    clock = [100.0]
    channel = Channel("whapi", lambda: clock[0])
    sender = sender_on(sandbox, session, channel=channel)
    await sender.send(message(TEXT), claims)
    assert [entry.action for entry in sandbox.ledger.entries] == ["send"], "while all goes well nothing is looked at"
    sandbox.switches.state = "QR"
    assert type(await failing(sender, claims)) is Uncertain
    error = await failing(sender, claims)
    assert (type(error), error.code) == (ChannelDown, "state-qr")
    assert "QR" in str(error)
    assert type(await failing(sender, claims)) is ChannelClosed
    assert (sends(sandbox.ledger), len(claims.sent_before)) == (2, 2)
    sandbox.switches.state = "AUTH"
    clock[0] += DOWN_PROBE_S
    await sender.send(message(TEXT), claims)
    await sender.send(message(TEXT), claims)
    assert [entry.action for entry in sandbox.ledger.entries].count("health") == 2
    assert len(sandbox.messages.taken) == 3


@pytest.mark.parametrize(
    "health",
    [
        {"kind": "raw", "body": "{}"},
        {"kind": "raw", "body": '{"status": {"text": "brand new"}}'},
        {"kind": "raw", "body": '{"status": "AUTH"}'},
        {"kind": "raw", "status": 404, "body": "<html>no such page</html>"},
        {"kind": "error", "status": 404, "message": "Not found"},
        {"kind": "error", "status": 400, "code": 400},
    ],
    ids=str,
)
async def test_a_look_that_tells_nothing_stops_nothing(
    sender: Sender, sandbox: WhapiSandbox, claims: Claims, health: dict[str, Any]
) -> None:
    sandbox.faults.add("reset", method="POST", times=1)
    assert type(await failing(sender, claims)) is Uncertain
    sandbox.faults.add(method="GET", **health)
    assert (await sender.send(message(TEXT), claims)).provider_id is not None
