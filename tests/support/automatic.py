"""Rules of automatic messages, and what orders bring about by them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.messages.automatic_decisions import Decision, Terms, decide
from daemon.messages.automatic_fields import facts_of_order
from daemon.messages.automatic_rules import MessageRules
from schemas.envelope import Event
from schemas.identity import key
from schemas.messages import Content
from schemas.orders import order_from
from tests.support.reports import an_order

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_rule(name: str = "confirmation", **given: Any) -> dict[str, Any]:
    """A rule as TOML has it: a confirmation of every order in Hebrew. *given*: members of it, and of `then`."""
    then = {
        "kind": given.pop("kind", name),
        "once": "order",
        "templates": {"he": {"name": "order_confirmation"}},
        "variables": ["{order.id}"],
    }
    outer: dict[str, Any] = {key: given.pop(key) for key in ("enabled", "where") if key in given}
    when = {"event": "order.received"} | given.pop("when", {})
    merged = {key: value for key, value in {**then, **given}.items() if value is not None}
    return {"name": name, "enabled": True, "when": when, **outer, "then": merged}


def rules_of(*rules: Mapping[str, Any], words: Mapping[str, Any] | None = None) -> MessageRules:
    """The rules of a file that holds these."""
    return MessageRules.model_validate({"rules": list(rules), "words": words or {}})


def terms_for(*rules: Mapping[str, Any], **given: Any) -> Terms:
    """What holds for all messages by these rules. *given*: members of Terms, and `words`."""

    def takes_all(provider: str, content: Content) -> str | None:
        return None

    made = rules_of(*rules, words=given.pop("words", None))
    terms: dict[str, Any] = {"rules": made, "branches": (), "provider": "meta", "refusal": takes_all}
    return Terms(**terms | given)


def body(id: str = "IL1", *, status: str = "active", changed: datetime = NOW - HOUR, **given: Any) -> dict[str, Any]:
    """An order of one applicant whose buyer may get messages. *given*: `form`: more members of the form, `applicants`,
    and what `make_order` takes."""
    form, applicants = given.pop("form", {}), given.pop("applicants", ("apl_1",))
    made = an_order(id, *applicants, changed=changed, **given)
    made["form"] |= form
    made["order"]["status"] = status
    return made


def event_of(order: Mapping[str, Any], *, at: datetime = NOW, id: str = "") -> Event:
    """The event of an order that arrived *at* that time."""
    data = json.dumps(order).encode()
    read = order_from(data, at)
    return Event(
        id=id or f"event-of-{read.order_id}-{at:%H%M%S}",
        type="order.received",
        source="orders",
        subject=key(phone=read.phone, order_id=read.order_id),
        time=at,
        data=data,
    )


def decided(
    order: Mapping[str, Any], terms: Terms, *, at: datetime = NOW, now: datetime | None = None, language: str = ""
) -> Decision:
    """What *order*, which arrived *at* that time, brings about."""
    read = order_from(json.dumps(order).encode(), at)
    return decide(facts_of_order(read, at), language or None, terms, now or at)
