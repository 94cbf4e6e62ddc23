"""How `twilio` reads what Twilio posts, and names it. What every source promises is in test_sources.py, how a sender is
proven in test_twilio_signature.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapters.ports import Answer, NoIdentity, Webhook
from adapters.twilio.source import SOURCE as TWILIO
from adapters.twilio.source import status_url
from daemon.contacts.validation import Terms, told_by
from daemon.sandbox.twilio_webhooks import inbound_form, status_form
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.told import told_in

NOW = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TERMS = Terms(yes_days=90, no_days=14)
PHONE = "+972505550142"
OLD = "+5215555501234"
"""A notation of Mexico that WhatsApp keeps; the key is the line's."""
BSUID = "IL.77120Ab"
OURS = UUID("01909d5c-9bb2-7a0e-8d57-3c1fd2a40b11")
FILE = "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages/MM0/Media/ME0"
HOST = "https://ferryman.example"
STATUS_URL = status_url(HOST, OURS)


def events(body: Mapping[str, Any] | bytes, *, url: str = "", now: datetime = NOW) -> list[Event]:
    raw = body if isinstance(body, bytes) else urlencode(body).encode()
    return TWILIO.parse(Webhook(CIMultiDict(), raw, url), TWILIO.decode(raw), now)


def one(body: Mapping[str, Any] | bytes, *, url: str = "", now: datetime = NOW) -> Event:
    (event,) = events(body, url=url, now=now)
    return event


def file(mime_type: str) -> dict[str, str]:
    return {"MediaUrl0": FILE, "MediaContentType0": mime_type}


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


def test_it_is_answered_without_a_body() -> None:
    assert TWILIO.answer is not None
    assert TWILIO.answer(["id"]) == TWILIO.answer([]) == Answer(204)


# messages


def test_a_message_becomes_one_event_of_its_person() -> None:
    form = inbound_form(PHONE, " two\nlines ")
    event = one(form)
    assert (event.type, event.topic, event.source, event.subject, event.time) == (
        "message.received", "messages", "twilio", PHONE, NOW,
    )  # fmt: skip
    assert event.json() == {
        "system": "twilio",
        "contact_id": PHONE[1:],
        "phone": PHONE,
        "at": None,
        "channel": "whatsapp",
        "text": " two\nlines ",
        "message_id": form["MessageSid"],
        "kind": "text",
        "media": None,
        "choice": None,
        "reply_to": None,
        "name": "Noa Sample",
        "bsuid": None,
        "received": form,
    }
    evidence = told_by(event, TERMS)
    assert evidence is not None
    assert evidence.has_whatsapp


def test_a_message_is_the_same_however_and_whenever_it_comes() -> None:
    form = inbound_form(PHONE)
    again = one(form | {"More": "1"}, now=LATER)
    assert (again.id, one(form, now=LATER).data) == (one(form).id, one(form).data)
    assert one(inbound_form(PHONE)).id != one(form).id
    spelled = {"sid": form["MessageSid"], "from": form["From"], "body": "hello", "status": "received"}
    assert one(as_json(spelled)).id == one(form).id


