"""Chatwoot's webhook, as its own source and the versions before it tell it."""

from __future__ import annotations

import copy
import time
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapters.chatwoot.source import SOURCE, TOLERANCE_S, signed
from adapters.ports import NoIdentity, Webhook
from daemon.sandbox.chatwoot_webhooks import contact, conversation, escaped, last, message, ours
from schemas.envelope import Event
from schemas.errors import Malformed

NOW: Final = datetime(2031, 2, 14, 9, 20, tzinfo=UTC)
SENT: Final = datetime(2031, 2, 14, 9, 15, tzinfo=UTC)
PHONE: Final = "+12025550143"
OURS: Final = str(uuid4())
SECRET: Final = "chatwoot_webhook_secret"

NOOR: Final = contact(905, PHONE)
TALK: Final = conversation(481, NOOR, PHONE[1:])


def events(document: Any) -> list[Event]:
    body = escaped(document)
    return SOURCE.parse(Webhook(CIMultiDict(), body, ""), SOURCE.decode(body), NOW)


def one(document: Any) -> Event:
    (event,) = events(document)
    return event


def test_the_reference_signature_is_right() -> None:
    body = '{"event":"message_created","id":7301,"content":"café \\u003c3"}'.encode()
    headers = signed(body, "whs_demo_7Q2m", 1785300000).headers
    assert len(body) == 63
    assert headers["X-Chatwoot-Signature"] == "sha256=d1554c793e2489999ed576e3502e8f34865e795ec22e2584b79cb196b95f5f8f"


@pytest.mark.parametrize(
    ("key", "secrets", "late_s", "doubt"),
    [
        ("one", ("one",), 0, None),
        ("old", ("new", "old"), 0, None),
        ("one", ("one",), TOLERANCE_S - 5, None),
        ("one", ("one",), -TOLERANCE_S + 5, None),
        ("one", ("one",), TOLERANCE_S + 5, "clock"),
        ("one", ("one",), -TOLERANCE_S - 5, "clock"),
        ("other", ("one",), 0, "signature"),
        ("one", (), 0, "signature"),
        ("", ("",), 0, "signature"),
    ],
)
def test_a_signature_proves_the_body_at_its_time(
    key: str, secrets: tuple[str, ...], late_s: int, doubt: str | None
) -> None:
    webhook = signed(b"{}", key, int(time.time()) - late_s)
    known = {SECRET: secrets}
    assert SOURCE.early(webhook.headers, known) is None
    assert SOURCE.verify(webhook, known) is (doubt is None)
    if doubt is not None:
        assert SOURCE.doubt(webhook, known) == doubt
    webhook.body += b" "
    assert not SOURCE.verify(webhook, known)


@pytest.mark.parametrize("stamp", ["", "١٧٨٥٣٠٠٠٠٠", "-5", "1e9", "9" * 13, " 1", "\udcff"])
def test_a_time_that_is_no_number_proves_nothing(stamp: str) -> None:
    webhook = signed(b"{}", "one", 0)
    webhook.headers["X-Chatwoot-Timestamp"] = stamp  # type: ignore[index]
    assert not SOURCE.verify(webhook, {SECRET: ("one",)})
    assert SOURCE.doubt(webhook, {SECRET: ("one",)}) == "signature"


def test_without_a_signature_no_body_is_read() -> None:
    assert SOURCE.early(CIMultiDict(), {SECRET: ("one",)}) is False
    assert SOURCE.doubt(Webhook(CIMultiDict(), b"{}", ""), {SECRET: ("one",)}) == "missing"


def test_a_message_becomes_an_event_of_its_person() -> None:
    event = one(message(7301, " two\nlines ", TALK))
    assert (event.type, event.topic, event.source, event.subject, event.time) == (
        "message.received", "messages", "chatwoot", PHONE, NOW,
    )  # fmt: skip
    told = event.json()
    received = told.pop("received")
    assert told == {
        "system": "chatwoot",
        "contact_id": "3:905",
        "phone": PHONE,
        "at": SENT.isoformat(),
        "channel": "whatsapp",
        "text": " two\nlines ",
        "message_id": "7301",
        "kind": "text",
        "media": None,
        "choice": None,
        "reply_to": None,
        "name": "Noor Baak",
        "bsuid": None,
        "conversation": {"account": "3", "id": "481", "inbox": "12"},
    }
    assert received["conversation"]["id"] == 481
    assert b"ps_demo" not in event.data, "the token that opens the conversation"


DELIVERED: Final = TALK | {"messages": [last(7302, "delivered")]}

PLACE: Final = {"account": "3", "id": "481", "inbox": "12"}

