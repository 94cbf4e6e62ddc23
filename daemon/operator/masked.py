"""What is shown of one thing, with what is personal in it masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.operator import masking
from daemon.operator.lists.pages import redacted


def event(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of an event's trail."""
    return {
        **document,
        "key": masking.key(document["key"]),
        "data": masking.raw(document["data"]),
        "endings": [each | {"reason": redacted(each["reason"])} for each in document["endings"]],
        "attempts": [_error(each) for each in document["attempts"]],
        "dead_letters": [_error(each) for each in document["dead_letters"]],
        "steps": [each | {"text": redacted(each["text"])} for each in map(_error, document["steps"])],
        "why": _why(document["why"]),
    }


def letter(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a dead letter."""
    return {
        **_error(document),
        "key": masking.key(document["key"]),
        "data": masking.raw(document["data"]),
    }


def refused(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a refused request, with its body."""
    headers = {name: value if name.lower() == "content-type" else "…" for name, value in document["headers"].items()}
    body = document["body"]
    return {
        **document,
        "path": redacted(document["path"]),
        "reason": redacted(document["reason"]),
        "headers": headers,
        "body": masking.text(body) if isinstance(body, str) else masking.raw(body),
    }


def message(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a message."""
    evidence = document["evidence"]
    if evidence is not None and isinstance(evidence.get("text"), str):
        evidence = {**evidence, "text": redacted(evidence["text"])}
    return {
        **document,
        "phone": masking.phone(document["phone"]),
        "content": masking.raw(document["content"]),
        "error": redacted(document["error"]),
        "evidence": evidence,
    }


def order(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of an order."""
    return {
        **document,
        "client_name": masking.name(document["client_name"]),
        "client_email": masking.email(document["client_email"]),
        "client_phone": masking.phone(document["client_phone"]),
        "messages": [each | {"error": redacted(each["error"])} for each in document["messages"]],
        "issues": [each | {"issues": masking.raw(each["issues"])} for each in document["issues"]],
    }


def person(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a person."""
    return {
        **document,
        "name": masking.name(document["name"]),
        "email": masking.email(document["email"]),
        "phones": [masking.phone(each) for each in document["phones"]],
        "identities": [
            each
            | {
                "value": _identity(each["kind"], each["value"]),
                "cgb_contact_id": _ending(each["cgb_contact_id"]),
            }
            for each in document["identities"]
        ],
        "orders": [each | {"cgb_contact_id": _ending(each["cgb_contact_id"])} for each in document["orders"]],
        "open": [each | {"why": _why(each["why"])} for each in document["open"]],
        "told": [
            each
            | {
                "value": masking.text(each["value"]),
                "ours": masking.text(each["ours"]),
                "line": masking.phone(each["line"]),
            }
            for each in document["told"]
        ],
    }


def _identity(kind: str, value: str) -> str | None:
    if kind in ("phone", "wa_id"):
        return masking.phone(value)
    return masking.email(value) if kind == "email" else _ending(value)


def _ending(id: str | None) -> str | None:
    """An id that another system gave: it may be a phone."""
    return None if id is None else f"…{id[-2:]}"


def _why(sentences: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {worker: {**said, "text": redacted(said["text"])} for worker, said in sentences.items()}


def _error(document: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, "error_text": redacted(document["error_text"])}
