"""How `cgb` reads what a bot flow posts, and names it. What every source promises is in test_sources.py."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapters.cgb.source import SOURCE as CGB
from adapters.ports import NoIdentity, Webhook
from daemon.contacts.validation import Terms, told_by
from daemon.sandbox.cgb_flows import SENT_AT, contact_body, reply_body
from schemas.contact_changes import ContactChange, change_from
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone, line

NOW = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)
SENT = datetime(2031, 2, 14, 9, 15, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SECRETS = {"cgb_webhook_secret": ("whisper-0d41-0d41", "whisper-77aa-77aa")}
TERMS = Terms(yes_days=90, no_days=14)
ID = "972505550142"
PHONE = Phone(f"+{ID}")


def one(document: object, now: datetime = NOW) -> Event:
    body = json.dumps(document).encode()
    (event,) = CGB.parse(Webhook(CIMultiDict(), body, ""), CGB.decode(body), now)
    return event


def change(document: object, now: datetime = NOW) -> ContactChange:
    return change_from(one(document, now))


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


# proofs


@pytest.mark.parametrize(
    ("headers", "true", "why"),
    [
        ([("X-Webhook-Secret", "whisper-0d41-0d41")], True, None),
        ([("x-webhook-secret", "whisper-77aa-77aa")], True, None),
        ([("X-Webhook-Secret", "wrong"), ("X-Webhook-Secret", "whisper-77aa-77aa")], True, None),
        ([("X-Webhook-Secret", ""), ("x-webhook-secret", "whisper-0d41-0d41")], True, None),
        ([("X-Webhook-Secret", "whisper-0d41-0d4")], False, "key"),
        ([("X-Webhook-Secret", "whisper-0d41-0d411")], False, "key"),
        ([("X-Webhook-Secret", "WHISPER-0D41-0D41")], False, "key"),
        ([("X-Webhook-Secret", "whisper-0d41-0d41,whisper-77aa-77aa")], False, "key"),
        ([("X-Webhook-Secret", "s\u00e9same")], False, "key"),
        ([("X-Webhook-Secret", b"\xff".decode("utf-8", "surrogateescape"))], False, "key"),
        ([("X-Webhook-Secret", "")], False, "missing"),
        ([("X-API-Key", "whisper-0d41-0d41")], False, "missing"),
        ([("Authorization", "Bearer whisper-0d41-0d41")], False, "missing"),
        ([], False, "missing"),
    ],
)
def test_a_secret_in_the_header_proves_a_flow_and_the_header_alone_decides(
    headers: list[tuple[str, str]], true: bool, why: str | None
) -> None:
    request = Webhook(CIMultiDict(headers), b"\xff", "")
    assert CGB.verify(request, SECRETS) is true
    assert CGB.early(request.headers, SECRETS) is true
    if why is not None:
        assert CGB.doubt(request, SECRETS) == why


def test_an_empty_secret_proves_nothing() -> None:
    for value in ("", "x"):
        assert not CGB.early(CIMultiDict({"X-Webhook-Secret": value}), {"cgb_webhook_secret": ("",)})


# what becomes of a body


def test_the_documented_reply_becomes_a_message_of_the_person() -> None:
    body = b'{"v":1,"event":"reply","contact_id":"972505550142","text":"ok","sent_at":1928826900}'
    (event,) = CGB.parse(Webhook(CIMultiDict(), body, ""), CGB.decode(body), NOW)
    assert (event.type, event.topic, event.source, event.subject, event.time) == (
        "message.received", "messages", "cgb", f"+{ID}", NOW,
    )  # fmt: skip
    assert event.json() == {
        "system": "cgb",
        "contact_id": ID,
        "phone": f"+{ID}",
        "at": SENT.isoformat(),
        "channel": "whatsapp",
        "text": "ok",
        "message_id": None,
        "kind": "text",
        "media": None,
        "choice": None,
        "reply_to": None,
        "name": None,
        "bsuid": None,
        "received": json.loads(body),
    }
    assert body in event.data
    evidence = told_by(event, TERMS)
    assert evidence is not None
    assert (evidence.phone, evidence.has_whatsapp, evidence.at) == (PHONE, True, SENT)


def test_a_contact_becomes_a_change_of_what_it_holds() -> None:
    document = contact_body(
        ID,
        phone=f"+{ID}",
        channel=5,
        name=" Noa\u202e Sample ",
        email="noa@example.com",
        language="he",
        fields={"visa_type": "evisa", "visa_quantity": 2, "order_urgent": True, "share": 0.5, "no": False},
        id="run-7",
    )
    event = one(document)
    assert (event.type, event.topic, event.subject) == ("contact.changed", "contacts", f"+{ID}")
    assert event.json()["received"] == document
    found = change_from(event)
    assert (found.system, found.contact_id, found.phone, found.at) == ("cgb", ID, PHONE, SENT)
    assert found.fields == {
        "customer_name": "Noa Sample",
        "Email": "noa@example.com",
        "language": "he",
        "visa_type": "evisa",
        "visa_quantity": "2",
        "order_urgent": "1",
        "share": "0.5",
        "no": "0",
    }


@pytest.mark.parametrize("nothing", [None, "", "  ", "{{email}}", " {{ user field }} ", "{{first}} {{last}}"])
def test_what_a_flow_has_not_filled_in_is_not_said(nothing: str | None) -> None:
    members = dict.fromkeys(("phone", "channel", "name", "email", "language", "id"), nothing)
    document = contact_body(ID, **members, fields={"visa_type": nothing, "Email": nothing, "kept": "x"})
    found = change(document)
    assert found.fields == {"kept": "x"}
    assert found.phone == PHONE
    assert one(document).id != one(contact_body(ID, id="run-7")).id
    assert change(contact_body(ID, fields=nothing)).fields == {}
    assert one(reply_body(ID) | {"text": nothing, "message_id": nothing}).json()["text"] is None
    assert change(contact_body(ID, sent_at=nothing)).at == NOW


def test_a_value_that_only_holds_a_placeholder_among_words_is_said() -> None:
    assert change(contact_body(ID, name="Noa {{last_name}}")).fields == {"customer_name": "Noa {{last_name}}"}


def test_a_name_in_fields_wins_and_values_are_cut() -> None:
    found = change(
        contact_body(ID, name="A", email="a@example.com", fields={"customer_name": "B" * 300, "note": "n" * 3000})
    )
    assert found.fields == {"customer_name": "B" * 100, "Email": "a@example.com", "note": "n" * 1000}


def test_a_message_is_kept_as_it_was_written() -> None:
    assert one(reply_body(ID, " two\nlines ")).json()["text"] == " two\nlines "
    assert one(reply_body(ID) | {"text": 5}).json()["text"] == "5"
    assert one(reply_body(ID, message_id=77)).json()["message_id"] == "77"


# the contact and its key


@pytest.mark.parametrize(
    "contact_id", [None, "", " ", "{{contact_id}}", "+", "+{{phone}}", True, False, 1.5, 1e30, [], [ID], {"id": ID}]
)
def test_without_a_contact_there_is_no_identity(contact_id: object) -> None:
    with pytest.raises(NoIdentity, match="contact_id") as caught:
        one(contact_body(ID) | {"contact_id": contact_id})
    assert ID not in str(caught.value)
    with pytest.raises(NoIdentity):
        one(without(contact_body(ID), "contact_id"))


@pytest.mark.parametrize("contact_id", [ID, int(ID), f"+{ID}", f" {ID} "])
def test_a_contact_has_one_key_and_one_id_however_it_is_written(contact_id: object) -> None:
    document = contact_body(ID, id="run-7") | {"contact_id": contact_id}
    assert (one(document).subject, change(document).contact_id) == (f"+{ID}", ID)
    assert one(document).id == one(contact_body(ID, id="run-7")).id


@pytest.mark.parametrize(
    ("members", "phone"),
    [
        ({}, PHONE.e164),
        ({"channel": 5}, PHONE.e164),
        ({"channel": "5"}, PHONE.e164),
        ({"channel": "WhatsApp"}, PHONE.e164),
        ({"channel": 8}, None),
        ({"channel": "telegram"}, None),
        ({"channel": 0}, None),
        ({"channel": 8, "phone": "+46 70 174 06 06"}, None),
        ({"phone": "+46701740606"}, PHONE.e164),
        ({"channel": 5, "phone": "0046701740606"}, PHONE.e164),
        ({"phone": f"++{ID}"}, PHONE.e164),
        ({"phone": ID}, PHONE.e164),
        ({"phone": int(ID)}, PHONE.e164),
        ({"phone": "+{{phone}}"}, PHONE.e164),
        ({"phone": "+"}, PHONE.e164),
        ({"phone": "+{{phone}}", "channel": 9}, None),
        ({"phone": ID, "channel": 9}, None),
        ({"phone": "call me"}, PHONE.e164),
    ],
)
def test_the_phone_of_a_contact_on_whatsapp_is_its_id_whatever_a_field_says(
    members: dict[str, Any], phone: str | None
) -> None:
    """A person may have typed somebody else's phone into a field, and must not become that person by it."""
    event = one(contact_body(ID, **members))
    assert event.json()["phone"] == phone
    assert event.subject == (phone or f"cgb:{ID}")


