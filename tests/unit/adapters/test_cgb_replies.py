"""What odd answers of CGB mean: the provider's replies are canned, nothing listens."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from aiohttp import ClientSession, ServerDisconnectedError
from aioresponses import aioresponses

from adapters.cgb.field_values import documented_value, live_value, text_of
from adapters.cgb.live_directory import LiveCgb
from adapters.channel import Channel
from adapters.http import open_session
from adapters.masking import masked, without_sent
from adapters.redis.limits import RateLimiter
from schemas.contacts import ContactDraft, FieldValue
from schemas.errors import ChannelDown, FerrymanError, Malformed, Refused, Transient, Uncertain
from schemas.phone import Phone
from tests.support.gates import gate_on

API = "http://cgb.test/api"
PHONE = Phone("+972505550142")
CONTACT = f"{API}/contacts/{PHONE.digits}"
DRAFT = ContactDraft(phone=PHONE, name="Noa Example", email="noa@example.com", fields={"OrderNumber": "IL1"})
TOKEN = "1000.secret-token"


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def cgb(session: ClientSession) -> LiveCgb:
    return LiveCgb(gate_on(session), base_url=API, api_key=lambda: TOKEN, cache_s=60)


@pytest.mark.parametrize(
    ("status", "body", "headers", "error"),
    [
        (200, "[1", {}, Transient),
        (200, "", {}, Transient),
        (200, '"ok"', {}, Transient),
        (200, "<html></html>", {}, Transient),
        (500, '{"error": "x"}', {}, Transient),
        (503, "", {"Retry-After": "9"}, Transient),
        (408, "", {}, Transient),
        (301, "", {"Location": "https://elsewhere.test/"}, ChannelDown),
        (400, '{"message": "bad"}', {}, Refused),
        (401, "", {}, ChannelDown),
        (402, "{}", {}, ChannelDown),
        (403, "<html></html>", {}, ChannelDown),
        (200, '{"success": false, "error": "Invalid token"}', {}, ChannelDown),
        (200, '{"error": {"code": 401, "message": "?"}}', {}, ChannelDown),
        (400, '{"error": {"message": "You have no access to this account"}}', {}, ChannelDown),
        (200, '{"success": false, "message": "nope"}', {}, Refused),
        (200, '{"error": {"code": 100, "message": "nope"}}', {}, Refused),
        (422, '{"error": null, "message": "nope"}', {}, Refused),
    ],
)
async def test_an_answer_to_a_read_is_classified(
    cgb: LiveCgb, status: int, body: str, headers: dict[str, str], error: type[FerrymanError]
) -> None:
    with aioresponses() as canned:
        canned.get(CONTACT, status=status, body=body, headers=headers)
        canned.get(f"{API}/accounts/me", status=401)
        with pytest.raises(error) as caught:
            await cgb.find(PHONE)
    if isinstance(caught.value, Transient):
        assert not caught.value.limited
        assert caught.value.retry_after_s == (9.0 if headers else None)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, "{}"), (502, "<html></html>"), (503, ""), (504, ""), (200, ""), (200, '{"suc'), (201, "<html>")],
)
async def test_a_broken_answer_to_a_write_is_uncertain(cgb: LiveCgb, status: int, body: str) -> None:
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", status=status, body=body)
        with pytest.raises(Uncertain):
            await cgb.create(DRAFT)


@pytest.mark.parametrize("failure", [ServerDisconnectedError(), ConnectionResetError(), TimeoutError()])
async def test_a_connection_lost_under_a_write_is_uncertain(cgb: LiveCgb, failure: Exception) -> None:
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", exception=failure)
        with pytest.raises(Uncertain):
            await cgb.create(DRAFT)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, ""),
        (429, "<html>"),
        (200, '{"error": {"code": 429, "message": "?"}}'),
        (200, '{"error": {"code": "429", "message": "?"}}'),
        (200, '{"success": false, "error": "You exceeded 100 requests per 60 seconds"}'),
        (400, '{"error": {"code": 4, "message": "account exceeded the limit: 100 requests per 60 seconds"}}'),
    ],
)
@pytest.mark.parametrize("wait", [None, "12"])
async def test_a_rate_refusal_is_transient_and_limited_in_every_form(
    session: ClientSession, status: int, body: str, wait: str | None
) -> None:
    limiter = RateLimiter(None, per_minute=90, max_wait_s=0.05)
    cgb = LiveCgb(gate_on(session, limiter=limiter), base_url=API, api_key=lambda: TOKEN, cache_s=60)
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", status=status, body=body, headers={"Retry-After": wait} if wait else {})
        with pytest.raises(Transient) as caught:
            await cgb.create(DRAFT)
        assert caught.value.limited
        assert caught.value.retry_after_s == (float(wait) if wait else None)
        with pytest.raises(Transient) as held:  # nothing is asked while the pause lasts
            await cgb.find(PHONE)
    assert held.value.limited
    assert held.value.retry_after_s == pytest.approx(12 if wait else 4, abs=0.5)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"message": "The name exceeds the maximum length in this request"}'),
        (400, '{"error": "rate limit is not a valid field"}'),
        (422, '{"error": {"code": 422, "message": "Too many requests in the list, at most 100 requests per 60 s"}}'),
        (400, '{"success": false, "error": "exceeded the number of requests per 60 seconds"}'),
        (200, '{"success": false, "error": "The value exceeds 200 characters, requests must be shorter"}'),
        (200, '{"error": {"code": 100, "message": "rate_limit: unknown parameter"}}'),
    ],
)
async def test_a_text_that_resembles_a_rate_refusal_is_the_refusal_of_that_event(
    cgb: LiveCgb, status: int, body: str
) -> None:
    """Promise: nobody else waits for it."""
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", status=status, body=body)
        canned.get(CONTACT, body="{}")
        with pytest.raises(Refused):
            await cgb.create(DRAFT)
        assert await cgb.find(PHONE) is None


@pytest.mark.parametrize(
    ("status", "body"), [(404, ""), (404, "<html>"), (405, ""), (400, "{}"), (200, '{"error": {"code": 404}}')]
)
async def test_a_refused_list_of_fields_is_the_channel_s_fault(cgb: LiveCgb, status: int, body: str) -> None:
    """Promise: a wrong CGB_API_URL makes no order a dead letter."""
    with aioresponses() as canned:
        canned.get(f"{API}/accounts/custom_fields", status=status, body=body)
        canned.get(f"{API}/accounts/me", status=404)
        with pytest.raises(ChannelDown):
            await cgb.field_names()


@pytest.mark.parametrize(
    "answer",
    [
        {"success": True, "data": {"id": 972505550142}},
        {"id": "972505550142"},
        {"contact_id": 972505550142},
        {},
    ],
)
async def test_the_id_is_text_wherever_the_answer_has_it(cgb: LiveCgb, answer: dict[str, Any]) -> None:
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", payload=answer)
        assert await cgb.create(DRAFT) == PHONE.digits


@pytest.mark.parametrize("answer", [{"success": True, "data": {"id": "972505550143"}}, {"id": 17}, {"contact_id": "x"}])
async def test_a_creation_answered_with_the_id_of_another_is_looked_up(cgb: LiveCgb, answer: dict[str, Any]) -> None:
    """Promise: no stranger's id is kept for the person."""
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", payload=answer)
        with pytest.raises(Uncertain):
            await cgb.create(DRAFT)


