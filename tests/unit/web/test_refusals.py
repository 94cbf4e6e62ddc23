"""What is kept of a refused request's headers tells about the transport and nothing about the sender's secrets."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from daemon.web.refusals import masked

PLAIN = ["Accept", "Content-Type", "content-length", "Host", "USER-AGENT", "Webhook-Id", "Webhook-Timestamp"]
SECRET = ["Authorization", "X-API-Key", "Cookie", "Webhook-Signature", "X-Chatwoot-Signature", "Proxy-Authorization"]

tokens = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_!#$%&'*+.^`|~", min_size=1, max_size=90
)
names = st.sampled_from(PLAIN + SECRET) | tokens
# as aiohttp hands them over: bytes that are not UTF-8 come as surrogates
raw = st.binary(max_size=40).map(lambda value: value.decode("utf-8", "surrogateescape")) | st.text(max_size=300)


@given(st.lists(st.tuples(names.filter(lambda n: n.lower() not in {p.lower() for p in PLAIN}), raw), max_size=8))
@example([("X-API-Key", "sesame-1f00")])
@example([("x-api-key", "sesame-1f00"), ("Content-Typ", "sesame-1f00")])
def test_no_value_of_a_header_that_is_not_about_the_transport_is_kept(headers: list[tuple[str, str]]) -> None:
    marked = CIMultiDict((name, f"sesame{value}sesame") for name, value in headers)
    kept = masked(marked)
    assert "sesame" not in " ".join(kept.values())
    if marked and not any(name.lower() in _PLAIN_LOWER for name in marked):
        assert set(kept.values()) <= {f"*** ({len(value)} characters)" for value in marked.values()}


_PLAIN_LOWER = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "date", "host",
     "transfer-encoding", "user-agent", "webhook-id", "webhook-timestamp", "expect"}
)  # fmt: skip


@given(st.lists(st.tuples(names, raw), max_size=100))
def test_what_is_kept_is_small_json_that_postgres_can_hold(headers: list[tuple[str, str]]) -> None:
    kept = masked(CIMultiDict(headers))
    text = orjson.dumps(kept).decode()
    assert "\\u0000" not in text.replace("\\\\", "")
    assert len(kept) <= 64
    assert all(len(name) <= 80 and len(value) <= 2000 for name, value in kept.items())


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("agent +972 50-555-0123", "555-0123"),
        ("agent (dana@example.com)", "dana@example.com"),
        ("agent whsec_c2VzYW1lLW9wZW4tMWYwMA==", "c2VzYW1l"),
        ("Bearer sesame-1f00", "sesame-1f00"),
        ("agent api_key=sesame-1f00", "sesame-1f00"),
    ],
)
def test_what_looks_secret_or_personal_is_masked_in_a_plain_header_too(value: str, secret: str) -> None:
    kept = masked({"User-Agent": value})["User-Agent"]
    assert secret in value
    assert secret not in kept


def test_headers_about_the_transport_stay_readable() -> None:
    headers = {"Content-Type": "application/json", "content-length": "12", "User-Agent": "relay/1.2"}
    assert masked(headers) == headers