@pytest.mark.parametrize(
    ("members", "phone"),
    [
        ({"phone": "+46701740606"}, "+46701740606"),
        ({"channel": 5, "phone": "0046701740606"}, "+46701740606"),
        ({"channel": 8, "phone": "+46701740606"}, None),
        ({"phone": "0505550142"}, None),
        ({"phone": "46701740606"}, None),
        ({"phone": "+1234"}, None),
        ({"phone": "call me"}, None),
        ({}, None),
    ],
)
def test_the_phone_of_a_contact_whose_id_is_no_number_is_the_one_that_is_said(
    members: dict[str, Any], phone: str | None
) -> None:
    event = one(contact_body("77", **members))
    assert (event.json()["phone"], event.subject) == (phone, phone or "cgb:77")


@pytest.mark.parametrize("contact_id", ["1234567890123456789", "972000000000", "99999999999", "12345678"])
def test_an_id_that_is_no_valid_number_is_no_phone(contact_id: str) -> None:
    event = one(reply_body(contact_id))
    assert (event.json()["phone"], event.subject) == (None, f"cgb:{contact_id}")
    assert told_by(event, TERMS) is None


@pytest.mark.parametrize(
    ("members", "channel"),
    [
        ({}, "whatsapp"),
        ({"channel": 5}, "whatsapp"),
        ({"channel": "5", "phone": "+46701740606"}, "whatsapp"),
        ({"phone": "+46701740606"}, "whatsapp"),
        ({"channel": 8, "phone": f"+{ID}"}, "telegram"),
        ({"channel": "Instagram", "phone": f"+{ID}"}, "instagram"),
        ({"channel": 77, "phone": f"+{ID}"}, "77"),
    ],
)
def test_only_a_reply_by_whatsapp_tells_that_the_number_is_there(members: dict[str, Any], channel: str | None) -> None:
    event = one(reply_body(ID, **members))
    assert event.json()["channel"] == channel
    assert (told_by(event, TERMS) is not None) is (channel == "whatsapp")


