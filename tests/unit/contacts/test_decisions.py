"""What becomes of an order's contact, as a table."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest

from daemon.contacts.decisions import Create, Keep, Plan, Update, decide, differing, due, emptying
from daemon.contacts.field_policy import FieldPolicy
from daemon.contacts.fields import contact_fields
from daemon.contacts.told import said_of
from daemon.sandbox.orders import make_order
from schemas.contacts import DirectoryContact, FieldValue
from schemas.orders import Order, order_from

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
BODY = make_order(
    Random(1), 7, country="uk", branch="il", urgency="none", quantity=2, name="Noa", email="noa@example.com"
)
ORDER: Order = order_from(json.dumps(BODY).encode(), NOW)
NO_POLICY = FieldPolicy()
SAID = said_of(ORDER, {}, NO_POLICY)
HELD = {
    "Email": "noa@example.com",
    "OrderNumber": ORDER.order_id,
    "customer_name": "Noa",
    "order_urgent": "0",
    "visa_country": "uk",
    "visa_quantity": "2",
    "visa_type": "eta",
}


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (HELD, Keep("c")),
        (HELD | {"visa_quantity": "1"}, Update("c", {"visa_quantity": 2})),
        (HELD | {"other": "kept"}, Keep("c")),
    ],
)
def test_only_a_difference_is_written(held: dict[str, str], expected: Plan) -> None:
    assert ORDER.phone is not None
    assert (
        decide(
            SAID,
            ORDER.phone,
            DirectoryContact(id="c", fields=held),
            contact_fields(ORDER, None),
        )
        == expected
    )


def test_what_the_order_lacks_is_emptied_and_what_is_the_person_s_stays() -> None:
    """Promise: a contact never shows one order's number with another one's date; a name is not taken away."""
    assert ORDER.phone is not None
    known = frozenset({"OrderNumber", "visa_validity", "order_date", "Email"})
    lacking = replace(ORDER, product_validity=None, entry_date=None, client_email=None)
    held = {"OrderNumber": ORDER.order_id, "visa_validity": "year", "order_date": "", "Email": "noa@example.com"}
    plan = decide(
        said_of(lacking, {}, NO_POLICY),
        ORDER.phone,
        DirectoryContact(id="c", fields=held),
        contact_fields(lacking, known),
    )
    assert plan == Update("c", {"visa_validity": ""})


def test_a_person_without_orders_has_a_contact_that_shows_none() -> None:
    found = DirectoryContact(id="c", fields={"OrderNumber": "IL1", "visa_type": "eta", "customer_name": "Noa"})
    assert emptying(found, frozenset({"OrderNumber", "visa_type", "visa_flag", "customer_name"})) == Update(
        "c", {"OrderNumber": "", "visa_type": ""}
    )
    assert emptying(DirectoryContact(id="c", fields={"customer_name": "Noa"}), None) == Keep("c")


def test_a_missing_contact_is_made_with_the_fields_that_have_a_value() -> None:
    assert ORDER.phone is not None
    known = frozenset({"OrderNumber", "visa_type", "order_date"})
    lacking = replace(ORDER, entry_date=None)
    plan = decide(said_of(lacking, {}, NO_POLICY), ORDER.phone, None, contact_fields(lacking, known))
    assert isinstance(plan, Create)
    assert plan.draft.fields == {"OrderNumber": ORDER.order_id, "visa_type": "eta"}
    assert (plan.draft.phone, plan.draft.name, plan.draft.email) == (ORDER.phone, "Noa", "noa@example.com")


@pytest.mark.parametrize(
    ("wanted", "held", "same"),
    [
        (True, "1", True),
        (True, "true", True),
        (True, "True", True),
        (True, "0", False),
        (True, "", False),
        (False, "0", True),
        (False, "false", True),
        (False, "", False),
        (2, "2", True),
        (2, "2.0", True),
        (2, " 2 ", True),
        (2, "3", False),
        (2, "two", False),
        (2, "nan", False),
        (2, "snan", False),
        (420.5, "420.50", True),
        (date(2031, 4, 1), "1932768000", True),
        (date(2031, 4, 1), "2031-04-01", True),
        (date(2031, 4, 1), "2031-04-02", False),
        (date(2031, 4, 1), "soon", False),
        (date(2031, 4, 1), "inf", False),
        (NOW, str(int(NOW.timestamp())), True),
        (NOW, "2031-03-01T12:00:00Z", True),
        (NOW, "2031-03-01T13:00:00+01:00", True),
        (NOW, "0", False),
        ("eta", "eta", True),
        ("eta", "ETA", False),
        ("0501", "501", False),
    ],
)
def test_a_value_is_compared_as_what_it_means(wanted: FieldValue, held: str, same: bool) -> None:
    assert differing({"field": wanted}, {"field": held}) == ({} if same else {"field": wanted})


def test_a_field_that_the_directory_does_not_tell_is_written() -> None:
    assert differing({"field": False}, {}) == {"field": False}


@pytest.mark.parametrize(
    ("placed", "delay_ms", "expected"),
    [
        (NOW, 0, None),
        (NOW, 2000, NOW + timedelta(seconds=2)),
        (NOW - timedelta(seconds=2), 2000, None),
        (NOW - timedelta(seconds=1), 2000, NOW + timedelta(seconds=1)),
        (NOW + timedelta(hours=5), 2000, NOW + timedelta(seconds=2)),
        (NOW + timedelta(hours=5), 0, None),
    ],
)
def test_the_delay_counts_from_arrival_and_is_never_longer(
    placed: datetime, delay_ms: int, expected: datetime | None
) -> None:
    assert due(placed, delay_ms, NOW) == expected