async def test_an_id_beyond_53_bits_keeps_every_digit(cgb: LiveCgb) -> None:
    with aioresponses() as canned:
        canned.get(CONTACT, body='{"id": 9223372036854775807, "phone": "972505550142", "first_name": ""}')
        found = await cgb.find(PHONE)
    assert found is not None
    assert found.id == "9223372036854775807"


@pytest.mark.parametrize(
    "body", ['{"id": 1, "phone": "", "first_name": ""}', '{"phone": null}', "{}", "[]", '{"error": null}']
)
async def test_a_ghost_is_no_contact(cgb: LiveCgb, body: str) -> None:
    with aioresponses() as canned:
        canned.get(CONTACT, body=body)
        assert await cgb.find(PHONE) is None


async def test_an_error_text_keeps_the_reason_and_drops_what_we_sent(cgb: LiveCgb) -> None:
    said = f"noa EXAMPLE <noa@example.com>, +972 50-555-0142, 972505550142, {TOKEN} and IL1: invalid gender\n\x00"
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", payload={"success": False, "error": said})
        with pytest.raises(Refused) as caught:
            await cgb.create(DRAFT)
    text = caught.value.full_text
    assert "invalid gender" in text
    assert not any(part in text for part in ("noa", "EXAMPLE", "555", "9725", TOKEN, "IL1", "\n", "\x00"))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Contact Dana Cohen-Levi may not be changed", "Contact … … may not be changed"),
        ('The user "dana cohen" is blocked', "The user … is blocked"),
        ("דנה כהן is blocked", "… … is blocked"),
        ("Invalid value for Дана, id 1234567", "Invalid value for …, id …"),
    ],
)
async def test_of_what_cgb_writes_a_log_gets_nothing_and_a_row_no_name(cgb: LiveCgb, said: str, kept: str) -> None:
    """Promise: also of a person whom the request does not name, as a contact may have another name in the account."""
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", payload={"error": {"code": "Dana", "message": said}})
        with pytest.raises(Refused) as caught:
            await cgb.create(DRAFT)
    assert str(caught.value) == "CGB: HTTP 200"
    assert caught.value.said == kept


