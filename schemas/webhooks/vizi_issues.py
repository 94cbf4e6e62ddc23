"""Models of Vizi's webhook of applicant issues, with the parts that are read.

`{"applicantId": …, "phone": …, "issues": {category: [{"value": …, "label": …}]}}`. Every category is optional, and a
new one is taken as those that are known. Values and PHP's arrays are read as in an order's webhook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from schemas.webhooks.vizi import Identifier, Part, Text, absent_if_blank, as_array, as_object, parts_from

CATEGORIES: Final = frozenset({"face_photo", "passport_photo", "business", "passport_expiry", "application_details"})
"""What Vizi sorts issues by today."""

_NAMES: Final = CATEGORIES | {"applicantId", "issues"}


def _empty_if_null(value: object) -> object:
    return [] if value is None else value


class IssueItem(Part):
    """One issue: its code (*value*, as `blurred_photo`), and the words for it (*label*)."""

    value: Text = None
    label: Text = None


_Items = Annotated[
    list[Annotated[IssueItem, BeforeValidator(as_object)]],
    BeforeValidator(as_array),
    BeforeValidator(_empty_if_null),
    BeforeValidator(absent_if_blank),
]


class IssuesWebhook(Part):
    """The body of one report. *phone*: as it came; where a message is to go instead of the order's phone."""

    applicant_id: Identifier = Field(alias="applicantId")
    phone: Any = None
    issues: Annotated[dict[str, _Items], BeforeValidator(as_object)]


def issues_from(body: Mapping[str, Any]) -> IssuesWebhook:
    """The parts of a report. Raises: Malformed, naming the part and never its value, nor a category that is new."""
    return parts_from(body, IssuesWebhook, _NAMES)
