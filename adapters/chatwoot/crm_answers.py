"""What Chatwoot answers about labels and attributes. Each function reads one shape, and gives None where the answer has
another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.conversation_ports import CrmTalk


def labels(data: Any) -> list[str] | None:
    """Of `GET` and `POST /conversations/{id}/labels`."""
    found = data.get("payload") if isinstance(data, dict) else None
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else None


def account_labels(data: Any) -> Mapping[str, str] | None:
    """Of `GET /labels`: title -> colour."""
    found = data.get("payload") if isinstance(data, dict) else None
    if not isinstance(found, list):
        return None
    rows = [one for one in found if isinstance(one, dict) and isinstance(one.get("title"), str)]
    return {one["title"]: color if isinstance(color := one.get("color"), str) else "" for one in rows}


def account_label_made(data: Any) -> bool | None:
    """Of `POST /labels`: the label, bare."""
    return True if isinstance(data, dict) and isinstance(data.get("title"), str) else None


def talk(data: Any) -> CrmTalk | None:
    """Of `GET /conversations/{id}`."""
    if not isinstance(data, dict) or not isinstance(status := data.get("status"), str):
        return None
    meta, attributes = data.get("meta"), data.get("custom_attributes")
    sender = meta.get("sender") if isinstance(meta, dict) else None
    contact_id = sender.get("id") if isinstance(sender, dict) else None
    whose = contact_id if isinstance(contact_id, int) and not isinstance(contact_id, bool) else None
    return CrmTalk(whose, status, attributes if isinstance(attributes, dict) else {})


def custom_attributes(data: Any) -> Mapping[str, Any] | None:
    """Of `POST /conversations/{id}/custom_attributes`."""
    found = data.get("custom_attributes") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else None


def done(data: Any) -> bool | None:
    """Of a write whose answer tells no more than that it was done."""
    return True if isinstance(data, dict) else None
