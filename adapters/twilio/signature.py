"""The proof of Twilio's webhooks: a signature over the address that Twilio called and over the form.

The text that is signed is the address with its query; after it, of a form, each name with each of its different values,
all in order and without anything between them. With a JSON body the address has `bodySHA256`, the digest of the raw
body, and the text ends with it. Twilio is not of one mind whether the port belongs to the address, so both count.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs

from multidict import CIMultiDict, MultiMapping, istr

from adapters.ports import Doubt, Secrets, Webhook
from schemas.errors import Malformed
from schemas.webhooks.twilio import pairs_of

SECRETS: Final = ("twilio_auth_token", "twilio_webhook_secret")
HEADER: Final = istr("X-Twilio-Signature")
SETTINGS: Final = istr("X-Twilio-Webhooks-Signature-Settings")
"""Names the algorithm where Twilio signs with a shared key: `key=…,algorithm=HMAC_SHA256`."""

ADVICE: Final = (
    "let Twilio call FERRYMAN_PUBLIC_URL followed by /webhooks/twilio, character for character, and sign with the token"
    " that the operator has set as TWILIO_AUTH_TOKEN"
)

_ALGORITHMS: Final[Mapping[str, str]] = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_PLACE: Final = re.compile(r"(?P<scheme>https?)://(?P<place>[^/?#]*)(?P<rest>[^#]*)", re.I)
_PORT: Final = re.compile(r":[0-9]*$")
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


def early(headers: MultiMapping[str], secrets: Secrets) -> bool | None:
    """The body decides, but of a request without a signature."""
    return None if any(headers.getall(HEADER, ())) else False


def doubt(request: Webhook, secrets: Secrets) -> Doubt:
    """A wrong signature, or none."""
    return "signature" if any(request.headers.getall(HEADER, ())) else "missing"


def verify(request: Webhook, secrets: Secrets) -> bool:
    """Whether one of the secrets has signed the request. Constant-time. Without FERRYMAN_PUBLIC_URL our address is not
    known, and nothing is proven."""
    algorithm = _algorithm(request.headers)
    if algorithm is None:
        return False
    given = [text.encode(errors="surrogatepass") for text in request.headers.getall(HEADER, ()) if text]
    keys = [secret for name in SECRETS for secret in secrets.get(name, ()) if secret]
    right = [_signature(text, key, algorithm) for text in _signed_texts(request.url, request.body) for key in keys]
    return any([hmac.compare_digest(one, other) for one in given for other in right])  # noqa: C419 - all are compared


def sign(request: Webhook, secrets: Secrets) -> None:
    """Sign *request*, a test of ours, with the first secret in force."""
    key = next((secret for name in SECRETS for secret in secrets.get(name, ())), None)
    text = next(_signed_texts(request.url, request.body), None)
    if key is not None and text is not None:
        headers = CIMultiDict(request.headers)
        headers[HEADER] = _signature(text, key, "sha1").decode()
        request.headers = headers


def _algorithm(headers: MultiMapping[str]) -> str | None:
    """The digest that the header names, SHA-1 where it names none; None for one that is not known."""
    for part in headers.get(SETTINGS, "").split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return _ALGORITHMS.get(value.strip().upper())
    return "sha1"


def _signature(text: str, key: str, algorithm: str) -> bytes:
    return b64encode(hmac.digest(key.encode(), text.encode(errors="surrogatepass"), algorithm))


def _signed_texts(url: str, body: bytes) -> Iterator[str]:
    """What Twilio may have signed of a request; none where the body cannot be what was signed."""
    digests = parse_qs(url.partition("#")[0].partition("?")[2]).get("bodySHA256")
    members = ""
    if digests:
        if digests[0].lower() != sha256(body).hexdigest():
            return
    else:
        try:
            members = "".join(name + value for name, value in sorted(set(pairs_of(body))))
        except Malformed:
            return
    for spelling in _spellings(url):
        yield spelling + members


def _spellings(url: str) -> list[str]:
    """*url* as it is, and with or without its port. No fragment: Twilio keeps it to itself."""
    found = _PLACE.fullmatch(url.partition("#")[0])
    if found is None:
        return []
    scheme, place, rest = found["scheme"], found["place"], found["rest"]
    bare = _PORT.sub("", place)
    other = f"{bare}:{_DEFAULT_PORTS[scheme.lower()]}" if place == bare else bare
    return [f"{scheme}://{place}{rest}", f"{scheme}://{other}{rest}"]
