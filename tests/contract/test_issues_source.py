"""How `issues` names a report about an applicant. What every source promises is in test_sources.py."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from multidict import CIMultiDict

from adapters.ports import NoIdentity, Webhook
from adapters.vizi.issues import SOURCE as ISSUES
from adapters.vizi.source import SOURCE as ORDERS
from daemon.sandbox.reports import make_report
from schemas.envelope import OF_ONE_THING, Event

NOW = datetime(2031, 2, 14, 9, 0, tzinfo=UTC)
KEY = "sesame-0d41"
SECRETS = {"orders_api_key": (KEY,)}


def one(document: object, *, spelled: str | None = None) -> Event:
    body = (spelled or json.dumps(document)).encode()
    (event,) = ISSUES.parse(Webhook(CIMultiDict(), body, ""), ISSUES.decode(body), NOW)
    return event


def test_a_report_becomes_one_event_that_holds_the_body_as_it_came_and_has_the_applicant_as_key() -> None:
    for report in (make_report("apl_1"), make_report("apl_1", phone="972505550142")):
        event = one(report)
        assert json.loads(event.data) == report
        assert (event.type, event.source, event.topic) == ("applicant_issue.received", "issues", "orders")
        assert (event.subject, event.time) == ("applicant:apl_1", NOW)


def test_one_content_has_one_id_however_its_json_is_spelled() -> None:
    report = make_report("apl_1", {"face_photo": ["blurred_photo"], "business": []}, phone="972505550142")
    turned = dict(reversed(report.items()))
    spellings = (json.dumps(report, indent=2), json.dumps(turned), json.dumps(report, separators=(",", ":")))
    assert {one(report, spelled=text).id for text in spellings} == {one(report).id}


def test_every_content_has_an_id_of_its_own_and_all_of_one_applicant_begin_alike() -> None:
    ids = {
        one(report).id
        for report in (
            make_report("apl_1"),
            make_report("apl_1", {}),
            make_report("apl_1", {"face_photo": ["blurred_photo", "without_shirt"]}),
            make_report("apl_1", phone="972505550142"),
            make_report(" apl_1 "),
        )
    }
    assert len(ids) == 5
    assert len({id[:OF_ONE_THING] for id in ids}) == 1
    others = {one(make_report(id)).id[:OF_ONE_THING] for id in ("apl_2", "APL_1", "apl_")}
    assert len(others | {id[:OF_ONE_THING] for id in ids}) == 4


def test_a_report_and_an_order_of_the_same_name_are_two_events() -> None:
    body = json.dumps({"applicantId": "x", "order": {"id": "x"}, "issues": {}, "form": {}}).encode()
    found = {source.parse(Webhook(CIMultiDict(), body, ""), json.loads(body), NOW)[0].id for source in (ISSUES, ORDERS)}
    assert len(found) == 2


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"issues": {}},
        {"applicant_id": "apl_1"},
        {"applicant": {"id": "apl_1"}},
        *({"applicantId": id} for id in (None, "", " ", "\t\u2003", True, False, 1.5, [], ["apl_1"], {"id": "apl_1"})),
    ],
    ids=json.dumps,
)
def test_without_an_applicant_there_is_no_identity(document: dict[str, Any]) -> None:
    with pytest.raises(NoIdentity) as caught:
        one(document)
    assert "apl_1" not in str(caught.value)


@pytest.mark.parametrize(
    "issues", [None, [], "none", 5, {}, {"face_photo": "x"}, {"new": [{"value": {}}]}, [[]]], ids=repr
)
def test_a_report_of_an_odd_shape_is_still_accepted(issues: object) -> None:
    assert one({"applicantId": "apl_1", "issues": issues}).subject == "applicant:apl_1"
    assert one({"applicantId": 17, "phone": issues}).subject == "applicant:17"


def test_the_proofs_are_those_of_orders() -> None:
    assert ISSUES.secrets == ORDERS.secrets
    for name, value in (("X-API-Key", KEY), ("Authorization", f"Bearer {KEY}")):
        request = Webhook(CIMultiDict({name: value}), b"{}", "")
        assert ISSUES.verify(request, SECRETS)
        assert ISSUES.early(request.headers, SECRETS) is True
    forged = Webhook(CIMultiDict({"X-API-Key": "wrong"}), b"{}", "")
    assert not ISSUES.verify(forged, SECRETS)
    assert ISSUES.doubt(forged, SECRETS) == "key"
