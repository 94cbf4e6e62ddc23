"""What `twilio` tells of the messages that we have sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from multidict import CIMultiDict

from adapters.ports import Webhook
from adapters.twilio.source import SOURCE as TWILIO
from adapters.twilio.source import status_url
from daemon.sandbox.twilio_webhooks import inbound_form, status_form
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.told import STATUSES, told_in
from schemas.webhooks.twilio_codes import MEANINGS, OPTED_OUT

NOW = datetime(2031, 2, 14, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
PHONE = "+972505550142"
BSUID = "IL.77120Ab"
OURS = UUID("01909d5c-9bb2-7a0e-8d57-3c1fd2a40b11")
HOST = "https://ferryman.example"
STATUS_URL = status_url(HOST, OURS)


def events(body: Mapping[str, Any] | bytes, *, url: str = "", now: datetime = NOW) -> list[Event]:
    raw = body if isinstance(body, bytes) else urlencode(body).encode()
    return TWILIO.parse(Webhook(CIMultiDict(), raw, url), TWILIO.decode(raw), now)


def one(body: Mapping[str, Any] | bytes, *, url: str = "", now: datetime = NOW) -> Event:
    (event,) = events(body, url=url, now=now)
    return event


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("theirs", "status"),
    [
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("read", "read"),
        ("READ", "read"),
        ("failed", "failed"),
        ("undelivered", "failed"),
        ("canceled", "failed"),
    ],
)
@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_a_status_tells_of_our_message(theirs: str, status: str, form: bool) -> None:
    document = {"sid": "SM1", "status": theirs, "to": f"whatsapp:{PHONE}"}
    event = one(status_form("SM1", PHONE, theirs) if form else as_json(document), url=STATUS_URL)
    assert (event.type, event.topic, event.source, event.subject) == ("delivery.updated", "deliveries", "twilio", PHONE)
    told = event.json()
    assert told["received"] == (status_form("SM1", PHONE, theirs) if form else document)
    assert (told["message_id"], told["our_id"], told["phone"], told["at"], told["status"]) == (
        "SM1", str(OURS), PHONE, None, status,
    )  # fmt: skip
    assert (told["error"] is None) is (status != "failed")
    assert told["status"] in STATUSES


@pytest.mark.parametrize(
    "status", ["queued", "accepted", "scheduled", "sending", "receiving", "partially_delivered", ""]
)
def test_a_status_that_tells_nothing_makes_no_event(status: str) -> None:
    assert events(status_form("SM1", PHONE, status)) == []


def test_a_status_that_is_not_known_is_accepted_and_fails_in_the_worker() -> None:
    event = one(status_form("SM1", PHONE, "teleported"))
    assert (event.type, event.subject) == ("delivery.updated", PHONE)
    with pytest.raises(Malformed, match="MessageStatus") as caught:
        told_in(event)
    assert "teleported" not in str(caught.value)


def test_each_status_of_a_message_is_one_event_however_often_it_comes() -> None:
    statuses = ("sent", "delivered", "read", "failed", "undelivered", "teleported")
    ids = {one(status_form("SM1", PHONE, status)).id for status in statuses}
    assert len(ids) == len(statuses)
    again = {one(status_form("SM1", PHONE, status, More="1"), url=STATUS_URL, now=LATER).id for status in statuses}
    assert again == ids
    others = {one(status_form("SM2", PHONE, status)).id for status in statuses} | {one(inbound_form(PHONE)).id}
    assert not others & ids


@pytest.mark.parametrize("code", [*sorted(MEANINGS), "77777", None])
def test_a_failure_has_twilio_s_code_and_words_of_ours(code: str | None) -> None:
    told = one(status_form("SM1", PHONE, "undelivered", code, ErrorMessage=f"{PHONE} is gone")).json()
    assert told["error_code"] == code
    assert told["error"]
    assert PHONE not in told["error"]
    number = as_json({"sid": "SM1", "status": "failed", "to": PHONE, "error_code": code and int(code)})
    assert (one(number).json()["error_code"], one(number).json()["error"]) == (code, told["error"])


def test_a_status_that_is_no_failure_has_no_code() -> None:
    assert one(status_form("SM1", PHONE, "delivered", "30008")).json()["error_code"] is None
    assert one(status_form("SM1", PHONE, "canceled")).json()["error"] == "it was canceled at Twilio"


def test_who_has_opted_out_is_told_by_codes_that_are_known() -> None:
    assert {MEANINGS[code].text for code in OPTED_OUT} == {"the person has opted out"}
    assert {code for code, meaning in MEANINGS.items() if meaning.text == "the person has opted out"} == OPTED_OUT


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        (STATUS_URL, str(OURS)),
        (f"{HOST}/webhooks/twilio?x=1&message={OURS}&bodySHA256=00", str(OURS)),
        (f"{HOST}/webhooks/twilio?message={str(OURS).upper()}", str(OURS)),
        (f"{HOST}/webhooks/twilio", None),
        (f"{HOST}/webhooks/twilio?message=", None),
        (f"{HOST}/webhooks/twilio?message=77", None),
        (f"{HOST}/webhooks/twilio?message=%ff", None),
        ("", None),
    ],
)
def test_our_id_is_read_from_the_address(url: str, ours: str | None) -> None:
    assert one(status_form("SM1", PHONE, "sent"), url=url).json()["our_id"] == ours


def test_the_address_for_statuses_is_that_of_the_source() -> None:
    assert f"{HOST}{TWILIO.path}?message={OURS}" == STATUS_URL


@pytest.mark.parametrize(
    ("to", "subject", "phone"),
    [
        (f"whatsapp:{PHONE}", PHONE, PHONE),
        (PHONE, PHONE, PHONE),
        (f"whatsapp:{BSUID}", f"bsuid:{BSUID}", None),
        ("", "message:SM1", None),
        ("whatsapp:+99999999999", "message:SM1", None),
    ],
)
def test_the_key_of_a_status_is_that_of_its_recipient(to: str, subject: str, phone: str | None) -> None:
    event = one(status_form("SM1", PHONE, "sent") | {"To": to})
    assert (event.subject, event.json()["phone"]) == (subject, phone)