@pytest.mark.parametrize(
    ("members", "kind", "told"),
    [
        ({}, "text", {"text": "hello"}),
        ({"MessageType": ""}, "text", {"text": "hello"}),
        (
            {"MessageType": "image", "NumMedia": "1"} | file("image/jpeg"),
            "image",
            {"text": "hello", "media": {"url": FILE, "mime_type": "image/jpeg"}},
        ),
        ({"MessageType": ""} | file("image/png"), "image", {}),
        ({"MessageType": ""} | file("image/webp"), "sticker", {}),
        ({"MessageType": ""} | file("video/mp4"), "video", {}),
        ({"MessageType": ""} | file("audio/mpeg"), "audio", {}),
        ({"MessageType": "audio"} | file("audio/ogg; codecs=opus"), "voice", {}),
        ({"MessageType": ""} | file("application/pdf"), "document", {}),
        ({"MessageType": "", "MediaUrl0": FILE}, "document", {"media": {"url": FILE}}),
        ({"MessageType": "", "Latitude": "1.5", "Longitude": "2.5", "Body": ""}, "location", {"text": None}),
        ({"MessageType": "contact"}, "contacts", {}),
        (
            {"MessageType": "button", "ButtonPayload": "STOP", "ButtonText": "Stop", "Body": "Stop"},
            "choice",
            {"choice": "STOP", "text": "Stop"},
        ),
        (
            {"MessageType": "interactive", "ListId": "m1", "ListTitle": "09:00", "Body": ""},
            "choice",
            {"choice": "m1", "text": "09:00"},
        ),
        ({"MessageType": "interactive"}, "interactive", {"choice": None}),
        ({"MessageType": "Hologram"}, "hologram", {}),
        ({"OriginalRepliedMessageSid": "SM9"}, "text", {"reply_to": "SM9"}),
        ({"ProfileName": " "}, "text", {"name": None}),
    ],
)  # fmt: skip
def test_every_kind_of_a_message_is_told(members: dict[str, str], kind: str, told: dict[str, Any]) -> None:
    found = one(inbound_form(PHONE) | members).json()
    assert found["kind"] == kind
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize(
    ("members", "subject", "phone", "contact_id"),
    [
        ({}, PHONE, PHONE, PHONE[1:]),
        ({"WaId": ""}, PHONE, PHONE, PHONE[1:]),
        ({"From": f"whatsapp:{OLD}", "WaId": OLD[1:]}, "+525555501234", OLD, OLD[1:]),
        ({"From": f"whatsapp:{BSUID}", "WaId": ""}, f"bsuid:{BSUID}", None, BSUID),
        ({"From": f"whatsapp:{BSUID}", "WaId": PHONE[1:]}, PHONE, PHONE, PHONE[1:]),
        ({"From": "", "WaId": PHONE[1:]}, PHONE, PHONE, PHONE[1:]),
        ({"From": "", "WaId": "", "ExternalUserId": f"whatsapp:{BSUID}"}, f"bsuid:{BSUID}", None, BSUID),
        ({"From": "whatsapp:+0", "WaId": "", "ExternalUserId": f"whatsapp:{BSUID}"}, f"bsuid:{BSUID}", None, "+0"),
        ({"From": "whatsapp:x", "WaId": ""}, "message:SM1", None, "x"),
        ({"From": "whatsapp:+99999999999", "WaId": "99999999999"}, "message:SM1", None, "99999999999"),
        ({"From": "WhatsApp: +972505550142", "WaId": "x"}, PHONE, PHONE, PHONE[1:]),
    ],
)  # fmt: skip
def test_the_key_is_the_phone_else_the_id_that_whatsapp_gives_the_person(
    members: dict[str, str], subject: str, phone: str | None, contact_id: str
) -> None:
    event = one(inbound_form(PHONE, MessageSid="SM1", SmsMessageSid="SM1", SmsSid="SM1") | members)
    assert (event.subject, event.json()["phone"], event.json()["contact_id"]) == (subject, phone, contact_id)


@pytest.mark.parametrize(
    ("sender", "channel", "phone"),
    [(PHONE, "sms", PHONE), ("12345", "sms", None), ("messenger:77", "messenger", None), ("rcs:brand", "rcs", None)],
)
def test_what_comes_by_another_channel_is_no_whatsapp(sender: str, channel: str, phone: str | None) -> None:
    event = one(inbound_form(PHONE) | {"From": sender})
    assert (event.json()["channel"], event.json()["phone"]) == (channel, phone)
    assert told_by(event, TERMS) is None


def test_a_message_without_a_sender_is_accepted_and_fails_in_the_worker() -> None:
    for address in ("", "whatsapp:"):
        event = one(inbound_form(PHONE, WaId="") | {"From": address, "MessageSid": "SM1"})
        assert (event.type, event.subject) == ("message.received", "message:SM1")
        with pytest.raises(Malformed, match="From is missing"):
            told_in(event)


