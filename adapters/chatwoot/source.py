"""Chatwoot's webhook: what people write, what becomes of their conversations, and how our own messages fare.

Chatwoot tells each event once at most and never repeats it: what was lost the sweep finds
(daemon/conversations/sweep.py).

The signature is the HMAC-SHA256 of the time, a dot and the raw body (v4.11.2 and later):
https://github.com/chatwoot/chatwoot, lib/webhooks/trigger.rb.
"""

from __future__ import annotations

import hmac
import secrets as randomness
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from multidict import CIMultiDict, MultiMapping, istr

from adapters.body_signature import digest
from adapters.chatwoot.events import SYSTEM, events_of
from adapters.ports import Doubt, Secrets, Source, Webhook
from schemas.envelope import Event

SECRET: Final = "chatwoot_webhook_secret"  # noqa: S105 - the name of a setting
SIGNATURE, TIMESTAMP = istr("X-Chatwoot-Signature"), istr("X-Chatwoot-Timestamp")
TOLERANCE_S: Final = 300
"""How far a signature's time may be from our clock."""

_LONGEST_STAMP: Final = 12
_MOST_REPEATS: Final = 3
_MOST: Final = 10**9
"""Tests of one day that have different ids."""


def early(headers: MultiMapping[str], secrets: Secrets) -> bool | None:
    """Without a signature no body is looked at."""
    return None if any(headers.getall(SIGNATURE, ())) else False


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether the request is signed with one of the secrets, at about this time."""
    return any(_is_recent(stamp) for stamp in _signed_at(request, secrets.get(SECRET, ())))


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A right signature of another time, a wrong one, or none."""
    if not any(request.headers.getall(SIGNATURE, ())):
        return "missing"
    return "clock" if any(True for _ in _signed_at(request, secrets.get(SECRET, ()))) else "signature"


def _signed_at(request: Webhook, secrets: Sequence[str]) -> Iterator[str]:
    """The times, as text, for which the request has a right signature. Constant-time."""
    headers = request.headers
    given = [text.strip().lower().encode(errors="replace") for text in headers.getall(SIGNATURE, ())[:_MOST_REPEATS]]
    for stamp in headers.getall(TIMESTAMP, ())[:_MOST_REPEATS]:
        body = stamp.encode(errors="replace") + b"." + request.body
        wanted = [b"sha256=" + digest(secret, body).encode() for secret in secrets if secret]
        if any(hmac.compare_digest(one, other) for one in given for other in wanted):
            yield stamp


def _is_recent(stamp: str) -> bool:
    is_number = stamp.isascii() and stamp.isdigit() and len(stamp) <= _LONGEST_STAMP
    return is_number and abs(time.time() - int(stamp)) <= TOLERANCE_S


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """See `adapters.chatwoot.events`. Raises: NoIdentity."""
    return events_of(doc, now)


def sample(secrets: Secrets, now: datetime) -> Webhook:
    """A message of a contact that does not exist, marked as a test."""
    number = f"{now:%y%m%d}{randomness.randbelow(_MOST)}"
    contact = {"id": 1, "identifier": f"{number}-TEST", "name": "Test", "phone_number": None}
    conversation = {"id": 1, "inbox_id": 1, "channel": "Channel::Whatsapp"}
    message = {"id": int(number), "message_type": "incoming", "content": "ok", "created_at": int(now.timestamp())}
    beside = {"account": {"id": 1}, "sender": contact, "conversation": conversation}
    body = {"event": "message_created", **message, **beside}
    return signed(orjson.dumps(body), (secrets.get(SECRET) or ("",))[0], int(now.timestamp()))


def signed(body: bytes, secret: str, at: int) -> Webhook:
    """*body* as Chatwoot sends it at *at*, in unix seconds."""
    stamp = str(at)
    signature = "sha256=" + digest(secret, stamp.encode() + b"." + body)
    headers = {"Content-Type": "application/json", TIMESTAMP: stamp, SIGNATURE: signature}
    return Webhook(CIMultiDict(headers), body, "")


SOURCE = Source(
    name=SYSTEM,
    path="/webhooks/chatwoot",
    secrets=(SECRET,),
    early=early,
    verify=verify,
    doubt=doubt,
    parse=parse,
    keeps_body=False,
    sample=sample,
    scheme="X-Chatwoot-Signature",
    set_up="ferryman chatwoot setup",
    entered="`ferryman chatwoot setup` does it. By hand: Chatwoot → Settings → Integrations → Webhooks, all events of"
    " messages, conversations and contacts; set its secret, as that page shows it, as CHATWOOT_WEBHOOK_SECRET",
    advice="run `ferryman chatwoot setup`, or set the webhook's secret, as Chatwoot's page of it shows it, as"
    " CHATWOOT_WEBHOOK_SECRET",
)
