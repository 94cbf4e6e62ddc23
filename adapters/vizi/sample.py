"""A test of each webhook as Vizi would send it, with a proof of its sender: what `ferryman send-test` posts.

The order is that of deploy/SENDING.md, under a new id. Its buyer does not exist: the phone is of a range that Sweden
keeps for fiction, and the address is at example.com.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from typing import Any, Final

import orjson
import standardwebhooks
from multidict import CIMultiDict

from adapters.ports import Secrets, Webhook

MOST: Final = 10**9
"""Tests of one day that have different ids."""


def sample_webhook(proofs: Secrets, now: datetime) -> Webhook:
    """A webhook with a test order that was never sent before. *proofs*: the secrets in force; a key counts before a
    secret of signatures, and without both the webhook has no proof."""
    order: dict[str, Any] = orjson.loads(resources.files("adapters.vizi").joinpath("order.json").read_bytes())
    order["order"]["id"] = f"SE{now:%y%m%d}IN{secrets.randbelow(MOST)}-TEST"
    return _proven(order, proofs, now)


def sample_report(proofs: Secrets, now: datetime) -> Webhook:
    """A webhook with a test report about an applicant of no order, otherwise as `sample_webhook`."""
    issues = {"face_photo": [{"value": "blurred_photo", "label": "Photo is blurred"}]}
    return _proven({"applicantId": f"apl_{now:%y%m%d}{secrets.randbelow(MOST)}-TEST", "issues": issues}, proofs, now)


def _proven(document: Mapping[str, Any], proofs: Secrets, now: datetime) -> Webhook:
    body = orjson.dumps(document)
    return Webhook(CIMultiDict({"Content-Type": "application/json", **_proof(body, proofs, now)}), body, "")


def _proof(body: bytes, proofs: Secrets, now: datetime) -> dict[str, str]:
    if keys := proofs.get("orders_api_key"):
        return {"X-API-Key": keys[0]}
    if signing := proofs.get("orders_webhook_secret"):
        message = f"msg_{secrets.token_hex(16)}"
        signature = standardwebhooks.Webhook(signing[0]).sign(message, now, body.decode())
        stamp = str(int(now.timestamp()))
        return {"Webhook-Id": message, "Webhook-Timestamp": stamp, "Webhook-Signature": signature}
    return {}
