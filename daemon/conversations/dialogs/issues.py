"""What a report about an applicant gives to the dialog that asks for what is to be corrected. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import Malformed
from schemas.webhooks.vizi_issues import CATEGORIES

OTHER: Final = "application_details"
"""The category under which issues of a category that is new are asked about."""


def issue_params(told: Mapping[str, Any]) -> dict[str, str]:
    """The params of the dialog of `applicant_issue.reported`, of the event's data: `order`, `applicant`,
    `applicant_id`, `categories` (listed by commas), and for each of these `CATEGORY_issues`, in the words of the
    report. Raises: Malformed."""
    try:
        issues: dict[str, list[str]] = {}
        for one in told["issues"]:
            category = one["category"] if one["category"] in CATEGORIES else OTHER
            words = one["label"] or (one["code"] or "").replace("_", " ")
            issues.setdefault(category, []).append(words)
        params = {"order": told["order_id"], "applicant": told["applicant_name"], "applicant_id": told["applicant_id"]}
        params |= {f"{name}_issues": ", ".join(filter(None, words)) for name, words in issues.items()}
        return {name: str(value) for name, value in params.items() if value} | {"categories": ",".join(issues)}
    except (TypeError, KeyError, AttributeError) as exc:
        raise Malformed("the report has not its members") from exc
