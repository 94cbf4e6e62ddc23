"""What every webhook source promises, over the registry; and how `orders` tells a true sender and names an event."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapters.ports import Doubt, NoIdentity, Source, Webhook
from adapters.registry import SOURCES
from adapters.vizi.source import SOURCE as ORDERS
from daemon.sandbox.orders import make_order, same_person_twice, trunk_zero
from schemas.envelope import OF_ONE_THING, TYPES, Event, event_id
from schemas.errors import Malformed

NOW = datetime(2031, 2, 14, 9, 0, tzinfo=UTC)
KEYS = ("sesame-0d41", "sesame-77aa")
SIGNING = tuple("whsec_" + base64.b64encode(f"an invented signing secret {n}".encode()).decode() for n in (1, 2))
SECRETS: Mapping[str, Sequence[str]] = {"orders_api_key": KEYS, "orders_webhook_secret": SIGNING}
BODY = b'{"order":{"id":"IL1","amount":7},"form":{}}'

DOUBTS = get_args(Doubt)

every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)


def all_secrets(source: Source) -> dict[str, Sequence[str]]:
    """Two secrets for each name; base64, so that they may be keys of any kind."""
    return dict.fromkeys(source.secrets, SIGNING)


def taken(source: Source, body: bytes, now: datetime = NOW) -> list[Event]:
    """The way of the listener: guard, then source."""
    return source.parse(Webhook(CIMultiDict(), body, ""), source.decode(body), now)


@every_source
def test_a_sample_is_proven_and_makes_one_event_of_its_own(source: Source) -> None:
    if source.sample is None:
        pytest.skip("no test of it can be sent")
    for name in source.secrets:
        secrets = {name: SIGNING}
        now = datetime.now(UTC)
        webhooks = [source.sample(secrets, now) for _ in range(2)]
        for webhook in webhooks:
            if source.sign is not None:
                assert not source.verify(webhook, secrets)
                webhook.url = f"https://ferryman.example{source.path}"
                source.sign(webhook, secrets)
        assert all(source.verify(webhook, secrets) for webhook in webhooks)
        events = [source.parse(webhook, source.decode(webhook.body), now) for webhook in webhooks]
        assert [len(made) for made in events] == [1, 1]
        assert events[0][0].id != events[1][0].id


def one(doc: object) -> Event:
    (event,) = taken(ORDERS, json.dumps(doc).encode())
    return event


def signed(
    body: bytes, *, secret: str = SIGNING[0], id: str = "msg_1", age_s: float = 0, timestamp: str | None = None
) -> dict[str, str]:
    """The headers of a sender by the Standard Webhooks specification, written from it, not by a library."""
    timestamp = str(int(time.time() - age_s)) if timestamp is None else timestamp
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, id.encode() + b"." + timestamp.encode() + b"." + body, "sha256")
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


# every source


@every_source
@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b"null", b'"{}"', b"\xff", b"{" * 5_000, b'{"a":NaN}', b"a=1"])
def test_junk_is_malformed_and_never_another_error(source: Source, junk: bytes) -> None:
    with pytest.raises(Malformed):
        taken(source, junk)


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e9, 1e9) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.sampled_from(["id", "phone"]), inner),
    max_leaves=12,
)
known = st.sampled_from(["form", "order", "client", "id", "phone", "code", "number", "email", "branch", "event"])
odd = st.recursive(values, lambda inner: st.dictionaries(known, inner, max_size=5), max_leaves=12)
documents = st.dictionaries(known | texts, odd, max_size=5)


@every_source
@given(document=documents)
@example(document={"order": {"id": "IL1", "branch": 5}, "form": {"client": {"phone": [], "email": {}}}})
@example(document={"order": {"id": "x", "branch": " "}, "form": {"client": {"phone": {"code": {}, "number": True}}}})
@example(document={"order": {"id": 2**64 - 1}, "form": {"client": {"email": " "}}})
@example(document={"order": {"id": "\t"}, "form": []})
def test_any_object_is_malformed_or_becomes_events_that_hold_it(source: Source, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    try:
        events = taken(source, body)
    except Malformed:
        return
    again = taken(source, body, datetime(2031, 3, 1, tzinfo=UTC))
    assert [event.id for event in events] == [event.id for event in again]
    for event in events:
        assert event.source == source.name
        assert event.type in TYPES
        assert event.subject.strip()
        assert event.data == body if source.keeps_body else body in event.data
        assert event.time == NOW


proofs = st.sampled_from(
    ["X-API-Key", "Authorization", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "X-Hub-Signature-256",
     "X-Signature", "X-Webhook-Secret", "X-Chatwoot-Signature", "X-Chatwoot-Timestamp", "X-Twilio-Signature"]
)  # fmt: skip
odd_values = st.one_of(
    st.binary(max_size=60).map(lambda value: value.decode("utf-8", "surrogateescape")),  # as aiohttp hands them over
    st.text(st.characters(), max_size=30),  # lone surrogates of every kind too
    st.builds("Bearer {}".format, st.text(max_size=10)),
    st.just(str(int(time.time()))),
    st.sampled_from(
        ["v1", "v1,", "v1,,", ",", "v1,AA==", "v1,AA== v1,å", "v1,=", "v1a,AA==", " ", "sha256=", "sha256=zz", "",
         "\u0661\u0662", "9" * 400, "-1", "nan", "inf", "1e9", "0x1", "Bearer", "bearer  ", "Basic \udcff"]
    ),
)  # fmt: skip


@every_source
@given(headers=st.lists(st.tuples(proofs, odd_values), max_size=8), body=st.binary(max_size=40) | st.just(BODY))
def test_verify_never_raises_and_believes_no_stranger(
    source: Source, headers: list[tuple[str, str]], body: bytes
) -> None:
    request = Webhook(CIMultiDict(headers), body, "")
    assert source.verify(request, all_secrets(source)) is False
    assert not source.early(request.headers, all_secrets(source))
    assert source.doubt(request, all_secrets(source)) in DOUBTS


@every_source
@given(
    header=proofs,
    identity=odd_values,
    signature=odd_values,
    body=st.sampled_from([b"\xff\xfe", BODY, b"", b"\xed\xa0"]),
)
@example(header="X-API-Key", identity="\udcff", signature="v1,AA==", body=b"\xff")
@example(header="X-API-Key", identity="\ud800", signature="v1,AA==", body=b"\xff")
@example(header="X-API-Key", identity="x", signature="v1,\udcff", body=b"\xff")
def test_verify_never_raises_over_odd_headers_beside_a_sound_timestamp(
    source: Source, header: str, identity: str, signature: str, body: bytes
) -> None:
    headers = CIMultiDict(
        {"Webhook-Id": identity, "Webhook-Timestamp": str(int(time.time())), "Webhook-Signature": signature}
    )
    headers[header] = identity
    request = Webhook(headers, body, "")
    assert source.verify(request, all_secrets(source)) is False
    assert not source.early(headers, all_secrets(source))
    assert source.doubt(request, all_secrets(source)) in DOUBTS


@every_source
def test_without_secrets_nothing_verifies(source: Source) -> None:
    for secrets in ({}, dict.fromkeys(source.secrets, ())):
        for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": KEYS[0]}, {"Authorization": "Bearer "}, signed(BODY)):
            assert not source.verify(Webhook(CIMultiDict(headers), BODY, ""), secrets)
            assert not source.early(CIMultiDict(headers), secrets)


@every_source
def test_advice_and_path_are_for_people(source: Source) -> None:
    assert source.path == f"/webhooks/{source.name}"
    assert len(source.advice) > 20
    assert source.secrets


# orders: proofs


def believed(headers: Mapping[str, str], body: bytes = BODY, secrets: Mapping[str, Sequence[str]] = SECRETS) -> bool:
    return ORDERS.verify(Webhook(CIMultiDict(headers), body, ""), secrets)


@pytest.mark.parametrize(
    ("headers", "true"),
    [
        ({"X-API-Key": KEYS[0]}, True),
        ({"x-api-key": KEYS[1]}, True),
        ({"X-API-Key": KEYS[0] + "x"}, False),
        ({"X-API-Key": KEYS[0][:-1]}, False),
        ({"X-API-Key": KEYS[0].upper()}, False),
        ({"X-API-Key": f"{KEYS[0]},{KEYS[1]}"}, False),
        ({"X-API-Key": ""}, False),
        ({"X-API-Key": SIGNING[0]}, False),
        ({"X-API-Key": "séså"}, False),
        ({"X-API-Key": b"\xff".decode("utf-8", "surrogateescape")}, False),
        ({"Authorization": f"Bearer {KEYS[0]}"}, True),
        ({"Authorization": f"bearer  {KEYS[1]} "}, True),
        ({"Authorization": KEYS[0]}, False),
        ({"Authorization": f"Basic {KEYS[0]}"}, False),
        ({"Authorization": "Bearer"}, False),
        ({"Authorization": "Bearer "}, False),
        ({"Authorization": "Bearer wrong"}, False),
        ({"X-API-Key": "wrong", "Authorization": f"Bearer {KEYS[0]}"}, True),
        ({"X-API-Key": KEYS[0], "Webhook-Signature": "v1,AA=="}, True),
        ({}, False),
    ],
)
def test_a_key_proves_an_order_wherever_it_stands(headers: dict[str, str], true: bool) -> None:
    assert believed(headers) is true
    if "Webhook-Signature" not in headers:  # then the body is not needed to know
        assert ORDERS.early(CIMultiDict(headers), SECRETS) is true


@pytest.mark.parametrize("secrets", [{"orders_api_key": KEYS}, SECRETS], ids=["key alone", "both"])
def test_only_a_signature_that_can_be_checked_needs_the_body(secrets: Mapping[str, Sequence[str]]) -> None:
    waits = None if "orders_webhook_secret" in secrets else False
    assert ORDERS.early(CIMultiDict(signed(BODY)), secrets) is waits
    assert ORDERS.early(CIMultiDict({"X-API-Key": "wrong"}), secrets) is False
    assert ORDERS.early(CIMultiDict({}), secrets) is False
    assert ORDERS.early(CIMultiDict({"X-API-Key": KEYS[1]}), secrets) is True


@pytest.mark.parametrize(
    "headers",
    [
        [("X-API-Key", "wrong"), ("X-API-Key", KEYS[0])],
        [("X-API-Key", ""), ("x-api-key", KEYS[0])],
        [("Authorization", "Basic eA=="), ("Authorization", f"Bearer {KEYS[0]}")],
        [("Authorization", "Bearer wrong"), ("authorization", f"bearer {KEYS[1]}")],
    ],
    ids=lambda headers: headers[0][0] + " twice",
)
def test_a_header_of_proof_that_comes_twice_is_tried_in_each_of_its_values(headers: list[tuple[str, str]]) -> None:
    assert_proven_in_either_order(headers)


@pytest.mark.parametrize("name", ["webhook-signature", "webhook-timestamp", "webhook-id", "all"])
def test_a_header_of_a_signature_that_comes_twice_is_tried_in_each_of_its_values(name: str) -> None:
    right = signed(BODY)  # now: a signature holds for five minutes
    first = {"webhook-signature": "v1,AA==", "webhook-timestamp": "1", "webhook-id": "msg_0"}
    again = [*right.items()] if name == "all" else [(name, first[name])]
    assert_proven_in_either_order([*again, *right.items()])


def assert_proven_in_either_order(headers: list[tuple[str, str]]) -> None:
    assert ORDERS.verify(Webhook(CIMultiDict(headers), BODY, ""), SECRETS)
    assert ORDERS.verify(Webhook(CIMultiDict(reversed(headers)), BODY, ""), SECRETS)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "missing"),
        ({"X-API-Key": ""}, "missing"),
        ({"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(time.time()))}, "missing"),
        ({"X-API-Key": "wrong"}, "key"),
        ({"Authorization": "Bearer wrong"}, "key"),
        ({"Authorization": KEYS[0]}, "key"),
        (signed(BODY, age_s=3600), "clock"),
        (signed(BODY, age_s=-3600), "clock"),
        (signed(BODY, age_s=3600, secret="whsec_" + base64.b64encode(b"somebody else's").decode()), "signature"),
        (signed(b"other"), "signature"),
        ({**signed(BODY), "webhook-id": ""}, "signature"),
        ({**signed(b"other"), "X-API-Key": "wrong"}, "signature"),
    ],
)
def test_why_a_proof_failed_is_told_apart(headers: dict[str, str], why: str) -> None:
    request = Webhook(CIMultiDict(headers), BODY, "")
    assert not ORDERS.verify(request, SECRETS)
    assert ORDERS.doubt(request, SECRETS) == why


def test_a_key_is_no_proof_where_only_a_signing_secret_is_set() -> None:
    assert not believed({"X-API-Key": KEYS[0]}, secrets={"orders_webhook_secret": SIGNING})
    assert not believed({"X-API-Key": SIGNING[0]}, secrets={"orders_webhook_secret": SIGNING})


def test_a_signature_over_the_raw_body_proves_an_order_with_either_secret() -> None:
    assert believed(signed(BODY, secret=SIGNING[0]))
    assert believed(signed(BODY, secret=SIGNING[1]))
    assert not believed(signed(BODY, secret=SIGNING[1]), secrets={"orders_webhook_secret": SIGNING[:1]})
    unpadded = {"orders_webhook_secret": [SIGNING[0].rstrip("=")]}
    assert believed(signed(BODY, secret=SIGNING[0]), secrets=unpadded)


def test_a_signature_over_the_raw_body_proves_nothing_after_any_bit_of_it_flipped() -> None:
    headers = signed(BODY)
    for bit in range(len(BODY) * 8):
        flipped = bytearray(BODY)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not believed(headers, bytes(flipped)), bit


def test_a_signature_proves_nothing_after_any_bit_of_it_flipped() -> None:
    headers = signed(BODY)
    raw = base64.b64decode(headers["webhook-signature"].removeprefix("v1,"))
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not believed({**headers, "webhook-signature": "v1," + base64.b64encode(flipped).decode()}), bit


@pytest.mark.parametrize("body", [BODY, b"\xff\xfe not UTF-8"], ids=["text", "bytes"])
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(int(time.time()) - 7)},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
    ],
    ids=lambda change: "-".join(f"{name}={value}"[:22] for name, value in change.items()),
)
def test_every_signed_part_counts(body: bytes, change: dict[str, str]) -> None:
    assert believed(signed(body), body)
    assert not believed({**signed(body), **change}, body)
    for name in change:
        missing = {key: value for key, value in signed(body).items() if key != name}
        assert not believed(missing, body)


@pytest.mark.parametrize("body", [BODY, b"\xff\xfe not UTF-8"], ids=["text", "bytes"])
def test_a_signature_holds_for_five_minutes_both_ways(body: bytes) -> None:
    for age in (-240, 0, 240):
        assert believed(signed(body, age_s=age), body), age
    for age in (-3600, -360, 360, 3600, 10**9):
        assert not believed(signed(body, age_s=age), body), age


@pytest.mark.parametrize("body", [BODY, b"\xff\xfe not UTF-8"], ids=["text", "bytes"])
@pytest.mark.parametrize(
    "shape", ["{:d}.0", "{:d} ", " {:d}", "+{:d}", "{:_d}", "{:.3e}", "-{:d}", "0x{:x}", "{:d}000000000000"]
)
def test_a_timestamp_is_ascii_digits_and_nothing_else(body: bytes, shape: str) -> None:
    now = int(time.time())
    assert not believed(signed(body, timestamp=shape.format(now)), body)
    assert not believed({**signed(body), "webhook-timestamp": shape.format(now)}, body)


@pytest.mark.parametrize("zero", ["\u0660", "\u0966", "\uff10"], ids=["Arabic-Indic", "Devanagari", "full width"])
def test_other_digits_than_ascii_are_no_timestamp(zero: str) -> None:
    strange = "".join(chr(ord(zero) + int(digit)) for digit in str(int(time.time())))
    assert int(strange) > 0  # Python reads them
    assert not believed(signed(BODY, timestamp=strange))
    assert not believed({**signed(BODY), "webhook-timestamp": strange})


def test_one_right_signature_among_several_is_enough() -> None:
    headers = signed(BODY)
    right, wrong = headers["webhook-signature"], signed(b"other")["webhook-signature"]
    for several in (f"{wrong} {right}", f"{right} {wrong}", f"v1a,AAAA {wrong} {right}", f"{wrong} {right} v2,AAAA"):
        assert believed({**headers, "webhook-signature": several}), several
    assert not believed({**headers, "webhook-signature": f"{wrong} {wrong}"})


def test_a_right_digest_under_another_version_is_no_proof() -> None:
    headers = signed(BODY)
    for version in ("v1a,", "v2,", "V1,", ",", ""):
        moved = headers["webhook-signature"].replace("v1,", version)
        assert not believed({**headers, "webhook-signature": moved}), version


def test_a_hexadecimal_digest_is_no_proof() -> None:
    headers = signed(BODY)
    digest = base64.b64decode(headers["webhook-signature"].removeprefix("v1,"))
    assert not believed({**headers, "webhook-signature": "v1," + digest.hex()})
    assert not believed({**headers, "webhook-signature": "v1," + base64.b64encode(sha256(BODY).digest()).decode()})


@given(st.binary(max_size=60))
@example(b"")
@example(b"\xff")
@example(b"\xed\xa0\x80")
def test_a_rightly_signed_body_is_authentic_whatever_it_holds(body: bytes) -> None:
    assert believed(signed(body), body)
    assert believed(signed(body, secret=SIGNING[1]), body)
    assert not believed(signed(body), body + b" ")
    assert not believed(signed(body, secret="whsec_" + base64.b64encode(b"somebody else's").decode()), body)


def test_a_body_with_its_keys_in_another_order_is_another_body() -> None:
    doc = json.loads(BODY)
    reordered = json.dumps(dict(reversed(doc.items())), separators=(",", ":")).encode()
    assert json.loads(reordered) == doc
    assert len(reordered) == len(BODY)
    assert not believed(signed(BODY), reordered)


# orders: events


def test_every_content_of_an_order_has_an_id_of_its_own_and_all_of_one_order_begin_alike() -> None:
    ids = {one(make_order(Random(seed), seed, order_id="IL31021401")).id for seed in range(5)}
    assert len(ids) == 5
    ids |= {one({"order": {"id": text}}).id for text in ("IL31021401", " IL31021401 ")}
    assert {id[:OF_ONE_THING] for id in ids} == {event_id("orders", "IL31021401")[:OF_ONE_THING]}
    others = {one({"order": {"id": text}}).id for text in ("IL31021402", "il31021401", "IL3102140")}
    assert len({id[:OF_ONE_THING] for id in others | ids}) == 4
    assert all(UUID(id).version == 5 and str(UUID(id)) == id for id in ids | others)


_VALUES = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text("aä\U0001f600\n", max_size=4)


@given(document=st.recursive(_VALUES, lambda inner: st.dictionaries(st.text("abc", max_size=3), inner, max_size=4)))
def test_one_content_has_one_id_however_its_json_is_spelled(document: object) -> None:
    doc = {"order": {"id": "IL1"}, "form": document}
    spelled = json.dumps(doc, ensure_ascii=False, indent=2, sort_keys=True)
    turned = json.dumps({"form": document, "order": {"id": "IL1"}})
    assert {taken(ORDERS, text.encode())[0].id for text in (spelled, turned)} == {one(doc).id}


def test_a_number_as_order_id_names_the_same_order_as_its_text() -> None:
    numbered, named = one({"order": {"id": 1234}}).id, one({"order": {"id": "1234"}}).id
    assert numbered[:OF_ONE_THING] == named[:OF_ONE_THING]
    assert one({"order": {"id": 0}}).subject == "order:0"
    assert one({"order": {"id": -5}}).subject == "order:-5"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"order": None},
        {"order": []},
        {"order": "IL1"},
        {"order": [{"id": "IL1"}]},
        {"order": {}},
        {"id": "IL1"},
        {"form": {"id": "IL1", "orderId": "IL1"}},
        *({"order": {"id": id}} for id in (None, "", " ", "\t\u2003", True, False, 1.5, [], ["IL1"], {"id": "IL1"})),
    ],
    ids=json.dumps,
)
def test_without_an_order_id_there_is_no_identity(document: dict[str, Any]) -> None:
    with pytest.raises(NoIdentity) as caught:
        one(document)
    assert "IL1" not in str(caught.value)


@pytest.mark.parametrize(
    "phone",
    [
        {"code": "+972", "number": "050-555 0123"},
        {"code": "972", "number": "0505550123"},
        {"code": "+972", "number": "505550123"},
        {"code": "972", "number": "9720505550123"},
        {"code": 972, "number": 505550123},
        {"code": "", "number": "0505550123"},
        "050-555-0123",
        "+972505550123",
        "00972505550123",
    ],
    ids=str,
)
def test_the_key_is_the_phone_in_one_form_however_it_is_written(phone: object) -> None:
    assert one(make_order(Random(1), 1, branch="il", phone=phone)).subject == "+972505550123"


def test_two_orders_of_one_person_have_one_key_and_two_ids() -> None:
    for n in range(20):
        older, newer = (one(order) for order in same_person_twice(Random(n), n))
        assert older.subject == newer.subject
        assert older.subject.startswith("+97250555")
        assert older.id != newer.id
        assert one(trunk_zero(Random(n), n)).subject == older.subject


def test_without_a_branch_the_order_id_tells_the_country_of_the_phone() -> None:
    order = make_order(Random(2), 2, branch="il", phone={"code": "", "number": "0505550123"})
    for branch in (None, "", " ", 7):
        order["order"]["branch"] = branch
        assert one(order).subject == "+972505550123", branch


def test_without_a_phone_the_key_is_the_address_in_lower_case_else_the_order() -> None:
    order = make_order(Random(3), 3, branch="il", phone=None, email=" Noa.Sample@Example.COM ", order_id="IL3")
    assert one(order).subject == "email:noa.sample@example.com"
    phones: tuple[Any, ...] = (
        {"code": "+972", "number": "12"},
        {"code": "+972", "number": "call me"},
        [],
        "none",
        7,
        {},
    )
    for phone in phones:
        order["form"]["client"]["phone"] = phone
        assert one(order).subject == "email:noa.sample@example.com", phone
    for email in ("", "  ", None, 7, ["noa@example.com"]):
        order["form"]["client"]["email"] = email
        assert one(order).subject == "order:IL3", email


@pytest.mark.parametrize("client", [None, [], "Noa", 5, {}], ids=repr)
def test_a_form_or_a_client_of_the_wrong_kind_is_still_accepted(client: object) -> None:
    assert one({"order": {"id": "IL4"}, "form": {"client": client}}).subject == "order:IL4"
    assert one({"order": {"id": "IL4"}, "form": client}).subject == "order:IL4"
    assert one({"order": {"id": "IL4"}}).subject == "order:IL4"


def test_an_order_becomes_one_event_that_holds_the_body_as_it_came() -> None:
    body = json.dumps(make_order(Random(5), 5, order_id="IL5"), indent=1, ensure_ascii=False).encode()
    (event,) = taken(ORDERS, body)
    assert event.data == body
    assert (event.type, event.source, event.topic, event.time) == ("order.received", "orders", "orders", NOW)
