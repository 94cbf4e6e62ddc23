"""Vizi's order webhook: `{"form": {...}, "order": {...}}`, one order per request.

The delivery's identity is the order's id and its content: the same content again is a duplicate, however its JSON is
spelled, and another content under the id is an update.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from adapters.ports import NoIdentity, Source, Webhook
from adapters.vizi import proofs
from adapters.vizi.sample import sample_webhook
from schemas.corrections import START, corrections_of
from schemas.envelope import Event, content_digest, event_id
from schemas.identity import key
from schemas.phone import parse_phone

_CORRECTED: Final = START.encode()


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """One `order.received`. Decides nothing: an order of an unexpected shape fails visibly in the worker.

    Raises: NoIdentity when there is no `order.id`.
    """
    order = doc.get("order")
    order = order if isinstance(order, dict) else {}
    order_id = order.get("id")
    if isinstance(order_id, int) and not isinstance(order_id, bool):
        order_id = str(order_id)
    if not isinstance(order_id, str) or not order_id.strip():
        raise NoIdentity("the body has no order.id")
    order_id = order_id.strip()
    return [
        Event(
            id=event_id("orders", order_id, state=content_digest(doc)),
            type="order.received",
            source="orders",
            subject=_key(doc, order, order_id, request.body),
            time=now,
            data=request.body,
        )
    ]


def _key(doc: Mapping[str, Any], order: Mapping[str, Any], order_id: str, body: bytes) -> str:
    form = doc.get("form")
    client = form.get("client") if isinstance(form, dict) else None
    if not isinstance(client, dict):
        return key(order_id=order_id)
    branch = order.get("branch")
    branch = branch.strip() if isinstance(branch, str) and branch.strip() else order_id[:2]
    if body.startswith(_CORRECTED):
        client = {**client, **corrections_of(body.decode())}
    email = client.get("email")
    return key(
        phone=parse_phone(client.get("phone"), branch=branch),
        email=email if isinstance(email, str) else None,
        order_id=order_id,
    )


SOURCE = Source(
    name="orders",
    path="/webhooks/orders",
    secrets=proofs.SECRETS,
    early=proofs.early,
    verify=proofs.verify,
    doubt=proofs.doubt,
    parse=parse,
    sample=sample_webhook,
    scheme=proofs.SCHEME,
    advice=proofs.ADVICE,
    entered="Vizi's webhook of new and changed orders, with the header X-API-Key",
)
