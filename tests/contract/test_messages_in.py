"""What every source of messages has in common: the conversation and the name of a message, its files, taps and quotes
are told in the same words, whatever system it came by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import pytest
from multidict import CIMultiDict

from adapters.ports import Source, Webhook
from adapters.registry import SOURCES
from daemon.sandbox import chatwoot_webhooks as chatwoot
from daemon.sandbox import meta_webhooks as meta
from daemon.sandbox.twilio_webhooks import inbound_form
from schemas.conversations import Chat, chat_of, message_key

NOW: Final = datetime(2031, 2, 14, 9, 20, tzinfo=UTC)
WHO: Final = "12025550143"
PHONE: Final = f"+{WHO}"
BY_NAME: Final = {source.name: source for source in SOURCES}
TALK: Final = chatwoot.conversation(481, chatwoot.contact(905, PHONE), WHO)


def told(source: Source, body: Mapping[str, Any] | bytes) -> dict[str, Any]:
    """The data of the one message of *body*."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    (event,) = source.parse(Webhook(CIMultiDict(), raw, ""), source.decode(raw), NOW)
    assert event.type == "message.received"
    data: dict[str, Any] = event.json()
    return data


def of_meta(id: str, **members: Any) -> dict[str, Any]:
    return meta.batch(meta.value(messages=[{**meta.message(WHO, id), **members}]))


def of_whapi(id: str, **members: Any) -> dict[str, Any]:
    chat = {"id": id, "from_me": False, "chat_id": f"{WHO}@s.whatsapp.net", "timestamp": 1928826900, "type": "text"}
    return {"messages": [{**chat, "text": {"body": "hello"}, **members}], "channel_id": "MANTIS-1"}


def of_twilio(id: str, **members: str) -> bytes:
    return urlencode({**inbound_form(PHONE), "MessageSid": id, **members}).encode()


def of_chatwoot(id: str, **members: Any) -> dict[str, Any]:
    return chatwoot.message(id, "hello", TALK) | members


def of_cgb(id: str, **members: Any) -> dict[str, Any]:
    return {"v": 1, "event": "reply", "contact_id": WHO, "message_id": id, "text": "hello", **members}


class Way(NamedTuple):
    """A source, and how a message by it is made: from its id and further members. *chat*: the conversation's name."""

    source: str
    made: Callable[..., Mapping[str, Any] | bytes]
    chat: Chat
    system: str


WAYS: Final = (
    Way("meta", of_meta, Chat("meta", f"meta:{meta.PHONE_NUMBER_ID}:{WHO}"), "meta"),
    Way("360dialog", of_meta, Chat("meta", f"meta:{meta.PHONE_NUMBER_ID}:{WHO}"), "meta"),
    Way("whapi", of_whapi, Chat("whapi", f"whapi::{WHO}"), "whapi"),
    Way("twilio", of_twilio, Chat("twilio", f"twilio::{WHO}"), "twilio"),
    Way("chatwoot", of_chatwoot, Chat("chatwoot", "chatwoot:3:481", 3, 481, 12), "chatwoot"),
    Way("cgb", of_cgb, Chat("cgb", f"cgb::{WHO}"), "cgb"),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.source)
def test_a_message_names_its_conversation_and_itself(way: Way) -> None:
    found = told(BY_NAME[way.source], way.made("m1"))
    assert (chat_of(found), message_key(found)) == (way.chat, f"{way.system}:m1")
    assert (found["phone"], found["text"], found["kind"]) == (PHONE, "hello", "text")
    assert "files" not in found


VOICE: Final = {"id": "f1", "mime_type": "audio/ogg; codecs=opus"}
AUDIO: Final = {"id": 88, "file_type": "audio", "data_url": "https://chat.example.test/v.ogg"}
OGG: Final = {"MediaUrl0": "https://api.twilio.com/ME0", "MediaContentType0": "audio/ogg", "NumMedia": "1", "Body": ""}


