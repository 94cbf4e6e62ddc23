"""The webhook of CGB's bot flows: a contact that has changed, or what a person has replied, one per request.

CGB signs nothing and gives a delivery no id. The proof is a secret in a header of the flow's block. The identity of a
delivery is the contact and the id that the flow gives it; else the contact and the content, if the body has its time;
else the arrival: two equal replies without a time may be two, and a lost one is worse than a doubled one.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from multidict import CIMultiDict, MultiMapping

from adapters import secret_header
from adapters.ports import Doubt, NoIdentity, Secrets, Source, Webhook
from schemas.contact_changes import change_data
from schemas.envelope import Event, content_digest, event_id
from schemas.errors import Malformed
from schemas.identity import key
from schemas.phone import Phone
from schemas.told import message_data, odd_data
from schemas.webhooks.cgb import (
    VERSION,
    ReplyBody,
    contact_id_of,
    delivery_id_of,
    event_of,
    flow_from,
    message_channel_of,
    phone_of,
    sent_at_of,
)

SYSTEM: Final = "cgb"
SECRET: Final = "cgb_webhook_secret"  # noqa: S105 - the name of a setting
MOST: Final = 10**9
"""Tests of one day that have different ids."""


def early(headers: MultiMapping[str], secrets: Secrets) -> bool:
    """The header decides: no body is read of a sender without the secret."""
    return secret_header.has_secret(headers, secrets.get(SECRET, ()))


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether the request has one of the secrets."""
    return early(request.headers, secrets)


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A wrong secret, or none."""
    return secret_header.doubt(request.headers)


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """One `message.received` of a reply, one `contact.changed` of anything else. Decides nothing: a body of an
    unexpected shape fails visibly in the worker.

    Raises: NoIdentity when there is no `contact_id`.
    """
    contact_id = contact_id_of(doc)
    if contact_id is None:
        raise NoIdentity("the body has no contact_id, a text or an integer (an unfilled placeholder is none)")
    phone = phone_of(doc, contact_id)
    return [
        Event(
            id=_id(doc, contact_id, now),
            type="message.received" if event_of(doc) == "reply" else "contact.changed",
            source=SYSTEM,
            subject=key(phone=phone, cgb_id=contact_id),
            time=now,
            data=_data(doc, contact_id, phone, request.body),
        )
    ]


def _id(doc: Mapping[str, Any], contact_id: str, now: datetime) -> str:
    thing = (SYSTEM, event_of(doc) or "", contact_id)
    if (delivery := delivery_id_of(doc)) is not None:
        return event_id(*thing, "id", delivery)
    content = content_digest(doc).hex()
    if sent_at_of(doc) is not None:
        return event_id(*thing, "content", content)
    return event_id(*thing, "arrival", now.isoformat(), content)


def _data(doc: Mapping[str, Any], contact_id: str, phone: Phone | None, body: bytes) -> bytes:
    try:
        told = flow_from(doc)
    except Malformed as exc:
        return odd_data(SYSTEM, str(exc), body)
    at = sent_at_of(doc)
    if isinstance(told, ReplyBody):
        return message_data(
            system=SYSTEM,
            contact_id=contact_id,
            phone=phone,
            at=at,
            channel=message_channel_of(doc, contact_id, phone),
            text=told.text,
            message_id=told.message_id,
            received=body,
        )
    return change_data(system=SYSTEM, contact_id=contact_id, phone=phone, at=at, fields=told.held(), received=body)


def sample(secrets: Secrets, now: datetime) -> Webhook:
    """A reply of a contact that does not exist, with the first secret in force."""
    body = {
        "v": VERSION,
        "event": "reply",
        "contact_id": f"{now:%y%m%d}{randomness.randbelow(MOST)}-TEST",
        "text": "ok",
        "sent_at": int(now.timestamp()),
    }
    headers = CIMultiDict({"Content-Type": "application/json"})
    if given := secrets.get(SECRET):
        headers[secret_header.HEADER] = given[0]
    return Webhook(headers, orjson.dumps(body), "")


SOURCE = Source(
    name=SYSTEM,
    path="/webhooks/cgb",
    secrets=(SECRET,),
    early=early,
    verify=verify,
    doubt=doubt,
    parse=parse,
    keeps_body=False,
    sample=sample,
    scheme=secret_header.HEADER,
    advice="send the header X-Webhook-Secret with the secret that the operator has set as CGB_WEBHOOK_SECRET",
    entered="CGB → the bot's flow → an External Request block: POST, with the header X-Webhook-Secret",
)
