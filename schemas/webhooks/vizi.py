"""Models of Vizi's order webhook, with the parts that are read.

The shapes follow Vizi's type file. These deviations were observed on the running system: numbers as text, "" for null,
phones as object or text, new enum values before any release. So a single value of an unexpected type counts as absent
(the raw body keeps it). PHP writes an empty object as `[]`, and an array with gaps as an object whose names are its
numbers; both are read as what they stand for. Only a *part* of another wrong type (`client` a text, `applicants` a
number) makes the webhook unreadable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from schemas.errors import Malformed

BRANCHES: Final = frozenset({"il", "se", "co", "ru", "kz"})

URGENT: Final = frozenset({"urgent", "express", "few_hours", "next_day", "rush", "priority"})
"""Observed on the running system. Vizi sends `few_hours` and `next_day` of these; `1_2_days` is not urgent."""

FLAGS: Final[Mapping[str, str]] = {
    "india": "🇮🇳",
    "canada": "🇨🇦",
    "morocco": "🇲🇦",
    "new_zealand": "🇳🇿",
    "vietnam": "🇻🇳",
    "usa": "🇺🇸",
    "korea": "🇰🇷",
    "cambodia": "🇰🇭",
    "israel": "🇮🇱",
    "saudi_arabia": "🇸🇦",
    "bahrain": "🇧🇭",
    "indonesia": "🇮🇩",
    "uk": "🇬🇧",
    "sri_lanka": "🇱🇰",
    "togo": "🇹🇬",
    "thailand": "🇹🇭",
    "schengen": "🇪🇺",
}
"""Every destination of Vizi's type file, with its flag."""

VALIDITY_DAYS: Final[Mapping[str, int]] = {
    "2_weeks": 14,
    "15_days": 15,
    "month": 30,
    "2_months": 60,
    "3_months": 90,
    "6_months": 180,
    "year": 365,
    "2_years": 730,
    "3_years": 1095,
    "5_years": 1825,
}

# Text that JSON can spell and Postgres cannot hold: U+0000 and half a surrogate pair.
_SUSPICIOUS: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ARRAY_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_INT4: Final = 2**31
_LONGEST_ID: Final = 200
_MOST_MONEY: Final = Decimal(10) ** 15


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return str(value).strip() or None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not -_INT4 < value < _INT4:
        return None
    return int(value) if value == int(value) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _money(value: object) -> Decimal | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("not a number")
    try:
        amount = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not amount.is_finite() or abs(amount) >= _MOST_MONEY or amount.adjusted() < -_LONGEST_ID:
        raise ValueError("out of range")
    return amount


def _identifier(value: object) -> str:
    text = _text(value)
    if text is None or len(text) > _LONGEST_ID:
        raise ValueError("not an id")
    return text


def absent_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def as_object(value: object) -> object:
    """PHP's empty array in the place of an object is an empty object."""
    return {} if value == [] else value


def as_array(value: object) -> object:
    """PHP's array with gaps is an object of its numbers and values; it is an array in the order of the numbers."""
    if isinstance(value, dict) and all(map(_ARRAY_NUMBER.fullmatch, value)):
        return [value[number] for number in sorted(value, key=int)]
    return value


Text = Annotated[str | None, BeforeValidator(_text)]
"""Trimmed; blank text and values of other types are None."""
Whole = Annotated[int | None, BeforeValidator(_whole)]
Flag = Annotated[bool | None, BeforeValidator(_flag)]
"""Only a JSON boolean counts: no other value may pass for consent."""
Money = Annotated[Decimal | None, BeforeValidator(_money)]
Identifier = Annotated[str, BeforeValidator(_identifier)]


