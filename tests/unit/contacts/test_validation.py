"""The rules of whether a number is on WhatsApp: tables of values, and evidence in any order of arrival."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contacts.validation import Terms, can_be_mobile, heavier, is_news, told_by
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone
from schemas.whatsapp import Evidence, EvidenceSource

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
PHONE = Phone("+972505550142")
TERMS = Terms(yes_days=90, no_days=14)


@pytest.mark.parametrize(
    ("number", "can"),
    [
        ("+972505550142", True),  # a mobile of Israel
        ("+97231234567", False),  # a landline of Tel Aviv
        ("+12125550142", True),  # North America does not tell mobiles from landlines
        ("+15551234567", True),  # Meta's test numbers
        ("+447700900123", True),  # Ofcom's numbers for drama
        ("+442079460018", False),
        ("+448001111000", False),  # toll-free
        ("+5511987654321", True),
        ("+551187654321", True),  # the same line, as accounts that are older know it
        ("+551131234567", False),  # a landline of São Paulo
        ("+5215512345678", True),
        ("+525512345678", True),
        ("+5491123456789", True),
        ("+541123456789", True),  # the same line without its 9
        ("+77015550100", True),
        ("+4670174066", False),  # too short
        ("+999123456789", False),  # no country
        ("+972000000000", False),
    ],
)
def test_what_the_rules_of_numbering_allow(number: str, can: bool) -> None:
    assert can_be_mobile(Phone(number)) is can


def event(type: str, data: Any, time: datetime = NOW) -> Event:
    return Event(id="e", type=type, source="meta", subject=PHONE.e164, time=time, data=json.dumps(data).encode())


AT = (NOW - DAY).isoformat()


@pytest.mark.parametrize(
    ("type", "data", "told"),
    [
        ("message.received", {"at": AT}, (True, "message", 90)),
        ("message.received", {"at": AT, "status": "failed", "error_code": 131026}, (True, "message", 90)),
        ("delivery.updated", {"at": AT, "status": "delivered"}, (True, "delivery", 90)),
        ("delivery.updated", {"at": AT, "status": "read"}, (True, "delivery", 90)),
        ("delivery.updated", {"at": AT, "status": "played"}, (True, "delivery", 90)),
        ("delivery.updated", {"at": AT, "status": "sent"}, None),
        ("delivery.updated", {"at": AT, "status": "failed", "error_code": 131026}, (False, "delivery", 14)),
        ("delivery.updated", {"at": AT, "status": "failed", "error_code": "131026"}, (False, "delivery", 14)),
        ("delivery.updated", {"at": AT, "status": "failed", "error_code": 131047}, None),
        ("delivery.updated", {"at": AT, "status": "failed", "error_code": None}, None),
        ("delivery.updated", {"at": AT, "status": "delivered", "error_code": 131026}, (True, "delivery", 90)),
        ("delivery.updated", {"at": AT, "status": "sent", "error_code": 131026}, None),
        ("delivery.updated", {"at": AT, "status": ["delivered"]}, None),
        ("delivery.updated", {"at": AT}, None),
    ],
)
def test_what_messages_and_statuses_tell(type: str, data: dict[str, Any], told: tuple[bool, str, int] | None) -> None:
    found = told_by(event(type, {"phone": PHONE.e164, "later": "ignored"} | data), TERMS)
    if told is None:
        assert found is None
        return
    assert found is not None
    assert (found.phone, found.has_whatsapp, found.source, found.at) == (PHONE, told[0], told[1], NOW - DAY)
    assert found.expires_at == NOW - DAY + timedelta(days=told[2])


@pytest.mark.parametrize(
    ("at", "taken"),
    [
        (None, NOW),
        ("2031-03-01T14:00:00+02:00", NOW),
        ("2031-03-01T11:59:00Z", NOW - MINUTE),
        ("2099-01-01T00:00:00Z", NOW),  # another clock runs ahead
    ],
)
def test_what_is_told_has_happened_by_its_arrival(at: str | None, taken: datetime) -> None:
    found = told_by(event("message.received", {"phone": PHONE.e164, "at": at}), TERMS)
    assert found is not None
    assert found.at == taken


def test_a_person_without_a_phone_tells_nothing() -> None:
    assert told_by(event("message.received", {"phone": None, "at": AT}), TERMS) is None
    assert told_by(event("message.received", {}), TERMS) is None


@pytest.mark.parametrize(
    "data",
    [
        [],
        "text",
        {"phone": 972505550142},
        {"phone": "972505550142"},
        {"phone": ""},
        {"phone": PHONE.e164, "at": "yesterday"},
        {"phone": PHONE.e164, "at": 5},
        {"phone": PHONE.e164, "at": "2031-03-01T12:00:00"},
        {"phone": PHONE.e164, "at": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_an_event_of_another_shape_is_malformed(data: Any) -> None:
    with pytest.raises(Malformed):
        told_by(event("message.received", data), TERMS)


def yes(source: EvidenceSource = "message", at: datetime = NOW) -> Evidence:
    return TERMS.evidence(PHONE, True, source, at)


def no(source: EvidenceSource = "cgb", at: datetime = NOW) -> Evidence:
    return TERMS.evidence(PHONE, False, source, at)


@pytest.mark.parametrize(
    ("known", "new", "counts"),
    [
        (None, no(), "new"),
        (no(at=NOW - DAY), yes(), "new"),  # a number that was not on WhatsApp writes to us
        (yes(at=NOW - DAY), no("delivery"), "new"),  # 131026
        (yes(at=NOW), no(at=NOW - MINUTE), "known"),  # a checker's no, older than the message
        (no(at=NOW), yes(at=NOW - MINUTE), "known"),  # a message of before the no arrives late
        (yes(at=NOW), no(at=NOW), "known"),
        (no(at=NOW), yes(at=NOW), "new"),
        (yes(at=NOW - 300 * DAY), no("offline"), "known"),  # a number that has been on WhatsApp can be on it
        (no("offline", at=NOW), yes("cgb", at=NOW - DAY), "new"),
    ],
)
def test_the_newest_evidence_counts(known: Evidence | None, new: Evidence, counts: str) -> None:
    assert heavier(known, new) is {"known": known, "new": new}[counts]


@pytest.mark.parametrize(
    ("known", "new", "news"),
    [
        (None, yes(), True),
        (None, no(), True),
        (yes(at=NOW - DAY), yes(), False),
        (no(at=NOW - DAY), yes(), True),
        (yes(), no(at=NOW - DAY), False),
        (no(at=NOW - 15 * DAY), no(), True),  # the old no had expired: the new one is an answer again
        (None, no(at=NOW - 15 * DAY), False),  # it has expired before it arrived
        (yes(at=NOW - 20 * DAY), no("delivery", at=NOW - 15 * DAY), False),  # what was yes is not known any more
    ],
)
def test_only_another_answer_is_news(known: Evidence | None, new: Evidence, news: bool) -> None:
    assert is_news(known, new, NOW) is news


EVIDENCE = st.builds(
    TERMS.evidence,
    st.just(PHONE),
    st.booleans(),
    st.sampled_from(get_args(EvidenceSource)),
    st.integers(0, 5).map(lambda minutes: NOW + minutes * MINUTE),
)


@given(told=st.lists(EVIDENCE, min_size=1, max_size=8), data=st.data())
def test_evidence_ends_the_same_in_any_order_of_arrival(told: list[Evidence], data: st.DataObject) -> None:
    """Promise: what is known depends on what was told and never on when it came, nor on how often."""

    def end(arrived: list[Evidence]) -> Evidence | None:
        known = None
        for one in arrived:
            known = heavier(known, one)
        return known

    other = data.draw(st.permutations(told)) + data.draw(st.lists(st.sampled_from(told), max_size=3))
    assert end(other) == end(told)
    newest_message = max((one.at for one in told if one.source == "message" and one.has_whatsapp), default=None)
    ended = end(told)
    assert ended is not None
    if newest_message is not None and not ended.has_whatsapp:
        assert ended.at > newest_message, "a no is older than a message"