def test_a_test_contact_tells_nothing() -> None:
    event = one(reply_body("3102147-TEST", phone=f"+{ID}", channel=5))
    assert event.json()["phone"] == f"+{ID}"
    assert told_by(event, TERMS) is None


# ids


@pytest.mark.parametrize("body", [contact_body, reply_body])
def test_a_delivery_with_an_id_is_the_same_whatever_it_holds_and_whenever_it_comes(body: Any) -> None:
    first = one(body(ID, id="run-7"))
    assert one(body(ID, id="run-7", sent_at=SENT_AT + 9, phone="+46701740606"), LATER).id == first.id
    others = [
        one(body(ID, id="run-8")),
        one(body("46701740606", id="run-7")),
        one(body(ID)),
        one({**body(ID, id="run-7"), "event": "other"}),
    ]
    assert len({first.id, *(other.id for other in others)}) == 5


def test_a_reply_is_named_by_its_message_before_its_delivery() -> None:
    ids = {one(reply_body(ID, message_id="m1", id=delivery)).id for delivery in ("a", "b", None)}
    assert ids == {one(reply_body(ID, message_id="m1")).id}
    assert one(contact_body(ID, message_id="m1", id="a")).id == one(contact_body(ID, id="a")).id


@pytest.mark.parametrize("body", [contact_body, reply_body])
def test_without_an_id_the_time_and_the_content_name_a_delivery(body: Any) -> None:
    first = one(body(ID))
    assert one(dict(reversed(body(ID).items())), LATER).id == first.id
    ids = {first.id, *(one(body(ID, **new)).id for new in ({"sent_at": SENT_AT + 1}, {"phone": "1"}, {"more": 1}))}
    assert len(ids) == 4


