"""The page for senders, by posting its samples, running its code and provoking the answers of its table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from multidict import CIMultiDict

from adapters.cgb.source import SOURCE as CGB
from adapters.ports import Webhook
from daemon.sandbox.cgb_flows import PATH as FLOWS_PATH
from daemon.sandbox.orders import make_order
from schemas.applicant_issues import Issue, report_from
from schemas.contact_changes import change_from
from schemas.envelope import Event, content_digest, event_id
from schemas.orders import is_test_order, order_from
from schemas.phone import Phone
from schemas.told import told_in
from tests.support.listening import KEY, PATH, Open, Rig

DEPLOY: Final = Path(__file__).parents[3] / "deploy"
PAGE: Final = (DEPLOY / "SENDING.md").read_text(encoding="utf-8")
WHOLE: Final = (DEPLOY / "order.json").read_bytes()
SAMPLES: Final = [
    (body.encode(), int(status))
    for body, status in re.findall(r"^```json\n(.*?)^```\n\nAnswer: `(\d+)`$", PAGE, flags=re.M | re.S)
]
REPEATS: Final = {
    int(status): word == "yes"
    for statuses, word in re.findall(r"^\| ([\d, ]+) \| (yes|no) \|", PAGE, flags=re.M)
    for status in statuses.split(", ")
}
FLOW_SECRET: Final = "whisper-0d41-0d41"
NOW: Final = datetime(2031, 3, 1, tzinfo=UTC)


def order_id(body: bytes) -> str:
    return str(json.loads(body)["order"]["id"])


def of_a_flow(body: bytes) -> bool:
    return b'"contact_id"' in body


def of_an_applicant(body: bytes) -> bool:
    return b'"applicantId"' in body


def sole_event(body: bytes) -> str:
    """The id of the event that a sample makes."""
    doc = json.loads(body)
    if of_a_flow(body):
        given = doc.get("message_id") or doc.get("id")
        named = ("id", given) if given else ("content", content_digest(doc).hex())
        return event_id("cgb", doc["event"], str(doc["contact_id"]), *named)
    names = ("issues", doc["applicantId"]) if of_an_applicant(body) else ("orders", order_id(body))
    return event_id(*names, state=content_digest(doc))


async def test_every_sample_is_answered_as_the_page_says(open_rig: Open) -> None:
    assert len(SAMPLES) == PAGE.count("```json")
    async with open_rig(secrets={"orders_api_key": [KEY], "cgb_webhook_secret": [FLOW_SECRET]}) as rig:
        for body, status in [(WHOLE, 202), *SAMPLES]:
            path = "/webhooks/issues" if of_an_applicant(body) else PATH
            proof = {"X_API_Key": KEY}
            if of_a_flow(body):
                path, proof = FLOWS_PATH, {"X_Webhook_Secret": FLOW_SECRET}
            answer = await rig.ask("POST", path, body, **proof)
            assert answer.status == status, body
            if status == 202:
                assert answer.json == {"event_ids": [sole_event(body)]}
    assert {status for _, status in SAMPLES} == {202, 400}


def test_the_samples_are_read_as_the_page_says() -> None:
    whole = order_from(WHOLE, NOW)
    assert is_test_order(whole.order_id)
    assert whole.phone is not None
    first, second = (body for body, status in SAMPLES if status == 202 and b'"form"' in body)
    assert order_id(first) == order_id(second)
    order = order_from(first, NOW)
    assert (order.amount, order.currency, order.branch) == (Decimal("1249.99"), "USD", "co")
    assert order.phone is not None
    assert order.ordered_at == datetime(2031, 2, 14, 9, tzinfo=UTC)
    bare, report, contact, reply, other = (body for body, status in SAMPLES if status == 202 and b'"form"' not in body)
    assert is_test_order(order_id(bare))
    assert report_from(report, NOW).issues == (Issue("face_photo", "blurred_photo", "Photo is blurred"),)
    change = change_from(flow_event(contact))
    assert (change.phone, change.at) == (Phone("+972505550142"), datetime(2031, 2, 14, 9, 15, tzinfo=UTC))
    assert change.fields == {
        "customer_name": "Noa Sample", "Email": "noa@example.com", "language": "he", "visa_type": "evisa",
        "order_urgent": "1",
    }  # fmt: skip
    told = [told_in(flow_event(body)) for body in (reply, other)]
    assert [(one["phone"], one["text"]) for one in told] == [("+972505550142", "ok"), (None, None)]


def flow_event(body: bytes) -> Event:
    (event,) = CGB.parse(Webhook(CIMultiDict(), body, ""), CGB.decode(body), NOW)
    return event


def test_the_sample_file_has_the_parts_that_vizi_sends() -> None:
    sent = make_order(Random(1), 1, branch="se", country="india", quantity=1)
    sample = json.loads(WHOLE)
    assert {name: set(part) for name, part in sample.items()} == {name: set(part) for name, part in sent.items()}


def test_the_sample_file_has_every_field_of_the_page() -> None:
    names = re.findall(r"`((?:form|order)(?:\.\w+)+)`", PAGE.replace("`order.json`", ""))
    assert len(names) > 10
    for name in names:
        part = json.loads(WHOLE)
        for member in name.split("."):
            part = part[member]


async def test_the_signature_of_the_page_proves_an_order(open_rig: Open) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
    found: dict[str, Any] = {}
    exec(code, found)
    signed: Callable[[str, bytes], dict[str, str]] = found["signed"]
    secret = "whsec_" + "c2FtcGxlLXNlY3JldC1vZi10aGUtcGFnZSE="
    async with open_rig(secrets={"orders_webhook_secret": [secret]}) as rig:
        assert (await rig.ask("POST", PATH, WHOLE, **signed(secret, WHOLE))).status == 202
        assert (await rig.ask("POST", PATH, WHOLE + b" ", **signed(secret, WHOLE))).status == 401


async def test_the_page_says_of_every_answer_whether_to_send_again(rig: Rig) -> None:
    answers = [
        await rig.post(WHOLE),
        await rig.post(b"{"),
        await rig.ask("POST", PATH, WHOLE, X_API_Key="wrong"),
        await rig.ask("POST", "/webhooks/order", WHOLE, X_API_Key=KEY),
        await rig.ask("PUT", PATH, WHOLE, X_API_Key=KEY),
        await rig.post(b" " * 300_000),
        await rig.post(WHOLE, Content_Encoding="compress"),
    ]
    assert [answer.status for answer in answers] == [202, 400, 401, 404, 405, 413, 415]
    assert not any(REPEATS[answer.status] for answer in answers)
    rig.listener.stop()
    stopped = await rig.post(WHOLE)
    assert (stopped.status, REPEATS[stopped.status]) == (503, True)
    assert int(stopped.headers["Retry-After"]) > 0


def test_no_answer_of_the_listener_is_missing_on_the_page() -> None:
    web = Path(__file__).parents[3] / "daemon" / "web"
    text = "\n".join(file.read_text(encoding="utf-8") for file in web.glob("*.py"))
    given = {int(status) for status in re.findall(r"(?:problem|Refusal)\(\s*(\d{3})\b", text)} - {403}  # of a GET
    assert given >= {400, 401, 500, 503}
    assert given - set(REPEATS) == set()


@pytest.mark.parametrize("sample", [WHOLE, *(body for body, _ in SAMPLES)])
def test_no_sample_holds_a_phone_or_an_address_of_a_real_person(sample: bytes) -> None:
    emails = re.findall(rb"[\w.]+@[\w.]+", sample)
    assert all(email.endswith((b"@example.com", b"@example.org")) for email in emails)


@pytest.mark.parametrize("page", ["README.md", "deploy/README.md", "deploy/SENDING.md"])
def test_every_file_that_a_curl_sends_is_there(page: str) -> None:
    root = DEPLOY.parent
    sent = re.findall(r"^curl .*@(\S+)", (root / page).read_text(encoding="utf-8"), flags=re.M)
    assert [name for name in sent if not (root / name).exists()] == []
