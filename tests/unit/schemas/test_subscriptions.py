"""What subscribers are told: types, and thin bodies that name nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import TYPES, Event
from schemas.subscriptions import MOST_BYTES, OFFERED, PATTERNS, body_of, is_wanted

PHONE: Final = "+972505550142"
ID: Final = "22df3755-96ee-56db-ac9a-710c660dfbe0"
HIDDEN: Final = ("972505550142", "0505550142", "Noa", "hello", "noa@example.com", "wamid")


def event_of(type: str, data: Any, subject: str = PHONE) -> Event:
    at = datetime(2031, 2, 14, 12, tzinfo=UTC)
    return Event(id=ID, type=type, source="test", subject=subject, time=at, data=json.dumps(data).encode())


def said(type: str, data: Any) -> Any:
    return json.loads(body_of(event_of(type, data), full=False))["data"]


SAMPLES: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "order.received": (
        {
            "order": {"id": "IL-1", "status": "active", "branch": "il", "payment_id": "x"},
            "form": {
                "updated_at": "2031-02-14T09:00:00Z",
                "client": {"name": "Noa", "phone": {"number": "0505550142"}},
            },
        },
        {"order_id": "IL-1", "status": "active", "branch": "il", "updated_at": "2031-02-14T09:00:00Z"},
    ),
    "order.moved": ({"order_id": "IL-1", "phone": PHONE}, {"order_id": "IL-1"}),
    "contact.synced": (
        {"order_id": "IL-1", "contact_id": "972505550142", "action": "created"},
        {"order_id": "IL-1", "action": "created"},
    ),
    "contact.diverged": ({"phone": PHONE}, {}),
    "contact.validated": (
        {"phone": PHONE, "has_whatsapp": True, "source": "whapi", "checked_at": "a", "expires_at": "b"},
        {"has_whatsapp": True, "source": "whapi", "checked_at": "a", "expires_at": "b"},
    ),
    "contact.changed": (
        {"system": "cgb", "contact_id": "972505550142", "at": None, "fields": {"customer_name": "Noa"}, "received": {}},
        {"system": "cgb", "fields": ["customer_name"]},
    ),
    "contact.erased": ({"erasure": 7, "event_ids": [ID]}, {"erasure": 7, "event_ids": [ID]}),
    "message.received": (
        {"system": "meta", "kind": "text", "text": "hello", "name": "Noa", "message_id": "wamid.HBg5NzI1MDU1NTAxNDI="},
        {"system": "meta", "kind": "text"},
    ),
    "message.transcribed": (
        {"text": "hello", "status": "completed", "attachment_id": ID, "language": "en", "message_key": "k"},
        {"status": "completed", "attachment_id": ID, "language": "en"},
    ),
    "message.requested": (
        {
            "message_id": ID,
            "provider": "meta",
            "account": "default",
            "phone": PHONE,
            "kind": "text",
            "content": "hello",
        },
        {"message_id": ID, "provider": "meta", "account": "default", "kind": "text"},
    ),
    "message.sent": (
        {"message_id": ID, "provider": "meta", "phone": PHONE, "provider_message_id": "wamid.x"},
        {"message_id": ID, "provider": "meta"},
    ),
    "message.failed": ({"message_id": ID, "error_code": "131026"}, {"message_id": ID, "error_code": "131026"}),
    "content_order.completed": (
        {"order_id": ID, "phone": PHONE, "params": {"topic": "hello"}, "user_id": "u"},
        {"order_id": ID},
    ),
    "record.changed": (
        {"model": "Lead", "id": "l-1", "version": 3, "fields": ["a"], "origin": "r", "deleted": False, "op_ids": [ID]},
        {"model": "Lead", "id": "l-1", "version": 3, "fields": ["a"], "origin": "r", "deleted": False, "op_ids": [ID]},
    ),
}


def test_every_type_that_is_offered_has_a_sample_here() -> None:
    assert set(OFFERED) == SAMPLES.keys()
    assert set(OFFERED) <= TYPES.keys()


@pytest.mark.parametrize("type", SAMPLES)
def test_a_thin_body_has_ids_states_and_times_alone(type: str) -> None:
    data, thin = SAMPLES[type]
    assert said(type, data) == thin
    text = body_of(event_of(type, data), full=False)
    assert not [word for word in HIDDEN if word in text]


@given(
    type=st.sampled_from(OFFERED),
    place=st.sampled_from(["order_id", "id", "message_id", "status", "error_code", "kind", "model", "origin"]),
    text=st.sampled_from([PHONE, "972505550142", "+972 50-555-0142", "order of 972-50-555-0142", "noa@example.com"]),
)
def test_a_person_who_stands_where_an_id_is_expected_is_left_out(type: str, place: str, text: str) -> None:
    body = body_of(event_of(type, {place: text, "order": {"id": text}, "fields": [text]}), full=False)
    assert text not in body
    assert "50555" not in "".join(c for c in body.replace(ID, "") if c.isdigit())


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda one: st.lists(one, max_size=3))
)
def test_whatever_the_data_are_there_is_a_thin_body(data: Any) -> None:
    for type in OFFERED:
        assert isinstance(said(type, data), dict)
        assert isinstance(said(type, {"order": data, "form": data, "fields": data, "conversation": data}), dict)


def test_a_full_body_has_the_key_and_the_data_and_one_that_is_too_long_is_thin() -> None:
    whole = json.loads(body_of(event_of("message.sent", {"message_id": ID, "phone": PHONE}), full=True))
    assert (whole["subject"], whole["data"]["phone"]) == (PHONE, PHONE)
    longer = body_of(event_of("message.sent", {"message_id": ID, "text": "x" * MOST_BYTES}), full=True)
    assert json.loads(longer)["data"] == {"message_id": ID}


def test_a_pattern_means_its_family_and_nothing_else() -> None:
    assert is_wanted("message.sent", ["message.*"])
    assert is_wanted("message.sent", ["contact.*", "message.sent"])
    assert not is_wanted("message.sent", ["message.failed", "messages.*", "*", "mess"])
    assert not is_wanted("delivery.updated", PATTERNS)
    assert all(is_wanted(type, [pattern for pattern in PATTERNS if "*" in pattern] + [type]) for type in OFFERED)
