"""What a report about an applicant gives to its dialog."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.conversations.dialogs.issues import issue_params
from schemas.errors import Malformed
from tests.support.dialogs import Talk, body


def report(*issues: tuple[str, str | None, str | None], **given: Any) -> dict[str, Any]:
    told = [dict(zip(("category", "code", "label"), issue, strict=True)) for issue in issues]
    return {"order_id": "IL1", "applicant_id": "apl_1", "applicant_name": "Dana Levi", "issues": told, **given}


def test_issues_are_told_by_category() -> None:
    told = report(
        ("face_photo", "blurred_photo", "Photo is blurred"),
        ("face_photo", "with_hat", None),
        ("passport_expiry", "expired", "Passport expired"),
        ("of_tomorrow", "odd_code", None),
    )
    assert issue_params(told) == {
        "order": "IL1",
        "applicant": "Dana Levi",
        "applicant_id": "apl_1",
        "face_photo_issues": "Photo is blurred, with hat",
        "passport_expiry_issues": "Passport expired",
        "application_details_issues": "odd code",
        "categories": "face_photo,passport_expiry,application_details",
    }
    assert issue_params(report(applicant_name=None)) == {"order": "IL1", "applicant_id": "apl_1", "categories": ""}


def test_each_category_is_asked_for() -> None:
    told = report(
        ("application_details", "name", "Name differs from the passport"),
        ("business", "no_letter", "No letter of invitation"),
        ("passport_expiry", "expired", None),
        ("passport_photo", "cut_off", "The edge is cut off"),
        ("face_photo", "blurred_photo", "Photo is blurred"),
    )
    talk = Talk(dialog="applicant_issue")
    said = [body(talk.begin(issue_params(told)))]
    answers: list[dict[str, Any]] = [
        {"kind": "image"},
        {"kind": "image"},
        {"text": "31.12.2036"},
        {"text": "The letter comes from Acme Ltd., it is on its way to you"},
        {"text": "Dana Levi-Cohen"},
    ]
    said += [body(talk.say(**{"text": None, **answer})) for answer in answers]
    for part, text in zip(
        ("Photo is blurred", "edge is cut off", "Until when", "No letter of invitation", "Name differs", "Thank you"),
        said,
        strict=True,
    ):
        assert part in text
    assert talk.last.completed is not None
    assert talk.last.completed.params["application_details"] == "Dana Levi-Cohen"


@pytest.mark.parametrize(
    "told", [{}, report() | {"issues": 5}, report() | {"issues": [5]}, report() | {"issues": [{}]}]
)
def test_a_report_without_its_members_is_malformed(told: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        issue_params(told)
