"""An order as we keep it, read once from the text that Vizi sent.

An absent value is None. Nothing is invented: no "Unknown", no zero phone, no guessed currency. Two values have a
fallback that says the same in another place: the branch in the first two letters of the order id, the form's id in the
form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from schemas.corrections import MEMBER, corrected_at, corrections_of
from schemas.errors import Malformed
from schemas.moments import day, from_epoch, moment
from schemas.phone import Phone, parse_phone
from schemas.webhooks.vizi import (
    BRANCHES,
    FLAGS,
    URGENT,
    VALIDITY_DAYS,
    Form,
    OrderPart,
    OrderWebhook,
    Product,
    body_from,
    webhook_from,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Order:
    """One order; the names are those of the `orders` table's columns. JSON members hold what JSON held.

    *ordered_at*: when the form last changed, else was made, else its epoch, and never after *received_at*; with
    *received_at* and *order_id* it tells which of a person's orders is the newest. The `*_data` of one person
    are the first applicant's; *applicants_data* has all applicants. *phone* None: the order has no usable phone.
    *placed_at*: when the form was made, else *received_at*. *form_revision*: counts the states of the form.
    *whatsapp_alerts_enabled* None: not said, which is no consent. *raw_body*: the exact text received, behind
    corrections where there are any; they count for *phone*, *client_name* and *client_email*. *corrected_at*: their
    names (`phone`, `name`, `email`), and when each was said; None without any.
    """

    order_id: str
    ordered_at: datetime
    received_at: datetime
    raw_body: str
    phone: Phone | None
    client_phone_raw: Any
    form_id: str | None
    branch: str | None
    domain: str | None
    payment_processor: str | None
    payment_id: str | None
    amount: Decimal | None
    currency: str | None
    order_status: str | None
    client_name: str | None
    client_email: str | None
    whatsapp_alerts_enabled: bool | None
    product_country: str | None
    product_country_flag: str | None
    product_doc_type: str | None
    product_doc_name: str | None
    product_intent: str | None
    product_entries: str | None
    product_validity: str | None
    product_data: Mapping[str, Any] | None
    stay_limit: int | None
    visa_quantity: int | None
    visa_entries: str | None
    visa_usage_deadline_days: int | None
    visa_document_validity_days: int | None
    processing_days: int | None
    is_urgent: bool | None
    entry_date: date | None
    entry_port: str | None
    file_transfer_method: str | None
    face_url: str | None
    passport_url: str | None
    passport_data: Any
    extra_nationality_data: Any
    address_data: Any
    family_data: Any
    occupation_data: Any
    military_data: Any
    past_travels_data: Any
    files_data: Any
    applicants_data: Sequence[Any] | None
    emergency_contact_data: Any
    business_data: Any
    form_meta_data: Any
    coupon_data: Any
    extra_data: Mapping[str, Any]
    placed_at: datetime
    form_revision: int | None
    corrected_at: tuple[tuple[str, datetime], ...] | None = None

    def __repr__(self) -> str:
        return f"Order({self.order_id})"

    @property
    def age(self) -> tuple[datetime, datetime, str]:
        """Sorts a person's orders from old to new."""
        return self.ordered_at, self.received_at, self.order_id

    @property
    def state(self) -> tuple[datetime, int, datetime]:
        """Sorts the states of one order from old to new."""
        return self.ordered_at, self.form_revision or 0, self.received_at

    @property
    def canceled(self) -> bool:
        """Whether the order does not stand any more."""
        return (self.order_status or "").lower() == "canceled"

    def brief(self) -> Order:
        """This order without its body and its JSON members, so that it takes little memory while it waits."""
        return replace(self, raw_body="", **_NO_PARTS)


_NO_PARTS: Final[Mapping[str, Any]] = dict.fromkeys(
    name for name in Order.__slots__ if name.endswith("_data") or name == "client_phone_raw"
)


def is_test_order(order_id: str) -> bool:
    """Whether the order comes from Vizi's own tests."""
    return order_id.endswith("-TEST")


def order_id_of(data: bytes) -> str | None:
    """The order id in a webhook's body whose other parts may be missing or wrong (Vizi's tests have no form), or None.

    Raises: Malformed when the body is not a JSON object.
    """
    return _order_id(body_from(data))