# what is neither, and what is odd


@pytest.mark.parametrize(
    "members",
    [
        {"Level": "ERROR", "Payload": "{}", "AccountSid": "AC1", "Timestamp": "2031-02-14T09:15:00Z"},
        {"EventType": "onConversationAdded", "From": "whatsapp:+15550001234"},
        {},
    ],
)
def test_what_tells_of_no_message_and_no_status_is_accepted_without_an_event(members: dict[str, str]) -> None:
    assert events({"Sid": "NO1"} | members) == []


@pytest.mark.parametrize("sid", [None, "", "  ", "S" * 129])
def test_without_an_id_of_the_message_there_is_no_identity(sid: str | None) -> None:
    for document in (inbound_form(PHONE), status_form("SM1", PHONE, "sent")):
        held: dict[str, Any] = {name: value for name, value in document.items() if "Sid" not in name}
        if sid is not None:
            held["MessageSid"] = sid
        for body in (urlencode(held).encode(), as_json(held)):
            with pytest.raises(NoIdentity, match="MessageSid"):
                events(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"MessageSid",
        b"MessageSid=SM1&",
        b"MessageSid=SM1&Body=\xff",
        b"MessageSid=SM1&Body=%00",
        b"MessageSid=SM1&" + b"a=1&" * 2000 + b"b=2",
        b"MessageSid=SM1&Body=" + b"a" * 300_000,
        b"[]",
        b'["SM1"]',
        b'{"sid":"SM1","sid":"SM2"}',
        b'{"sid":"SM1","body":"\\u0000"}',
    ],
    ids=lambda body: body[:24],
)
def test_what_is_neither_a_form_nor_an_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        events(body)


def test_a_name_that_comes_twice_is_kept_with_all_its_values() -> None:
    body = b"MessageSid=SM1&From=whatsapp%3A%2B972505550142&Body=a&Body=b&Empty="
    told = one(body).json()
    assert told["received"]["Body"] == ["a", "b"]
    assert (told["text"], told["received"]["Empty"]) == ("a", "")


members = st.sampled_from(
    ["MessageSid", "sid", "message_sid", "SmsStatus", "MessageStatus", "status", "From", "To", "WaId", "Body",
     "NumMedia", "ExternalUserId", "MediaUrl0", "MediaContentType0", "MessageType", "ButtonPayload", "Latitude",
     "Longitude", "ErrorCode"]
)  # fmt: skip
words = st.sampled_from(
    ["SM1", "received", "sent", "failed", "queued", f"whatsapp:{PHONE}", f"whatsapp:{BSUID}", "whatsapp:", ":", "+",
     "-TEST", "audio/ogg", "٣", "9" * 400]
)  # fmt: skip
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12) | words
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
likely = st.fixed_dictionaries({"MessageSid": st.just("SM1")}, optional={"From": texts, "SmsStatus": words})


base: st.SearchStrategy[dict[str, Any]] = likely | st.just({})
objects = st.builds(lambda one, more: as_json(one | more), base, st.dictionaries(members | texts, values))
forms = st.builds(lambda one, more: urlencode(one | more).encode(), base, st.dictionaries(members | texts, texts))


@given(body=objects | forms | st.binary(max_size=60), url=texts | st.just(STATUS_URL))
def test_any_body_is_malformed_or_makes_at_most_one_event_that_reads_back(body: bytes, url: str) -> None:
    try:
        found = events(body, url=url)
    except Malformed:
        return
    assert len(found) <= 1
    for event in found:
        told = event.json()
        assert told["system"] == "twilio"
        assert isinstance(told["received"], dict)
        assert 0 < len(event.subject) <= 250
        assert event.subject.strip()
        if "odd" not in told:
            assert told["message_id"].strip()
            told_by(event, TERMS)
