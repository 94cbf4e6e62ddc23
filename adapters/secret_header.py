"""The proof of senders that can sign nothing: a secret in the header `X-Webhook-Secret`, which their operator sets."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from multidict import MultiMapping, istr

from adapters.ports import Doubt

HEADER: Final = istr("X-Webhook-Secret")


def has_secret(headers: MultiMapping[str], secrets: Sequence[str]) -> bool:
    """Whether one of *secrets* is in the header; where it comes several times, in any of them. Constant-time, on bytes:
    comparing text raises where a header holds anything but ASCII."""
    given = [text.encode(errors="surrogatepass") for text in headers.getall(HEADER, ()) if text]
    return any(hmac.compare_digest(one, secret.encode()) for one in given for secret in secrets if secret)


def doubt(headers: MultiMapping[str]) -> Doubt:
    """Why the header proves nothing."""
    return "key" if any(headers.getall(HEADER, ())) else "missing"
