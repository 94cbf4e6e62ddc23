"""Messages through Twilio, against its simulator over real HTTP: what is sent, and what is refused before."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from adapters.http import open_session
from adapters.ports import Sender
from daemon.sandbox.twilio import TwilioSandbox
from daemon.sandbox.twilio_webhooks import NUMBER
from schemas.errors import Refused
from schemas.messages import Choice, Choices, Content, Media, Reaction, Template, Text
from tests.support.twilio_sending import PERSON, Claims, message, sender_on

PUBLIC_URL: Final = "https://ferryman.example"
SID: Final = "HX" + "0a" * 16
CHOICES: Final = Choices("Keep the slot?", (Choice("Keep", "keep"), Choice("Drop", "drop")))


@pytest.fixture
async def sandbox() -> AsyncIterator[TwilioSandbox]:
    async with TwilioSandbox() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def sender(session: ClientSession, sandbox: TwilioSandbox) -> Sender:
    return sender_on(session, sandbox)


# what is sent


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (Text("hello\nyou"), {"Body": "hello\nyou"}),
        (Text("x" * 1600), {"Body": "x" * 1600}),
        (Template(SID), {"ContentSid": SID}),
        (Template(SID, "he", {"1": "ש\n"}), {"ContentSid": SID, "ContentVariables": {"1": "ש\n"}}),
        (Template(SID, None, {"who": "Noa"}), {"ContentSid": SID, "ContentVariables": {"who": "Noa"}}),
        (Media("https://cdn.example/a.jpg?x=1", "image"), {"MediaUrl": "https://cdn.example/a.jpg?x=1"}),
        (
            Media("https://cdn.example/a.mp4", "video", "Front view"),
            {"MediaUrl": "https://cdn.example/a.mp4", "Body": "Front view"},
        ),
        (Media("https://cdn.example/a.pdf", "document", "", "bill.pdf"), {"MediaUrl": "https://cdn.example/a.pdf"}),
        (Media("https://cdn.example/a.ogg", "audio"), {"MediaUrl": "https://cdn.example/a.ogg"}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
async def test_a_message_is_one_form(
    session: ClientSession, sandbox: TwilioSandbox, content: Content, parts: dict[str, Any]
) -> None:
    sender, claims, sent = sender_on(session, sandbox, public_url=PUBLIC_URL), Claims(sandbox), message(content)
    sandbox.switches.outcomes[PERSON.e164] = "drop"
    assert sender.refusal(content) is None
    taken = await sender.send(sent, claims)
    (made,) = sandbox.made
    assert (taken.provider_id, taken.wa_id) == (made.sid, None)
    form: dict[str, Any] = dict(made.form)
    if "ContentVariables" in form:
        form["ContentVariables"] = json.loads(form["ContentVariables"])
    address = {
        "To": f"whatsapp:{PERSON.e164}",
        "From": f"whatsapp:{NUMBER}",
        "StatusCallback": f"{PUBLIC_URL}/webhooks/twilio?message={sent.id}",
    }
    assert form == address | parts
    assert claims.asked_before == [0], "the claim is awaited once, before the first byte"
    assert (len(sandbox.ledger.of("send", PERSON.digits)), sandbox.sends(str(sent.id))) == (1, 1)


async def test_without_a_public_address_twilio_is_not_told_where_to_report(
    sender: Sender, sandbox: TwilioSandbox
) -> None:
    await sender.send(message(), Claims(sandbox))
    assert "StatusCallback" not in sandbox.made[0].form


async def test_a_number_with_its_prefix_is_the_same_number(session: ClientSession, sandbox: TwilioSandbox) -> None:
    await sender_on(session, sandbox, values={"whatsapp_number": f"whatsapp:{NUMBER}"}).send(message(), Claims(sandbox))
    assert sandbox.made[0].form["From"] == f"whatsapp:{NUMBER}"


async def test_a_token_that_changes_is_taken_at_the_next_message(
    session: ClientSession, sandbox: TwilioSandbox
) -> None:
    sender = sender_on(session, sandbox)
    await sender.send(message(), Claims(sandbox))
    sandbox.token = "another"
    await sender.send(message(), Claims(sandbox))
    assert len(sandbox.made) == 2


async def test_what_twilio_says_of_a_variable_is_kept_without_it(sender: Sender, sandbox: TwilioSandbox) -> None:
    sandbox.faults.add("error", code=99999, message='variable 1 is wrong: noa-canary of {"1":"noa-canary"}')
    with pytest.raises(Refused) as caught:
        await sender.send(message(Template(SID, None, {"1": "noa-canary"})), Claims(sandbox))
    assert caught.value.said.startswith("error 99999 variable 1 is wrong")
    assert "noa" not in caught.value.full_text


# what Twilio cannot carry


@pytest.mark.parametrize(
    ("content", "does"),
    [
        (Text(""), "give it some words"),
        (Text(" \n"), "give it some words"),
        (Text("x" * 1601), "1601 characters"),
        (Media("https://cdn.example/a.jpg", "image", "x" * 1601), "the caption has 1601"),
        (Media("https://cdn.example/a.jpg", "image", " "), "the caption is empty"),
        (Media("https://cdn.example/a.pdf", "document", "Bill"), "a message of their own"),
        (Media("https://cdn.example/a.ogg", "audio", "Bill"), "a message of their own"),
        (Media("/uploads/a.jpg", "image"), "no public address"),
        (Media("ftp://cdn.example/a.jpg", "image"), "no public address"),
        (Media("https://[", "image"), "no public address"),
        (Media("file:///etc/passwd", "document"), "no public address"),
        (Media("https://cdn.example/a.GIF?x=.jpg", "image"), "JPEG or a PNG"),
        (Media("https://cdn.example/a.webp", "image"), "JPEG or a PNG"),
        (Template("order_ready"), "ContentSid"),
        (Template(SID[:-1]), "ContentSid"),
        (Template(SID, None, {"1": "a", "3": "b"}), "numbered 1 to 2"),
        (Template(SID, None, {"0": "a"}), "numbered 1 to 1"),
        (Template(SID, None, {"1": "a", "who": "b"}), "numbered 1 to 2"),
        (Template(SID, None, {"01": "a"}), "numbered 1 to 1"),
        (Template(SID, None, {str(n): "a" for n in range(1, 102)}), "100 variables at most"),
        (CHOICES, "send it as a template, by its ContentSid"),
        (Reaction("SM1", "👍"), "no call for reactions"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:20],
)
async def test_what_twilio_cannot_carry_is_refused_with_what_to_do_and_never_asked(
    sender: Sender, sandbox: TwilioSandbox, content: Content, does: str
) -> None:
    why = sender.refusal(content)
    assert why is not None
    assert does in why
    claims = Claims(sandbox)
    with pytest.raises(Refused, match="Twilio: "):
        await sender.send(message(content), claims)
    assert (claims.asked_before, sandbox.ledger.entries) == ([], [])
