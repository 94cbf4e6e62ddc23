"""360dialog's webhook: Meta's batches, handed on.

Meta's signature does not come along. A partner's webhook is signed with a secret of the platform; that of a single
number is proven by a header which its operator chooses.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from multidict import CIMultiDict, MultiMapping, istr

from adapters import secret_header
from adapters.body_signature import is_digest, is_signed
from adapters.ports import Doubt, Secrets, Source, Webhook
from schemas.envelope import Event
from schemas.webhooks.meta import events_from, sample_body

NAME: Final = "360dialog"
SECRET: Final = "dialog360_webhook_secret"  # noqa: S105 - the name of a setting
HEADER: Final = istr("X-360dialog-Signature")
MOST: Final = 10**9
"""Tests of one day that have different ids."""


def early(headers: MultiMapping[str], secrets: Secrets) -> bool | None:
    """A secret in its header is proof enough; else the body decides where there is a signature."""
    if secret_header.has_secret(headers, secrets.get(SECRET, ())):
        return True
    return None if _signatures(headers) else False


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether the request has one of the secrets, or is signed with one."""
    known = secrets.get(SECRET, ())
    if secret_header.has_secret(request.headers, known):
        return True
    return is_signed(_signatures(request.headers), request.body, known)


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A wrong signature, a wrong secret, or neither."""
    return "signature" if any(request.headers.getall(HEADER, ())) else secret_header.doubt(request.headers)


def _signatures(headers: MultiMapping[str]) -> list[str]:
    """The signatures that have the right shape. 360dialog does not say whether it writes the name of the hash first."""
    found = [text.removeprefix("sha256=") for text in headers.getall(HEADER, ())]
    return [text for text in found if is_digest(text)]


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """The events of a batch: none where it tells of something else than messages. Raises: Malformed."""
    return events_from(doc, source=NAME, now=now)


def sample(secrets: Secrets, now: datetime) -> Webhook:
    """A message of a person who does not exist, with the first secret in force."""
    contact_id = f"{now:%y%m%d}{randomness.randbelow(MOST)}-TEST"
    body = sample_body(contact_id, now)
    headers = CIMultiDict({"Content-Type": "application/json"})
    if given := secrets.get(SECRET):
        headers[secret_header.HEADER] = given[0]
    return Webhook(headers, body, "")


SOURCE = Source(
    name=NAME,
    path="/webhooks/360dialog",
    secrets=(SECRET,),
    early=early,
    verify=verify,
    doubt=doubt,
    parse=parse,
    keeps_body=False,
    sample=sample,
    scheme=secret_header.HEADER,
    advice="send the header X-Webhook-Secret with the secret that the operator has set as DIALOG360_WEBHOOK_SECRET",
    entered="360dialog's hub → the number → Webhook URL, with a header of your own, X-Webhook-Secret",
)
