"""Reports about applicants: how they are read, and what becomes of them by the order's branch, consent and phone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.postgres.applicant_issues import IssueRow, Known
from daemon.bus.outcome import Done, Later, Turn
from daemon.contacts.applicant_issues import WORKER, buried, handle
from daemon.contacts.issue_rules import LONGEST_PAUSE, SHORTEST_PAUSE, Await, PassOn, Skip, Verdict, decide, phone_of
from daemon.contacts.wiring import ContactDeps
from daemon.sandbox.reports import make_report
from schemas.applicant_issues import ApplicantOrder, Issue, IssueReport, applicant_id_of, report_from
from schemas.envelope import Event
from schemas.errors import Malformed, Permanent
from schemas.phone import Phone

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
WAIT = timedelta(minutes=10)
PHONE, OTHER = Phone("+972505550142"), Phone("+972505550143")
EXAMPLE = {
    "applicantId": "apl_Ex4mple0_A1-",
    "phone": "972505550142",
    "issues": {
        "face_photo": [{"value": "blurred_photo", "label": "Photo is blurred"}],
        "passport_photo": [{"value": "code_hidden_at_bottom", "label": "..."}],
    },
}


def read(document: object) -> IssueReport:
    return report_from(json.dumps(document).encode(), NOW)


def a_report(issues: Any = None, **members: Any) -> IssueReport:
    return read(make_report("apl_1", **members) if issues is None else {"applicantId": "apl_1", "issues": issues})


def an_order(**changed: Any) -> ApplicantOrder:
    told: dict[str, Any] = {"branch": "il", "phone": PHONE, "alerts": True}
    rest: dict[str, Any] = {"status": "active", "country": "uk", "client_name": None, "applicant_name": None}
    return ApplicantOrder(**{"order_id": "IL1", **rest, **told, **changed})


# reading


def test_the_example_is_read_whole() -> None:
    report = read(EXAMPLE | {"new": [1]})
    assert report.applicant_id == "apl_Ex4mple0_A1-"
    assert report.phone_raw == "972505550142"
    assert report.issues == (
        Issue("face_photo", "blurred_photo", "Photo is blurred"),
        Issue("passport_photo", "code_hidden_at_bottom", "..."),
    )
    assert report.issues_data == EXAMPLE["issues"]
    assert report.extra_data == {"new": [1]}
    assert json.loads(report.raw_body) == EXAMPLE | {"new": [1]}
    assert report.reported_at == NOW


@pytest.mark.parametrize(
    ("issues", "read_as"),
    [
        ({}, []),
        ([], []),  # PHP writes an empty object so
        ({"face_photo": None, "business": "", "passport_photo": [], "passport_expiry": {}}, []),
        (
            {"face_photo": {"0": {"value": "a"}, "2": {"value": "b"}}},
            [("face_photo", "a", None), ("face_photo", "b", None)],
        ),
        ({"face_photo": [[]]}, []),
        ({"face_photo": [{"value": "", "label": " "}, {"value": None}, {"value": ["a"]}]}, []),
        ({"face_photo": [{"label": " Photo "}]}, [("face_photo", None, "Photo")]),
        ({"face_photo": [{"value": 17, "label": True, "more": 1}]}, [("face_photo", "17", None)]),
        ({"of_a_new_kind": [{"value": "a_new_code", "label": "x"}]}, [("of_a_new_kind", "a_new_code", "x")]),
    ],
    ids=str,
)
def test_issues_of_odd_shapes_are_read_as_what_they_stand_for(issues: Any, read_as: list[Any]) -> None:
    assert list(a_report(issues).issues) == read_as


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"applicantId": "apl_1"}, "issues is missing"),
        ({"applicantId": "apl_1", "issues": None}, "issues is not an object"),
        ({"applicantId": "apl_1", "issues": "none"}, "issues is not an object"),
        ({"applicantId": "apl_1", "issues": [{"value": "a"}]}, "issues is not an object"),
        ({"applicantId": "apl_1", "issues": {"face_photo": "blurred"}}, "issues.face_photo is not an array"),
        ({"applicantId": "apl_1", "issues": {"face_photo": 1}}, "issues.face_photo is not an array"),
        ({"applicantId": "apl_1", "issues": {"face_photo": {"value": "a"}}}, "issues.face_photo is not an array"),
        ({"applicantId": "apl_1", "issues": {"face_photo": [{}, "a"]}}, "issues.face_photo.1 is not an object"),
        ({"applicantId": "apl_1", "issues": {"face_photo": [None]}}, "issues.face_photo.0 is not an object"),
        ({"applicantId": "apl_1", "issues": {"+972505550142": "x"}}, "issues.… is not an array"),
        ({"issues": {}}, "applicantId is missing"),
        ({"applicantId": "a" * 201, "issues": {}}, "applicantId cannot be read"),
        ({"applicantId": {"id": "apl_1"}, "issues": {}}, "applicantId cannot be read"),
    ],
    ids=str,
)
def test_a_part_of_the_wrong_kind_is_named_without_what_the_sender_wrote(document: object, complaint: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(document)
    assert str(caught.value) == complaint


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"applicantId": "a\\u0000", "issues": {}}'])
def test_what_is_no_object_or_cannot_be_kept_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        report_from(data, NOW)


@pytest.mark.parametrize(
    ("value", "id"),
    [("apl_1", "apl_1"), (" apl_1\n", "apl_1"), (17, "17"), (True, None), (1.5, None), ("", None), (" ", None),
     (None, None), ([], None), ({"id": "apl_1"}, None)],
)  # fmt: skip
def test_an_applicant_is_named_by_a_text_or_an_integer(value: object, id: str | None) -> None:
    assert applicant_id_of({"applicantId": value}) == id


def test_a_report_shows_nothing_of_a_person_in_logs() -> None:
    shown = f"{a_report(phone='972505550142')!r} {an_order(client_name='Noa')!r} {Known(an_order())!r}"
    assert "97250" not in shown
    assert "Noa" not in shown
    assert "apl_" not in shown


# what becomes of it


@pytest.mark.parametrize(
    ("report", "order", "branches", "verdict"),
    [
        ({}, {}, (), PassOn(PHONE)),
        ({}, {}, ("se", "il"), PassOn(PHONE)),
        ({}, {"branch": None}, (), PassOn(PHONE)),
        ({}, {"branch": "kz"}, ("il",), Skip("other branch")),
        ({}, {"branch": None}, ("il",), Skip("other branch")),
        ({}, {"alerts": False}, (), Skip("no consent")),
        ({}, {"alerts": None}, (), Skip("no consent")),
        ({}, {"phone": None}, (), Skip("no phone")),
        ({"issues": {}}, {"alerts": None}, ("se",), Skip("no issues")),
        ({}, {"alerts": None, "phone": None}, ("se",), Skip("other branch")),
        ({}, {"alerts": None, "phone": None}, (), Skip("no consent")),
        ({"phone": "972505550143"}, {"phone": None}, (), PassOn(OTHER)),
        ({"phone": "junk"}, {}, (), Skip("no phone")),
    ],
    ids=str,
)
def test_a_report_is_passed_on_only_by_the_branch_the_consent_and_the_phone(
    report: dict[str, Any], order: dict[str, Any], branches: tuple[str, ...], verdict: Verdict
) -> None:
    given = read({"applicantId": "apl_1", **make_report("apl_1"), **report})
    assert decide(given, an_order(**order), branches=branches, wait=WAIT, now=NOW) == verdict


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        (None, PHONE),
        ("", PHONE),
        ("  ", PHONE),
        ([], PHONE),
        ({}, PHONE),
        (False, PHONE),
        ({"code": "972", "number": ""}, PHONE),
        ("972505550143", OTHER),
        ("+972505550143", OTHER),
        ("00972505550143", OTHER),
        ("050-555-0143", OTHER),  # of the order's branch
        (972505550143, OTHER),
        ({"code": "972", "number": "0505550143"}, OTHER),
        ("12", None),
        ("none", None),
        ({"number": "call me"}, None),
    ],
    ids=str,
)
def test_a_message_goes_to_the_phone_of_the_report_else_to_that_of_the_order(raw: object, phone: Phone | None) -> None:
    assert phone_of(a_report(phone=raw), an_order()) == phone


def test_a_report_looks_for_its_order_ever_more_seldom_and_not_beyond_its_wait() -> None:
    now, looks = NOW, []
    report = a_report()
    while isinstance(verdict := decide(report, None, branches=(), wait=WAIT, now=now), Await):
        looks.append(verdict.until - now)
        now = verdict.until
    assert verdict == Skip("unknown applicant")
    assert now == NOW + WAIT
    assert looks[:-1] == sorted(looks[:-1])
    assert (looks[0], looks[-2]) == (SHORTEST_PAUSE, LONGEST_PAUSE)
    assert len(looks) < 50


def test_without_a_wait_a_report_without_its_order_ends_at_once() -> None:
    assert decide(a_report(), None, branches=(), wait=timedelta(0), now=NOW) == Skip("unknown applicant")
    late = decide(a_report(), None, branches=(), wait=WAIT, now=NOW + timedelta(days=9))
    assert late == Skip("unknown applicant")


# the worker


def an_event(document: object = EXAMPLE, **changed: Any) -> Event:
    data = json.dumps(document).encode()
    told: dict[str, Any] = {"type": "applicant_issue.received", "source": "issues", "subject": "applicant:apl_1"}
    return Event(**{"id": "e1", "time": NOW, "data": data, **told, **changed})


def deps_of(known: Known) -> ContactDeps:
    async def applicant(id: str) -> Known:
        assert id == "apl_Ex4mple0_A1-"
        return known

    settings = SimpleNamespace(ferryman_message_branches=(), ferryman_issue_wait_seconds=600.0)
    return cast(ContactDeps, SimpleNamespace(settings=settings, applicant=applicant))


async def test_a_report_without_its_order_is_kept_once_while_it_waits() -> None:
    first = await handle(an_event(), deps_of(Known(None)), Turn(NOW))
    assert isinstance(first, Later)
    (row,) = first.rows
    assert isinstance(row, IssueRow)
    assert (row.status, row.reason, row.at) == ("waiting", "waits for its order", None)
    again = await handle(an_event(), deps_of(Known(None)), Turn(first.at, step=first.step, memo=first.memo))
    assert isinstance(again, Later)
    assert again.rows == ()
    assert again.at > first.at


@pytest.mark.parametrize(
    ("known", "skipped"),
    [
        (Known(an_order(), "e1", "waiting", NOW), None),
        (Known(an_order(), "e1", "skipped", NOW), None),
        (Known(an_order(), "e1", "failed", NOW), None),
        (Known(an_order(), "e1", "reported", NOW), "reported already"),
        (Known(an_order(), "e1", "reported", NOW - WAIT), None),  # the inbox has forgotten the former one
        (Known(an_order(), "e0", "reported", NOW - WAIT), None),
        (Known(an_order(), "e0", "reported", NOW), None),
        (Known(an_order(), "e2", "skipped", NOW + WAIT), "superseded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_report_that_was_passed_on_or_is_not_the_newest_changes_nothing(
    known: Known, skipped: str | None
) -> None:
    outcome = await handle(an_event(), deps_of(known), Turn(NOW))
    assert isinstance(outcome, Done)
    assert outcome.skipped == skipped
    assert len(outcome.rows) == (skipped is None)


async def test_a_test_report_is_skipped_without_a_look_and_without_a_row() -> None:
    outcome = await handle(an_event(make_report("apl_1-TEST")), deps_of(Known(None)), Turn(NOW))
    assert outcome == Done(skipped="test report")


async def test_a_large_report_is_read_as_any_other() -> None:
    document = EXAMPLE | {"note": "x" * 3_000_000}
    outcome = await handle(an_event(document), deps_of(Known(an_order())), Turn(NOW))
    assert isinstance(outcome, Done)
    assert outcome.skipped is None


def test_a_dead_letter_keeps_a_report_that_can_be_read() -> None:
    (row,) = buried(an_event(), Permanent("no"), Turn(NOW))
    assert isinstance(row, IssueRow)
    assert (row.status, row.reason, row.at) == ("failed", "no", NOW)
    assert buried(an_event({"applicantId": "apl_1", "issues": 5}), Permanent("no"), Turn(NOW)) == ()


def test_the_worker_reads_what_the_source_makes_and_emits_on_another_topic() -> None:
    assert WORKER.types == {"applicant_issue.received"}
    assert an_event().topic in WORKER.reads
    assert an_event(type="applicant_issue.reported").topic == "conversations"
