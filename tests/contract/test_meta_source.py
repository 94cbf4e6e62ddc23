"""How `meta` and `360dialog` prove what Meta posts, read it, and name it. What every source promises is in
test_sources.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict

from adapters.dialog360.source import SOURCE as DIALOG360
from adapters.meta.source import SOURCE as META
from adapters.ports import Source, Webhook
from daemon.contacts.validation import Terms, told_by
from daemon.sandbox.meta_templates import change, definition
from daemon.sandbox.meta_webhooks import (
    AT,
    PHONE_NUMBER_ID,
    batch,
    contact,
    escaped,
    failed,
    message,
    signature,
    status,
    value,
)
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.told import STATUSES
from schemas.webhooks.meta_codes import CODES

NOW = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(days=6)
SENT = datetime.fromtimestamp(AT, UTC)
APP_SECRETS = ("app_secret_0001", "app_secret_0002")
VERIFY_TOKENS = ("verify_token_0001", "verify_token_0002")
SECRETS = {"meta_app_secret": APP_SECRETS, "meta_verify_token": VERIFY_TOKENS}
PLATFORM = {"dialog360_webhook_secret": ("platform_secret_0001", "header_secret_0002")}
TERMS = Terms(yes_days=90, no_days=14)
VECTOR = b'{"object":"whatsapp_business_account","entry":[]}'
BY_META = "5cb2607e45b8e1a230c9c01189a039a3c80beba3c82ba50463f52b3b1b276430"
BY_360 = "b2b4771bd9e67aa90d778a32c12750a0c897213dd7ddeab2cd986c4de740c5c1"
ID = "972505550142"
OTHER = "46701740606"
BSUID = "IL.77120"
OURS = "6f0c1e0a-5b1f-4b7e-9c55-0d8f8a3b2c11"

both = pytest.mark.parametrize("source", [META, DIALOG360], ids=lambda source: source.name)


def taken(document: object, source: Source = META, now: datetime = NOW) -> list[Event]:
    body = json.dumps(document).encode()
    return source.parse(Webhook(CIMultiDict(), body, ""), source.decode(body), now)


def of(*, source: Source = META, now: datetime = NOW, **lists: Any) -> list[Event]:
    return taken(batch(value(**lists)), source, now)


def one(**members: Any) -> Event:
    (event,) = of(messages=[message(ID, "wamid.IN1") | members])
    return event


def told(event: Event) -> dict[str, Any]:
    return dict(event.json())


# proofs


@pytest.mark.parametrize(
    ("headers", "true", "why"),
    [
        ([("X-Hub-Signature-256", f"sha256={BY_META}")], True, None),
        ([("x-hub-signature-256", f"sha256={BY_META.upper()}")], True, None),
        ([("X-Hub-Signature-256", "sha256=00"), ("X-Hub-Signature-256", f"sha256={BY_META}")], True, None),
        ([("X-Hub-Signature-256", signature(APP_SECRETS[1], VECTOR))], True, None),
        ([("X-Hub-Signature-256", f"sha256={BY_360}")], False, "signature"),
        ([("X-Hub-Signature-256", BY_META)], False, "signature"),
        ([("X-Hub-Signature-256", f"sha1={BY_META}")], False, "signature"),
        ([("X-Hub-Signature-256", f"sha256={BY_META[:-1]}")], False, "signature"),
        ([("X-Hub-Signature-256", f"sha256={BY_META[:-2]}zz")], False, "signature"),
        ([("X-Hub-Signature-256", "sha256=")], False, "signature"),
        ([("X-Hub-Signature-256", f"sha256={BY_META[:-1]}\u0660")], False, "signature"),
        ([("X-Hub-Signature-256", b"\xff".decode("utf-8", "surrogateescape"))], False, "signature"),
        ([("X-Hub-Signature-256", "")], False, "missing"),
        ([("X-Hub-Signature", f"sha1={BY_META}")], False, "missing"),
        ([("X-Webhook-Secret", APP_SECRETS[0])], False, "missing"),
        ([], False, "missing"),
    ],
)
def test_meta_is_proven_by_a_signature_of_either_app_secret(
    headers: list[tuple[str, str]], true: bool, why: str | None
) -> None:
    request = Webhook(CIMultiDict(headers), VECTOR, "")
    assert META.verify(request, SECRETS) is true
    if why is not None:
        assert META.doubt(request, SECRETS) == why


def test_a_verify_token_proves_no_post() -> None:
    signed = CIMultiDict({"X-Hub-Signature-256": signature(VERIFY_TOKENS[0], VECTOR)})
    assert not META.verify(Webhook(signed, VECTOR, ""), SECRETS)


def test_the_signature_is_of_the_bytes_as_they_came() -> None:
    document = batch(value(messages=[message(ID, "wamid.IN1", "שלום https://example.test/a")]))
    body = escaped(document)
    headers = CIMultiDict({"X-Hub-Signature-256": signature(APP_SECRETS[0], body)})
    assert META.verify(Webhook(headers, body, ""), SECRETS)
    (event,) = META.parse(Webhook(headers, body, ""), META.decode(body), NOW)
    assert told(event)["text"] == "שלום https://example.test/a"
    written_anew = orjson.dumps(orjson.loads(body))
    assert written_anew != body
    assert not META.verify(Webhook(headers, written_anew, ""), SECRETS)


def test_no_signature_holds_after_any_bit_of_the_body_flipped() -> None:
    headers = CIMultiDict({"X-Hub-Signature-256": f"sha256={BY_META}"})
    for bit in range(len(VECTOR) * 8):
        flipped = bytearray(VECTOR)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not META.verify(Webhook(headers, bytes(flipped), ""), SECRETS), bit


@both
def test_a_body_is_not_read_where_no_header_could_prove_it(source: Source) -> None:
    for headers in ({}, {"X-Hub-Signature-256": "sha256=1"}, {"X-360dialog-Signature": "x"}, {"X-Webhook-Secret": "x"}):
        assert source.early(CIMultiDict(headers), SECRETS | PLATFORM) is False
    name = "X-Hub-Signature-256" if source is META else "X-360dialog-Signature"
    assert source.early(CIMultiDict({name: f"sha256={BY_META}"}), SECRETS | PLATFORM) is None


@pytest.mark.parametrize(
    ("headers", "true", "why"),
    [
        ({"X-360dialog-Signature": BY_360}, True, None),
        ({"x-360dialog-signature": BY_360.upper()}, True, None),
        ({"X-360dialog-Signature": f"sha256={BY_360}"}, True, None),
        ({"X-Webhook-Secret": "header_secret_0002"}, True, None),
        ({"X-Webhook-Secret": "platform_secret_0001"}, True, None),
        ({"X-360dialog-Signature": BY_META}, False, "signature"),
        ({"X-360dialog-Signature": BY_360[:-2]}, False, "signature"),
        ({"X-Hub-Signature-256": f"sha256={BY_360}"}, False, "missing"),
        ({"X-Webhook-Secret": "wrong"}, False, "key"),
        ({"X-Webhook-Secret": "header_secret_0002,platform_secret_0001"}, False, "key"),
        ({}, False, "missing"),
    ],
)
def test_360dialog_is_proven_by_the_platform_s_signature_or_by_a_secret_in_a_header(
    headers: dict[str, str], true: bool, why: str | None
) -> None:
    request = Webhook(CIMultiDict(headers), VECTOR, "")
    assert DIALOG360.verify(request, PLATFORM) is true
    assert bool(DIALOG360.early(request.headers, PLATFORM)) is (true and "X-Webhook-Secret" in headers)
    if why is not None:
        assert DIALOG360.doubt(request, PLATFORM) == why


# the challenge


@pytest.mark.parametrize("token", VERIFY_TOKENS)
def test_a_challenge_that_names_a_token_of_ours_comes_back(token: str) -> None:
    assert META.challenge is not None
    query = MultiDict({"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": token})
    answer = META.challenge(query, SECRETS)
    assert answer is not None
    assert (answer.status, answer.body, answer.content_type) == (200, b"1158201444", "text/plain")


@pytest.mark.parametrize(
    "change",
    [
        {"hub.verify_token": "verify_token_0003"},
        {"hub.verify_token": "verify_token_0001,verify_token_0002"},
        {"hub.verify_token": ""},
        {"hub.verify_token": "\udcff"},
        {"hub.verify_token": "app_secret_0001"},
        {"hub.verify_token": None},
        {"hub.mode": "unsubscribe"},
        {"hub.mode": None},
        {"hub.challenge": ""},
        {"hub.challenge": None},
    ],
    ids=str,
)
def test_any_other_query_is_no_challenge(change: Mapping[str, str | None]) -> None:
    assert META.challenge is not None
    query = {"hub.mode": "subscribe", "hub.challenge": "1158", "hub.verify_token": VERIFY_TOKENS[0]} | dict(change)
    given = {name: text for name, text in query.items() if text is not None}
    assert META.challenge(given, SECRETS) is None
    assert META.challenge(given, {}) is None


def test_an_empty_token_is_named_by_nobody() -> None:
    assert META.challenge is not None
    query = {"hub.mode": "subscribe", "hub.challenge": "1158", "hub.verify_token": ""}
    assert META.challenge(query, {"meta_verify_token": ("",)}) is None


# messages


def test_a_message_becomes_an_event_of_its_person() -> None:
    document = message(ID, "wamid.IN1", " two\nlines ")
    (event,) = of(contacts=[contact(ID, "Noa Sample", BSUID)], messages=[document])
    assert (event.type, event.topic, event.source, event.subject, event.time) == (
        "message.received", "messages", "meta", f"+{ID}", NOW,
    )  # fmt: skip
    assert told(event) == {
        "system": "meta",
        "contact_id": ID,
        "phone": f"+{ID}",
        "at": SENT.isoformat(),
        "channel": "whatsapp",
        "text": " two\nlines ",
        "message_id": "wamid.IN1",
        "kind": "text",
        "media": None,
        "choice": None,
        "reply_to": None,
        "name": "Noa Sample",
        "bsuid": BSUID,
        "number": PHONE_NUMBER_ID,
        "received": document,
    }
    evidence = told_by(event, TERMS)
    assert evidence is not None
    assert (evidence.phone.e164, evidence.has_whatsapp, evidence.at) == (f"+{ID}", True, SENT)


KINDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {
            "type": "interactive",
            "context": {"from": "15550001111", "id": "wamid.OUT"},
            "interactive": {"type": "button_reply", "button_reply": {"id": "keep", "title": "Keep"}},
        },
        {"kind": "choice", "choice": "keep", "text": "Keep", "reply_to": "wamid.OUT"},
    ),
    (
        {
            "type": "interactive",
            "interactive": {
                "type": "list_reply",
                "list_reply": {"id": "m1", "title": "09:00", "description": "Gate 2"},
            },
        },
        {"kind": "choice", "choice": "m1", "text": "09:00"},
    ),
    (
        {"type": "button", "button": {"payload": "STOP", "text": "Stop"}},
        {"kind": "choice", "choice": "STOP", "text": "Stop"},
    ),
    (
        {
            "type": "interactive",
            "interactive": {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "{}"}},
        },
        {"kind": "interactive", "choice": None, "text": "Sent"},
    ),
    (
        {
            "type": "image",
            "image": {
                "id": "990",
                "mime_type": "image/jpeg",
                "sha256": "aGFzaA==",
                "caption": "here",
                "animated": True,
            },
        },
        {
            "kind": "image",
            "text": "here",
            "media": {"id": "990", "mime_type": "image/jpeg", "sha256": "aGFzaA=="},
        },
    ),
    (
        {"type": "video", "video": {"id": "990", "url": "https://lookaside.example.test/v", "mime_type": "video/mp4"}},
        {
            "kind": "video",
            "text": None,
            "media": {"id": "990", "url": "https://lookaside.example.test/v", "mime_type": "video/mp4"},
        },
    ),
    (
        {"type": "audio", "audio": {"id": "991", "mime_type": "audio/ogg; codecs=opus", "voice": True}},
        {"kind": "voice", "media": {"id": "991", "mime_type": "audio/ogg; codecs=opus"}},
    ),
    (
        {"type": "audio", "audio": {"id": "991", "mime_type": "audio/mpeg", "voice": False}},
        {"kind": "audio", "media": {"id": "991", "mime_type": "audio/mpeg"}},
    ),
    (
        {"type": "document", "document": {"id": "992", "filename": "id.pdf", "mime_type": "application/pdf"}},
        {"kind": "document", "media": {"id": "992", "mime_type": "application/pdf", "filename": "id.pdf"}},
    ),
    (
        {"type": "sticker", "sticker": {"id": "993", "mime_type": "image/webp", "animated": False}},
        {"kind": "sticker", "media": {"id": "993", "mime_type": "image/webp"}},
    ),
    (
        {"type": "location", "location": {"latitude": 1.5, "longitude": 2.5, "name": "Pier", "address": "1 Quay"}},
        {"kind": "location", "text": None, "media": None},
    ),
    (
        {"type": "contacts", "contacts": [{"name": {"formatted_name": "Noa Sample"}}]},
        {"kind": "contacts", "text": None},
    ),
    (
        {"type": "reaction", "reaction": {"message_id": "wamid.OUT", "emoji": "👍"}},
        {"kind": "reaction", "text": "👍", "reply_to": "wamid.OUT"},
    ),
    (
        {"type": "reaction", "reaction": {"message_id": "wamid.OUT", "emoji": ""}},
        {"kind": "reaction", "text": None, "reply_to": "wamid.OUT"},
    ),
    ({"type": "reaction", "reaction": {"message_id": "wamid.OUT"}}, {"kind": "reaction", "text": None}),
    ({"type": "order", "order": {"catalog_id": "1", "text": "two please"}}, {"kind": "order", "text": "two please"}),
    (
        {"type": "unsupported", "errors": [{"code": 131051, "title": "Message type unknown"}]},
        {"kind": "unsupported", "text": None},
    ),
    ({"type": "edit", "edit": {"original_message_id": "wamid.IN0"}}, {"kind": "edit", "text": None}),
    ({"type": "revoke", "revoke": {"original_message_id": "wamid.IN0"}}, {"kind": "revoke", "text": None}),
    ({"type": "hologram", "hologram": {"id": 5}}, {"kind": "hologram", "text": None, "channel": "whatsapp"}),
    ({"type": None}, {"kind": "unknown", "text": None}),
    ({"type": "No kind!"}, {"kind": "unknown", "text": None}),
    ({"type": "text", "text": "bare"}, {"kind": "text", "text": None}),
    ({"type": "image", "image": [1]}, {"kind": "image", "text": None, "media": {}}),
    ({"type": "text", "group_id": "g1"}, {"channel": "whatsapp-group", "phone": f"+{ID}"}),
    ({"context": {"forwarded": True}, "referral": {"source_type": "ad"}}, {"kind": "text", "reply_to": None}),
]


@pytest.mark.parametrize(("members", "wanted"), KINDS, ids=lambda found: str(found.get("type", found.get("kind"))))
def test_every_kind_of_message_is_told_in_our_form(members: dict[str, Any], wanted: dict[str, Any]) -> None:
    event = one(**members)
    found = told(event)
    assert {name: found[name] for name in wanted} == wanted
    assert found["received"] == message(ID, "wamid.IN1") | members
    assert (event.type, event.subject) == ("message.received", f"+{ID}")


def test_a_change_of_number_is_told_of_the_old_one_and_is_no_sign_that_it_is_on_whatsapp() -> None:
    """Nor is it a message by which the person may be answered freely."""
    for kind in ("user_changed_number", "customer_changed_number"):
        system = {"type": kind, "wa_id": OTHER, "body": "Noa Sample changed"}
        event = one(type="system", system=system)
        found = told(event)
        assert (found["kind"], found["channel"], found["text"], event.subject) == ("system", None, None, f"+{ID}")
        assert found["received"]["system"]["wa_id"] == OTHER
        assert told_by(event, TERMS) is None


@pytest.mark.parametrize("wish", ["stop", "resume"])
def test_a_stop_of_marketing_is_passed_on_and_opens_nothing(wish: str) -> None:
    preference = {"wa_id": ID, "detail": "as asked", "category": "marketing_messages", "value": wish, "timestamp": AT}
    document = batch(
        value(contacts=[contact(ID, "Noa Sample")], user_preferences=[preference]), field="user_preferences"
    )
    (event,) = taken(document)
    found = told(event)
    assert (event.type, event.subject, found["kind"]) == ("message.received", f"+{ID}", "user_preferences")
    assert (found["channel"], found["text"], found["choice"], found["message_id"]) == (None, None, None, None)
    assert (found["at"], found["name"], found["received"]) == (SENT.isoformat(), "Noa Sample", preference)
    (again,) = taken(document, DIALOG360, LATER)
    assert again.id == event.id
    later = batch(value(user_preferences=[preference | {"timestamp": AT + 60}]), field="user_preferences")
    assert taken(later)[0].id != event.id


# statuses


@pytest.mark.parametrize("state", STATUSES)
def test_a_status_becomes_an_event_of_the_recipient(state: str) -> None:
    document = status(ID, "wamid.OUT", state, biz_opaque_callback_data=OURS, pricing={"billable": True})
    (event,) = of(contacts=[contact(ID)], statuses=[document])
    assert (event.type, event.topic, event.source, event.subject) == (
        "delivery.updated", "deliveries", "meta", f"+{ID}",
    )  # fmt: skip
    assert told(event) == {
        "system": "meta",
        "message_id": "wamid.OUT",
        "our_id": OURS,
        "phone": f"+{ID}",
        "at": SENT.isoformat(),
        "status": state,
        "error_code": None,
        "error": None,
        "received": document,
    }


@pytest.mark.parametrize("code", [code for code in CODES if code not in range(201, 299)])
def test_a_failure_is_told_by_its_code_in_words_of_ours(code: int) -> None:
    (event,) = of(statuses=[failed(ID, "wamid.OUT", code)])
    found = told(event)
    assert (found["status"], found["error_code"], found["error"]) == ("failed", str(code), CODES[code].means)
    evidence = told_by(event, TERMS)
    assert (evidence is not None and not evidence.has_whatsapp) is (code == 131026)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([{"code": 999999, "title": "New"}], "999999"),
        ([{"code": "131047"}, {"code": 1}], "131047"),
        ([{"code": True}], None),
        ([{"code": "x"}], None),
        ([7, {"code": 131047}], "131047"),
        ([], None),
        (None, None),
        ("sorry", None),
        ({"code": 131047}, "131047"),
    ],
)
def test_a_failure_without_a_known_code_is_one_all_the_same(errors: object, code: str | None) -> None:
    (event,) = of(statuses=[status(ID, "wamid.OUT", "failed") | {"errors": errors}])
    assert (told(event)["status"], told(event)["error_code"]) == ("failed", code)


# batches


def test_a_batch_is_walked_whole() -> None:
    """Promise: three entries, messages and statuses mixed, and an odd element hides none of the others."""
    written, sent = [message(ID, "wamid.A"), "odd", message(OTHER, "wamid.B")], status(ID, "wamid.C", "sent")
    document = batch(
        value(messages=written, statuses=[sent]),
        value(statuses=[status(ID, "wamid.C", "read"), None, status(OTHER, "wamid.D", "delivered")]),
        value(messages=[message(ID, "wamid.E")]),
    )  # fmt: skip
    document["entry"][2]["changes"] += [{"field": "messages", "value": value(messages=[message(ID, "wamid.F")])}]
    events = taken(document)
    named = [(told(event).get("message_id") or "odd", told(event).get("status", "")) for event in events]
    assert named == [
        ("wamid.A", ""), ("odd", ""), ("wamid.B", ""), ("wamid.C", "sent"), ("wamid.C", "read"), ("odd", ""),
        ("wamid.D", "delivered"), ("wamid.E", ""), ("wamid.F", ""),
    ]  # fmt: skip
    assert len({event.id for event in events}) == len(events)
    assert all("received" in told(event) and b"entry" not in event.data for event in events)


def test_fifty_statuses_are_fifty_events() -> None:
    events = of(statuses=[status(ID, f"wamid.{n}", "sent") for n in range(50)])
    assert len({event.id for event in events}) == 50


@pytest.mark.parametrize(
    "document",
    [
        {"object": "whatsapp_business_account", "entry": []},
        {"entry": None},
        {"entry": [{"id": "1", "changes": []}]},
        {"entry": [{"id": "1"}]},
        batch(value(statuses=[{"id": "wacid.1", "type": "call", "status": "RINGING"}]), field="calls"),
        batch(value(messages=[message(ID, "wamid.OLD")]), field="history"),
        batch(value(errors=[{"code": 130429}])),
        batch({"phone_number": "15550001111"}, field="account_update"),
        {"entry": [{"changes": [{"field": 7, "value": {}}]}]},
    ],
    ids=lambda document: json.dumps(document)[:60],
)
@both
def test_what_tells_of_no_message_is_taken_and_makes_no_event(source: Source, document: dict[str, Any]) -> None:
    assert taken(document, source) == []


@both
def test_a_change_of_a_template_is_an_event_of_its_own_beside_messages(source: Source) -> None:
    document = change("message_template_status_update", definition("parcel_ready", "pt_BR"), at=AT, event="PAUSED")
    document["entry"] += batch(value(messages=[message(ID, "wamid.IN1")]))["entry"]
    changed, beside = taken(document, source)
    assert (changed.type, changed.source, beside.type) == ("template.changed", source.name, "message.received")
    assert {name: told(changed)[name] for name in ("system", "status", "at")} == {
        "system": "meta",
        "status": "PAUSED",
        "at": SENT.isoformat(),
    }
    assert told(changed)["template"] == {
        "id": definition("parcel_ready", "pt_BR")["id"],
        "name": "parcel_ready",
        "language": "pt_BR",
    }
    assert taken(document, source, LATER)[0].id == changed.id, "delivered again it is the same"


@pytest.mark.parametrize("document", [{}, {"object": "page"}, {"contacts": []}, {"changes": []}])
def test_what_is_no_batch_is_malformed(document: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="no entry"):
        taken(document)


def test_the_bare_form_of_whatsapp_s_former_servers_is_read_too() -> None:
    bare = {"contacts": [contact(ID, "Noa Sample")], "messages": [message(ID, "wamid.IN1")]}
    (event,) = taken(bare, DIALOG360)
    assert event.id == one().id
    assert told(event)["name"] == "Noa Sample"
    (state,) = taken({"statuses": [status(ID, "wamid.OUT", "read")]}, DIALOG360)
    assert told(state)["status"] == "read"


# identities and keys


def test_a_thing_is_the_same_whoever_tells_it_in_whatever_batch_and_whenever() -> None:
    lists = {"messages": [message(ID, "wamid.A")], "statuses": [status(ID, "wamid.B", "sent")]}
    alone = [of(messages=lists["messages"])[0], of(statuses=lists["statuses"])[0]]
    for source in (META, DIALOG360):
        events = of(source=source, now=LATER, **lists)
        assert [event.id for event in events] == [event.id for event in alone]
        assert [event.data for event in events] == [event.data for event in alone]
        assert {event.source for event in events} == {source.name}


def test_each_status_of_a_message_and_the_message_itself_are_things_of_their_own() -> None:
    ids = {event.id for event in of(statuses=[status(ID, "wamid.A", state) for state in STATUSES])}
    ids |= {of(messages=[message(ID, "wamid.A")])[0].id, of(messages=[message(ID, "wamid.a")])[0].id}
    assert len(ids) == len(STATUSES) + 2


@pytest.mark.parametrize(
    ("members", "contacts", "subject", "contact_id"),
    [
        ({}, [], f"+{ID}", ID),
        ({"from": "5511987654321"}, [], "+5511987654321", "5511987654321"),
        ({"from": "551187654321"}, [], "+5511987654321", "551187654321"),
        ({"from": None}, [contact(None, "Noa", BSUID)], f"bsuid:{BSUID}", BSUID),
        ({"from": None, "from_user_id": BSUID}, [], f"bsuid:{BSUID}", BSUID),
        ({"from": None, "from_user_id": BSUID}, [contact(ID, "Noa", BSUID)], f"+{ID}", ID),
        ({"from": ID}, [contact(OTHER, "Somebody", "SE.1")], f"+{ID}", ID),
        ({"from": "12"}, [], "message:wamid.IN1", "12"),
        ({"from": "not digits"}, [], "message:wamid.IN1", "not digits"),
        ({"from": "99999999999"}, [contact("99999999999", None, BSUID)], f"bsuid:{BSUID}", "99999999999"),
    ],
)
def test_the_key_of_a_message_is_the_phone_else_the_business_scoped_id_else_the_message(
    members: dict[str, Any], contacts: list[Any], subject: str, contact_id: str
) -> None:
    (event,) = of(contacts=contacts, messages=[message(ID, "wamid.IN1") | members])
    assert (event.subject, told(event)["contact_id"]) == (subject, contact_id)


@pytest.mark.parametrize(
    ("members", "contacts", "subject"),
    [
        ({}, [], f"+{ID}"),
        ({"recipient_id": None, "recipient_user_id": BSUID}, [], f"bsuid:{BSUID}"),
        ({"recipient_id": None}, [contact(ID, None, BSUID)], f"+{ID}"),
        ({"recipient_id": None}, [], "message:wamid.OUT"),
        ({"recipient_id": "120363000000000000@g.us"}, [], "message:wamid.OUT"),
    ],
)
def test_the_key_of_a_status_is_that_of_its_recipient(
    members: dict[str, Any], contacts: list[Any], subject: str
) -> None:
    (event,) = of(contacts=contacts, statuses=[status(ID, "wamid.OUT", "sent") | members])
    assert event.subject == subject


def test_the_name_is_that_of_the_person_who_wrote() -> None:
    contacts = [contact(OTHER, "Somebody"), contact(ID, "Noa Sample"), "odd", contact(ID)]
    events = of(contacts=contacts, messages=[message(ID, "wamid.A"), message("46701740605", "wamid.B")])
    assert [told(event)["name"] for event in events] == ["Noa Sample", None]


# odd parts


@pytest.mark.parametrize(
    ("document", "type", "odd"),
    [
        (batch(value(messages=["canary"])), "message.received", "a message has no id"),
        (batch(value(messages="canary")), "message.received", "a message has no id"),
        (batch(value(messages=[message(ID, "") | {"canary": 1}])), "message.received", "a message has no id"),
        (batch(value(messages=[message(ID, "wamid.IN1") | {"from": None}])), "message.received", "of nobody"),
        (batch(value(messages=[message(ID, "wamid.IN1") | {"from": 5}])), "message.received", "of nobody"),
        (batch(value(statuses=[{"canary": 1}])), "delivery.updated", "a status has no id"),
        (batch(value(statuses=[status(ID, "wamid.OUT", "canary")])), "delivery.updated", "none of those"),
        (batch(value(statuses=[{"id": "wamid.OUT"}])), "delivery.updated", "none of those"),
        (batch(value(user_preferences=[{"value": "stop"}]), field="user_preferences"), "message.received", "of nobody"),
        (batch(["canary"]), "message.received", "not an object"),  # type: ignore[arg-type]
        ({"entry": ["canary"]}, "message.received", "not an object"),
        ({"entry": "canary"}, "message.received", "not an object"),
        ({"entry": [{"changes": ["canary"]}]}, "message.received", "not an object"),
        ({"entry": [{"changes": "canary"}]}, "message.received", "not an object"),
    ],
    ids=str,
)
def test_an_odd_part_is_kept_and_fails_in_the_worker(document: dict[str, Any], type: str, odd: str) -> None:
    (event,) = taken(document)
    assert event.type == type
    assert odd in told(event)["odd"]
    assert "canary" not in told(event)["odd"]
    with pytest.raises(Malformed, match=odd):
        told_by(event, TERMS)
    assert taken(document, DIALOG360, LATER)[0].id == event.id


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
words = st.sampled_from([ID, "wamid.A", "messages", "user_preferences", "sent", "failed", "text", "image", "system"])
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18) | texts | words
names = st.sampled_from(
    ["id", "from", "from_user_id", "user_id", "wa_id", "recipient_id", "timestamp", "type", "text", "body", "image",
     "status", "errors", "code", "interactive", "context", "profile", "name", "contacts", "messages", "statuses",
     "user_preferences", "entry", "changes", "field", "value", "group_id", "biz_opaque_callback_data"]
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | texts, inner, max_size=5)
)
elements = st.one_of(
    values,
    st.builds(lambda more: message(ID, "wamid.A") | more, st.dictionaries(names, values, max_size=3)),
    st.builds(lambda more: status(ID, "wamid.A", "sent") | more, st.dictionaries(names, values, max_size=3)),
)
lists = st.dictionaries(
    st.sampled_from(["messages", "statuses", "user_preferences", "contacts"]), st.lists(elements, max_size=3) | values
)
bodies = st.one_of(
    st.dictionaries(names | texts, values, max_size=5),
    st.builds(lambda *found: batch(*found), lists, lists),
    st.builds(lambda found: batch(found, field="user_preferences"), lists),
)


def parts(found: object) -> int:
    """How many things a document can tell of at most: each of its members and elements may be one."""
    if isinstance(found, dict):
        return 1 + sum(map(parts, found.values()))
    return 1 + sum(map(parts, found)) if isinstance(found, list) else 1


@both
@given(document=bodies)
@example(document={"entry": {"changes": {"value": {"messages": {"id": "x" * 1000, "from": "9" * 20}}}}})
def test_any_object_is_no_batch_or_becomes_events_that_read_back_or_say_what_is_odd(
    source: Source, document: dict[str, Any]
) -> None:
    try:
        events = taken(document, source)
    except Malformed:
        return
    assert len(events) <= parts(document)
    for event in events:
        found = told(event)
        assert (found["system"], event.source) == ("meta", source.name)
        assert 0 < len(event.subject) <= 250
        if "odd" in found:
            with pytest.raises(Malformed):
                told_by(event, TERMS)
        else:
            told_by(event, TERMS)
            assert event.type == ("delivery.updated" if "status" in found else "message.received")