def _order_id(body: Mapping[str, Any]) -> str | None:
    """As the intake reads it: a text, or an integer."""
    part = body.get("order")
    value = part.get("id") if isinstance(part, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def order_from(data: bytes, received_at: datetime) -> Order:
    """The order of one webhook body, received at *received_at* (with time zone).

    Raises: Malformed, with the name of the part that is missing or of the wrong kind and never its value.
    """
    body = body_from(data)
    webhook = webhook_from(body)
    form, order, product = webhook.form, webhook.order, webhook.form.product or Product()
    text = data.decode()
    corrected = corrections_of(text)
    if (order_id := _order_id(body)) is None:
        raise Malformed("order.id is neither a text nor an integer")
    branch = _branch(order)
    urgent = form.urgency.lower() in URGENT if form.urgency else None
    country = (product.country or form.country or "").lower() or None
    return Order(
        order_id=order_id,
        ordered_at=_ordered_at(form, received_at),
        received_at=received_at,
        raw_body=text,
        phone=parse_phone(corrected.get("phone") or form.client.phone, branch=branch),
        client_phone_raw=form.client.phone,
        form_id=order.form_id or form.id,
        branch=branch,
        domain=order.domain,
        payment_processor=order.payment_processor,
        payment_id=order.payment_id,
        amount=order.amount,
        currency=order.currency.upper() if order.currency else None,
        order_status=order.status,
        client_name=corrected.get("name") or form.client.name,
        client_email=corrected.get("email") or form.client.email,
        whatsapp_alerts_enabled=form.client.alerts,
        product_country=country,
        product_country_flag=FLAGS.get(country or ""),
        product_doc_type=product.doc_type,
        product_doc_name=product.doc_name,
        product_intent=product.intent,
        product_entries=product.entries,
        product_validity=product.validity,
        product_data=_product_data(form),
        stay_limit=product.stay_limit,
        visa_quantity=form.quantity,
        visa_entries=product.entries,
        visa_usage_deadline_days=product.days_to_use,
        visa_document_validity_days=VALIDITY_DAYS.get(product.validity or ""),
        processing_days=1 if urgent else product.wait,
        is_urgent=urgent,
        entry_date=day(form.entry.date, branch) if form.entry else None,
        entry_port=form.entry.port if form.entry else None,
        file_transfer_method=form.file_transfer_method,
        emergency_contact_data=_or_none(form.emergency_contact),
        business_data=_or_none(form.business),
        form_meta_data=_or_none(_member(body, "form", "meta")),
        coupon_data=_or_none(order.coupon) or _or_none(form.discount),
        extra_data=_extra(body, webhook),
        applicants_data=form.applicants,
        placed_at=min(moment(form.created_at) or received_at, received_at),
        form_revision=form.meta.revision if form.meta else None,
        corrected_at=tuple(corrected_at(text).items()) if corrected else None,
        **_first_applicant(form.applicants),
    )


def _branch(order: OrderPart) -> str | None:
    if order.branch:
        return order.branch.lower()
    prefix = order.id[:2].lower()
    return prefix if prefix in BRANCHES else None


def _ordered_at(form: Form, received_at: datetime) -> datetime:
    """A form that was made first and paid last is the newest; a clock that is ahead makes none newest for years."""
    epoch = form.meta.timestamp if form.meta else None
    told = moment(form.updated_at) or moment(form.created_at) or from_epoch(epoch)
    return min(told, received_at) if told else received_at


def _or_none(value: object) -> Any:
    """*value* (text trimmed), or None where it is "", blank, {} or []."""
    if isinstance(value, str):
        return value.strip() or None
    return None if value in ({}, []) else value


def _member(value: object, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _product_data(form: Form) -> Mapping[str, Any] | None:
    """The product under our names, with the urgency that was chosen for it."""
    if form.product is None:
        return None
    named = form.product.model_dump(exclude_none=True)
    if form.urgency:
        named["urgency"] = form.urgency
    return {name: value for name, value in named.items() if value is not None}


def _extra(body: Mapping[str, Any], webhook: OrderWebhook) -> Mapping[str, Any]:
    """Members without a column: `termsAgreed`, `orderId`, members of one country's form, and new members."""
    extra = _unnamed(webhook.form, "_id")
    for place, part in (("order", webhook.order), ("client", webhook.form.client), ("body", webhook)):
        if unnamed := _unnamed(part, MEMBER):
            extra[place] = unnamed
    if webhook.form.entry and webhook.form.entry.model_extra:
        extra["entry"] = _member(body, "form", "entry")
    return extra


def _unnamed(part: BaseModel, *without: str) -> dict[str, Any]:
    return {name: value for name, value in (part.model_extra or {}).items() if name not in without}


def _first_applicant(applicants: Sequence[Any] | None) -> dict[str, Any]:
    first = applicants[0] if applicants and isinstance(applicants[0], dict) else {}
    address = {
        "personal": _or_none(first.get("address")),
        "work": _or_none(_member(first, "occupation", "address")),
    }
    face, passport = (_member(first, "files", name) for name in ("face", "passport"))
    return {
        "face_url": _or_none(face) if isinstance(face, str) else None,
        "passport_url": _or_none(passport) if isinstance(passport, str) else None,
        "passport_data": _or_none(first.get("passport")),
        "extra_nationality_data": _or_none(first.get("extraNationality")),
        "address_data": address if any(address.values()) else None,
        "family_data": _or_none(first.get("family")),
        "occupation_data": _or_none(first.get("occupation")),
        "military_data": _or_none(first.get("military")),
        "past_travels_data": _or_none(first.get("pastTravels")),
        "files_data": _or_none(first.get("files")),
    }
