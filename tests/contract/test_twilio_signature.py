"""Who is believed to be Twilio: by the vectors of its documentation, and by its own package."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict
from twilio.request_validator import RequestValidator

from adapters.ports import Webhook
from adapters.twilio.source import SOURCE as TWILIO
from daemon.sandbox.twilio_webhooks import signature, signed_text

TOKEN, NEXT = "tok_ferry_0001", "tok_ferry_0002"
SECRETS = {"twilio_auth_token": (TOKEN,), "twilio_webhook_secret": (NEXT,)}

# the documented vectors
URL = "https://hooks.example.test/in/twilio?tenant=blue"
FORM = {
    "MessageSid": "SM00000000000000000000000000000042",
    "From": "whatsapp:+5491155550100",
    "To": "whatsapp:+14155550199",
    "Body": "hola & chau",
    "NumMedia": "0",
}
JSON = b'{"sid":"SM42","status":"read"}'
JSON_DIGEST = "b97be8809d29fb06783d7170a56b430a51f5f73d820df17dbf3d6db10b748e4e"
SHA1, SHA256 = "ooayJFNRr4m+RndQQ9bIUeNGS+g=", "Fz/cXF7FjEzC9IuCwXpSg3o2QXweE0WoqekO9lzaXzw="
JSON_SHA1 = "2IKfFQTm7UCZb7J2qY9yo/Od684="
BY_SHA256 = {"X-Twilio-Webhooks-Signature-Settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}


def believed(
    proof: str | None,
    *,
    url: str = URL,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: Mapping[str, tuple[str, ...]] = SECRETS,
) -> bool:
    given = CIMultiDict(headers or {})
    if proof is not None:
        given["X-Twilio-Signature"] = proof
    return TWILIO.verify(Webhook(given, urlencode(FORM).encode() if body is None else body, url), secrets)


def test_the_vectors_are_believed_and_the_official_package_agrees() -> None:
    validator = RequestValidator(TOKEN)
    assert validator.validate(URL, FORM, SHA1)
    assert validator.validate(URL, FORM, SHA256, "HMAC_SHA256")
    assert believed(SHA1)
    assert believed(SHA256, headers=BY_SHA256)
    url = f"{URL}&bodySHA256={JSON_DIGEST}"
    assert validator.validate(url, JSON.decode(), JSON_SHA1)
    assert believed(JSON_SHA1, url=url, body=JSON)


def test_a_digest_of_the_other_algorithm_or_of_one_that_is_not_known_proves_nothing() -> None:
    assert not believed(SHA256)
    assert not believed(SHA1, headers=BY_SHA256)
    for named in ("algorithm=HMAC_SHA1", "key=k, algorithm = hmac_sha1 ", "", "key=k", "algorithm="):
        assert believed(SHA1, headers={"X-Twilio-Webhooks-Signature-Settings": named}), named
    for named in ("algorithm=HMAC_MD5", "key=k,algorithm=none", "algorithm=HMAC_SHA512"):
        assert not believed(SHA1, headers={"X-Twilio-Webhooks-Signature-Settings": named}), named


@pytest.mark.parametrize(
    ("signed", "known"),
    [
        ("https://h.example/webhooks/twilio", "https://h.example/webhooks/twilio"),
        ("https://h.example:443/webhooks/twilio", "https://h.example/webhooks/twilio"),
        ("https://h.example/webhooks/twilio", "https://h.example:443/webhooks/twilio"),
        ("https://h.example/webhooks/twilio", "https://h.example:8443/webhooks/twilio"),
        ("https://h.example:8443/webhooks/twilio", "https://h.example:8443/webhooks/twilio"),
        ("http://h.example:80/webhooks/twilio?a=1&b=%20", "http://h.example/webhooks/twilio?a=1&b=%20"),
        ("https://h.example/webhooks/twilio?a=1", "https://h.example/webhooks/twilio?a=1#rc=5&rp=all"),
        ("https://user:pass@h.example:443/webhooks/twilio", "https://user:pass@h.example/webhooks/twilio"),
        ("https://user:pass@h.example/webhooks/twilio", "https://user:pass@h.example:443/webhooks/twilio"),
        ("HTTPS://h.example:443/webhooks/twilio", "HTTPS://h.example/webhooks/twilio"),
        ("https://[2001:db8::1]:443/webhooks/twilio", "https://[2001:db8::1]/webhooks/twilio"),
        ("https://[2001:db8::1]/webhooks/twilio", "https://[2001:db8::1]:443/webhooks/twilio"),
    ],
)
def test_the_port_and_a_fragment_make_no_other_address(signed: str, known: str) -> None:
    proof = signature(signed_text(signed, FORM), TOKEN)
    assert believed(proof, url=known)


@pytest.mark.parametrize(
    "known",
    [
        "",
        "http://h.example/webhooks/twilio?a=1",
        "https://other.example/webhooks/twilio?a=1",
        "https://h.example/webhooks/twilio",
        "https://h.example/webhooks/twilio?a=2",
        "https://h.example/webhooks/twilio/?a=1",
        "https://h.example/webhooks/twilio?a=1&b=2",
        "https://h.example:8080/webhooks/Twilio?a=1",
        "h.example/webhooks/twilio?a=1",
        "://",
    ],
)
def test_a_signature_of_another_address_proves_nothing(known: str) -> None:
    proof = signature(signed_text("https://h.example/webhooks/twilio?a=1", FORM), TOKEN)
    assert not believed(proof, url=known)


def test_either_secret_proves_and_neither_is_told_from_the_other() -> None:
    later = signature(signed_text(URL, FORM), NEXT)
    assert believed(later)
    assert not believed(later, secrets={"twilio_auth_token": (TOKEN,)})
    assert believed(later, secrets={"twilio_webhook_secret": (NEXT,)})
    assert not believed(signature(signed_text(URL, FORM), "tok_ferry_0003"))
    for secrets in ({}, {"twilio_auth_token": ()}, {"twilio_auth_token": ("",)}):
        assert not believed(SHA1, secrets=secrets)
        assert not believed(signature(signed_text(URL, FORM), ""), secrets=secrets)


def test_every_part_of_a_signed_form_counts() -> None:
    for name in FORM:
        for value in ("", FORM[name] + " ", FORM[name].lower() + "x"):
            assert not believed(SHA1, body=urlencode(FORM | {name: value}).encode()), name
        assert not believed(SHA1, body=urlencode({n: v for n, v in FORM.items() if n != name}).encode())
    assert not believed(SHA1, body=urlencode(FORM | {"More": "1"}).encode())
    assert believed(SHA1, body=urlencode(dict(reversed(FORM.items()))).encode()), "their order does not"
    for changed in (SHA1[:-1], SHA1 + "=", SHA1.swapcase(), f" {SHA1}", "", b64encode(b"x" * 20).decode()):
        assert not believed(changed)
    assert not believed(None)


def test_a_json_body_is_what_its_digest_in_the_address_says() -> None:
    url = f"{URL}&bodySHA256={JSON_DIGEST}"
    for body in (JSON + b" ", b"", json.dumps(json.loads(JSON)).encode(), JSON.replace(b"read", b"sent")):
        assert not believed(JSON_SHA1, url=url, body=body)
    upper = f"{URL}&bodySHA256={JSON_DIGEST.upper()}"
    assert believed(signature(upper, TOKEN), url=upper, body=JSON)
    assert not believed(signature(URL, TOKEN), body=JSON), "without a digest the body is not signed"
    assert not believed(SHA1, url=f"{URL}&bodySHA256=", body=JSON)


def test_two_signatures_are_both_tried() -> None:
    for order in ((SHA1, "wrong"), ("wrong", SHA1)):
        headers = CIMultiDict([("X-Twilio-Signature", text) for text in order])
        assert TWILIO.verify(Webhook(headers, urlencode(FORM).encode(), URL), SECRETS)


def test_a_request_without_a_signature_is_refused_before_its_body_is_read() -> None:
    for headers, early, why in (
        ({}, False, "missing"),
        ({"X-Twilio-Signature": ""}, False, "missing"),
        ({"X-Twilio-Signature": "x"}, None, "signature"),
    ):
        request = Webhook(CIMultiDict(headers), b"", URL)
        assert TWILIO.early(request.headers, SECRETS) is early
        assert TWILIO.doubt(request, SECRETS) == why


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


@given(pairs=st.lists(st.tuples(names, names), max_size=8), path=st.text("ab/?&=%2C.é", max_size=12))
@example(pairs=[("a", "2"), ("a", "1"), ("a", "2"), ("A", ""), ("b", " x ")], path="")
def test_whatever_form_the_official_package_signs_is_believed(pairs: list[tuple[str, str]], path: str) -> None:
    url = f"https://h.example/webhooks/twilio{path}"
    proof = RequestValidator(TOKEN).compute_signature(url, MultiDict(pairs))
    body = urlencode(pairs).encode()
    assert believed(proof, url=url, body=body)
    assert not believed(proof, url=url, body=body + b"&more=1")


@given(body=st.binary(max_size=60), proof=st.text(max_size=30), url=st.text(max_size=40))
@example(body=b"a=%00&%ff=1", proof="x", url="https://h/?bodySHA256=%ff")
@example(body=b"&".join([b"a=1"] * 5000), proof="x", url=URL)
@example(body=b"a=" + b"%41" * 100_000, proof="x", url=URL)
def test_nothing_that_a_stranger_sends_raises(body: bytes, proof: str, url: str) -> None:
    assert not believed(proof, url=url, body=body)
