"""How Vizi, and a relay before it, proves that a webhook is its own: the same for all of its webhooks.

Vizi itself sends a shared key and signs nothing; relays that can sign use Standard Webhooks
(https://www.standardwebhooks.com). Any one proof is enough.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import standardwebhooks
from multidict import MultiMapping, istr

from adapters.ports import Doubt, Secrets, Webhook

SECRETS: Final = ("orders_api_key", "orders_webhook_secret")
"""The settings that hold what Vizi proves itself by."""

SCHEME: Final = "Bearer"

ADVICE: Final = (
    "send X-API-Key, or sign the raw body by Standard Webhooks with a clock that is right within five minutes"
)

TOLERANCE_S: Final = 300
"""How far a signature's time may be from our clock, as in the libraries of Standard Webhooks."""

LONGEST_STAMP: Final = 12

MOST_REPEATS: Final = 3
"""How many values of one header of a signature are tried."""

# for lookups in every request: aiohttp would fold the case of a plain str each time
_SIGNATURE, _ID, _TIMESTAMP = istr("Webhook-Signature"), istr("Webhook-Id"), istr("Webhook-Timestamp")
_KEY, _AUTHORIZATION = istr("X-API-Key"), istr("Authorization")


def early(headers: MultiMapping[str], secrets: Secrets) -> bool | None:
    """A key is in the header; only a signature needs the body."""
    if _SIGNATURE in headers and secrets.get("orders_webhook_secret"):
        return None
    return _has_key(headers, secrets.get("orders_api_key", ()))


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether the request has X-API-Key, or `Authorization: Bearer` with the same key, or a Standard Webhooks signature
    over the raw body. Where one of these headers comes several times, any of them is enough."""
    return _is_signed(request, secrets.get("orders_webhook_secret", ())) or _has_key(
        request.headers, secrets.get("orders_api_key", ())
    )


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A signature says more than a key does, so it is looked at first."""
    headers = request.headers
    if any(headers.getall(_SIGNATURE, ())):
        late = _is_signed(request, secrets.get("orders_webhook_secret", ()), at_any_time=True)
        return "clock" if late else "signature"
    return "key" if any(headers.getall(_KEY, ())) or any(headers.getall(_AUTHORIZATION, ())) else "missing"


def _is_signed(request: Webhook, secrets: Sequence[str], *, at_any_time: bool = False) -> bool:
    headers = request.headers
    given = headers.getall(_SIGNATURE, ())
    if not secrets or not given:
        return False
    signatures = given[0] if len(given) == 1 else " ".join(given[:MOST_REPEATS])
    for message in headers.getall(_ID, ())[:MOST_REPEATS]:
        for stamp in headers.getall(_TIMESTAMP, ())[:MOST_REPEATS]:
            if message and (at_any_time or _is_recent(stamp)):
                for secret in secrets:
                    if _signature(secret).proves(message, stamp, signatures, request.body):
                        return True
    return False


def _has_key(headers: MultiMapping[str], keys: Sequence[str]) -> bool:
    given = headers.getall(_KEY, [])
    if _AUTHORIZATION in headers:
        words = [value.partition(" ") for value in headers.getall(_AUTHORIZATION)]
        given = [*given, *(token.strip() for scheme, _, token in words if scheme.lower() == "bearer")]
    return any(_same(text, wanted) for text in given if text for wanted in keys)


def _same(given: str, wanted: str) -> bool:
    """Constant-time, on bytes: comparing text raises where a header holds anything but ASCII."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode())


class _Signature(standardwebhooks.Webhook):
    """The package's secret, checked over the body as bytes: the package's own check takes text alone, and spends more
    time on decoding than on the digest. A body that is not UTF-8 may be authentic; it is refused later as not JSON."""

    def proves(self, message: str, stamp: str, signatures: str, body: bytes) -> bool:
        """Whether *signatures*, the header's text, has a signature of *body* under this id and time."""
        content = f"{message}.{stamp}.".encode(errors="replace") + body
        wanted = b"v1," + base64.b64encode(hmac.digest(self._whsecret, content, "sha256"))
        return any(hmac.compare_digest(one, wanted) for one in signatures.encode(errors="replace").split(b" "))


def _is_recent(stamp: str) -> bool:
    """Whether *stamp*, epoch seconds as text, is within TOLERANCE_S of our clock."""
    is_number = stamp.isascii() and stamp.isdigit() and len(stamp) <= LONGEST_STAMP
    return is_number and abs(time.time() - int(stamp)) <= TOLERANCE_S


@lru_cache(maxsize=32)
def _signature(secret: str) -> _Signature:
    return _Signature(secret)