@pytest.mark.parametrize("sent_at", [None, "", "{{now}}", "yesterday", "2031-02-14T09:15:00", 7, True, [1]])
@pytest.mark.parametrize("body", [contact_body, reply_body])
def test_without_an_id_and_a_time_every_arrival_is_a_thing_of_its_own(body: Any, sent_at: object) -> None:
    document = body(ID, sent_at=sent_at)
    assert one(document).id != one(document, NOW + timedelta(microseconds=1)).id
    assert one(document).json()["at"] is None


def test_the_data_of_one_delivery_are_the_same_whenever_it_comes() -> None:
    for document in (contact_body(ID, id="a", sent_at=None), reply_body(ID, id="a", sent_at=2**31)):
        assert one(document).data == one(document, LATER).data


@pytest.mark.parametrize("id", [True, 1.5, [], {}, "x" * 201])
def test_an_id_of_another_kind_names_nothing_and_is_odd(id: object) -> None:
    assert one(reply_body(ID, id=id)).id != one(reply_body(ID, id=id, sent_at=SENT_AT + 1)).id
    with pytest.raises(Malformed, match=r"^id "):
        told_by(one(reply_body(ID, id=id)), TERMS)


# times


@pytest.mark.parametrize(
    "sent_at",
    [
        SENT_AT,
        str(SENT_AT),
        f" {SENT_AT} ",
        float(SENT_AT),
        SENT_AT * 1000,
        str(SENT_AT * 1000),
        "2031-02-14T09:15:00Z",
        "2031-02-14T11:15:00+02:00",
        "2031-02-14 09:15:00+00:00",
    ],
)
def test_a_time_is_read_as_seconds_milliseconds_or_iso_8601(sent_at: object) -> None:
    assert change(contact_body(ID, sent_at=sent_at)).at == SENT


@pytest.mark.parametrize(
    "sent_at", [SENT_AT + 0.237, f"{SENT_AT}.237", SENT_AT * 1000 + 237, "2031-02-14T09:15:00.237Z"]
)
def test_a_fraction_of_a_second_counts(sent_at: object) -> None:
    """Else a change would be older than an order of the same second that came before it."""
    assert change(contact_body(ID, sent_at=sent_at)).at == SENT + timedelta(milliseconds=237)


@pytest.mark.parametrize(
    "sent_at", ["soon", "2031-02-14T09:15:00", "0001-01-01T00:00:00+14:00", {}, 7, -SENT_AT, 1e300, SENT_AT + 10**6]
)
def test_a_time_that_cannot_be_read_or_is_to_come_is_the_arrival(sent_at: object) -> None:
    assert change(contact_body(ID, sent_at=sent_at)).at == NOW


# odd bodies