class Part(BaseModel):
    """A part of a webhook. Members that are not named here stay in `model_extra`."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Client(Part):
    """The buyer. *phone* is kept raw: `{code, number}`, text, null, or with empty parts."""

    name: Text = None
    email: Text = None
    phone: Any = None
    alerts: Flag = Field(default=None, alias="whatsappAlertsEnabled")


class Product(Part):
    """The document that is bought. *price*, *urgencies*, *variations* and the like are kept as received."""

    name: Text = None
    country: Text = None
    doc_type: Text = Field(default=None, alias="docType")
    doc_name: Text = Field(default=None, alias="docName")
    intent: Text = None
    entries: Text = None
    validity: Text = None
    days_to_use: Whole = None
    wait: Whole = None
    stay_limit: Whole = None


class Entry(Part):
    """The planned arrival. *date*: a plain day, "YYYY-MM-DD", or a moment that a browser has made of one."""

    date: Text = None
    port: Text = None


class Meta(Part):
    """How the form was filled in. *timestamp*: milliseconds since 1970, or seconds. *revision*: counts its changes."""

    timestamp: Any = None
    revision: Whole = None


class Form(Part):
    """The form that the buyer filled in. Members that differ by country stay in `model_extra`."""

    id: Text = None
    country: Text = None
    created_at: Text = None
    updated_at: Text = None
    client: Annotated[Client, BeforeValidator(as_object)]
    product: Annotated[Product | None, BeforeValidator(as_object), BeforeValidator(absent_if_blank)] = None
    quantity: Whole = None
    urgency: Text = None
    discount: Any = None
    meta: Annotated[Meta | None, BeforeValidator(as_object), BeforeValidator(absent_if_blank)] = None
    entry: Annotated[Entry | None, BeforeValidator(as_object), BeforeValidator(absent_if_blank)] = None
    file_transfer_method: Text = Field(default=None, alias="fileTransferMethod")
    applicants: Annotated[list[Any] | None, BeforeValidator(as_array), BeforeValidator(absent_if_blank)] = None
    emergency_contact: Any = Field(default=None, alias="emergencyContact")
    business: Any = None


class OrderPart(Part):
    """The sale. *amount*: in major units, exactly as the JSON text had it. *coupon*: an object, or old-style text."""

    id: Identifier
    form_id: Text = None
    branch: Text = None
    domain: Text = None
    payment_processor: Text = None
    payment_id: Text = None
    amount: Money = None
    currency: Text = None
    coupon: Any = None
    status: Text = None


class OrderWebhook(Part):
    """The body of one order webhook."""

    form: Form
    order: OrderPart


Webhook = TypeVar("Webhook", bound=Part)


def body_from(data: bytes) -> dict[str, Any]:
    """The JSON object of a webhook's body, its fractions as Decimal, exact to the digit.

    Raises: Malformed when it is no JSON object, or holds text or numbers that Postgres cannot keep.
    """
    try:
        body = json.loads(data.decode(), parse_float=_decimal, parse_constant=_refuse)
        if _SUSPICIOUS.search(data):
            text = json.dumps(body, default=str, ensure_ascii=False)
            text.encode()
            if "\\u0000" in text.replace("\\\\", ""):
                raise Malformed("the body holds U+0000")
    except (ValueError, RecursionError):
        raise Malformed("the body is not JSON") from None
    if not isinstance(body, dict):
        raise Malformed("the body is not an object")
    return body


def _decimal(text: str) -> Decimal:
    if not isfinite(float(text)):
        raise ValueError("out of range")
    return Decimal(text)


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def webhook_from(body: Mapping[str, Any]) -> OrderWebhook:
    """The parts of an order's webhook. Raises: Malformed, as `parts_from`."""
    return parts_from(body, OrderWebhook)


def parts_from(body: Mapping[str, Any], model: type[Webhook], names: Collection[str] | None = None) -> Webhook:
    """The parts of a body by their *model*. *names*: the only ones that an error may show, where the sender chooses
    names; None: every one, as they are all the model's.

    Raises: Malformed, naming the part that is missing or of the wrong type, never its value.
    """
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        raise Malformed(_complaint(exc, names)) from None


def _complaint(exc: ValidationError, names: Collection[str] | None) -> str:
    error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    loc = error["loc"]
    where = ".".join(str(part) if isinstance(part, int) or names is None or part in names else "…" for part in loc)
    match error["type"]:
        case "missing":
            return f"{where} is missing"
        case "model_type" | "dict_type":
            return f"{where} is not an object"
        case "list_type":
            return f"{where} is not an array"
        case _:
            return f"{where} cannot be read"
