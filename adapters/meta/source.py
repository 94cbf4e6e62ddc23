"""Meta's webhook: what people write to our numbers, and what becomes of our messages.

Meta signs the bytes that it sends, which are not those that a JSON writer would make of the same document. The secret
is the app's, and so is the address: it serves all numbers of the app. Before Meta posts anything it asks, by a GET that
names a token of ours, whether the address is meant to be told.
"""

from __future__ import annotations

import hmac
import secrets as randomness
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from multidict import CIMultiDict, MultiMapping, istr

from adapters.body_signature import digest, is_digest, is_signed
from adapters.ports import Answer, Doubt, Secrets, Source, Webhook
from schemas.envelope import Event
from schemas.webhooks.meta import events_from, sample_body

NAME: Final = "meta"
SECRET: Final = "meta_app_secret"  # noqa: S105 - the name of a setting
TOKEN: Final = "meta_verify_token"  # noqa: S105 - the name of a setting
HEADER: Final = istr("X-Hub-Signature-256")
MOST: Final = 10**9
"""Tests of one day that have different ids."""

_PREFIX: Final = "sha256="


def early(headers: MultiMapping[str], secrets: Secrets) -> bool | None:
    """Without a signature there is no proof; with one the body decides."""
    return None if _signatures(headers) else False


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether one of the app secrets has signed the body."""
    return is_signed(_signatures(request.headers), request.body, secrets.get(SECRET, ()))


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A wrong signature, or none."""
    return "signature" if any(request.headers.getall(HEADER, ())) else "missing"


def _signatures(headers: MultiMapping[str]) -> list[str]:
    found = [text.removeprefix(_PREFIX) for text in headers.getall(HEADER, ()) if text.startswith(_PREFIX)]
    return [text for text in found if is_digest(text)]


def challenge(query: Mapping[str, str], secrets: Secrets) -> Answer | None:
    """The challenge as it came, where the query names one of our tokens."""
    asked, named = query.get("hub.challenge"), query.get("hub.verify_token")
    if query.get("hub.mode") != "subscribe" or not asked or not named:
        return None
    given = named.encode(errors="surrogatepass")
    if not any(hmac.compare_digest(given, token.encode()) for token in secrets.get(TOKEN, ()) if token):
        return None
    return Answer(200, asked.encode(errors="replace"))


def parse(request: Webhook, doc: Mapping[str, Any], now: datetime) -> list[Event]:
    """The events of a batch: none where it tells of something else than messages. Raises: Malformed."""
    return events_from(doc, source=NAME, now=now)


def sample(secrets: Secrets, now: datetime) -> Webhook:
    """A message of a person who does not exist, signed with the first secret in force."""
    contact_id = f"{now:%y%m%d}{randomness.randbelow(MOST)}-TEST"
    body = sample_body(contact_id, now)
    headers = CIMultiDict({"Content-Type": "application/json"})
    if given := secrets.get(SECRET):
        headers[HEADER] = _PREFIX + digest(given[0], body)
    return Webhook(headers, body, "")


SOURCE = Source(
    name=NAME,
    path="/webhooks/meta",
    secrets=(SECRET,),
    challenge_secrets=(TOKEN,),
    early=early,
    verify=verify,
    doubt=doubt,
    parse=parse,
    keeps_body=False,
    challenge=challenge,
    sample=sample,
    scheme=HEADER,
    advice="set META_APP_SECRET to the secret of the app that posts here, and META_VERIFY_TOKEN to what its challenge"
    " names",
    entered="developers.facebook.com → your app → WhatsApp → Configuration → Callback URL, with META_VERIFY_TOKEN as"
    " the verify token; then subscribe to the fields messages and user_preferences, and for templates to"
    " message_template_status_update, template_category_update, message_template_quality_update and"
    " message_template_components_update",
)
