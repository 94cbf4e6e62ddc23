"""Invented reports of what is wrong with an applicant's documents, as Vizi sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

BLURRED: Final[Mapping[str, Sequence[str]]] = {"face_photo": ["blurred_photo"]}


def make_report(applicant_id: str, issues: Mapping[str, Sequence[str]] = BLURRED, **members: Any) -> dict[str, Any]:
    """A report about an applicant, as the JSON object that Vizi would send. *issues*: codes by their category.
    *members*: further ones, as `phone`."""
    told = {category: [_issue(code) for code in codes] for category, codes in issues.items()}
    return {"applicantId": applicant_id, "issues": told, **members}


def _issue(code: str) -> dict[str, str]:
    return {"value": code, "label": code.replace("_", " ").capitalize()}