@pytest.mark.parametrize(
    ("new", "member"),
    [
        ({"v": None}, "v is missing"),
        ({"v": 2}, "v is not 1"),
        ({"v": True}, "v is not 1"),
        ({"v": [1]}, "v is not 1"),
        ({"event": None}, "event is missing"),
        ({"event": ["reply"]}, "event is missing"),
        ({"event": "canary"}, "event is neither"),
        ({"contact_id": "canary"}, "contact_id is not"),
        ({"contact_id": "9" * 20}, "contact_id is not"),
        ({"contact_id": -5}, "contact_id is not"),
        ({"contact_id": 0}, "contact_id is not"),
        ({"contact_id": "00"}, "contact_id is not"),
        ({"contact_id": f"0{ID}"}, "contact_id is not"),
        ({"name": ["canary"]}, "^name "),
        ({"email": {"canary": 1}}, "^email "),
        ({"phone": ["canary"]}, "^phone "),
        ({"channel": {}}, "^channel "),
        ({"fields": ["canary"]}, "fields is not an object"),
        ({"fields": "canary"}, "fields is not an object"),
        ({"fields": {"canary": {}}}, "fields is an object or an array"),
        ({"fields": {"canary": [1]}}, "fields is an object or an array"),
        ({"fields": {" ": "canary"}}, "name in fields"),
        ({"fields": {"n" * 101: "canary"}}, "name in fields"),
        ({"fields": {f"f{n}": "canary" for n in range(101)}}, "more than 100"),
    ],
)
def test_an_odd_body_is_accepted_and_fails_in_the_worker_by_the_member_s_name(new: dict[str, Any], member: str) -> None:
    event = one(contact_body(ID) | new)
    assert event.type == "contact.changed"
    assert event.json()["received"] == contact_body(ID) | new
    with pytest.raises(Malformed, match=member) as caught:
        change_from(event)
    assert "canary" not in str(caught.value)


def test_an_odd_reply_is_still_a_message_and_fails_in_the_worker() -> None:
    for new in ({"text": ["canary"]}, {"message_id": 1.5}, {"v": 3}):
        event = one(reply_body(ID) | new)
        assert (event.type, event.subject) == ("message.received", f"+{ID}")
        with pytest.raises(Malformed, match=next(iter(new))) as caught:
            told_by(event, TERMS)
        assert "canary" not in str(caught.value)


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
words = st.sampled_from(
    [ID, f"+{ID}", "{{x}}", "contact", "reply", "1", "5", "whatsapp", "-TEST", "2031-02-14T09:15:00Z"]
)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18) | texts | words
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4))
members = st.sampled_from(
    ["v", "event", "contact_id", "phone", "channel", "name", "email", "language", "fields", "sent_at", "id", "text",
     "message_id"]
)  # fmt: skip
likely = st.fixed_dictionaries(
    {"v": st.just(1), "event": st.sampled_from(["contact", "reply"]), "contact_id": words | st.integers(1, 10**19)}
)
bodies = st.builds(
    lambda base, more: base | more, st.just({}) | likely, st.dictionaries(members | texts, values, max_size=5)
)


@given(document=bodies)
@example(document={"contact_id": "x" * 1000})
@example(document={"contact_id": 0, "phone": "٠" * 70, "fields": {}})
def test_any_object_has_no_identity_or_makes_one_event_that_reads_back_or_says_what_is_odd(
    document: dict[str, Any],
) -> None:
    try:
        event = one(document)
    except NoIdentity:
        return
    told = event.json()
    assert told["system"] == "cgb"
    assert told["received"] == json.loads(json.dumps(document))
    assert event.subject.strip()
    assert 0 < len(event.subject) <= 250
    read = change_from if event.type == "contact.changed" else lambda found: told_by(found, TERMS)
    if "odd" in told:
        with pytest.raises(Malformed) as caught:
            read(event)
        assert str(caught.value) == told["odd"]
        return
    assert event.subject == (line(told["phone"]) if told["phone"] else f"cgb:{told['contact_id']}")
    found = read(event)
    if isinstance(found, ContactChange):
        assert found.at <= NOW
        assert all(value and value == value.strip() for value in found.fields.values())
