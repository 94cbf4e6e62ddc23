"""Reading Vizi's orders: every quirk that real traffic showed, every destination, nothing invented."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contacts.fields import ALWAYS, EMPTY, KEPT, contact_fields
from daemon.sandbox import orders as maker
from schemas.errors import Malformed
from schemas.orders import Order, is_test_order, order_from, order_id_of

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)

EXAMPLE = """{"form":{"_id":"6f00000000000000000000aa","id":"frm_Ex4mple-0_Q1","country":"uk",
  "client":{"name":"Noa Example ","email":"noa@example.com","phone":{"code":"972","number":"0505550142"},
            "whatsappAlertsEnabled":true},
  "product":{"name":"uk_2_years","country":"uk","docType":"eta","docName":"UK-ETA","intent":"tourism",
             "entries":"multiple","validity":"2_years","valid_since":"approval","wait":3,
             "price":{"ils":199,"usd":55},"instructions":["dont_print"]},
  "quantity":1,"urgency":"none","termsAgreed":true,"orderId":null,
  "meta":{"url":"https://visanet.co.il/uk?utm_source=x","branch":"il","domain":"visanet.co.il","referrer":"",
          "step":4,"completion":100,"resumed":false,"timestamp":1928826270000,"clientIp":"","revision":12},
  "fileTransferMethod":"form",
  "applicants":[{"id":"apl_Ex4mple0_A1-","passport":{"firstName":"NOA","lastName":"EXAMPLE"},
    "address":{"line":"1 Sample St","city":"Haifa","country":"ISR"},"crime":"",
    "extraNationality":{"status":"none"},
    "occupation":{"education":"academic","status":"employee","name":"Tester","seniority":"2-5",
                  "phone":{"code":"972","number":"45550100"},
                  "address":{"line":"2 Sample St","city":"Haifa","country":"ISR"}},
    "files":{"face":"https://storage.example.com/f?Expires=1960362000","passport":""}}],
  "created_at":"2031-02-14T09:00:00.000Z","updated_at":"2031-02-14T09:05:00.000Z"},
 "order":{"id":"IL310214GB7","form_id":"frm_Ex4mple-0_Q1","branch":"IL","domain":"visanet.co.il",
  "payment_processor":"stripe","payment_id":"pi_example","amount":199,"currency":"ILS","coupon":null,
  "status":"active"}}"""


def changed(change: Callable[[dict[str, Any]], object]) -> Order:
    """The example order after *change*."""
    body = json.loads(EXAMPLE)
    change(body)
    return order_from(json.dumps(body).encode(), NOW)


def test_the_example_is_read_whole() -> None:
    order = order_from(EXAMPLE.encode(), NOW)
    assert order.order_id == "IL310214GB7"
    assert order.branch == "il"
    assert order.client_name == "Noa Example"
    assert order.phone is not None
    assert order.phone.digits == "972505550142"
    assert (order.amount, order.currency) == (Decimal(199), "ILS")
    assert order.product_country_flag == "🇬🇧"
    assert order.visa_document_validity_days == 730
    assert (order.processing_days, order.is_urgent) == (3, False)
    assert order.passport_url is None
    assert order.ordered_at == datetime(2031, 2, 14, 9, 5, tzinfo=UTC)
    assert order.applicants_data is not None
    assert order.applicants_data[0]["id"] == "apl_Ex4mple0_A1-"
    assert order.address_data["work"]["line"] == "2 Sample St"
    assert order.extra_data == {"termsAgreed": True, "orderId": None}
    assert order.raw_body == EXAMPLE
    assert order.received_at == NOW


@pytest.mark.parametrize("country", maker.COUNTRIES)
@pytest.mark.parametrize("branch", maker.BRANCHES)
def test_every_destination_and_branch_of_the_sandbox_is_read(country: str, branch: str) -> None:
    made = maker.make_order(Random(7), 3, country=country, branch=branch)
    order = order_from(json.dumps(made).encode(), NOW)
    assert (order.product_country, order.branch) == (country, branch)
    assert order.phone is not None
    assert order.product_country_flag
    assert order.applicants_data == made["form"]["applicants"]
    assert (order.entry_date is None) == ("entry" not in made["form"])


def test_the_sandbox_makes_the_same_orders_from_the_same_seed() -> None:
    assert [maker.make_order(Random(5), n) for n in range(9)] == [maker.make_order(Random(5), n) for n in range(9)]


def test_the_presets_of_the_sandbox_are_what_they_say() -> None:
    rng = Random(1)
    older, newer = (order_from(json.dumps(o).encode(), NOW) for o in maker.same_person_twice(rng, 4))
    assert older.phone == newer.phone is not None
    assert older.age < newer.age
    assert older.order_id != newer.order_id
    for n in range(20):
        assert order_from(json.dumps(maker.missing_phone(rng, n)).encode(), NOW).phone is None
    zero = order_from(json.dumps(maker.trunk_zero(rng, 142)).encode(), NOW)
    assert zero.phone is not None
    assert zero.phone.digits == "972505550142"
    assert is_test_order(order_id_of(json.dumps(maker.vizi_test(rng, 1)).encode()) or "")


def test_odd_shapes_are_read_as_far_as_they_say_something() -> None:
    order = order_from(json.dumps(maker.odd_shapes(Random(2), 5)).encode(), NOW)
    assert order.phone is not None
    assert order.payment_processor == "newpay"
    assert order.coupon_data == "SAMPLE10"
    assert order.entry_date is None
    assert order.visa_quantity == 2
    assert order.client_email is None
    assert order.whatsapp_alerts_enabled is None
    assert order.occupation_data == "student"
    assert order.extra_data["newKey"] == [1, 2]
    assert order.extra_data["order"] == {"new_key": {"a": 1}}
    assert order.is_urgent is False


@pytest.mark.parametrize("text", ["199", "199.10", "0.1", "1249.999999999999999999", "1e2", "-5", '"420.50"', '" 7 "'])
def test_an_amount_is_exact_to_the_digit(text: str) -> None:
    order = order_from(EXAMPLE.replace('"amount":199', f'"amount":{text}').encode(), NOW)
    assert order.amount == Decimal(text.strip('" '))


def test_nothing_is_invented_for_what_is_absent() -> None:
    bare = b'{"form":{"client":{}},"order":{"id":"ZZ1"}}'
    order = order_from(bare, NOW)
    said = {name for name in Order.__slots__ if getattr(order, name) is not None}
    assert said == {"order_id", "ordered_at", "received_at", "raw_body", "extra_data", "placed_at"}
    assert order.ordered_at == NOW
    fields = contact_fields(order, None)
    assert {name: value for name, value in fields.items() if value != EMPTY} == {"OrderNumber": "ZZ1"}
    assert not KEPT & fields.keys()


def test_blank_text_is_absent_and_other_text_is_trimmed() -> None:
    order = changed(lambda b: b["form"]["client"].update(name="  ", email=" noa@example.com\n"))
    assert order.client_name is None
    assert order.client_email == "noa@example.com"


def test_the_branch_falls_back_to_the_order_id_and_the_form_id_to_the_form() -> None:
    order = changed(lambda b: (b["order"].pop("branch"), b["order"].pop("form_id")))
    assert (order.branch, order.form_id) == ("il", "frm_Ex4mple-0_Q1")


@pytest.mark.parametrize("phone", [None, "", {}, {"code": "972", "number": ""}, 0, [], "none"])
def test_an_order_without_a_usable_phone_is_an_order(phone: object) -> None:
    assert changed(lambda b: b["form"]["client"].update(phone=phone)).phone is None


def test_a_text_phone_without_code_is_read_by_its_branch() -> None:
    order = changed(lambda b: b["form"]["client"].update(phone="050-555-0142"))
    assert order.phone is not None
    assert order.phone.e164 == "+972505550142"


@pytest.mark.parametrize(("flag", "kept"), [(True, True), (False, False), ("true", None), (1, None), (None, None)])
def test_only_a_true_boolean_is_consent(flag: object, kept: bool | None) -> None:
    order = changed(lambda b: b["form"]["client"].update(whatsappAlertsEnabled=flag))
    assert order.whatsapp_alerts_enabled is kept


@pytest.mark.parametrize(
    ("urgency", "urgent", "days"),
    [
        ("few_hours", True, 1),
        ("next_day", True, 1),
        ("1_2_days", False, 3),
        ("none", False, 3),
        (None, None, 3),
    ],
)
def test_urgency_is_read_by_the_real_values(urgency: str | None, urgent: bool | None, days: int) -> None:
    order = changed(lambda b: b["form"].update(urgency=urgency))
    assert (order.is_urgent, order.processing_days) == (urgent, days)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2031-04-01", date(2031, 4, 1)),
        ("2031-04-01T00:00:00.000Z", date(2031, 4, 1)),
        ("2031-03-31T21:00:00.000Z", date(2031, 4, 1)),  # midnight in Israel, in summer
        ("2031-01-31T22:00:00Z", date(2031, 2, 1)),  # and in winter
        ("2031-03-31T21:00:00+00:00", date(2031, 4, 1)),
        ("2031-03-31T23:30:00+03:00", date(2031, 3, 31)),
        ("2031-04-01T23:30:00", date(2031, 4, 1)),
        ("2031-04-01 (morning)", date(2031, 4, 1)),
        (1932757200000, date(2031, 4, 1)),
        ("1932757200", date(2031, 4, 1)),
        ("2031-04-31", None),
        ("soon", None),
        ("", None),
        (5, None),
    ],
)
def test_an_entry_date_is_the_day_that_the_sender_meant(text: object, day: date | None) -> None:
    assert changed(lambda b: b["form"].update(entry={"date": text, "port": ""})).entry_date == day


@pytest.mark.parametrize(
    ("branch", "midnight"),
    [("se", "2031-03-31T22:00:00Z"), ("ru", "2031-03-31T21:00:00Z"), ("kz", "2031-03-31T19:00:00Z")],
)
def test_a_day_written_as_a_moment_is_read_in_the_branch_s_zone(branch: str, midnight: str) -> None:
    def change(body: dict[str, Any]) -> None:
        body["order"]["branch"] = branch
        body["form"]["entry"] = {"date": midnight}

    assert changed(change).entry_date == date(2031, 4, 1)


def test_a_branch_without_a_zone_takes_the_day_as_written() -> None:
    def change(body: dict[str, Any]) -> None:
        body["order"]["branch"] = "co"
        body["form"]["entry"] = {"date": "2031-03-31T22:00:00Z"}

    assert changed(change).entry_date == date(2031, 3, 31)


@pytest.mark.parametrize(
    ("created", "updated", "epoch", "expected"),
    [
        ("2031-02-14T09:00:00.000Z", "2031-02-15T09:00:00.000Z", 1, datetime(2031, 2, 15, 9, tzinfo=UTC)),
        ("2031-02-14T11:00:00+02:00", None, 1, datetime(2031, 2, 14, 9, tzinfo=UTC)),
        ("", "2031-02-15T09:00:00.000Z", 1, datetime(2031, 2, 15, 9, tzinfo=UTC)),
        ("2031-02-14T09:00:00.000Z", "junk", 1, datetime(2031, 2, 14, 9, tzinfo=UTC)),
        ("2099-01-01T00:00:00.000Z", "2031-02-15T09:00:00.000Z", 1, datetime(2031, 2, 15, 9, tzinfo=UTC)),
        ("2031-02-14T09:00:00.000Z", "2099-01-01T00:00:00.000Z", 1, NOW),
        ("2099-01-01T00:00:00.000Z", None, 1, NOW),
        (None, None, 4070908800000, NOW),
        ("junk", None, 1928826270000, datetime(2031, 2, 14, 9, 4, 30, tzinfo=UTC)),
        (1928826270000, None, None, datetime(2031, 2, 14, 9, 4, 30, tzinfo=UTC)),
        (1928826270, None, None, datetime(2031, 2, 14, 9, 4, 30, tzinfo=UTC)),
        ("1928826270000", None, None, datetime(2031, 2, 14, 9, 4, 30, tzinfo=UTC)),
        (None, None, 1928826270, datetime(2031, 2, 14, 9, 4, 30, tzinfo=UTC)),
        (None, None, "1928826270", datetime(2031, 2, 14, 9, 4, 30, tzinfo=UTC)),
        ("20310214T090430Z", None, None, datetime(2031, 2, 14, 9, 4, 30, tzinfo=UTC)),
        ("20310214090430", None, None, NOW),
        (171201011234567890, None, None, NOW),
        (None, None, 10**30, NOW),
        (None, None, "", NOW),
        ("0001-01-01T00:00:00+14:00", None, None, NOW),
    ],
)
def test_the_age_of_an_order_is_its_form_s(created: object, updated: object, epoch: object, expected: datetime) -> None:
    order = changed(lambda b: b["form"].update(created_at=created, updated_at=updated, meta={"timestamp": epoch}))
    assert order.ordered_at == expected


def test_a_form_that_was_made_first_and_paid_last_is_the_newest() -> None:
    resumed = changed(lambda b: b["form"].update(created_at="2031-01-01T00:00:00Z", updated_at="2031-02-20T00:00:00Z"))
    between = changed(lambda b: b["form"].update(created_at="2031-02-01T00:00:00Z", updated_at="2031-02-01T00:05:00Z"))
    assert between.age < resumed.age


@given(times=st.tuples(*[st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)) for _ in range(2)]))  # noqa: DTZ001
def test_no_order_is_younger_than_its_arrival(times: tuple[datetime, datetime]) -> None:
    created, updated = (f"{time.isoformat()}Z" for time in times)
    order = changed(lambda b: b["form"].update(created_at=created, updated_at=updated))
    assert order.ordered_at == min(NOW, times[1].replace(tzinfo=UTC))


@pytest.mark.parametrize("part", ["client", "product", "meta", "entry"])
def test_an_empty_array_of_php_is_an_empty_object(part: str) -> None:
    as_array = changed(lambda b: b["form"].update({part: []}))
    as_object = changed(lambda b: b["form"].update({part: {}}))
    assert said(as_array) == said(as_object)


def said(order: Order) -> dict[str, Any]:
    """What *order* says, without the text that it was read from."""
    return {name: getattr(order, name) for name in Order.__slots__ if name != "raw_body"}


def test_an_array_of_php_with_gaps_is_an_array_in_the_order_of_its_numbers() -> None:
    applicants = [{"id": f"apl_{n}"} for n in range(12)]
    sparse = {str(n + n // 3): applicant for n, applicant in reversed(list(enumerate(applicants)))}
    assert changed(lambda b: b["form"].update(applicants=sparse)).applicants_data == applicants
    assert changed(lambda b: b["form"].update(applicants={})).applicants_data == []


def test_empty_arrays_of_php_inside_parts_say_nothing() -> None:
    def change(body: dict[str, Any]) -> None:
        body["form"]["client"]["phone"] = []
        body["form"]["applicants"][0] |= {"passport": [], "occupation": [], "files": []}
        body["order"]["coupon"] = []

    order = changed(change)
    absent = (order.phone, order.passport_data, order.occupation_data, order.files_data, order.coupon_data)
    assert absent == (None,) * 5


UNKNOWN = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and text
)


@given(value=UNKNOWN, name=UNKNOWN)
def test_new_values_and_new_members_are_kept_as_they_came(value: str, name: str) -> None:
    def change(body: dict[str, Any]) -> None:
        body["order"] |= {"status": value, "payment_processor": value, f"new {name}": {name: [value]}}
        body["form"] |= {"urgency": value, "fileTransferMethod": value, f"new {name}": value}
        body["form"]["client"][f"new {name}"] = value
        body["form"]["product"] |= {"intent": value, "validity": value, "docType": value, f"new {name}": value}
        body[f"new {name}"] = value

    order = changed(change)
    assert (order.order_status, order.payment_processor, order.file_transfer_method) == (value,) * 3
    assert (order.product_intent, order.product_validity, order.product_doc_type) == (value,) * 3
    assert order.product_data is not None
    assert (order.product_data["urgency"], order.product_data[f"new {name}"]) == (value, value)
    assert order.extra_data[f"new {name}"] == value
    assert order.extra_data["order"] == {f"new {name}": {name: [value]}}
    assert order.extra_data["client"] == order.extra_data["body"] == {f"new {name}": value}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda b: b.pop("form"), "form is missing"),
        (lambda b: b.update(form=[]), "form is not an object"),
        (lambda b: b.pop("order"), "order is missing"),
        (lambda b: b.update(order="x"), "order is not an object"),
        (lambda b: b["order"].pop("id"), "order.id is missing"),
        (lambda b: b["order"].update(id=" "), "order.id cannot be read"),
        (lambda b: b["order"].update(id="x" * 1000), "order.id cannot be read"),
        (lambda b: b["order"].update(amount="secret"), "order.amount cannot be read"),
        (lambda b: b["order"].update(amount=True), "order.amount cannot be read"),
        (lambda b: b["form"].pop("client"), "form.client is missing"),
        (lambda b: b["form"].update(client="secret"), "form.client is not an object"),
        (lambda b: b["form"].update(client=None), "form.client is not an object"),
        (lambda b: b["form"].update(product="secret"), "form.product is not an object"),
        (lambda b: b["form"].update(applicants={"a": 1}), "form.applicants is not an array"),
        (lambda b: b["form"].update(applicants={"0": 1, "x": 2}), "form.applicants is not an array"),
        (lambda b: b["form"].update(applicants={"-1": 1}), "form.applicants is not an array"),
        (lambda b: b["form"].update(applicants=5), "form.applicants is not an array"),
        (lambda b: b["form"].update(meta=[1]), "form.meta is not an object"),
        (lambda b: b["form"].update(client=[{}]), "form.client is not an object"),
        (lambda b: b["form"].update(entry=[None]), "form.entry is not an object"),
    ],
)
def test_a_part_of_the_wrong_kind_is_named_and_never_quoted(change: Callable[[Any], object], text: str) -> None:
    with pytest.raises(Malformed) as caught:
        changed(change)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"order":NaN}',
        b'{"a":1e999}',
        b'{"a":"\\u0000"}',
        b'{"a":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=lambda d: repr(d[:12]),
)
def test_what_is_no_sound_json_object_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        order_from(data, NOW)
    with pytest.raises(Malformed):
        order_id_of(data)


def test_an_escaped_backslash_before_u0000_is_not_a_null() -> None:
    assert changed(lambda b: b["form"]["client"].update(name="a\\u0000b")).client_name == "a\\u0000b"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(seed=st.integers(0, 50), data=st.data())
def test_a_mangled_order_is_an_order_or_malformed_and_nothing_else(seed: int, data: st.DataObject) -> None:
    body: Any = copy.deepcopy(maker.make_order(Random(seed), seed))
    for _ in range(data.draw(st.integers(1, 4))):
        node = body
        while True:
            places: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not places:
                break
            place = data.draw(st.sampled_from(places))
            if isinstance(node[place], dict | list) and data.draw(st.booleans()):
                node = node[place]
                continue
            if data.draw(st.booleans()):
                node[place] = data.draw(ANY)
            else:
                del node[place]
            break
    try:
        order = order_from(json.dumps(body).encode(), NOW)
    except Malformed:
        return
    json.dumps(order.extra_data, default=float, allow_nan=False).encode()
    assert order.order_id == order_id_of(json.dumps(body).encode())
    assert set(contact_fields(order, None)) <= ALWAYS


def test_custom_fields_are_the_seven_where_the_account_is_not_known() -> None:
    order = order_from(EXAMPLE.encode(), NOW)
    assert contact_fields(order, None) == {
        "Email": "noa@example.com",
        "OrderNumber": "IL310214GB7",
        "customer_name": "Noa Example",
        "order_urgent": False,
        "visa_country": "uk",
        "visa_quantity": 1,
        "visa_type": "eta",
    }


def test_custom_fields_are_those_that_the_account_has() -> None:
    order = changed(lambda b: b["form"].update(entry={"date": "2031-04-01"}))
    more = {"order_date", "order_sum_ils", "order_days", "order_date_time", "wa_alerts", "visa_flag", "other"}
    fields = contact_fields(order, frozenset({"OrderNumber"}) | more)
    assert fields == {
        "OrderNumber": "IL310214GB7",
        "order_date": date(2031, 4, 1),
        "order_sum_ils": 199,
        "order_days": 3,
        "order_date_time": order.placed_at,
        "wa_alerts": True,
        "visa_flag": "🇬🇧",
    }
    assert contact_fields(order, frozenset()) == {}
    assert set(contact_fields(order, ALWAYS)) == ALWAYS


def test_a_sum_in_another_currency_is_not_called_shekels() -> None:
    order = changed(lambda b: b["order"].update(currency="USD"))
    assert contact_fields(order, frozenset({"order_sum_ils"})) == {"order_sum_ils": EMPTY}


def test_a_brief_order_says_the_same_to_the_directory_and_holds_no_json() -> None:
    order = changed(lambda b: b["form"].update(entry={"date": "2031-04-01"}))
    brief = order.brief()
    assert (brief.order_id, brief.age, brief.phone) == (order.order_id, order.age, order.phone)
    assert (brief.client_name, brief.client_email, brief.branch) == ("Noa Example", "noa@example.com", "il")
    names = (
        frozenset({"order_sum_ils", "order_date", "order_days", "order_date_time", "wa_alerts", "stay_limit"}) | ALWAYS
    )
    assert contact_fields(brief, names) == contact_fields(order, names)
    values = [getattr(brief, name) for name in Order.__slots__]
    assert not [value for value in values if isinstance(value, dict | list)]
    assert brief.raw_body == ""


def test_an_order_shows_only_its_id() -> None:
    assert repr(order_from(EXAMPLE.encode(), NOW)) == "Order(IL310214GB7)"