@pytest.mark.parametrize(
    ("source", "body", "kind"),
    [
        ("meta", of_meta("m1", type="audio", audio={**VOICE, "voice": True}), "voice"),
        ("360dialog", of_meta("m1", type="audio", audio=VOICE), "audio"),
        ("whapi", of_whapi("m1", type="voice", voice={**VOICE, "link": "https://s3.example/f1"}), "voice"),
        ("twilio", of_twilio("m1", MessageType="audio", **OGG), "voice"),
        ("chatwoot", of_chatwoot("m1", content=None, attachments=[AUDIO]), "audio"),
    ],
)
def test_a_voice_note_is_a_file_with_its_kind_and_the_way_to_it(source: str, body: Any, kind: str) -> None:
    found = told(BY_NAME[source], body)
    (file,) = found["files"]
    assert (found["kind"], file["kind"]) == (kind, kind)
    assert found["media"].items() <= file.items()
    assert "url" in file or "id" in file


def test_several_files_of_one_message_are_all_told() -> None:
    named = {f"MediaUrl{n}": f"https://api.twilio.com/ME{n}" for n in range(10)}
    types = {"MediaContentType0": "image/jpeg", "MediaContentType1": "audio/ogg", "MediaContentType2": "image/webp"}
    found = told(BY_NAME["twilio"], of_twilio("m1", NumMedia="10", MessageType="image", **named, **types))
    assert [file["url"] for file in found["files"]] == list(named.values())
    assert [file["kind"] for file in found["files"]][:4] == ["image", "voice", "sticker", "document"]
    assert found["media"] == {"url": named["MediaUrl0"], "mime_type": "image/jpeg"}
    both = [AUDIO, AUDIO | {"id": 89, "file_type": "image"}]
    assert [f["id"] for f in told(BY_NAME["chatwoot"], of_chatwoot("m1", attachments=both))["files"]] == ["88", "89"]


TAPPED: Final = {"type": "button_reply", "button_reply": {"id": "linkedin", "title": "LinkedIn"}}
BUTTON: Final = {"ButtonText": "LinkedIn", "ButtonPayload": "linkedin", "OriginalRepliedMessageSid": "q1"}
REPLY: Final = {"type": "buttons_reply", "buttons_reply": {"id": "ButtonsV3:linkedin", "title": "LinkedIn"}}


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("meta", of_meta("m1", type="interactive", interactive=TAPPED, context={"id": "q1"})),
        ("360dialog", of_meta("m1", type="interactive", interactive=TAPPED, context={"id": "q1"})),
        ("whapi", of_whapi("m1", type="reply", reply=REPLY, context={"quoted_id": "q1"})),
        ("twilio", of_twilio("m1", Body="LinkedIn", MessageType="button", **BUTTON)),
    ],
)  # fmt: skip
def test_a_tap_has_its_value_its_title_and_the_question(source: str, body: Any) -> None:
    found = told(BY_NAME[source], body)
    assert (found["kind"], found["choice"], found["text"], found["reply_to"]) == (
        "choice", "linkedin", "LinkedIn", "q1",
    )  # fmt: skip


def test_a_tap_through_chatwoot_is_its_title_and_the_question() -> None:
    """Chatwoot throws the value away (chatwoot/chatwoot#12030)."""
    found = told(BY_NAME["chatwoot"], of_chatwoot("m1", content="LinkedIn", content_attributes={"in_reply_to": 7302}))
    assert (found["kind"], found["choice"], found["text"], found["reply_to"]) == ("text", None, "LinkedIn", "7302")


def test_a_body_of_the_old_dialog_form_is_the_same_message() -> None:
    found = told(BY_NAME["360dialog"], {"contacts": [meta.contact(WHO, "Noor")], "messages": [meta.message(WHO, "m1")]})
    assert (chat_of(found).key, message_key(found), found["name"]) == (f"meta::{WHO}", "meta:m1", "Noor")


def test_of_the_seed_s_own_test_every_member_is_told() -> None:
    body = {
        "event": "message_created",
        "id": "test-message-123",
        "content": "Test WhatsApp message",
        "message_type": "incoming",
        "created_at": "2025-01-30T10:00:00Z",
        "sender": {"id": 123, "name": "Test User", "type": "contact"},
        "conversation": {"id": 456, "channel": "Channel::Whatsapp", "status": "open"},
        "account": {"id": 789, "name": "Test Account"},
    }
    found = told(BY_NAME["chatwoot"], body)
    assert message_key(found) == "chatwoot:test-message-123"
    assert chat_of(found) == Chat("chatwoot", "chatwoot:789:456", 789, 456, None)
    assert (found["contact_id"], found["phone"], found["name"]) == ("789:123", None, "Test User")
    assert (found["at"], found["channel"]) == ("2025-01-30T10:00:00+00:00", "whatsapp")