KINDS: Final[list[tuple[dict[str, Any], dict[str, Any]]]] = [
    ({"content": None, "attachments": [{"file_type": "audio", "data_url": "https://chat.example.test/v.ogg"}]},
     {"kind": "audio", "text": None, "media": {"url": "https://chat.example.test/v.ogg"}}),
    ({"attachments": [{"file_type": "file", "data_url": "u", "content_type": "application/pdf"}]},
     {"kind": "document", "media": {"url": "u", "mime_type": "application/pdf"}}),
    ({"attachments": [{"file_type": "location", "coordinates_lat": 1.5}]}, {"kind": "location", "media": None}),
    ({"attachments": [{"file_type": "embed", "data_url": "u"}]}, {"kind": "document", "media": {"url": "u"}}),
    ({"attachments": []}, {"kind": "text"}),
    ({"content": "LinkedIn", "content_attributes": {"in_reply_to": 7302}}, {"text": "LinkedIn", "reply_to": "7302"}),
    ({"content": "", "content_attributes": None}, {"text": None, "reply_to": None}),
    ({"created_at": "2031-02-14 09:15:00 UTC"}, {"at": SENT.isoformat()}),
    ({"created_at": int(SENT.timestamp())}, {"at": SENT.isoformat()}),
    ({"created_at": "soon"}, {"at": None}),
    ({"message_type": 0}, {"message_id": "7301"}),
    ({"message_type": "0"}, {"message_id": "7301"}),
    ({"sender": None}, {"contact_id": "3:905", "phone": PHONE, "name": "Noor Baak"}),
    ({"account": None}, {"contact_id": "3:905"}),
    ({"created_at": "2031-02-14T09:15:00.731Z"}, {"at": SENT.isoformat()}),
    ({"created_at": SENT.timestamp() + 0.5}, {"at": SENT.isoformat()}),
    ({"id": "test-message-123"}, {"message_id": "test-message-123"}),
    ({"inbox": None, "conversation": {**TALK, "inbox_id": None}}, {"conversation": PLACE | {"inbox": None}}),
    ({"conversation": {**TALK, "id": None, "display_id": "481"}}, {"conversation": PLACE}),
    ({"content": "not shown", "content_attributes": {"is_unsupported": True}}, {"kind": "unsupported", "text": None}),
    ({"content": "was deleted", "content_attributes": {"deleted": True}}, {"kind": "deleted", "text": None}),
    ({"conversation": {**TALK, "meta": {}, "channel": "Channel::TwilioSms",
                       "contact_inbox": {"contact_id": 905, "source_id": "whatsapp:+12025550143"}}, "sender": None},
     {"contact_id": "3:905", "phone": PHONE, "channel": "whatsapp"}),
]  # fmt: skip


@pytest.mark.parametrize(("members", "expected"), KINDS)
def test_each_shape_that_versions_have_is_told_in_our_words(members: dict[str, Any], expected: dict[str, Any]) -> None:
    told = one(message(7301, "hello", TALK) | members).json()
    assert {name: told[name] for name in expected} == expected


def test_each_file_of_a_message_is_told_and_its_address_as_it_came() -> None:
    files = [
        {"id": 88, "file_type": "image", "data_url": "http:///rails/active_storage/a.png", "content_type": "image/png"},
        {"id": 89, "file_type": "audio", "data_url": "https://chat.example.test/v.ogg", "transcribed_text": ""},
        {"id": 90, "file_type": "location", "coordinates_lat": 52.1},
    ]
    told = one(message(7301, None, TALK, attachments=files)).json()
    assert told["files"] == [
        {"kind": "image", "id": "88", "url": "http:///rails/active_storage/a.png", "mime_type": "image/png"},
        {"kind": "audio", "id": "89", "url": "https://chat.example.test/v.ogg"},
    ]
    assert told["received"]["attachments"][2]["coordinates_lat"] == 52.1


def test_what_comes_later_to_a_message_changes_nothing_of_it() -> None:
    audio = {"id": 88, "file_type": "audio", "data_url": "u", "transcribed_text": "", "width": None}
    first = one(message(7301, None, TALK, attachments=[audio]))
    heard = audio | {"transcribed_text": "good morning", "width": 4}
    member = {"content_attributes": {"translations": {"nl": "dag"}}, "attachments": [heard]}
    assert one(message(7301, None, TALK) | member).data == first.data


def test_an_id_may_come_as_text() -> None:
    assert one(message("7301", "hello", TALK)).id == one(message(7301, "hello", TALK)).id


def test_before_the_conversation_named_its_account_its_last_message_did() -> None:
    talk = {name: value for name, value in TALK.items() if name != "account"} | {"messages": [last(7301, "sent")]}
    assert one(message(7301, "hello", talk, account=None)).json()["contact_id"] == "3:905"


def test_a_person_without_a_phone_is_known_by_what_whatsapp_calls_them() -> None:
    talk = conversation(482, contact(906, None), "NL.8Kd02x")
    event = one(message(7305, "hello", talk))
    assert (event.subject, event.json()["bsuid"], event.json()["phone"]) == ("bsuid:NL.8Kd02x", "NL.8Kd02x", None)


