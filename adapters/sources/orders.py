"""Vizi's order webhook: `{"form": {...}, "order": {...}}`, one order per request.

Vizi itself sends a shared key and signs nothing; relays that can sign use Standard Webhooks
(https://www.standardwebhooks.com). Any one proof is enough. The order's id is the delivery's identity: a second POST of
the same id is a duplicate and not an update.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from standardwebhooks import Webhook
from standardwebhooks.webhooks import hmac_data

from adapters.source import NoIdentity, Source
from schemas.envelope import Event, event_id
from schemas.identity import key
from schemas.phone import parse_phone

_SECONDS: Final = re.compile(r"[0-9]{1,12}")


def verify(headers: Mapping[str, str], body: bytes, secrets: Mapping[str, Sequence[str]]) -> bool:
    """X-API-Key, or `Authorization: Bearer` with the same key, or a Standard Webhooks signature over the raw body."""
    keys = secrets.get("orders_api_key", ())
    given = [headers.get("X-API-Key", "")]
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given.append(token.strip())
    if any(_same(text, wanted) for text in given if text for wanted in keys):
        return True
    if "Webhook-Signature" not in headers:
        return False
    return any(_signed(headers, body, secret) for secret in secrets.get("orders_webhook_secret", ()))


def _same(given: str, wanted: str) -> bool:
    """Constant-time, on bytes: comparing text raises where a header holds anything but ASCII."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode())


def _signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    signed = {name: headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    if not _SECONDS.fullmatch(signed["webhook-timestamp"]):
        return False
    webhook = _webhook(secret)
    try:
        try:
            webhook.verify(body, signed, json_parse=False)
        except UnicodeDecodeError:
            return _signed_bytes(signed, body, webhook, secret)
    except Exception:  # a header of any odd shape is no proof, whatever the library raises over it
        return False
    return True


def _signed_bytes(signed: Mapping[str, str], body: bytes, webhook: Webhook, secret: str) -> bool:
    """The same for a body that is not UTF-8, which the library cannot take; it is authentic, and refused later as no
    JSON."""
    try:
        webhook.verify(b"", {**signed, "webhook-signature": "v1,"}, json_parse=False)
    except Exception as exc:
        if "timestamp" in str(exc):
            return False
    content = f"{signed['webhook-id']}.{signed['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac_data(base64.b64decode(secret.removeprefix("whsec_") + "=="), content))
    given = (part.partition(",") for part in signed["webhook-signature"].split(" "))
    return any(
        version == "v1" and hmac.compare_digest(value.encode(errors="replace"), wanted) for version, _, value in given
    )


@lru_cache(maxsize=32)
def _webhook(secret: str) -> Webhook:
    return Webhook(secret)


def parse(body: bytes, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """One `order.received`. Takes no decision: odd shapes go on and fail visibly in the worker.

    Raises: NoIdentity when there is no `order.id`.
    """
    order = doc.get("order")
    order_id = order.get("id") if isinstance(order, Mapping) else None
    if isinstance(order_id, int) and not isinstance(order_id, bool):
        order_id = str(order_id)
    if not isinstance(order_id, str) or not order_id.strip() or not isinstance(order, Mapping):
        raise NoIdentity("the body has no order.id")
    order_id = order_id.strip()
    return [
        Event(
            id=event_id("orders", order_id),
            type="order.received",
            source="orders",
            subject=_key(doc, order, order_id),
            time=now,
            data=body,
        )
    ]


def _key(doc: Mapping[str, Any], order: Mapping[str, Any], order_id: str) -> str:
    form = doc.get("form")
    client = form.get("client") if isinstance(form, Mapping) else None
    if not isinstance(client, Mapping):
        return key(order_id=order_id)
    branch = order.get("branch")
    branch = branch.strip() if isinstance(branch, str) and branch.strip() else order_id[:2]
    email = client.get("email")
    return key(
        phone=parse_phone(client.get("phone"), branch=branch),
        email=email if isinstance(email, str) else None,
        order_id=order_id,
    )


SOURCE = Source(
    name="orders",
    path="/webhooks/orders",
    secrets=("orders_api_key", "orders_webhook_secret"),
    verify=verify,
    parse=parse,
    advice="send X-API-Key, or sign the raw body by Standard Webhooks with a clock that is right within five minutes",
)