async def test_a_code_is_named_where_it_is_a_known_one(cgb: LiveCgb) -> None:
    for code, text in ((100, "CGB: HTTP 200, error 100"), (123456, "CGB: HTTP 200")):
        with aioresponses() as canned:
            canned.post(f"{API}/contacts", payload={"error": {"code": code, "message": "nope"}})
            with pytest.raises(Refused) as caught:
                await cgb.create(DRAFT)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, '{"message": "Dana Levi"}', "http-401"),
        (200, '{"error": {"code": 190, "message": "token of Dana Levi"}}', "http-200-error-190"),
        (200, '{"error": {"code": 123456, "message": "nope"}}', "http-200"),
        (404, '{"error": {"code": "Dana", "message": "nope"}}', "http-404"),
        (429, "", "http-429"),
        (500, "Dana Levi", "http-500"),
        (200, "Dana Levi", "not-json"),
    ],
)
async def test_the_code_of_an_error_holds_nothing_that_cgb_wrote_but_numbers_that_we_know(
    cgb: LiveCgb, status: int, body: str, code: str
) -> None:
    with aioresponses() as canned:
        canned.post(f"{API}/contacts", status=status, body=body)
        canned.get(f"{API}/accounts/me", status=status, body=body, repeat=True)
        with pytest.raises(FerrymanError) as caught:
            await cgb.create(DRAFT)
    assert caught.value.code == code


def test_a_long_message_is_cut() -> None:
    assert len(masked("word " * 500)) <= 200


def test_a_request_of_any_size_costs_a_refusal_no_time() -> None:
    """Promise: a huge text that was sent is not searched for; then nothing of the answer's text is kept."""
    huge = " ".join(f"name{n}" for n in range(120_000))
    began = time.perf_counter()
    assert without_sent("name7 is blocked", ["short", huge]) is None
    assert without_sent("name7 is blocked " * 200, [huge[:16_000]]) is not None
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, '{"error": "No"}'),
        (401, ""),
        (200, '{"success": false, "error": "Access denied for this user"}'),
        (302, ""),
    ],
)
async def test_a_refusal_that_only_one_contact_meets_is_no_fault_of_the_account(
    session: ClientSession, status: int, body: str
) -> None:
    channel = Channel("cgb")
    cgb = LiveCgb(gate_on(session, channel=channel), base_url=API, api_key=lambda: TOKEN, cache_s=60)
    with aioresponses() as canned:
        canned.get(CONTACT, status=status, body=body)
        canned.get(f"{API}/accounts/me", payload={"page_id": 1})
        with pytest.raises(Transient) as caught:
            await cgb.find(PHONE)
    assert channel.closed
    assert not channel.answered_since(float("-inf"), caught.value)  # others were not answered: it may be the account


@pytest.mark.parametrize("look", [401, 404])
async def test_a_refusal_that_the_account_meets_too_stops_the_channel(session: ClientSession, look: int) -> None:
    channel = Channel("cgb")
    cgb = LiveCgb(gate_on(session, channel=channel), base_url=API, api_key=lambda: TOKEN, cache_s=60)
    with aioresponses() as canned:
        canned.get(CONTACT, status=403)
        canned.get(f"{API}/accounts/me", status=look)
        with pytest.raises(ChannelDown):
            await cgb.find(PHONE)
    assert not channel.closed


async def test_a_wrong_address_is_the_channel_s_fault_and_no_order_s(cgb: LiveCgb) -> None:
    with aioresponses() as canned:
        canned.get(f"{API}/accounts/custom_fields", status=404)
        canned.get(f"{API}/accounts/me", status=404)
        with pytest.raises(ChannelDown, match="CGB_API_URL"):
            await cgb.field_names()


@pytest.mark.parametrize(
    ("value", "live", "documented"),
    [
        ("ключ", "ключ", "ключ"),
        (True, "1", True),
        (False, "0", False),
        (2, "2", 2),
        (100.0, "100", 100.0),
        (99.5, "99.5", 99.5),
        (date(2025, 8, 20), "1755648000", "2025-08-20"),
        (datetime(2025, 8, 20, 10, 30, tzinfo=UTC), "1755685800", "2025-08-20T10:30:00+00:00"),
        (datetime(2025, 8, 20, 10, 30), "1755685800", "2025-08-20T10:30:00+00:00"),  # noqa: DTZ001
        (
            datetime(2025, 8, 20, 12, 30, tzinfo=timezone(timedelta(hours=2))),
            "1755685800",
            "2025-08-20T12:30:00+02:00",
        ),
    ],
)
def test_values_are_encoded_as_each_style_takes_them(value: FieldValue, live: str, documented: object) -> None:
    assert live_value(value) == live
    assert documented_value(value) == documented
    assert type(documented_value(value)) is type(documented)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_invalid_number_is_malformed(value: float) -> None:
    for encode in (live_value, documented_value):
        with pytest.raises(Malformed):
            encode(value)
    assert text_of(value) is None
