"""What Meta tells of templates, by the fields of a change in its batches: `template.changed`.

    {"field": "message_template_status_update", "value": {"event": "PAUSED", "message_template_id": 806312974732579,
        "message_template_name": "parcel_ready", "message_template_language": "en-US", "reason": "NONE"}}

Meta's references of the webhooks message_template_status_update, template_category_update,
message_template_quality_update and message_template_components_update have their members. A batch says at each of its
entries when it happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from schemas.envelope import Event, content_digest, event_id
from schemas.identity import key
from schemas.moments import from_epoch
from schemas.told import odd_data

SYSTEM: Final = "meta"

STATUS: Final = "message_template_status_update"
CATEGORY: Final = "template_category_update"
QUALITY: Final = "message_template_quality_update"
COMPONENTS: Final = "message_template_components_update"
FIELDS: Final = frozenset({STATUS, CATEGORY, QUALITY, COMPONENTS})

_REVIEW: Final = frozenset({"APPROVED", "REJECTED", "PENDING", "IN_APPEAL"})
_STATUSES: Final = _REVIEW | {"PAUSED", "DISABLED", "PENDING_DELETION", "DELETED", "LIMIT_EXCEEDED", "ARCHIVED"}
"""The events that are the status itself."""

_REINSTATED: Final = "REINSTATED"
_UNTOUCHED: Final = frozenset({"FLAGGED", "LOCKED"})
"""Warnings, after which the template can be sent as before."""


def changed(field: str, value: Any, at: Any, *, source: str, now: datetime) -> Event:
    """The event of a change that *source* has got at *now*. *at*: what the entry of the batch says of its time. Without
    it each arrival is a change of its own: the same one may come again later."""
    received = orjson.dumps({"field": field, "value": value})
    when = from_epoch(at)
    moment = now.isoformat() if when is None else when.isoformat()
    digest = content_digest({"field": field, "value": value}).hex()
    told = value if isinstance(value, dict) else {}
    id, name = _id(told.get("message_template_id")), _word(told.get("message_template_name"))
    language = (_word(told.get("message_template_language")) or "").replace("-", "_")
    if name is None or not language:
        data = odd_data(SYSTEM, "a change of a template does not name it", received)
    else:
        data = orjson.dumps(
            {
                "system": SYSTEM,
                "template": {"id": id, "name": name, "language": language},
                "at": None if when is None else moment,
                **_news(field, told),
                "received": orjson.Fragment(received),
            }
        )
    return Event(
        id=event_id(SYSTEM, "template", digest, moment),
        type="template.changed",
        source=source,
        subject=key(message_id=f"template-{name or digest}"),
        time=now,
        data=data,
    )


def _news(field: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """What is new: `status`, `category`, `quality`, or `again`, where only the whole list tells it."""
    if field == CATEGORY:  # of a change to come it names the category as it is
        category = _capitals(told.get("new_category"))
        return {"again": True} if category is None else {"category": category}
    if field == QUALITY:
        return {"quality": _capitals(told.get("new_quality_score"))}
    event = _capitals(told.get("event"))
    if field == COMPONENTS or event is None:
        return {"again": True}
    if event in _STATUSES:
        return {"status": event, "category": _capitals(told.get("message_template_category"))}
    if event == _REINSTATED:
        return {"status": "APPROVED"}
    return {} if event in _UNTOUCHED else {"again": True}


def _id(value: Any) -> str | None:
    """An id as text, whether it came as text or as a number."""
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def _word(value: Any) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _capitals(value: Any) -> str | None:
    word = _word(value)
    return None if word is None else word.upper()