def test_digits_on_whatsapp_are_a_phone_and_on_another_channel_they_are_none() -> None:
    told = one(message(7305, "hello", conversation(482, contact(906, None), "12025550144"))).json()
    assert told["phone"] == "+12025550144"
    other = conversation(482, contact(906, None), "12025550144", channel="Channel::Telegram")
    event = one(message(7305, "hello", other))
    assert (event.json()["phone"], event.json()["channel"]) == (None, "telegram")
    assert event.subject == "chat:chatwoot:3:906"


@pytest.mark.parametrize(
    "document",
    [
        message(7308, "note", TALK, private=True),
        message(7308, "note", TALK, private=True, message_type="outgoing"),
        message(7308, "from an automation", TALK, message_type="outgoing", sender=None),
        message(7308, "greeting", TALK, message_type="template", sender=None),
        message(7308, "resolved", TALK, message_type=2),
        message(7308, "edited", TALK, event="message_updated"),
        {"event": "conversation_updated", **TALK},
        {"event": "contact_updated", **NOOR},
        {"event": "webwidget_triggered", "id": 640},
        {"event": "automation_event.message_created", **TALK},
        {"event": "a name that comes later"},
        ours(7302, OURS, TALK, event="message_updated"),
    ],
)
def test_of_anything_else_there_is_no_event(document: dict[str, Any]) -> None:
    assert events(document) == []


def test_the_same_message_is_one_event_however_often_and_beside_whatever_it_is_told() -> None:
    first = one(message(7301, "hello", TALK))
    later = conversation(481, NOOR, PHONE[1:], unread_count=2, labels=["hot"], status="resolved", waiting_since=0)
    again = one(message(7301, "hello", later | {"messages": [last(7301, "read")]}))
    assert (again.id, again.data) == (first.id, first.data)
    assert one(message(7302, "hello", TALK)).id != first.id


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (ours(7302, OURS, TALK), ("sent", None)),
        (ours(7302, OURS, DELIVERED, event="message_updated"), ("delivered", None)),
        (ours(7302, OURS, TALK | {"messages": [last(7302, "read")]}, event="message_updated"), ("read", None)),
        (ours(7302, OURS, TALK, event="message_updated", content_attributes={"external_error": "131026: no"}),
         ("failed", "131026")),
        (ours(7302, OURS, TALK, event="message_updated", content_attributes={"external_error": "it broke"}),
         ("failed", None)),
    ],
)  # fmt: skip
def test_one_of_our_messages_tells_how_it_stands(document: dict[str, Any], expected: tuple[str, str | None]) -> None:
    event = one(document)
    told = event.json()
    assert (event.type, event.topic, event.subject) == ("delivery.updated", "deliveries", PHONE)
    assert (told["message_id"], told["our_id"]) == ("7302", OURS)
    assert (told["status"], told["error_code"]) == expected


def test_the_status_of_another_message_is_none_of_ours() -> None:
    talk = TALK | {"messages": [last(7399, "read")]}
    assert events(ours(7302, OURS, talk, event="message_updated")) == []


def test_a_status_is_one_event_however_often_it_is_told() -> None:
    talk = TALK | {"messages": [last(7302, "delivered")]}
    first, again = (
        one(ours(7302, OURS, talk | members, event="message_updated")) for members in ({}, {"unread_count": 4})
    )
    assert (again.id, again.data) == (first.id, first.data)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"event": 7},
        {"event": "message_created"},
        message("é", "a", TALK),
        message("x" * 101, "a", TALK),
        message(" ", "a", TALK),
        message(True, "a", TALK),
    ],
)
def test_without_an_event_or_an_id_there_is_no_identity(document: dict[str, Any]) -> None:
    with pytest.raises(NoIdentity):
        events(document)


@pytest.mark.parametrize(
    ("members", "odd"),
    [
        ({"message_type": "shouted"}, "message_type is none that is known"),
        ({"message_type": 9}, "message_type is none that is known"),
        ({"conversation": []}, "account"),
        ({"conversation": {**TALK, "id": None}}, "conversation has no id"),
        ({"sender": None, "conversation": {**TALK, "meta": 5, "contact_inbox": {}}}, "sender has no id"),
    ],
)
def test_an_odd_message_is_kept_and_fails_in_the_worker_by_the_member_s_name(members: dict[str, Any], odd: str) -> None:
    document = message(7301, "hello", TALK, **members)
    if members.get("conversation") == []:
        document["account"] = None
    event = one(document)
    assert odd in event.json()["odd"]
    assert event.id == one(message(7301, "hello", TALK)).id


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(sorted(message(1, "a", TALK)))
inner_names = st.sampled_from(sorted(TALK))


@given(st.dictionaries(names, values), st.dictionaries(inner_names, values))
def test_any_object_has_no_identity_or_makes_at_most_one_event(
    members: dict[str, Any], of_the_conversation: dict[str, Any]
) -> None:
    document = copy.deepcopy(message(7301, "hello", TALK))
    document["conversation"] |= of_the_conversation
    try:
        found = events(document | members)
    except Malformed:  # NoIdentity among them
        return
    assert len(found) <= 1
    assert all(event.subject and event.json()["system"] == "chatwoot" for event in found)
