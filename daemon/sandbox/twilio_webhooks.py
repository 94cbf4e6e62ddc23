"""The webhooks of Twilio: forms, and JSON on demand, signed as Twilio signs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from aiohttp import ClientSession, ClientTimeout
from yarl import URL

TIMEOUT: Final = ClientTimeout(total=15)
"""Twilio waits so long for an answer."""

NUMBER: Final = "+15550001234"
"""The sending number of the sandbox's account."""


def signature(text: str, token: str, *, digest: str = "sha1") -> str:
    """The signature of *text*: the address, and of a form its members behind it."""
    return base64.b64encode(hmac.new(token.encode(), text.encode(), getattr(hashlib, digest)).digest()).decode()


def signed_text(url: str, form: Mapping[str, str]) -> str:
    """What is signed of a form that is posted to *url*."""
    return url.partition("#")[0] + "".join(name + form[name] for name in sorted(form))


def inbound_form(person: str, text: str = "hello", **members: str) -> dict[str, str]:
    """What Twilio posts of a message by WhatsApp. *person*: `+` and digits, or a business-scoped user id. *members*:
    further ones, or others in place of these."""
    sid = f"SM{uuid4().hex}"
    form = {
        "SmsMessageSid": sid,
        "SmsSid": sid,
        "MessageSid": sid,
        "AccountSid": "AC" + "0" * 32,
        "MessageType": "text",
        "SmsStatus": "received",
        "From": f"whatsapp:{person}",
        "To": f"whatsapp:{NUMBER}",
        "ProfileName": "Noa Sample",
        "Body": text,
        "NumMedia": "0",
        "NumSegments": "1",
        "ApiVersion": "2010-04-01",
    }
    if person.startswith("+"):
        form["WaId"] = person[1:]
    return form | members


def status_form(sid: str, to: str, status: str, code: str | None = None, **members: str) -> dict[str, str]:
    """What Twilio posts of a message to *to* that now has *status*. *code*: of a failure."""
    form = {
        "SmsSid": sid,
        "SmsStatus": status,
        "MessageStatus": status,
        "ChannelToAddress": f"{to[:-4]}XXXX",
        "To": f"whatsapp:{to}",
        "ChannelPrefix": "whatsapp",
        "MessageSid": sid,
        "AccountSid": "AC" + "0" * 32,
        "StructuredMessage": "false",
        "From": f"whatsapp:{NUMBER}",
        "ApiVersion": "2010-04-01",
        "ChannelInstallSid": "XE" + "0" * 32,
    }
    if status in ("delivered", "read", "undelivered"):
        form["EventType"] = status.upper()
    if code is not None:
        form["ErrorCode"] = code
    return form | members


class TwilioWebhooks:
    """Posts to a Ferryman. *token*: what signs, the account's. *digest*: `sha256` as with a shared key."""

    def __init__(self, session: ClientSession, token: str, *, digest: str = "sha1") -> None:
        self._session = session
        self._token = token
        self._digest = digest

    async def form(self, url: str, form: Mapping[str, str], *, at: str | None = None) -> int:
        """Post *form*; returns the status of the answer. *url*: what is signed. *at*: where to post it, if that is
        another address, as behind a proxy. Raises aiohttp.ClientError or TimeoutError when no answer comes."""
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        proof = signature(signed_text(url, form), self._token, digest=self._digest)
        return await self._post(at or url, urlencode(form).encode(), headers, proof)

    async def json(self, url: str, document: Mapping[str, Any], *, at: str | None = None) -> int:
        """Post *document*, whose digest is in the address. Raises as `form`."""
        body = json.dumps(document).encode()
        digest = f"{'&' if '?' in url else '?'}bodySHA256={hashlib.sha256(body).hexdigest()}"
        proof = signature(url + digest, self._token, digest=self._digest)
        return await self._post((at or url) + digest, body, {"Content-Type": "application/json"}, proof)

    async def _post(self, url: str, body: bytes, headers: dict[str, str], proof: str) -> int:
        headers["X-Twilio-Signature"] = proof
        headers["I-Twilio-Idempotency-Token"] = str(uuid4())
        if self._digest != "sha1":
            named = f"key=webhooks_sharedkey_sandbox,algorithm=HMAC_{self._digest.upper()}"
            headers["X-Twilio-Webhooks-Signature-Settings"] = named
        where = URL(url.partition("#")[0], encoded=True)
        async with self._session.post(
            where, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
        ) as answer:
            return answer.status
