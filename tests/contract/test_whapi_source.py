"""How `whapi` reads what a channel posts, and names it. What every source promises is in test_sources.py."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapters.ports import NoIdentity, Webhook
from adapters.whapi.source import SOURCE as WHAPI
from daemon.contacts.validation import Terms, told_by
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone
from schemas.told import STATUSES

NOW = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)
SENT = datetime(2031, 2, 14, 9, 15, tzinfo=UTC)
SENT_AT = int(SENT.timestamp())
SECRETS = {"whapi_webhook_secret": ("whisper-0d41-0d41", "whisper-77aa-77aa")}
TERMS = Terms(yes_days=90, no_days=14)
ID = "972505550142"
PHONE = Phone(f"+{ID}")
CHAT = f"{ID}@s.whatsapp.net"
GROUP = "120363000000000001@g.us"
HIDDEN = "100000000000042@lid"


def message(**members: Any) -> dict[str, Any]:
    """A message from a person. *members*: further ones, or others in place of these; None: without it."""
    told = {
        "id": "PsqIn01-aaBB",
        "from_me": False,
        "type": "text",
        "chat_id": CHAT,
        "timestamp": SENT_AT,
        "source": "mobile",
        "text": {"body": "hello"},
        "from": ID,
        "from_name": "Ana",
    } | members
    return {name: value for name, value in told.items() if value is not None}


def status(word: str | None = "read", **members: Any) -> dict[str, Any]:
    told = {
        "id": "PsqAbC12-xyZ9",
        "code": 4,
        "status": word,
        "recipient_id": CHAT,
        "viewer_id": ID,
        "timestamp": str(SENT_AT),
    } | members
    return {name: value for name, value in told.items() if value is not None}


def body(name: str, *parts: Any) -> dict[str, Any]:
    return {name: list(parts), "event": {"type": name, "event": "post"}, "channel_id": "LYNX-A1"}


def taken(document: object, now: datetime = NOW) -> list[Event]:
    raw = json.dumps(document).encode()
    return WHAPI.parse(Webhook(CIMultiDict(), raw, ""), WHAPI.decode(raw), now)


def one(name: str, part: Any, now: datetime = NOW) -> Event:
    (event,) = taken(body(name, part), now)
    return event


def told(**members: Any) -> dict[str, Any]:
    """What becomes of a message with these members."""
    found = one("messages", message(**members)).json()
    assert isinstance(found, dict)
    return found


# proofs


@pytest.mark.parametrize(
    ("headers", "true", "why"),
    [
        ([("X-Webhook-Secret", "whisper-0d41-0d41")], True, None),
        ([("x-webhook-secret", "whisper-77aa-77aa")], True, None),
        ([("X-Webhook-Secret", "wrong"), ("X-Webhook-Secret", "whisper-77aa-77aa")], True, None),
        ([("X-Webhook-Secret", "whisper-0d41-0d4")], False, "key"),
        ([("X-Webhook-Secret", "WHISPER-0D41-0D41")], False, "key"),
        ([("X-Webhook-Secret", b"\xff".decode("utf-8", "surrogateescape"))], False, "key"),
        ([("X-Webhook-Secret", "")], False, "missing"),
        ([("Authorization", "Bearer whisper-0d41-0d41")], False, "missing"),
        ([], False, "missing"),
    ],
)
def test_a_secret_in_the_header_proves_a_channel_and_the_header_alone_decides(
    headers: list[tuple[str, str]], true: bool, why: str | None
) -> None:
    request = Webhook(CIMultiDict(headers), b"\xff", "")
    assert WHAPI.verify(request, SECRETS) is true
    assert WHAPI.early(request.headers, SECRETS) is true
    if why is not None:
        assert WHAPI.doubt(request, SECRETS) == why


# messages


def test_a_message_of_a_person_becomes_one_event_of_that_person() -> None:
    event = one("messages", message())
    assert (event.type, event.topic, event.source, event.subject, event.time) == (
        "message.received", "messages", "whapi", f"+{ID}", NOW,
    )  # fmt: skip
    assert event.json() == {
        "system": "whapi",
        "contact_id": ID,
        "phone": f"+{ID}",
        "at": SENT.isoformat(),
        "channel": "whatsapp",
        "text": "hello",
        "message_id": "PsqIn01-aaBB",
        "kind": "text",
        "media": None,
        "choice": None,
        "reply_to": None,
        "name": "Ana",
        "bsuid": None,
        "received": message(),
    }
    evidence = told_by(event, TERMS)
    assert evidence is not None
    assert (evidence.phone, evidence.has_whatsapp, evidence.at) == (PHONE, True, SENT)


IMAGE = {"id": "jpeg-1", "mime_type": "image/jpeg", "sha256": "b64", "link": "https://files.example.test/1", "width": 9}
STORED = {"id": "jpeg-1", "url": "https://files.example.test/1", "mime_type": "image/jpeg", "sha256": "b64"}


@pytest.mark.parametrize(
    ("members", "kind", "expected"),
    [
        ({"type": "image", "image": IMAGE | {"caption": "here"}}, "image", {"text": "here", "media": STORED}),
        ({"type": "video", "video": {"id": "v"}}, "video", {"text": None, "media": {"id": "v"}}),
        ({"type": "gif", "gif": {"id": "v"}}, "video", {"media": {"id": "v"}}),
        ({"type": "short", "short": {"id": "v"}}, "video", {"media": {"id": "v"}}),
        ({"type": "audio", "audio": {"id": "a"}}, "audio", {"media": {"id": "a"}}),
        ({"type": "voice", "voice": {"id": "a"}}, "voice", {"media": {"id": "a"}}),
        ({"type": "sticker", "sticker": {"id": "s"}}, "sticker", {"media": {"id": "s"}}),
        (
            {"type": "document", "document": {"id": "d", "filename": "id.pdf"}},
            "document",
            {"media": {"id": "d", "filename": "id.pdf"}},
        ),
        (
            {"type": "document", "document": {"id": "d", "file_name": "id.pdf"}},
            "document",
            {"media": {"id": "d", "filename": "id.pdf"}},
        ),
        ({"type": "link_preview", "link_preview": {"body": "see this", "title": "T"}}, "text", {"text": "see this"}),
        ({"type": "location", "location": {"latitude": 1.5}}, "location", {"text": None, "media": None}),
        ({"type": "live_location", "live_location": {}}, "location", {}),
        ({"type": "contact", "contact": {"vcard": "…"}}, "contacts", {"text": None}),
        ({"type": "contact_list", "contact_list": {"list": []}}, "contacts", {}),
        (
            {
                "type": "reply",
                "reply": {"type": "buttons_reply", "buttons_reply": {"id": "ButtonsV3:keep", "title": "Keep"}},
                "context": {"quoted_id": "PsqAbC12-xyZ9"},
            },
            "choice",
            {"text": "Keep", "choice": "keep", "reply_to": "PsqAbC12-xyZ9"},
        ),
        (
            {"type": "reply", "reply": {"type": "list_reply", "list_reply": {"id": "ListV3:m1", "title": "09:00"}}},
            "choice",
            {"text": "09:00", "choice": "m1"},
        ),
        (
            {"type": "reply", "reply": {"type": "list_reply", "list_reply": {"id": "ListV3:ButtonsV3:x"}}},
            "choice",
            {"text": None, "choice": "ButtonsV3:x"},
        ),
        (
            {"type": "reply", "reply": {"type": "buttons_reply", "buttons_reply": {"id": "x:ButtonsV3:y"}}},
            "choice",
            {"choice": "x:ButtonsV3:y"},
        ),
        (
            {"type": "action", "action": {"type": "reaction", "target": "PsqAbC12-xyZ9", "emoji": "👍"}},
            "reaction",
            {"text": "👍", "reply_to": "PsqAbC12-xyZ9"},
        ),
        (
            {"type": "action", "action": {"type": "reaction", "target": "PsqAbC12-xyZ9", "emoji": ""}},
            "reaction",
            {"text": None, "reply_to": "PsqAbC12-xyZ9"},
        ),
        ({"type": "action", "action": {"type": "vote", "target": "P-1", "votes": ["a"]}}, "vote", {"reply_to": "P-1"}),
        ({"type": "action"}, "action", {}),
        ({"type": "poll_update", "poll_update": {"x": 1}}, "poll_update", {"text": None}),
        ({"type": "system", "system": {"body": "…"}}, "system", {}),
        ({"type": "brand_new", "brand_new": ["odd"]}, "brand_new", {"text": None}),
        ({"context": {"quoted_id": "P-1"}}, "text", {"text": "hello", "reply_to": "P-1"}),
        ({"context": ["odd"], "from_name": 7}, "text", {"reply_to": None, "name": None}),
        ({"timestamp": "soon"}, "text", {"at": None}),
        ({"text": {"body": " two\nlines "}}, "text", {"text": " two\nlines "}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_type_of_message_is_told_in_our_words(
    members: dict[str, Any], kind: str, expected: dict[str, Any]
) -> None:
    found = told(**members)
    assert found["kind"] == kind
    assert {name: found[name] for name in expected} == expected
    assert found["received"] == message(**members)


@pytest.mark.parametrize("at", [SENT_AT, str(SENT_AT), float(SENT_AT), SENT_AT * 1000])
def test_a_time_is_read_as_a_number_and_as_text(at: object) -> None:
    assert told(timestamp=at)["at"] == SENT.isoformat()


@pytest.mark.parametrize(
    ("chat", "phone"),
    [
        (CHAT, PHONE.e164),
        (ID, PHONE.e164),
        (f"{ID}@c.us", PHONE.e164),
        ("5491123456789@s.whatsapp.net", "+5491123456789"),
        ("12345@s.whatsapp.net", None),
        (GROUP, None),
        (HIDDEN, None),
        ("120363000000000002@newsletter", None),
        ("status@broadcast", None),
    ],
)
def test_only_the_address_of_a_person_is_a_phone(chat: str, phone: str | None) -> None:
    event = one("messages", message(chat_id=chat))
    assert event.json()["phone"] == phone
    assert event.subject == (phone or f"chat:{chat}")


@pytest.mark.parametrize("chat", [GROUP, HIDDEN])
def test_what_is_written_in_a_group_is_nobody_s_and_keeps_the_group_s_order(chat: str) -> None:
    """Promise: in such a chat `from` is one of many, or digits that look like a phone and are none."""
    events = taken(body("messages", message(chat_id=chat), message(chat_id=chat, id="P-2", **{"from": "46701740606"})))
    assert {event.subject for event in events} == {f"chat:{chat}"}
    for event in events:
        assert (event.json()["contact_id"], event.json()["phone"]) == (chat, None)
        assert told_by(event, TERMS) is None


def test_without_a_chat_the_person_is_the_one_it_is_from() -> None:
    assert told(chat_id=None)["phone"] == PHONE.e164


def test_a_message_is_the_same_whenever_and_beside_whatever_it_comes() -> None:
    first = one("messages", message())
    (_, again) = taken(body("messages", message(id="P-2"), message()), NOW + timedelta(hours=1))
    assert (again.id, again.data) == (first.id, first.data)
    assert len({first.id, one("messages", message(id="P-2")).id, one("statuses", status(id="PsqIn01-aaBB")).id}) == 3


# our own


def test_our_own_send_comes_back_as_a_status_and_never_as_a_message() -> None:
    event = one("messages", message(id="PsqAbC12-xyZ9", from_me=True, source="api", status="pending"))
    assert (event.type, event.subject) == ("delivery.updated", f"+{ID}")
    found = event.json()
    assert (found["message_id"], found["status"], found["our_id"]) == ("PsqAbC12-xyZ9", "sent", None)
    assert found["received"]["text"] == {"body": "hello"}
    assert event.id != one("statuses", status("sent")).id, "that one is told besides"
    assert one("messages", message(from_me=True, source="api", status="read")).json()["status"] == "read"


@pytest.mark.parametrize("source", ["mobile", "web", "system", None])
def test_what_is_typed_on_the_linked_phone_is_no_message_of_ours_nor_of_anybody(source: str | None) -> None:
    assert taken(body("messages", message(from_me=True, source=source))) == []


# statuses


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("pending", "sent"),
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("read", "read"),
        ("played", "played"),
        ("failed", "failed"),
    ],
)
def test_a_status_becomes_an_update_of_its_message(word: str, expected: str) -> None:
    event = one("statuses", status(word))
    assert (event.type, event.topic, event.subject) == ("delivery.updated", "deliveries", f"+{ID}")
    assert event.json() == {
        "system": "whapi",
        "message_id": "PsqAbC12-xyZ9",
        "our_id": None,
        "phone": f"+{ID}",
        "at": SENT.isoformat(),
        "status": expected,
        "error_code": None,
        "error": "Whapi could not send it" if word == "failed" else None,
        "received": status(word),
    }


def test_a_message_and_a_word_are_one_status() -> None:
    ids = {one("statuses", status(word)).id for word in ("pending", "sent", "delivered", "read", "played", "failed")}
    assert len(ids) == 6
    again = one("statuses", status("read", timestamp=str(SENT_AT + 9), viewer_id="46701740606"), NOW + timedelta(1))
    assert again.id == one("statuses", status("read")).id
    assert one("statuses", status("read", id="P-2")).id not in ids


def test_each_reader_of_a_group_s_message_is_told() -> None:
    events = [one("statuses", status(recipient_id=GROUP, viewer_id=viewer)) for viewer in (ID, "46701740606")]
    assert len({event.id for event in events}) == 2
    assert {event.subject for event in events} == {f"chat:{GROUP}"}
    assert [event.json()["phone"] for event in events] == [None, None]


def test_a_message_that_was_deleted_has_no_new_status() -> None:
    assert taken(body("statuses", status("deleted"))) == []


# batches, and what is neither


def test_a_batch_is_walked_whole_and_a_part_that_is_odd_harms_no_other() -> None:
    document = body("messages", message(id="P-1"), 7, message(id="P-2")) | {
        "statuses": [status("sent"), None, status()]
    }
    events = taken(document)
    assert [event.type for event in events] == ["message.received"] * 3 + ["delivery.updated"] * 3
    assert ["odd" in event.json() for event in events] == [False, True, False, False, True, False]
    assert len({event.id for event in events}) == 6


@pytest.mark.parametrize("name", ["chats", "contacts", "groups", "calls", "messages_updates", "channel", "brand_new"])
def test_of_anything_else_there_is_no_event(name: str) -> None:
    assert taken(body(name, {"id": "x"})) == []
    assert taken({"health": {"status": {"text": "QR"}}, "event": {"type": name, "method": "put"}}) == []


@pytest.mark.parametrize("document", [{}, {"hello": 1}, {"event": "post"}, {"channel_id": " "}, {"messages": None}])
def test_a_body_that_is_not_whapi_s_has_no_identity(document: dict[str, Any]) -> None:
    with pytest.raises(NoIdentity):
        taken(document)


@pytest.mark.parametrize(
    ("name", "part", "odd"),
    [
        ("messages", message(id=None), "^id "),
        ("messages", message(id=["canary"]), "^id "),
        ("messages", message(chat_id=None, **{"from": None}), "^chat_id "),
        ("messages", message(type=None), "^type "),
        ("messages", message(type=["canary"]), "^type "),
        ("messages", message(text="canary"), "^the member that its type names"),
        ("messages", message(text={"body": ["canary"]}), "^body "),
        ("messages", message(type="image", image={"caption": 7}), "^caption "),
        ("messages", message(type="reply", reply={"type": "x", "x": ["canary"]}), "^the member"),
        ("messages", message(type="action", action={"type": "reaction", "emoji": {}}), "^emoji "),
        ("messages", message(from_me=True, source="api", id=None), "^id "),
        ("messages", "canary", "^it is not an object"),
        ("statuses", status(id=None), "^id "),
        ("statuses", status("canary"), "^status is none"),
        ("statuses", status(None), "^status is none"),
        ("statuses", status(recipient_id=None), "^chat_id "),
        ("statuses", ["canary"], "^it is not an object"),
    ],
)
def test_an_odd_part_is_kept_and_fails_in_the_worker_by_the_member_s_name(name: str, part: Any, odd: str) -> None:
    event = one(name, part)
    assert event.json()["received"] == part
    assert event.id == one(name, part, NOW + timedelta(1)).id
    with pytest.raises(Malformed, match=odd) as caught:
        told_by(event, TERMS)
    assert "canary" not in str(caught.value)


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
words = st.sampled_from([CHAT, GROUP, HIDDEN, ID, "api", "read", "sent", "deleted", "text", "reply", "action", "image"])
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18) | texts | words
members = st.sampled_from(
    ["id", "from_me", "type", "chat_id", "timestamp", "source", "text", "reply", "action", "image", "from", "context",
     "status", "recipient_id", "viewer_id", "body", "caption", "link", "quoted_id", "from_name"]
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members | texts, inner, max_size=4)
)
parts = st.builds(
    lambda base, more: base | more,
    st.sampled_from([{}, message(), status(), message(from_me=True, source="api")]),
    st.dictionaries(members, values, max_size=4),
)
batches = st.lists(parts | values, max_size=4) | values
bodies = st.fixed_dictionaries(
    {}, optional={"messages": batches, "statuses": batches, "event": values, "channel_id": values}
)


@given(document=bodies)
@example(document={"messages": {"id": "x" * 5000, "chat_id": "y" * 5000}})
@example(document={"messages": [message(chat_id="٠" * 70)], "statuses": [status(recipient_id="+")]})
def test_any_object_has_no_identity_or_makes_at_most_an_event_for_each_part(document: dict[str, Any]) -> None:
    try:
        events = taken(document)
    except NoIdentity:
        return
    lists = [found if isinstance(found := document.get(name), list) else [found] for name in ("messages", "statuses")]
    assert len(events) <= sum(map(len, lists))
    assert [event.id for event in events] == [event.id for event in taken(document, NOW + timedelta(1))]
    for event in events:
        found = event.json()
        assert found["system"] == "whapi"
        assert 0 < len(event.subject) <= 250
        if "odd" in found:
            with pytest.raises(Malformed):
                told_by(event, TERMS)
        elif event.type == "delivery.updated":
            assert found["status"] in STATUSES
            told_by(event, TERMS)
        else:
            assert found["received"].get("from_me") is not True
            assert (found["phone"] is not None) == event.subject.startswith("+")
